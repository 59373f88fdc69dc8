"""With few labels a training lasts as many epochs as give it enough steps; its key says what decides it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graftwork.stages.fitting import with_steps
from tests.core.tiny import training


@given(st.integers(1, 200), st.integers(1, 50), st.integers(2, 64), st.integers(1, 300))
def test_there_are_the_least_epochs_that_give_enough_steps_and_a_longer_training_stays(
    images: int, epochs: int, batch_size: int, least: int
) -> None:
    plain = training(epochs=epochs, batch_size=batch_size)
    found = with_steps(plain, images, least)
    steps = max(1, images // batch_size)  # as the loop counts: a smaller last batch is left out
    assert found.epochs * steps >= least
    assert found.epochs == epochs or (found.epochs > epochs and (found.epochs - 1) * steps < least)
    assert found == plain.model_copy(update={"epochs": found.epochs})
