"""Encoded images come in batches as arrays do, decoded ahead; no thread is left and nothing hangs."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from graftwork.decoding import THREADS
from graftwork.encoded_images import GROUP, EncodedImages
from graftwork.engine import predict
from graftwork.errors import DataError, Interrupted
from graftwork.images import Indices, LabelledImages, Pixels
from graftwork.labelled_arrays import LabelledArrays
from graftwork.labelled_encoded import AHEAD, LabelledEncoded
from graftwork.training import train
from tests.core.pictures import FORMAT, decoded, decoding_threads, encoded, pictures
from tests.core.progresses import Stopping
from tests.core.tiny import different
from tests.core.tiny import job as tiny_job

COUNT = 40
LABELS = torch.arange(COUNT) % 3
ARRAYS = LabelledArrays(torch.from_numpy(decoded(pictures(COUNT))), LABELS)
GREY = FORMAT.model_copy(update={"size": 8, "channels": 1})  # what the tiny network reads


def stored() -> LabelledEncoded:
    return LabelledEncoded(encoded(COUNT), LABELS)


def grey() -> tuple[LabelledArrays, LabelledEncoded]:
    return LabelledArrays(torch.from_numpy(decoded(pictures(COUNT), GREY)), LABELS), LabelledEncoded(
        encoded(COUNT, GREY), LABELS
    )


def same(one: LabelledImages, other: LabelledImages, size: int = 7) -> bool:
    pairs = zip(one.batches(size), other.batches(size), strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


@pytest.mark.parametrize("size", [1, 7, COUNT, COUNT + 1])
def test_batches_are_those_of_arrays(size: int) -> None:
    assert same(stored(), ARRAYS, size)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:31]
    pairs = list(zip(stored().stream(order, size), ARRAYS.stream(order, size), strict=True))
    assert sum(len(labels) for (_, labels), _ in pairs) == 31
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def test_the_rest_of_the_interface_answers_as_arrays_do() -> None:
    chosen = torch.tensor([5, 5, 1, 39])
    assert len(stored()) == len(ARRAYS) and stored().shape == ARRAYS.shape == (3, 16, 16)
    assert torch.equal(stored().batch(chosen), ARRAYS.batch(chosen))
    twice = stored().take(chosen).take(torch.tensor([2, 3]))
    assert same(stored().take(chosen), ARRAYS.take(chosen)) and same(twice, ARRAYS.take(chosen[2:]))
    assert same(stored().to(torch.device("cpu")), ARRAYS.to(torch.device("cpu")))


def test_the_digest_hangs_on_every_byte_label_order_and_on_the_format() -> None:
    sources = pictures(COUNT)
    labels = LABELS.clone()
    labels[4] = 2
    other = [*sources[:-1], sources[0]]
    variants = [
        stored(), LabelledEncoded(encoded(COUNT), labels), LabelledEncoded(EncodedImages(other, FORMAT), LABELS),
        LabelledEncoded(encoded(COUNT, GREY), LABELS), stored().take(torch.arange(COUNT - 1)),
        stored().take(torch.arange(COUNT).flip(0)),
    ]  # fmt: skip
    assert len({data.sha256() for data in variants}) == len(variants)
    assert stored().take(torch.arange(COUNT)).sha256() == stored().sha256()


class Watched(list[bytes]):
    """Pictures that count which of them were read, and may be slow."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(pictures(COUNT))
        self.read: list[int] = []
        self.seconds = seconds

    def __getitem__(self, number: int) -> bytes:  # type: ignore[override]
        self.read.append(number)
        time.sleep(self.seconds)
        return super().__getitem__(number)


def until(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_the_next_batches_are_decoded_while_one_is_used_and_no_more() -> None:
    watched = Watched()
    with closing(LabelledEncoded(EncodedImages(watched, FORMAT), LABELS).stream(torch.arange(COUNT), 4)) as batches:
        for used in range(1, 5):
            next(batches)
            until(lambda used=used: len(watched.read) == 4 * (used + AHEAD))
        time.sleep(0.02)
        assert sorted(watched.read) == list(range(4 * (4 + AHEAD)))


@pytest.mark.parametrize("way", ["all", "break", "error", "never begun"])
def test_no_thread_outlives_the_loop(way: str) -> None:
    with closing(stored().stream(torch.arange(COUNT), 4)) as batches:
        if way == "break":
            next(batches)
            assert decoding_threads()
        elif way == "all":
            assert len(list(batches)) == 10
        elif way == "error":
            next(batches)
            with pytest.raises(RuntimeError, match="in the loop"):
                batches.throw(RuntimeError("in the loop"))
    assert decoding_threads() == []


def test_closing_waits_for_no_more_than_what_is_being_decoded() -> None:
    watched = Watched(seconds=0.01)
    data = LabelledEncoded(EncodedImages(watched, FORMAT), LABELS)
    with closing(data.stream(torch.arange(COUNT), 12)) as batches:
        next(batches)
    assert len(watched.read) <= 12 + (1 + THREADS) * GROUP and decoding_threads() == []


def test_an_image_that_can_not_be_read_ends_the_loop_when_its_batch_is_due() -> None:
    sources = pictures(COUNT)
    sources[9] = sources[9][:50]
    data = LabelledEncoded(EncodedImages(sources, FORMAT), LABELS)
    with closing(data.stream(torch.arange(COUNT), 4)) as batches:
        assert len([next(batches), next(batches)]) == 2
        with pytest.raises(DataError, match="can't be read") as raised:
            next(batches)
    assert raised.value.where == "image 9, counted from 0" and decoding_threads() == []


def test_a_thread_that_dies_of_anything_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: EncodedImages, numbers: Indices, pixels: Pixels) -> None:
        raise SystemExit(1)

    monkeypatch.setattr(EncodedImages, "decode_into", die)
    with pytest.raises(SystemExit):
        list(stored().batches(4))
    assert decoding_threads() == []


def test_trainings_on_either_storage_give_the_same_weights(tmp_path: Path) -> None:
    from graftwork_plugins.augmentations import Flip, Shift

    found = [
        train(tiny_job(tmp_path / str(n), train=data, validation=data, augmentation=[Flip(), Shift(1)]))
        for n, data in enumerate(grey())
    ]
    assert different(found[0].tensors, found[1].tensors) == [] and found[0].history == found[1].history
    assert decoding_threads() == []


def test_a_stop_request_ends_training_and_its_threads_and_it_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    arrays, data = grey()
    with pytest.raises(Interrupted) as kept:  # its traceback keeps the frames of the loop alive
        train(tiny_job(tmp_path / "parts", train=data, validation=data, progress=Stopping(4)))
    assert decoding_threads() == [] and kept.tb is not None
    resumed = train(tiny_job(tmp_path / "parts", train=data, validation=data))
    whole = train(tiny_job(tmp_path / "whole", train=arrays, validation=arrays))
    assert different(whole.tensors, resumed.tensors) == [] and whole.history == resumed.history


def test_what_looks_at_a_few_batches_or_fails_at_one_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("in the model")

    job = tiny_job(tmp_path, train=grey()[1])
    images, labels = next(job.run.batches(job.run.train, 4))
    assert images.shape == (4, 1, 8, 8) and torch.equal(labels, LABELS[:4]) and decoding_threads() == []
    monkeypatch.setattr("graftwork.engine.MOST_AT_ONCE", 4)
    monkeypatch.setattr("graftwork.engine.LEAST_AT_ONCE", 4)
    with pytest.raises(RuntimeError, match="in the model") as kept:
        predict(Failing(), job.train, job.normalise, job.machine)
    assert decoding_threads() == [] and kept.tb is not None


def test_streams_beside_each_other_do_not_meet() -> None:
    found: dict[int, bool] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: same(stored(), ARRAYS, 3 + n)})) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == {0: True, 1: True, 2: True}


def test_a_saved_one_comes_back(tmp_path: Path) -> None:
    stored().take(torch.arange(9)).save(tmp_path)
    back = LabelledEncoded.load(tmp_path)
    assert same(back, ARRAYS.take(torch.arange(9))) and np.array_equal(back.labels, LABELS[:9])
