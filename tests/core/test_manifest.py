"""Every tensor of source and target has exactly one fate, and adapted kernels answer as the originals did."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graftwork.adaptation import Adaptation
from graftwork.errors import WeightsError
from graftwork.manifest import Manifest, coverage, match, require_coverage
from graftwork.models import head_tensors
from graftwork.settings import ImageFormat
from tests.core.tiny import CONTRACT, TinyNet, tiny_net


def adaptation(source: TinyNet, target: nn.Module) -> Adaptation:
    there = source.stem.in_channels
    contract = CONTRACT.model_copy(update={"channels": there, "mean": (0.5,) * there, "std": (0.25,) * there})
    here = target.stem.in_channels if isinstance(target, TinyNet) else there
    return Adaptation(target, ImageFormat(size=8, channels=here), contract, "auto")


def moved(source: TinyNet, target: TinyNet, *, head: bool = False, adapts: bool = True) -> Manifest:
    offered = source.state_dict()
    chosen = {name: t for name, t in offered.items() if head or name not in head_tensors(source)}
    _, fates = match(chosen, target.state_dict(), offered, adaptation(source, target) if adapts else None)
    return Manifest("tiny", tuple(fates), coverage(fates, head_tensors(target)))


def named(manifest: Manifest, kind: str) -> set[str]:
    return {fate.name for fate in manifest.tensors if fate.kind == kind}


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(("classes", "channels"), [(3, 1), (5, 1), (5, 3)])
def test_fates_partition_the_target_and_account_for_the_source(head: bool, classes: int, channels: int) -> None:
    source, target = tiny_net(3, 1), tiny_net(classes, channels)
    manifest = moved(source, target, head=head)
    mine = [fate.name for fate in manifest.tensors if fate.kind != "dropped"]
    assert sorted(mine) == sorted(target.state_dict())
    used = named(manifest, "copied") | named(manifest, "adapted")
    assert used | named(manifest, "dropped") == set(source.state_dict())
    assert not used & named(manifest, "dropped")
    assert sum(manifest.counts().values()) == len(manifest.tensors)


def test_what_is_copied_is_equal_to_the_bit_buffers_included() -> None:
    source = tiny_net(3)
    start, fates = match(source.state_dict(), tiny_net(3, seed=1).state_dict(), source.state_dict())
    assert {fate.kind for fate in fates} == {"copied"}
    assert "norm.num_batches_tracked" in start
    assert all(torch.equal(start[name], tensor) for name, tensor in source.state_dict().items())


def test_a_tensor_of_another_shape_is_dropped_there_and_new_here() -> None:
    manifest = moved(tiny_net(3), tiny_net(5), head=True)
    assert named(manifest, "new") == named(manifest, "dropped") == {"head.weight", "head.bias"}
    reasons = {fate.name: fate.why for fate in manifest.tensors if fate.kind == "new"}
    assert reasons["head.bias"] == "shape 3 in the source, 5 here"


def test_a_grey_image_through_the_summed_stem_is_the_same_as_in_colour_through_the_original() -> None:
    source, target = tiny_net(channels=3), tiny_net(channels=1, seed=1)
    start, _ = match(source.state_dict(), target.state_dict(), source.state_dict(), adaptation(source, target))
    target.load_state_dict(start)
    grey = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(target.stem(grey), source.stem(grey.expand(-1, 3, -1, -1)))


def test_a_grey_image_shown_in_colour_to_the_repeated_stem_is_the_same_as_in_grey_to_the_original() -> None:
    source, target = tiny_net(channels=1), tiny_net(channels=3, seed=1)
    start, fates = match(source.state_dict(), target.state_dict(), source.state_dict(), adaptation(source, target))
    target.load_state_dict(start)
    grey = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(target.stem(grey.expand(-1, 3, -1, -1)), source.stem(grey))
    assert [fate.name for fate in fates if fate.kind == "adapted"] == ["stem.weight"]


def test_the_stem_stays_behind_where_nothing_is_adapted() -> None:
    manifest = moved(tiny_net(channels=3), tiny_net(channels=1), adapts=False)
    assert named(manifest, "adapted") == set()
    assert "stem.weight" in named(manifest, "dropped") & named(manifest, "new")


def test_coverage_counts_values_and_leaves_the_head_out() -> None:
    target = tiny_net(5)
    assert moved(tiny_net(3), target).coverage == 1.0
    _, fates = match({"norm.weight": torch.ones(6)}, target.state_dict(), {})
    trunk = sum(t.numel() for name, t in target.state_dict().items() if not name.startswith("head."))
    assert coverage(fates, head_tensors(target)) == 6 / trunk


def test_weights_that_fit_nowhere_are_refused_with_both_lists() -> None:
    source, target = nn.Sequential(nn.Linear(4, 4)), tiny_net()
    offered = source.state_dict()
    _, fates = match(offered, target.state_dict(), offered, adaptation(tiny_net(), target))
    manifest = Manifest("tiny", tuple(fates), coverage(fates, head_tensors(target)))
    with pytest.raises(WeightsError, match=f"loaded 0 of {len(target.state_dict())} tensors") as raised:
        require_coverage(manifest, 0.9, where="somewhere")
    assert "Missing in the source: stem.weight 6×1×3×3" in raised.value.what
    assert "Unused of the source: 0.weight 4×4, 0.bias 4" in raised.value.what


def test_enough_coverage_is_enough() -> None:
    manifest = moved(tiny_net(3), tiny_net(5))
    require_coverage(manifest, manifest.coverage, where="somewhere")


def test_a_manifest_names_the_bytes_that_were_copied() -> None:
    one, again, other = (moved(tiny_net(seed=seed), tiny_net(seed=9)) for seed in (0, 0, 1))
    assert one == again
    sums = [{fate.name: fate.sha256 for fate in manifest.tensors} for manifest in (one, other)]
    assert len(sums[0]["stem.weight"]) == 64 and sums[0]["stem.weight"] != sums[1]["stem.weight"]
    assert sums[0]["head.weight"] == ""
