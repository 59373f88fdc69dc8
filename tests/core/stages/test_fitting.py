"""With few labels a training lasts as many epochs as give it enough steps; its key says what decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graftwork.job import Job, Trained
from graftwork.stages import Context, finetune, trials
from graftwork.stages.fitting import with_steps
from graftwork.training import train
from tests.core.tiny import training
from tests.core.tiny_workspace import run, tiny_settings, workspace


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    found = workspace(tmp_path_factory.mktemp("fitting"), tiny_settings())
    run(found, ("transfer", "freeze"))
    return found


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


def test_every_training_has_its_own_threads_whatever_another_stage_has_set_in_between(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, before = [], torch.get_num_threads()

    def seen(job: Job) -> Trained:
        found.append(torch.get_num_threads())
        return train(job)

    def after_another_stage(work: Callable[[], Any]) -> Any:
        torch.set_num_threads(2)
        return work()

    for stage in (finetune, trials):
        monkeypatch.setattr(stage, "train", seen)
    try:
        run(replace(context, compute=after_another_stage), ("finetune", "freeze"), ("cells", "source-scratch"))
    finally:
        torch.set_num_threads(before)
    assert found == [context.choice("target").threads] * 6 == [1] * 6


@pytest.mark.parametrize(("augmentation", "views"), [(("flip",), 2), (("flip",), 0), ((), 2)])
def test_the_seed_that_kept_views_are_drawn_from_is_in_the_key_where_there_are_such_views(
    context: Context, augmentation: tuple[str, ...], views: int
) -> None:
    def key(seed: int) -> str:
        settings = tiny_settings(seed=seed, target={"augmentation": augmentation})
        fitting = finetune.load_fitting(replace(context, settings=settings), "freeze")
        return replace(fitting, training=training(cached_views=views)).key

    assert (key(0) != key(1)) == bool(augmentation and views)
