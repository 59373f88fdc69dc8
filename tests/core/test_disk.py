"""A full disk is told as one, whoever met it, and leaves what was there."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from graftwork.checkpoints import Checkpoint, Checkpoints
from graftwork.disk import disk_full, means_full, reserve
from graftwork.errors import DiskFullError, StateError
from graftwork.faults import as_told
from graftwork.feature_cache import FeatureCache
from graftwork.files import atomic_folder, write_json, write_text
from graftwork.weights import save_weights
from tests.core.tiny import CONTRACT


@contextmanager
def most_bytes(size: int) -> Iterator[None]:
    """Let no file grow beyond this; Python ignores the signal that goes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("what", ["text", "json", "array", "weights"])
def test_an_old_file_survives_and_the_error_names_the_disk_and_the_file(what: str, tmp_path: Path) -> None:
    path, big = tmp_path / "file", torch.zeros(100_000)
    path.write_text("old")
    with most_bytes(50_000), pytest.raises(DiskFullError, match="disk is full") as caught:
        if what == "text":
            write_text(path, "x" * 10**5)
        elif what == "json":
            write_json(path, ["x" * 10**5])
        elif what == "array":
            with atomic_folder(path) as folder:
                np.save(folder / "images.npy", big.numpy())
        else:
            save_weights(path, {"weight": big}, CONTRACT)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    assert str(path) in caught.value.where and "MB are free" in caught.value.expected
    assert caught.value.exit_code == 5 and isinstance(caught.value, StateError)


def test_the_last_checkpoint_survives_one_that_has_no_room(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "x" * 16)
    checkpoints.save(lambda: Checkpoint({"model": {"w": torch.ones(10)}}, {"next_epoch": 3}), force=True)
    with most_bytes(50_000), pytest.raises(DiskFullError):
        checkpoints.save(lambda: Checkpoint({"model": {"w": torch.ones(10**5)}}, {"next_epoch": 4}), force=True)
    kept = checkpoints.newest()
    assert kept is not None and kept.state["next_epoch"] == 3
    assert [path.name for path in checkpoints.folder.iterdir()] == ["newest"]


def test_mapped_files_have_their_place_before_they_are_written_as_else_the_process_would_die(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    os.truncate(path, 10**6)
    assert path.stat().st_blocks * 512 < 10**6
    reserve(path)
    assert path.stat().st_blocks * 512 >= 10**6 and path.read_bytes() == bytes(10**6)
    with most_bytes(50_000), pytest.raises(DiskFullError):
        FeatureCache(tmp_path / "cache").fill("key", [torch.zeros(100, 1000)], (100, 1000), torch.float32)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_full_disk_is_known_by_number_by_words_and_behind_other_errors() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert means_full(full) and not means_full(OSError(errno.EACCES, "no")) and not means_full(ValueError("x"))
    assert means_full(sqlite3.OperationalError("database or disk is full"))
    assert means_full(OSError("80000 requested and 512 written"))
    try:
        try:
            raise full
        except OSError as error:
            raise RuntimeError("DVC failed") from error
    except RuntimeError as error:
        assert means_full(error)
        told = as_told(error, "stage fetch@source")
    assert isinstance(told, DiskFullError) and told.exit_code == 5 and "stage fetch@source" in told.where


def test_the_place_that_is_told_need_not_be_there_yet(tmp_path: Path) -> None:
    began = time.monotonic()
    told = disk_full(tmp_path / "not" / "there", OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert "Disk quota exceeded" in told.what and "MB are free" in told.expected
    assert time.monotonic() - began < 1
