"""Weights for other images answer as the originals did, where that can be, and say where it can't."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graftwork.adaptation import Adaptation, fit_channels
from graftwork.manifest import Fate, coverage, match
from graftwork.models import head_tensors
from graftwork.settings import Channels, ImageFormat
from graftwork.torchvision_operators import define_missing
from graftwork.weights import InputContract

NETS = ("test_resnet", "test_vit")
DRAWS = torch.Generator().manual_seed(0)
KERNEL = torch.randn(4, 3, 5, 5, generator=DRAWS)


def net(name: str, channels: int, size: int = 32, seed: int = 0, **options: Any) -> nn.Module:
    """Return one of timm's test models in evaluation mode."""
    define_missing()
    import timm

    if timm.get_pretrained_cfg(name).fixed_input_size:
        options["img_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = timm.create_model(name, in_chans=channels, num_classes=3, **options)
    return model.eval()


def contract(channels: int, size: int = 32, alike: bool = True) -> InputContract:
    mean, std = ((0.5,) * channels, (0.25,) * channels) if alike else ((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    return InputContract(
        model={}, classes=("a", "b", "c"), mean=mean, std=std, size=size, channels=channels, head=(), provenance={}
    )


def adaptation(target: nn.Module, there: int, here: int, way: Channels = "auto", alike: bool = True) -> Adaptation:
    image = ImageFormat.model_construct(size=32, channels=here)  # any number, though settings know 1 and 3
    return Adaptation(target, image, contract(there, alike=alike), way)


def moved(source: nn.Module, target: nn.Module, there: int, here: int, way: Channels = "auto") -> list[Fate]:
    """Bring all of a source's tensors into the target, and return the fates."""
    tensors = source.state_dict()
    start, fates = match(tensors, target.state_dict(), tensors, adaptation(target, there, here, way))
    target.load_state_dict({**target.state_dict(), **start})
    return fates


def adapted(fates: list[Fate]) -> dict[str, str]:
    return {fate.name: fate.why for fate in fates if fate.kind == "adapted"}


def noise(channels: int, size: int = 32) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETS)
def test_a_grey_image_through_the_summed_stem_gets_the_answer_of_the_original_in_colour(name: str) -> None:
    source, target = net(name, 3, seed=1), net(name, 1)
    fates = moved(source, target, 3, 1)
    assert coverage(fates, head_tensors(target)) == 1.0
    assert list(adapted(fates).values()) == ["input channels 3 → 1: summed, and spread evenly"]
    torch.testing.assert_close(target(noise(1)), source(noise(1).expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("name", NETS)
def test_a_grey_image_in_colour_through_the_repeated_stem_gets_the_answer_of_the_grey_original(name: str) -> None:
    source, target = net(name, 1, seed=1), net(name, 3)
    fates = moved(source, target, 1, 3)
    assert list(adapted(fates).values()) == ["input channels 1 → 3: repeated in turn, and scaled"]
    torch.testing.assert_close(target(noise(1).expand(-1, 3, -1, -1)), source(noise(1)))


@pytest.mark.parametrize("name", NETS)
def test_what_a_further_channel_shows_changes_nothing_by_zero(name: str) -> None:
    source, target = net(name, 1, seed=1), net(name, 3)
    moved(source, target, 1, 3, "zero")
    torch.testing.assert_close(target(noise(3)), source(noise(3)[:, :1]))


def test_by_zero_a_channel_that_is_not_there_is_as_good_as_black() -> None:
    source, target = net("test_resnet", 3, seed=1), net("test_resnet", 1)
    moved(source, target, 3, 1, "zero")
    dark = torch.cat([noise(1), torch.zeros(2, 2, 32, 32)], dim=1)
    torch.testing.assert_close(target(noise(1)), source(dark))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("way", ["sum", "repeat", "mean", "zero"])
def test_any_number_of_channels_is_reached(way: str, channels: int) -> None:
    fitted = fit_channels(KERNEL, channels, way)
    assert fitted.shape == (4, channels, 5, 5)
    whole = KERNEL.sum(dim=1)
    if way == "sum":
        torch.testing.assert_close(fitted.sum(dim=1), whole)
        assert all(torch.equal(fitted[:, 0], fitted[:, index]) for index in range(channels))
    if way == "repeat":
        expected = [KERNEL[:, index % 3] * 3 / channels for index in range(channels)]
        torch.testing.assert_close(fitted, torch.stack(expected, dim=1))
    if way == "mean":
        torch.testing.assert_close(fitted, (whole / 3)[:, None].expand(-1, channels, -1, -1))
    if way == "zero":
        assert torch.equal(fitted[:, :3], KERNEL[:, :channels]) and not fitted[:, 3:].any()


def test_a_stem_repeated_a_whole_number_of_times_answers_a_doubled_image_as_before() -> None:
    image = noise(3)
    doubled = nn.functional.conv2d(torch.cat([image, image], dim=1), fit_channels(KERNEL, 6, "repeat"))
    torch.testing.assert_close(doubled, nn.functional.conv2d(image, KERNEL), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_for_as_many_channels_repeating_and_zero_change_nothing(channels: int) -> None:
    kernel = torch.randn(4, channels, 3, 3, generator=DRAWS)
    assert torch.equal(fit_channels(kernel, channels, "repeat"), kernel)
    assert torch.equal(fit_channels(kernel, channels, "zero"), kernel)


@pytest.mark.parametrize(("way", "scale"), [("sum", 1), ("mean", 3)])
def test_a_stem_behind_space_to_depth_keeps_its_positions(way: Channels, scale: int) -> None:
    from timm.layers import SpaceToDepth

    nets = [nn.Sequential(SpaceToDepth(), nn.Conv2d(16 * channels, 4, 3, bias=False)) for channels in (3, 1)]
    assert set(adapted(moved(*nets, 3, 1, way))) == {"1.weight"}
    source, target = nets
    torch.testing.assert_close(scale * target(noise(1)), source(noise(1).expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_a_kernel_that_reads_no_image_and_a_grouped_one_are_new_with_the_reason() -> None:
    deep = nn.Sequential(nn.Conv2d(8, 4, 3)), nn.Sequential(nn.Conv2d(6, 4, 3))
    grouped = nn.Sequential(nn.Conv2d(6, 4, 3, groups=2)), nn.Sequential(nn.Conv2d(2, 4, 3, groups=2))
    reasons = []
    for (source, target), there, here in ((deep, 3, 1), (grouped, 3, 1)):
        fates = moved(source, target, there, here)
        assert adapted(fates) == {}
        reasons += [fate.why for fate in fates if fate.kind == "new"]
    assert reasons[0] == "shape 4×8×3×3 in the source, 4×6×3×3 here"
    assert reasons[1].endswith("here; a grouped kernel ties its answers to certain channels")


def test_a_layer_on_flattened_images_is_new_and_counts_against_coverage() -> None:
    source, target = (nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, 8), nn.Linear(8, 3)) for channels in (3, 1))
    fates = moved(source, target, 3, 1)
    assert [fate.name for fate in fates if fate.kind == "new"] == ["1.weight"]
    assert coverage(fates, frozenset()) < 0.5


def test_the_manifest_says_where_an_answer_is_only_near_the_originals() -> None:
    target = net("test_resnet", 1)
    kernel = net("test_resnet", 3).state_dict()["conv1.0.weight"]
    wanted = target.state_dict()["conv1.0.weight"]
    _, why = adaptation(target, 3, 1, alike=False).fit("conv1.0.weight", kernel, wanted)
    assert why.endswith("; approximate, as the source normalises each channel in its own way")
    fates = moved(net("test_nfnet", 3), net("test_nfnet", 1), 3, 1)
    assert adapted(fates)["stem.conv1.weight"].endswith("; approximate, as the layer standardises its kernel")


def test_channels_are_normalised_as_those_that_their_kernels_came_from() -> None:
    def found(there: int, here: int, way: Channels, alike: bool = False) -> tuple[float, ...]:
        return adaptation(nn.Identity(), there, here, way, alike).normalisation()["mean"]

    assert found(3, 3, "auto") == (0.5, 0.4, 0.3)
    assert found(3, 1, "sum") == found(3, 1, "mean") == pytest.approx((0.4,))
    assert found(3, 1, "zero") == found(3, 1, "repeat") == (0.5,)
    assert found(3, 5, "repeat") == (0.5, 0.4, 0.3, 0.5, 0.4)
    assert found(1, 3, "auto", alike=True) == (0.5, 0.5, 0.5)


def embedding(size: int, prefix: int = 1, width: int = 64) -> Tensor:
    """Return a smooth position embedding (1, prefix + size², width)."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    waves = torch.arange(1, width + 1) / width
    positions = torch.sin(rows.reshape(-1, 1) * waves) + torch.cos(columns.reshape(-1, 1) * waves)
    return torch.cat([torch.full((prefix, width), 9.0), positions])[None]


def resampled(found: Tensor, size: int, **options: Any) -> tuple[Tensor | None, str]:
    target = net("test_vit", 1, size=16 * size, **options)
    return adaptation(target, 1, 1).fit("pos_embed", found, target.state_dict()["pos_embed"])


def test_position_embeddings_of_the_same_grid_are_equal_to_the_bit() -> None:
    tensor, how = resampled(embedding(4), 4)
    assert tensor is not None and torch.equal(tensor, embedding(4)) and how == ""


@pytest.mark.parametrize(("options", "prefix"), [({}, 1), ({"reg_tokens": 3}, 4), ({"no_embed_class": True}, 0)])
def test_a_constant_embedding_stays_constant_and_prefix_tokens_untouched(options: dict[str, Any], prefix: int) -> None:
    found = torch.full((1, prefix + 16, 64), 0.7)
    found[:, :prefix] = torch.arange(64.0)
    tensor, how = resampled(found, 6, **options)
    assert tensor is not None and tensor.shape == (1, prefix + 36, 64)
    assert torch.equal(tensor[:, :prefix], found[:, :prefix])
    torch.testing.assert_close(tensor[:, prefix:], torch.full((1, 36, 64), 0.7))
    assert how == "position embeddings resampled from 4×4 to 6×6 patches"


def test_a_finer_grid_and_back_is_about_the_same() -> None:
    finer, _ = resampled(embedding(6), 9)
    assert finer is not None
    back, _ = resampled(finer, 6)
    torch.testing.assert_close(back, embedding(6), rtol=0, atol=0.03)


def test_a_finer_grid_shows_the_same_place_at_the_same_place() -> None:
    found = embedding(4)
    finer, _ = resampled(found, 8)
    assert finer is not None
    blocks = finer[0, 1:].view(4, 2, 4, 2, 64).mean(dim=(1, 3)).view(16, 64)
    torch.testing.assert_close(blocks, found[0, 1:], rtol=0, atol=0.05)


def test_embeddings_of_no_square_are_new_with_the_reason() -> None:
    tensor, why = resampled(torch.zeros(1, 8, 64), 4)
    assert tensor is None and why.endswith("here; position embeddings of no square grid")


@pytest.mark.parametrize("name", ["test_coatnet", "test_maxvit"])
def test_relative_biases_follow_the_window_and_stay_constant(name: str) -> None:
    source, target = net(name, 1, size=128), net(name, 1, size=192)
    for table, tensor in source.state_dict().items():
        if table.endswith("bias_table"):
            tensor.fill_(0.3)
    fates = moved(source, target, 1, 1)
    tables = [fate for fate in fates if fate.name.endswith("bias_table")]
    assert tables and {fate.kind for fate in tables} <= {"adapted", "copied"}
    assert any("interpolated from a window" in fate.why for fate in tables)
    for fate in tables:
        torch.testing.assert_close(target.state_dict()[fate.name], torch.full(fate.shape, 0.3))
