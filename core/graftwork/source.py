"""The source model as strategies see it: its tensors, and, where a strategy needs them, the model and some images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from graftwork.errors import SettingsError
from graftwork.images import LabelledImages
from graftwork.settings import Settings


@dataclass(frozen=True)
class SourceModel:
    """What can be transferred: the source's tensors by name, the names of its head, and its classes."""

    tensors: dict[str, Tensor]
    head: frozenset[str]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needs:
    """What a strategy needs of the source while it trains, beside the weights it starts from."""

    model: bool = False
    images: int = 0  # training images of the source, at most


@dataclass(frozen=True)
class Source:
    """The source while a target model trains."""

    classes: tuple[str, ...]
    build: Callable[[], nn.Module]  # a new copy of the source model, on the machine
    images: LabelledImages | None = None  # some of its training images
    sha256: str = ""  # of its tensors

    def head(self) -> nn.Linear:
        """Return a copy of the source's linear head. Raises SettingsError where it ends in something else."""
        last = self.build().get_classifier()  # type: ignore[operator]  # timm's interface
        if not isinstance(last, nn.Linear):
            raise SettingsError(
                f"The source model ends in {type(last).__name__}, not in one linear layer", fix="use another model"
            )
        return last

    def reference(self) -> nn.Module:
        """Return a copy of the source model in evaluation mode that nothing trains."""
        return self.build().eval().requires_grad_(False)


def require_images(settings: Settings, source: str) -> None:
    """Raise SettingsError where of a source there are weights alone."""
    if source in settings.imports:
        raise SettingsError(
            f"Of the source {source!r} there are weights alone, and a strategy needs its images while it trains",
            where=f"params.yaml, key imports.{source}", expected="a source with images, under data",
            fix="take joint, and others that need the source's images, out of strategies; for a sweep, out of its own",
        )  # fmt: skip
