"""What strategies do over time: phases, rates, adapters, and what they make of the weights in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graftwork.anatomy import depths
from graftwork.class_weights import class_weights
from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.labelled_arrays import LabelledArrays
from graftwork.linear_heads import class_mean_head, logistic_head
from graftwork.models import head_tensors
from graftwork.source import SourceModel
from graftwork.strategy import Strategy, TargetModel
from graftwork.testing import NETS, Case, build_net, different, noise
from graftwork.training import train
from graftwork_plugins.strategies import auto_rgn
from graftwork_plugins.strategies.auto_rgn import AutoRGN
from graftwork_plugins.strategies.feature_extract import FeatureExtract
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.gradual_unfreeze import GradualUnfreeze
from graftwork_plugins.strategies.joint import Joint
from graftwork_plugins.strategies.layer_decay import LayerDecay
from graftwork_plugins.strategies.lora import LoRA
from graftwork_plugins.strategies.lp_ft import LPFT, probe_then_tune
from graftwork_plugins.strategies.soup import Soup, average
from graftwork_plugins.strategies.stochnorm import StochNorm
from graftwork_plugins.strategies.wise_ft import WiSEFT, interpolate

COPY = FullCopy()


class Looking:
    """Remember the trainable names and the weights at the start of every epoch, and what came out."""

    def __init__(self) -> None:
        self.trainable: list[set[str]] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        self.finished: dict[str, dict[str, torch.Tensor]] = {}

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        self.trainable.append(set(target.trainable()))
        self.weights.append({name: tensor.clone() for name, tensor in target.model.state_dict().items()})

    @hookimpl
    def training_ended(self, outcome: object) -> None:
        self.finished = dict(outcome.finished)  # type: ignore[attr-defined]


@pytest.mark.parametrize("net", NETS)
def test_gradual_unfreezing_thaws_from_the_head_down(net: str) -> None:
    looking = Looking()
    Case((COPY, GradualUnfreeze(), looking), net, epochs=10).train()
    model = build_net(net, ("a", "b"), seed=0)
    assert looking.trainable[0] == head_tensors(model)
    for before, after in zip(looking.trainable, looking.trainable[1:], strict=False):
        assert before <= after
    assert looking.trainable[-1] == {name for name, _ in model.named_parameters()}


def test_too_few_epochs_to_thaw_everything_are_refused() -> None:
    with pytest.raises(SettingsError, match="needs 6 epochs to thaw 6 parts, and there are 3"):
        Case((COPY, GradualUnfreeze()), "test_resnet", epochs=3).train()


def test_what_is_not_thawed_yet_does_not_move() -> None:
    looking = Looking()
    Case((COPY, GradualUnfreeze(every_epochs=2), looking), "test_resnet", epochs=12).train()
    moved = different(looking.weights[0], looking.weights[2])
    assert set(moved) == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("net", NETS)
def test_lp_ft_tunes_from_the_best_probe_on_the_sources_trunk(net: str) -> None:
    looking = Looking()
    Case((COPY, LPFT(), looking), net, epochs=6).train()
    probe, head = looking.finished["linear probe"], looking.trainable[0]
    assert different(looking.weights[3], probe) == []
    assert set(different(looking.weights[0], probe)) == head == head_tensors(build_net(net, ("a", "b"), seed=0))
    assert len(looking.trainable[3]) > len(head)


@pytest.mark.parametrize(("epochs", "expected"), [(1, [1, 1]), (2, [1, 1]), (10, [5, 5]), (3, [2, 1])])
def test_probe_and_tuning_share_the_epochs(epochs: int, expected: list[int]) -> None:
    assert [phase.epochs for phase in probe_then_tune(frozenset(), epochs, 0.5)] == expected


@pytest.mark.parametrize("net", NETS)
def test_layer_decay_scales_by_the_distance_from_the_head(net: str) -> None:
    model = build_net(net, ("a", "b"), seed=0)
    options = LayerDecay(0.5).parameter_options(TargetModel(model, head_tensors(model), frozenset()))
    depth = depths(model)
    deepest = max(depth.values())
    assert all(options[name].lr_scale == 0.5 ** (deepest - place) for name, place in depth.items())
    assert {options[name].lr_scale for name in head_tensors(model)} == {1.0}
    assert {depth[name] for name in head_tensors(model)} == {deepest}


@pytest.mark.parametrize(("net", "stages"), [("test_resnet", 6), ("test_vit", 8)])
def test_depth_grows_from_the_image_to_the_head(net: str, stages: int) -> None:
    places = list(depths(build_net(net, ("a", "b"), seed=0)).values())
    assert set(places) == set(range(stages))
    assert places == sorted(places)


def test_equal_relative_gradients_are_a_full_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Case((COPY,), "test_resnet", epochs=2).train()
    monkeypatch.setattr(auto_rgn, "_relative", lambda parameters, gradients: torch.ones(len(list(parameters))))
    assert different(Case((COPY, AutoRGN()), "test_resnet", epochs=2).train().tensors, plain.tensors) == []


def test_the_largest_relative_gradient_has_the_whole_rate(tmp_path: Path) -> None:
    rates: list[list[float]] = []

    class Rates:
        @hookimpl
        def step_ended(self, optimizer: torch.optim.Optimizer) -> None:
            rates.append(sorted(group["lr"] for group in optimizer.param_groups))

    train(Case((COPY, AutoRGN(), Rates()), "test_resnet", epochs=3).job(tmp_path))
    plain: list[list[float]] = []

    class Plain:
        @hookimpl
        def step_ended(self, optimizer: torch.optim.Optimizer) -> None:
            plain.append([group["lr"] for group in optimizer.param_groups])

    Case((COPY, Plain()), "test_resnet", epochs=3).train()
    for scaled, whole in zip(rates, plain, strict=True):
        assert scaled[-1] == pytest.approx(whole[0])
        assert scaled[0] < scaled[-1]


@pytest.mark.parametrize("net", NETS)
def test_adapters_answer_as_the_base_at_the_start_and_as_merged_in_the_end(net: str, tmp_path: Path) -> None:
    images = torch.rand(4, 1, 32, 32)
    base, _, _ = Case((COPY,), net, epochs=2).target()
    job = Case((COPY, LoRA(rank=2)), net, epochs=2).job(tmp_path)
    job.strategy.training_started(job.run)
    base.model.eval(), job.target.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(job.target.model(images), base.model(images), rtol=0, atol=1e-6)
    trained = train(job)
    merged = build_net(net, ("x", "y", "z"), seed=0)
    merged.load_state_dict(trained.tensors)
    with torch.no_grad():
        torch.testing.assert_close(merged.eval()(images), job.target.model.eval()(images), rtol=1e-5, atol=1e-5)
    moved = set(different(trained.tensors, base.model.state_dict()))
    assert {name.rpartition(".")[2] for name in moved - head_tensors(merged)} == {"weight"}
    assert moved > head_tensors(merged)


def test_stochastic_normalisation_mixes_channel_by_channel() -> None:
    model = build_net("test_resnet", ("a", "b"), seed=0)
    norm, plain = model.get_submodule("bn1"), build_net("test_resnet", ("a", "b"), seed=0).get_submodule("bn1")
    maps = torch.randn(8, norm.num_features, 5, 5)  # type: ignore[arg-type]
    by_running, by_batch = plain.eval()(maps), plain.train()(maps)
    Strategy("tiny", [StochNorm(0.5)]).prepare_model(TargetModel(model, head_tensors(model), frozenset()))
    mixed = norm.train()(maps)
    from_running = [torch.equal(mixed[:, c], by_running[:, c]) for c in range(mixed.shape[1])]
    from_batch = [torch.equal(mixed[:, c], by_batch[:, c]) for c in range(mixed.shape[1])]
    assert all(a != b for a, b in zip(from_running, from_batch, strict=True))
    assert any(from_running) and any(from_batch)
    assert torch.equal(norm.running_mean, plain.running_mean)  # type: ignore[arg-type]
    assert torch.equal(norm.eval()(maps), plain.eval()(maps))


def test_stochastic_normalisation_says_that_a_transformer_has_nothing_for_it() -> None:
    with pytest.raises(SettingsError, match="needs batch normalisation, and the model has none"):
        Case((COPY, StochNorm()), "test_vit", epochs=2).target()


def test_interpolation_gives_the_end_points_to_the_bit_and_spares_integers() -> None:
    zero, one = ({"w": torch.randn(5), "n": torch.tensor(n)} for n in (3, 4))
    assert different(interpolate(zero, one, 0.0), zero) == [] and different(interpolate(zero, one, 1.0), one) == []
    half = interpolate(zero, one, 0.5)
    torch.testing.assert_close(half["w"], (zero["w"] + one["w"]) / 2)
    assert int(half["n"]) == 4


def test_wise_ft_is_never_worse_on_validation_than_its_ends() -> None:
    looking = Looking()
    case = Case((COPY, looking, WiSEFT(points=5)), "test_resnet", epochs=6)
    trained = case.train()
    run = case.job(Path()).run
    ends = [run.validation_accuracy(looking.finished[name]) for name in ("linear probe", "fine-tuning")]
    assert trained.validation_accuracy >= max(ends) - 1e-9
    assert 0 <= trained.notes["alpha"] <= 1


def test_a_soup_of_one_is_itself_and_one_of_more_is_their_mean() -> None:
    parts = [{"w": torch.randn(5), "n": torch.tensor(n)} for n in (3, 4)]
    assert different(average(parts[:1]), parts[0]) == []
    torch.testing.assert_close(average(parts)["w"], (parts[0]["w"] + parts[1]["w"]) / 2)
    alone = Case((COPY, Soup(1)), "test_resnet", epochs=2).train()
    assert different(alone.tensors, Case((COPY,), "test_resnet", epochs=2).train().tensors) == []


def test_a_soups_ingredients_begin_at_the_same_weights_and_see_other_batches() -> None:
    looking = Looking()
    Case((COPY, Soup(2), looking), "test_resnet", epochs=2).train()
    assert different(looking.weights[0], looking.weights[2]) == []
    assert different(looking.finished["ingredient 1"], looking.finished["ingredient 2"]) != []


def uneven(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (60, 7), apart by class, and labels of which the first class has most."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), np.where(rng.random(60 - classes) < 0.8, 0, rng.integers(0, classes))])
    return torch.from_numpy(rng.normal(size=(60, 7)) * 3 + labels[:, None]), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_logistic_head_is_scikit_learns(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = rng.normal(size=(60, 7)) * 3 + labels[:, None]
    weight, bias = logistic_head(torch.from_numpy(features), torch.from_numpy(labels), classes)
    found = (torch.from_numpy(features) @ weight.T + bias).softmax(dim=1).numpy()
    scaled = StandardScaler().fit_transform(features)
    theirs = LogisticRegression(max_iter=1000).fit(scaled, labels).predict_proba(scaled)
    np.testing.assert_allclose(found, theirs, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_weighted_logistic_head_is_scikit_learns_with_balanced_classes(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = uneven(classes)
    weight, bias = logistic_head(features, labels, classes, class_weights=class_weights("balanced", labels))
    found = (features @ weight.T + bias).softmax(dim=1).numpy()
    scaled = StandardScaler().fit_transform(features.numpy())
    theirs = LogisticRegression(max_iter=1000, class_weight="balanced").fit(scaled, labels.numpy())
    np.testing.assert_allclose(found, theirs.predict_proba(scaled), atol=1e-5)


@pytest.mark.parametrize("head", [logistic_head, class_mean_head])
def test_equal_class_weights_change_no_head(head: Any) -> None:
    features, labels = uneven(3)
    for plain, weighted in zip(
        head(features, labels, 3), head(features, labels, 3, class_weights=torch.ones(3)), strict=True
    ):
        assert torch.equal(plain, weighted)


def test_class_weights_change_how_sure_a_class_mean_head_is_and_not_which_mean_is_nearest() -> None:
    features, labels = uneven(3)
    plain, _ = class_mean_head(features, labels, 3)
    weight, _ = class_mean_head(features, labels, 3, torch.tensor([1.0, 0.0, 0.0]))
    ratio = weight / plain
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))
    assert float(ratio[0, 0]) != pytest.approx(1, rel=1e-3)
    torch.testing.assert_close(class_mean_head(features, labels, 3, torch.tensor([3.0, 0.0, 0.0]))[0], weight)


@pytest.mark.parametrize("balanced", [{"class_weights": "balanced"}, {"sampling": "balanced"}, {}])
@pytest.mark.parametrize("stack", [(COPY, FeatureExtract()), (FullCopy(head="linear_probe"),)])
def test_a_head_fitted_at_one_stroke_is_balanced_as_the_settings_say(
    stack: tuple[object, ...], balanced: dict[str, Any], tmp_path: Path
) -> None:
    case = Case(stack, "test_resnet", epochs=2)
    usual = case.job(tmp_path)
    few = LabelledArrays(usual.train.images, torch.tensor([0] * 12 + [1, 1, 2, 2]))  # type: ignore[attr-defined]
    job = replace(usual, train=few, training=usual.training.model_copy(update=balanced))
    features = job.run.features(job.target.model, job.run.train)
    weights = class_weights("balanced", few.labels) if balanced else None
    expected, _ = logistic_head(features, few.labels, 3, class_weights=weights)
    if len(stack) == 2:
        train(job)
    else:
        job.strategy.training_started(job.run)
    assert torch.equal(job.target.classifier().weight.detach(), expected)


def test_the_class_mean_head_answers_with_the_nearest_mean() -> None:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(40) % 4
    weight, bias = class_mean_head(features, labels, 4)
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(4)])
    assert torch.equal((features @ weight.T + bias).argmax(dim=1), torch.cdist(features, means).argmin(dim=1))


@pytest.mark.parametrize("copies", [1, 50])
def test_the_class_mean_head_is_as_sure_as_it_may_be_however_often_a_feature_is_repeated(copies: int) -> None:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    features = (torch.randn(400, 6, generator=draws, dtype=torch.float64) + labels[:, None]).repeat(1, copies)
    weight, bias = class_mean_head(features, labels, 4)
    answers = (features @ weight.T + bias).softmax(dim=1)
    sureness, right = answers.max(dim=1).values.mean(), (answers.argmax(dim=1) == labels).double().mean()
    assert abs(sureness - right) < 0.08


@pytest.mark.parametrize("net", NETS)
def test_feature_extraction_is_scikit_learn_on_the_sources_features(net: str, tmp_path: Path) -> None:
    case = Case((COPY, FeatureExtract()), net, epochs=2)
    job = case.job(tmp_path)
    features = job.run.features(job.target.model, job.run.train)
    trained = train(job)
    weight, bias = logistic_head(features, job.train.labels, 3)
    last = job.target.classifier()
    torch.testing.assert_close(last.weight.detach(), weight)
    torch.testing.assert_close(last.bias.detach(), bias)
    assert trained.history[0]["epoch"] == 0 and trained.validation_accuracy > 0.5


@pytest.mark.parametrize("net", NETS)
def test_rows_of_the_head_come_over_by_class_name(net: str) -> None:
    origin = build_net(net, ("cat", "dog", "emu"), seed=3)
    offered = SourceModel(origin.state_dict(), head_tensors(origin), ("cat", "dog", "emu"))
    copy = FullCopy(head="by_name", synonyms={"hound": "dog"})
    chosen = copy.choose_weights(offered, ("yak", "hound", "Cat"))
    weight = next(name for name in head_tensors(origin) if name.endswith("weight"))
    assert torch.equal(chosen[weight][1], origin.state_dict()[weight][1])
    assert torch.equal(chosen[weight][2], origin.state_dict()[weight][0])
    assert not chosen[weight][0].any()
    assert not head_tensors(origin) & set(copy.choose_weights(offered, ("gnu", "yak")))


@pytest.mark.parametrize(("head", "check"), [("zero", 0.0), ("trunc_normal", 0.02)])
def test_the_head_begins_as_its_setting_says(head: str, check: float, tmp_path: Path) -> None:
    job = Case((FullCopy(head=head),), "test_resnet", epochs=2).job(tmp_path)  # type: ignore[arg-type]
    job.strategy.training_started(job.run)
    weight = job.target.classifier().weight.detach()
    assert float(weight.std()) == pytest.approx(check, abs=0.003)
    assert float(weight.abs().max()) <= 2 * max(check, 0.5)


def test_a_fitted_head_knows_the_training_images_before_the_first_step(tmp_path: Path) -> None:
    for head in ("class_mean", "linear_probe"):
        job = Case((FullCopy(head=head),), "test_resnet", epochs=2).job(tmp_path)  # type: ignore[arg-type]
        before = job.run.validation_accuracy(job.target.model.state_dict())
        job.strategy.training_started(job.run)
        assert job.run.validation_accuracy(job.target.model.state_dict()) > max(before, 0.5)


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ((COPY, FullCopy(head="zero")), "both decide choose weights|stands there twice"),
        ((COPY, LPFT(), GradualUnfreeze()), "both decide phases"),
        ((COPY, Soup(), WiSEFT()), "exclude each other"),
        ((COPY, LoRA(), WiSEFT()), "exclude each other"),
        ((COPY, LayerDecay(), LayerDecay(0.5)), "stands there twice"),
        ((COPY, FeatureExtract(), LPFT()), "both decide phases"),
    ],
)
def test_what_can_not_stand_in_one_stack_is_refused_before_training(stack: tuple[object, ...], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as raised:
        Strategy("mine", stack).check()
    assert raised.value.where == "params.yaml, key strategies.mine"


def test_lp_ft_decides_the_phases_where_wise_ft_stands_beside_it() -> None:
    Strategy("mine", (COPY, LPFT(0.25), WiSEFT())).check()
    target, strategy, _ = Case((COPY, LPFT(0.25), WiSEFT()), "test_resnet", epochs=8).target()
    assert [phase.epochs for phase in strategy.phases(target, 8)] == [2, 6]


def test_noise_has_classes_that_can_be_told_apart() -> None:
    data = noise(30, 3, seed=0)
    means = [float(data.images[data.labels == label].float().mean()) for label in range(3)]
    assert means[0] + 20 < means[1] < means[2] - 20


@pytest.mark.parametrize("net", NETS)
def test_joint_training_notes_what_it_keeps_of_the_source_and_whether_the_tasks_agree(net: str, tmp_path: Path) -> None:
    trained = train(Case((COPY, Joint(images=24)), net, epochs=2).job(tmp_path))
    assert 0 <= trained.notes["source_accuracy"] <= 1
    assert -1 <= trained.notes["gradient_cosine"] <= 1
    without = train(Case((COPY, Joint(images=24, source_weight=1e-9)), net, epochs=2).job(tmp_path / "other"))
    assert without.notes["source_accuracy"] <= trained.notes["source_accuracy"]
