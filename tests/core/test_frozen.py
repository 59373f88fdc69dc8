"""What stands still runs once: the same weights as by the whole model at every step, kept for whoever comes next."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from graftwork import checkpoints
from graftwork.engine import Machine, Normalise
from graftwork.errors import Interrupted
from graftwork.feature_cache import FeatureCache
from graftwork.features import extract, extract_kept
from graftwork.hookspecs import hookimpl
from graftwork.inputs import CachedInputs, Feed, LiveInputs
from graftwork.job import Job, Trained
from graftwork.models import build_model, head_tensors
from graftwork.prefix import HEAD, Prefix, frozen_prefix
from graftwork.progress import Quiet
from graftwork.settings import Use
from graftwork.source import Source
from graftwork.strategy import Step, Strategy, TargetModel
from graftwork.training import train
from graftwork.views import Reuse, Views
from graftwork_plugins.augmentations import Flip, Shift
from graftwork_plugins.strategies.bss import BSS
from graftwork_plugins.strategies.delta import Delta
from graftwork_plugins.strategies.feature_extract import FeatureExtract
from graftwork_plugins.strategies.freeze import Freeze
from graftwork_plugins.strategies.gradual_unfreeze import GradualUnfreeze
from graftwork_plugins.strategies.l2_sp import L2SP
from graftwork_plugins.strategies.lora import LoRA
from graftwork_plugins.strategies.lp_ft import LPFT
from graftwork_plugins.strategies.lwf import LwF
from graftwork_plugins.strategies.norm_tune import NormTune
from graftwork_plugins.strategies.stochnorm import StochNorm
from tests.core import tiny
from tests.core.progresses import Stopping
from tests.core.small import CONTRACT, REGISTRY, SETTINGS, data

NETS = {"resnet": ("timm", {}), "vit": ("timm", {"name": "test_vit"}), "mlp": ("mlp", {"hidden": [16, 8]})}
AUGMENTATION = (Flip(), Shift(1))


def net(name: str, seed: int = 0) -> nn.Module:
    plugin, settings = NETS[name]
    use = Use.model_validate({plugin: settings})
    return build_model(SETTINGS.model_copy(update={"model": use}), REGISTRY, 2, seed)


def job(folder: Path, name: str, *plugins: object, seed: int = 0, kept: Path | None = None, **changes: object) -> Job:
    """Return a training of a net whose trunk is the same for every seed; `kept` is where activations go."""
    strategy, model = Strategy("test", plugins), net(name, seed)
    trunk = {n: t for n, t in net(name, 9).state_dict().items() if n not in head_tensors(model)}
    model.load_state_dict({**model.state_dict(), **trunk})
    target = TargetModel(model, head_tensors(model), frozenset(trunk))
    strategy.prepare_model(target)
    reuse = Reuse(FeatureCache(kept), "model", "augmentation", seed=7) if kept else None
    usual = {"target": target, "strategy": strategy, "train": data(24, 1), "validation": data(10, 2), "reuse": reuse}
    settings = SETTINGS.finetune.model_copy(update={"epochs": 3, "batch_size": 8, "optimizer": "sgd"})
    settings = settings.model_copy(
        update={k: changes.pop(k) for k in list(changes) if k in type(settings).model_fields}
    )
    usual |= {"normalise": Normalise(CONTRACT, tiny.MACHINE), "training": settings, "seed": seed}
    return tiny.job(folder, **usual | changes)


def close(one: Trained, other: Trained) -> bool:
    assert one.history == [pytest.approx(row, abs=1e-3) for row in other.history]
    return all(torch.allclose(one.tensors[n].float(), t.float(), atol=1e-3) for n, t in other.tensors.items())


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


@pytest.mark.parametrize(
    ("name", "stack", "kept"),
    [
        ("resnet", [Freeze()], 2),
        ("vit", [Freeze()], 2),
        ("mlp", [Freeze()], 2),
        ("resnet", [Freeze(until=3)], 2),
        ("vit", [Freeze(until=4)], 2),
        ("resnet", [Freeze(), BSS()], 2),
        ("resnet", [Freeze(until=3), L2SP()], 2),
        ("resnet", [LPFT()], 2),
        ("mlp", [GradualUnfreeze()], 2),  # in the first phase only the head trains
        ("vit", [LoRA()], 0),
        ("resnet", [NormTune()], 0),
        ("resnet", [Freeze(batch_norm="update")], 0),
        ("resnet", [], 0),
        ("resnet", [StochNorm(), Freeze(until=2, batch_norm="update")], 0),
    ],
)
def test_without_augmentation_the_weights_are_those_of_the_loop(
    name: str, stack: list[object], kept: int, tmp_path: Path
) -> None:
    once = train(job(tmp_path / "once", name, *stack, kept=tmp_path / "kept"))
    assert len(entries(tmp_path / "kept")) == kept  # of training and validation images, for each part
    assert close(once, train(job(tmp_path / "loop", name, *stack)))


def prefix_of(made: Job) -> Prefix | None:
    made.target.model.train()
    made.strategy.epoch_started(made.target, 0, torch.optim.SGD([torch.zeros(1)]))
    return frozen_prefix(made.target.model, made.normalise(made.train.batch(torch.arange(4))), made.machine)


@pytest.mark.parametrize(
    ("name", "until", "boundary"),
    [("resnet", "head", HEAD), ("resnet", 3, "layer2"), ("resnet", 1, "act1"), ("vit", "head", HEAD),
     ("vit", 4, "blocks.2"), ("mlp", "head", HEAD), ("mlp", 1, None)],
)  # fmt: skip
def test_the_cut_lies_behind_all_that_stands_still(
    name: str, until: str | int, boundary: str | None, tmp_path: Path
) -> None:
    found = prefix_of(job(tmp_path, name, Freeze(until=until)))
    assert (found.boundary if found else None) == boundary


def test_the_search_for_a_cut_leaves_model_and_generator_alone(tmp_path: Path) -> None:
    made = job(tmp_path, "resnet", Freeze(until=3))
    before, state = tiny.copied(made.target.model), torch.get_rng_state()
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in made.target.model.modules()]
    assert prefix_of(made) is not None
    assert tiny.different(before, tiny.copied(made.target.model)) == []
    assert torch.equal(state, torch.get_rng_state())
    after = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in made.target.model.modules()]
    assert hooks == after and all("forward" not in vars(module) for module in made.target.model.modules())


class Doubling(nn.Module):
    """Answers with twice what its classifier says: cutting before the classifier would lose the doubling."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), nn.Linear(4, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = 2 * self.head(self.trunk(images))
        return logits

    def get_classifier(self) -> nn.Module:
        return self.head


class Dropping(Doubling):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.dropout(self.trunk(images), 0.01, self.training))
        return logits


@pytest.mark.parametrize("kind", [Doubling, Dropping])
def test_a_model_that_a_cut_would_change_is_not_cut(kind: type[nn.Module]) -> None:
    model = kind()
    model.trunk.requires_grad_(False)  # type: ignore[operator, union-attr]
    assert frozen_prefix(model, torch.randn(4, 1, 8, 8), tiny.MACHINE) is None
    assert not model.head.weight.any()  # type: ignore[union-attr, operator]


@dataclass(frozen=True)
class Looks:
    """Sees steps, and says nothing of images."""

    @hookimpl
    def step_ended(self, step: Step) -> None:
        assert step.images.ndim == 4


@dataclass(frozen=True)
class LooksAway(Looks):
    reads_images: ClassVar[bool] = False

    @hookimpl
    def step_ended(self, step: Step) -> None:
        assert step.images.ndim == 2 and step.logits.requires_grad


def test_a_plugin_that_sees_steps_is_shown_images_unless_it_declares_otherwise(tmp_path: Path) -> None:
    train(job(tmp_path / "1", "mlp", Freeze(), Looks(), kept=tmp_path / "kept"))
    assert entries(tmp_path / "kept") == []
    train(job(tmp_path / "2", "mlp", Freeze(), LooksAway(), kept=tmp_path / "kept"))
    assert len(entries(tmp_path / "kept")) == 2


def test_seeds_and_strategies_share_what_is_kept_and_views_are_as_many_as_set(tmp_path: Path) -> None:
    kept, shared = tmp_path / "kept", {"augmentation": AUGMENTATION, "cached_views": 2}
    train(job(tmp_path / "1", "resnet", Freeze(), kept=kept, **shared))
    first = {path: (path / "activations.npy").stat().st_mtime_ns for path in entries(kept)}
    assert len(first) == 3  # two views and the validation images
    train(job(tmp_path / "2", "resnet", Freeze(), seed=1, kept=kept, **shared))
    train(job(tmp_path / "3", "resnet", Freeze(), BSS(), kept=kept, **shared))
    assert {path: (path / "activations.npy").stat().st_mtime_ns for path in entries(kept)} == first


def test_trainings_on_other_images_share_what_is_kept_of_the_validation_images(tmp_path: Path) -> None:
    for count in (24, 16):  # as the label budgets of a sweep
        train(job(tmp_path / str(count), "resnet", Freeze(), kept=tmp_path / "kept", train=data(count, count)))
    assert len(entries(tmp_path / "kept")) == 3


def test_views_of_zero_run_the_whole_model(tmp_path: Path) -> None:
    train(job(tmp_path, "mlp", Freeze(), kept=tmp_path / "kept", cached_views=0))
    assert entries(tmp_path / "kept") == []


def test_a_view_is_augmented_differs_from_the_others_and_repeats(tmp_path: Path) -> None:
    made = job(tmp_path, "resnet", Freeze(), kept=tmp_path / "kept", augmentation=AUGMENTATION, cached_views=2)
    made.target.model.train()
    made.strategy.epoch_started(made.target, 0, torch.optim.SGD([torch.zeros(1)]))
    feed = Feed(made)
    views = [feed.inputs(epoch, made.target.model) for epoch in range(3)]
    first, second, third = (view.train.stored for view in views if isinstance(view, CachedInputs))
    assert torch.equal(first, third) and not torch.allclose(first, second)
    made.target.model.get_submodule("layer4").requires_grad_(True)
    assert isinstance(feed.inputs(3, made.target.model), CachedInputs)  # up to the stage before it
    made.target.model.requires_grad_(True)
    assert isinstance(feed.inputs(4, made.target.model), LiveInputs)


def test_the_name_of_an_entry_changes_with_all_that_decides_it(tmp_path: Path) -> None:
    made = job(tmp_path, "resnet", Freeze(), kept=tmp_path / "kept", augmentation=AUGMENTATION)
    prefix, model = prefix_of(made), made.target.model
    assert prefix is not None and made.reuse is not None

    def key(found: Prefix | None = prefix, view: int | None = 0, **changes: object) -> str:
        assert found is not None
        machine, images = changes.pop("machine", tiny.MACHINE), changes.pop("images", made.train)
        assert isinstance(machine, Machine) and made.reuse is not None
        reuse = replace(made.reuse, **changes)  # type: ignore[arg-type]
        return Views(reuse, AUGMENTATION, made.normalise, machine, Quiet()).key(found, images, view)  # type: ignore[arg-type]

    keys = [key(), key(view=1), key(view=None), key(images=data(24, 5)), key(key="other"), key(augmentation="other")]
    keys += [key(seed=8), key(machine=replace(tiny.MACHINE, autocast=True))]
    with torch.no_grad():
        model.get_parameter("layer1.0.conv1.weight")[0, 0] += 1e-3
    keys.append(key(prefix_of(made)))
    model.get_submodule("layer2").register_forward_hook(lambda _m, _i, output: output * 2)  # no tensor tells of it
    keys.append(key(prefix_of(made)))
    assert len(set(keys)) == len(keys)
    assert key(view=None) == key(view=None, seed=8, augmentation="other")  # nothing is drawn
    head = model.get_classifier()  # type: ignore[operator]
    nn.init.zeros_(head.weight)
    assert key(prefix_of(made)) == keys[-1]


def test_features_that_a_strategy_asks_for_are_those_that_are_kept(tmp_path: Path) -> None:
    made = job(tmp_path, "resnet", FeatureExtract(), kept=tmp_path / "kept")
    model, before = made.target.model, tiny.copied(made.target.model)
    wanted = extract(model, made.train, made.normalise, made.machine)
    assert torch.equal(made.run.features(model, made.train), wanted.features)
    assert len(entries(tmp_path / "kept")) == 1 and made.run.views is not None
    rows = torch.tensor([5, 0, 23])
    again = extract_kept(model, made.train, rows, made.run.views)
    assert again is not None and torch.equal(again.features, wanted.features[rows])
    assert torch.allclose(again.probabilities, wanted.probabilities[rows], atol=1e-6)
    assert extract_kept(model, data(24, 9), rows, made.run.views) is None
    assert tiny.different(before, tiny.copied(model)) == [] and model.training
    assert {name for name, p in model.named_parameters() if p.requires_grad} == made.target.head


def test_a_teacher_answers_once_where_images_stay_as_they_are(tmp_path: Path) -> None:
    calls: list[int] = []

    def learner(folder: str, **changes: object) -> Job:
        strategy, model = Strategy("test", [LwF()]), net("resnet")
        source = Source(("a", "b"), lambda: net("resnet", 9))
        target = TargetModel(model, head_tensors(model), frozenset(), source)
        strategy.prepare_model(target)
        target.notes["LwF"].register_forward_hook(lambda _m, images, _o: calls.append(len(images[0])))
        return job(tmp_path / folder, "resnet", **{"strategy": strategy, "target": target, **changes})  # type: ignore[arg-type]

    live = train(learner("live"))
    asked = len(calls)
    once = train(learner("once", kept=tmp_path / "kept"))
    assert asked == 9 and not {8} & set(calls[asked:])  # no whole batch
    assert close(once, live) and len(entries(tmp_path / "kept")) == 1
    calls.clear()
    train(learner("augmented", kept=tmp_path / "kept", augmentation=AUGMENTATION))
    assert calls == [8] * 9


@pytest.mark.parametrize("net_name", ["resnet", "vit"])
def test_the_source_s_side_of_delta_is_computed_once_where_images_stay_as_they_are(
    net_name: str, tmp_path: Path
) -> None:
    calls: list[int] = []

    def pulled(folder: str, **changes: object) -> Job:
        made = job(tmp_path / folder, net_name, Delta(), lr=0.01, **changes)  # type: ignore[arg-type]
        made.target.notes["Delta"].model.register_forward_hook(lambda _m, images, _o: calls.append(len(images[0])))
        return made

    live = train(pulled("live"))
    asked = len(calls)
    once = train(pulled("once", kept=tmp_path / "kept"))
    assert asked == 9 and calls[asked:] == [4, 24]  # a look at the shapes, then all images
    assert close(once, live)
    calls.clear()
    train(pulled("augmented", kept=tmp_path / "kept", augmentation=AUGMENTATION))
    assert calls == [8] * 9


def test_seeds_share_the_source_s_side_of_delta(tmp_path: Path) -> None:
    for seed in (0, 1):
        train(job(tmp_path / str(seed), "resnet", Delta(), seed=seed, kept=tmp_path / "kept", epochs=1))
    assert len(entries(tmp_path / "kept")) == 1


@pytest.mark.parametrize("damage", ["bytes", "cut", "entry", "gone"])
def test_a_damaged_entry_is_computed_anew(damage: str, tmp_path: Path) -> None:
    whole = train(job(tmp_path / "1", "mlp", Freeze(), kept=tmp_path / "kept"))
    for path in entries(tmp_path / "kept"):
        file = path / ("entry.json" if damage in ("entry", "gone") else "activations.npy")
        content = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(content[:-1] if damage != "bytes" else content[:-1] + bytes([content[-1] ^ 1]))
    again = train(job(tmp_path / "2", "mlp", Freeze(), kept=tmp_path / "kept"))
    assert tiny.different(whole.tensors, again.tensors) == []
    cache = FeatureCache(tmp_path / "kept")
    assert all(cache.find(path.name) is not None for path in entries(tmp_path / "kept"))


@pytest.mark.parametrize("stop_at", [2, 7])
def test_an_interrupted_training_on_activations_ends_with_the_same_bits(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr("graftwork.views.at_once", lambda _: 10)  # the first stop comes while activations are computed

    def mine(folder: str, **changes: object) -> Job:
        stack = (Freeze(until=3),)
        return job(
            tmp_path / folder, "resnet", *stack, kept=tmp_path / f"{folder} kept", augmentation=AUGMENTATION, **changes
        )

    whole = train(mine("whole"))
    with pytest.raises(Interrupted):
        train(mine("parts", progress=Stopping(stop_at)))
    assert all((path / "entry.json").exists() for path in entries(tmp_path / "parts kept"))
    resumed = train(mine("parts"))
    assert tiny.different(whole.tensors, resumed.tensors) == [] and whole.history == resumed.history


def test_what_needs_too_much_room_runs_live_and_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graftwork.feature_cache.MOST_OF_ONE", 0)
    said: list[str] = []

    class Telling(Quiet):
        def log(self, message: str) -> None:
            said.append(message)

    live = train(job(tmp_path / "1", "mlp", Freeze(), kept=tmp_path / "kept", progress=Telling()))
    assert ["too much" in text for text in said] == [True] and entries(tmp_path / "kept") == []
    assert tiny.different(live.tensors, train(job(tmp_path / "2", "mlp", Freeze())).tensors) == []


@pytest.mark.parametrize("room", [2 * 24 + 10, 2 * 24 + 9])  # two views and the validation images; one image less
def test_whether_activations_are_kept_is_decided_for_all_epochs_together_by_size_alone(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graftwork.feature_cache.MOST_OF_ONE", room * 8 * 4)  # of eight features each
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    train(job(tmp_path, "mlp", Freeze(), kept=tmp_path / "kept", augmentation=AUGMENTATION, cached_views=2))
    assert len(entries(tmp_path / "kept")) == (3 if room == 2 * 24 + 10 else 0)


def test_what_was_used_longest_ago_makes_room_and_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graftwork.feature_cache.MOST_BYTES", 10_000)
    cache, values = FeatureCache(tmp_path), torch.ones(2, 500)
    for place, name in enumerate(("first", "second", "third")):
        assert cache.fill(name, [values], (2, 500), torch.float32) is not None
        os.utime(tmp_path / name / "entry.json", (time.time() - 100 + place,) * 2)
    assert [path.name for path in entries(tmp_path)] == ["second", "third"]
    assert cache.find("first") is None and cache.find("third") is not None


def test_entries_that_were_not_used_for_long_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(job(tmp_path / "1", "mlp", Freeze(), kept=tmp_path / "kept"))
    monkeypatch.setattr("graftwork.feature_cache.KEPT_SECONDS", -1.0)
    cache = FeatureCache(tmp_path / "kept")
    assert cache.fill("new", [torch.ones(2, 3)], (2, 3), torch.float32) is not None
    assert [path.name for path in entries(tmp_path / "kept")] == ["new"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_activations_come_back_as_they_were(dtype: torch.dtype, order: torch.memory_format, tmp_path: Path) -> None:
    maps = torch.randn(6, 3, 4, 5).to(dtype).contiguous(memory_format=order)
    kept = FeatureCache(tmp_path).fill("maps", maps.split(4), maps.shape, dtype)
    assert kept is not None
    for chosen in (torch.tensor([4, 0, 5]), slice(1, 6)):
        back = kept.batch(chosen, torch.device("cpu"))
        assert torch.equal(back, maps[chosen]) and back.is_contiguous(memory_format=order)
    kept.batch(slice(0, 6), torch.device("cpu")).zero_()
    assert torch.equal(kept.batch(slice(0, 6), torch.device("cpu")), maps)


def test_bfloat16_and_channels_last_train_on_activations(tmp_path: Path) -> None:
    machine = Machine(torch.device("cpu"), autocast=True, memory_format=torch.channels_last)
    changes = {"machine": machine, "normalise": Normalise(CONTRACT, machine), "kept": tmp_path / "kept", "epochs": 1}
    trained = train(job(tmp_path / "1", "resnet", Freeze(until=3), **changes))  # type: ignore[arg-type]
    assert len(entries(tmp_path / "kept")) == 2 and all(t.isfinite().all() for t in trained.tensors.values())
