"""Write the models of this folder, and what Keras itself answers: `python make.py`, with keras and tensorflow-cpu.

Keras 3 writes `<name>.h5`, `<name>.keras` and `answers.npz`; with `python make.py 2` and tf_keras, Keras 2 writes
`keras2.h5` and `keras2.keras`. No test needs either package.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
OLD = sys.argv[1:] == ["2"]

if OLD:
    import tf_keras as keras
else:
    import keras

L: Any = keras.layers


def mlp() -> Any:
    """Flattened pixels, fused activations, dropout; softmax in the last layer."""
    return [L.Input((8, 8, 1)), L.Flatten(), L.Dense(12, "relu"), L.Dropout(0.2), L.Dense(7, "tanh"),
            L.Dense(3, "softmax")]  # fmt: skip


def cnn() -> Any:
    """Every kind of kernel, norms with and without scale, a colour map flattened channels last."""
    return [L.Input((8, 8, 3)), L.Rescaling(1 / 127.5, -1.0), L.Conv2D(4, 3, padding="same", activation="relu"),
            L.BatchNormalization(), L.MaxPooling2D(2), L.DepthwiseConv2D(3, padding="same", use_bias=False),
            L.BatchNormalization(epsilon=1e-5, scale=False), L.ReLU(6.0), L.Conv2D(6, 1), L.Activation("relu"),
            L.AveragePooling2D(2, strides=1), L.Flatten(), L.BatchNormalization(), L.Dense(5), L.Softmax()]  # fmt: skip


def strided() -> Any:
    """Explicit padding before a strided kernel; no activation at the end."""
    return [L.Input((9, 9, 1)), L.ZeroPadding2D(1), L.Conv2D(4, 3, strides=2, activation="relu"),
            L.GlobalAveragePooling2D(), L.Dense(3)]  # fmt: skip


def same() -> Any:
    """Strides under padding 'same': zeros on one side alone, where the size is even."""
    return [L.Input((8, 8, 1)), L.Conv2D(4, 3, strides=2, padding="same", activation="relu"), L.Flatten(), L.Dense(3)]


def vectors() -> Any:
    """Ten features and no pixels."""
    return [L.Input((10,)), L.Dense(6, "relu"), L.Dense(4, "relu"), L.Dense(2, "softmax")]


def build(layers: Any, rng: np.random.Generator) -> Any:
    """Return the model with weights drawn from `rng`, so that no norm is the identity."""
    model = keras.Sequential(layers)
    for layer in model.layers:
        names = [weight.name.split("/")[-1].split(":")[0] for weight in layer.weights]
        draws = [rng.normal(0, 0.4, w.shape) for w in layer.weights]
        values = [abs(d) + 0.5 if "var" in n or "gamma" in n else d for n, d in zip(names, draws, strict=True)]
        layer.set_weights([value.astype(np.float32) for value in values])
    return model


def main() -> None:
    """Write everything."""
    rng = np.random.default_rng(0)
    answers = {}
    for make in [cnn] if OLD else [mlp, cnn, strided, same, vectors]:
        model, name = build(make(), rng), "keras2" if OLD else make.__name__
        model.save(HERE / f"{name}.h5", include_optimizer=False)
        model.save(HERE / f"{name}.keras")
        images = rng.uniform(0, 255 if make is cnn else 1, (4, *model.input_shape[1:])).astype(np.float32)
        answers |= {f"{name}_images": images, f"{name}_answers": model.predict(images, verbose=0)}
    np.savez_compressed(HERE / ("answers2.npz" if OLD else "answers.npz"), **answers)


if __name__ == "__main__":
    main()
