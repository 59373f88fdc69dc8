"""What models are trained on, decided: nothing is left open as it may be in params.yaml."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from graftwork.cores import usable_cores
from graftwork.errors import SettingsError, StateError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.settings import Engine, Frozen, Settings


class Choice(Frozen):
    """On what, and in which arithmetic, one data set is trained on."""

    device: Literal["cpu", "cuda"]
    threads: int = Field(ge=1, le=512)
    precision: Literal["float32", "bfloat16"]
    memory_format: Literal["contiguous", "channels_last"]
    compile: bool
    side_by_side: int = Field(ge=1, le=512)
    processes: int = Field(default=1, ge=1, le=512)  # that share each training

    def deciding(self) -> dict[str, Any]:
        """Return all of it that decides the bits of the weights."""
        return {name: value for name, value in self.recorded().items() if name != "side_by_side"}

    def recorded(self) -> dict[str, Any]:
        """Return it as JSON; one process isn't named, so that what was recorded before there were more still holds."""
        return self.model_dump(exclude_defaults=True)

    def shared_by(self, processes: int) -> Choice:
        """Return it for one of so many processes on this machine, which share its cores, or have a GPU each."""
        if processes == self.processes == 1:
            return self
        threads = max(1, self.threads // processes) if self.device == "cpu" else self.threads
        compiled = self.compile and processes == 1  # what others must be waited for isn't compiled
        together = self.side_by_side if processes == 1 else 1
        changes = {"processes": processes, "threads": threads, "compile": compiled, "side_by_side": together}
        return self.model_copy(update=changes)

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        parts = [threads if self.device == "cpu" else "GPU", self.precision, self.memory_format]
        parts += ["compiled"] * self.compile + [f"{self.side_by_side} at once"] * (self.side_by_side > 1)
        parts += [f"{self.processes} processes"] * (self.processes > 1)
        return ", ".join(parts)


def default_choice(engine: Engine) -> Choice:
    """Return what the settings pin, and for the rest what is good without measuring. Raises SettingsError."""
    pinned = {key: value for key, value in engine if value != "auto"}
    usual = {"precision": "float32", "memory_format": "channels_last", "compile": False, "side_by_side": 1}
    threads = 1 if pinned.get("side_by_side", 1) > 1 else usable_cores()
    return Choice.model_validate({**usual, "threads": threads, **pinned, "device": device_of(engine)})


def device_of(engine: Engine) -> Literal["cpu", "cuda"]:
    """Return the device: a GPU where torch sees one, if the settings don't say. Raises SettingsError."""
    import torch

    found = torch.cuda.is_available()
    if engine.device == "cuda" and not found:
        raise SettingsError(
            "engine.device is cuda, but torch sees no GPU", where="params.yaml, key engine.device",
            fix="set it to auto or cpu, or install a CUDA build of torch",
        )  # fmt: skip
    if engine.device != "auto":
        return engine.device
    return "cuda" if found else "cpu"


def recorded_choice(settings: Settings, layout: Layout, data: str) -> Choice:
    """Return what the measure stage chose for a data set, or what params.yaml pins where it pins everything.

    Where it chose several trainings at once, they are as many as this machine has cores, which decides no bits. Raises
    StateError where something is open and nothing was chosen yet.
    """
    if not settings.engine.open and (settings.engine.device != "auto" or not layout.engine(data).exists()):
        return default_choice(settings.engine)
    if not layout.engine(data).exists():
        raise StateError(
            f"Nothing was chosen yet to train on {data!r} with", where=str(layout.engine(data)),
            expected=f"what engine.{settings.engine.open[0]}: auto in params.yaml stands for",
            fix="graftwork measure, or pin every key of engine",
        )  # fmt: skip
    found = read_choice(layout, data)
    if found.side_by_side > 1 and settings.engine.side_by_side == "auto":
        return found.model_copy(update={"side_by_side": usable_cores()})
    return found


def read_choice(layout: Layout, data: str) -> Choice:
    """Read a choice. Raises StateError where the file is missing, or isn't one."""
    path = layout.engine(data)
    try:
        return Choice.model_validate(read_json(path))
    except ValidationError:
        raise StateError("The file holds no choice of an engine", where=str(path), fix="graftwork measure") from None


def usable_choice(settings: Settings, layout: Layout, data: str) -> Choice:
    """Return the recorded choice where it can be used on this machine, else the default: for what trains nothing."""
    try:
        found = recorded_choice(settings, layout, data)
    except StateError:
        return default_choice(settings.engine)
    here = device_of(settings.engine)
    return found if found.device == here or here == "cuda" else default_choice(settings.engine)
