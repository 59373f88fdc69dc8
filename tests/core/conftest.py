"""What several tests of the core share."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.release import Release


@pytest.fixture(scope="session")
def resnet() -> Release:
    """A small model from timm, as if it had been fine-tuned."""
    from tests.core.exports import RESNET, release

    return release(RESNET)


@pytest.fixture(scope="session")
def exported(resnet: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this model in every form, made once: torch's exporter takes seconds. Not to be changed."""
    from graftwork.export import export
    from tests.core.exports import STORY
    from tests.core.small import REGISTRY

    folder = tmp_path_factory.mktemp("exported") / "resnet"
    export(resnet, STORY, REGISTRY, "all", folder)
    return folder
