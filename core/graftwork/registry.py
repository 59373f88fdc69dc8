"""Find plugins: entry points of installed distributions, and local files named in params.yaml."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import pluggy
from pydantic import ConfigDict, TypeAdapter, ValidationError

from graftwork.errors import PluginError, SettingsError, did_you_mean, listed
from graftwork.files import sha256_of_file
from graftwork.hookspecs import DistributionHooks, StrategyHooks
from graftwork.params_file import Location, settings_error
from graftwork.settings import DataSettings, Use
from graftwork.yaml_source import YamlSource

Kind = Literal["origin", "dataset", "selection", "weights", "model", "augmentation", "strategy", "log"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Plugin:
    """A registered plugin: its class, and who brought it."""

    kind: Kind
    name: str
    factory: type
    origin: str  # for people
    package: str | None  # the distribution; None for a local file
    file: Path | None = None  # the local file

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.factory.__doc__ or "").strip().partition("\n")[0]

    @property
    def is_catalogue(self) -> bool:
        """Whether it stands for many things, of which its setting `name` says one, as timm's models."""
        return "name" in (field.name for field in dataclasses.fields(self.factory))

    def as_yaml(self, name: str) -> str:
        """Return how params.yaml names one of its things, or itself where it is but one."""
        return f"{{{self.name}: {{name: {name}}}}}" if self.is_catalogue else self.name

    def settings_schema(self) -> dict[str, Any]:
        """Return the JSON schema of its settings."""
        return TypeAdapter(self.factory).json_schema()

    def create(self, settings: dict[str, Any]) -> Any:
        """Return the plugin with these settings; raises pydantic's ValidationError."""
        return TypeAdapter(self.factory).validate_json(json.dumps(settings, default=str))


@dataclass
class Registry:
    """The plugins at hand, by kind and name; made by `load_plugins`."""

    plugins: dict[tuple[Kind, str], Plugin] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # origin → why it could not be loaded
    _origin: str = "?"
    _package: str | None = None
    _file: Path | None = None

    def origin(self, name: str, factory: type) -> None:
        """Offer an origin of files: `obtain(folder, desk) -> where they are from, as JSON`."""
        self._add("origin", name, factory)

    def weights(self, name: str, factory: type) -> None:
        """Offer a reader of weight files: `read(path) -> ForeignWeights`."""
        self._add("weights", name, factory)

    def dataset(self, name: str, factory: type) -> None:
        """Offer a dataset: `load(path, image) -> RawImages`.

        One that takes long has a third argument, `progress`, and asks its `check` whether to stop.
        """
        self._add("dataset", name, factory)

    def selection(self, name: str, factory: type) -> None:
        """Offer a choice of the images that get labels: `order(labels, features, rng) -> their numbers`."""
        self._add("selection", name, factory)

    def model(self, name: str, factory: type) -> None:
        """Offer a model: `build(classes, image) -> nn.Module`."""
        self._add("model", name, factory)

    def augmentation(self, name: str, factory: type) -> None:
        """Offer an augmentation: `__call__(images, generator) -> images`, a draw per image.

        One may be `warps.Geometric`, to be fused with its neighbours, or `soft_labels.Mixing`.
        """
        self._add("augmentation", name, factory)

    def strategy(self, name: str, factory: type) -> None:
        """Offer a part of strategies: methods marked with `@hookimpl`, checked against `StrategyHooks` here."""
        self._add("strategy", name, factory)
        _check_hooks(name, factory, str(self._file or self._origin))

    def log(self, name: str, factory: type) -> None:
        """Offer a book that runs are entered into: `log(results) -> where`, see `results.Results`."""
        self._add("log", name, factory)

    def named(self, kind: Kind) -> Iterator[Plugin]:
        """Yield a kind's plugins by name."""
        return (plugin for key, plugin in sorted(self.plugins.items()) if key[0] == kind)

    def create(self, kind: Kind, use: Use) -> Any:
        """Return the plugin that `use` names, with its settings. Raises PluginError for an unknown name."""
        return self._find(kind, use.name, where="").create(use.settings)

    def augmentations(self, data: DataSettings) -> list[Any]:
        """Return the augmentations of a dataset's training images, in order."""
        return [self.create("augmentation", use) for use in data.augmentation]

    def local_code(self, uses: Iterable[tuple[Kind, Use]]) -> dict[str, str]:
        """Return the sha256 of each local file that these plugins come from, and of the private files beside it.

        It goes into what a stage writes, so that the stages after it run again when that code changes, and not when
        another plugin does.
        """
        files: set[Path] = set()
        for kind, use in uses:
            file = self._find(kind, use.name, where="").file
            if file is not None:
                files |= {file, *file.parent.glob("_*.py")}
        return {file.name: sha256_of_file(file) for file in sorted(files)}

    def check(self, kind: Kind, use: Use, source: YamlSource, location: Location) -> Plugin:
        """Return the plugin that `use` names; raise SettingsError, with the place, unless it can be created."""
        plugin = self._find(kind, use.name, where=f"{source.place(location)}, key {_dotted(location)}")
        try:
            plugin.create(use.settings)
        except ValidationError as error:
            raise settings_error(error, plugin.factory, source, (*location, use.name)) from None
        except ValueError as error:
            raise SettingsError(f"{use.name}: {error}", where=f"key {_dotted(location)}") from None
        return plugin

    def _find(self, kind: Kind, name: str, where: str) -> Plugin:
        plugin = self.plugins.get((kind, name))
        if plugin is not None:
            return plugin
        if self.failures:
            broken = "; ".join(f"{origin}: {reason}" for origin, reason in self.failures.items())
            raise PluginError(
                f"Unknown {kind} {name!r}, and plugins failed to load: {broken}", where=where,
                fix="mend or uninstall that plugin; graftwork plugins shows all",
            )  # fmt: skip
        known = [plugin.name for plugin in self.named(kind)]
        raise PluginError(
            f"Unknown {kind} {name!r}", where=where, expected=f"one of: {listed(known, 40)}",
            fix=did_you_mean(name, known) or "graftwork plugins shows what is installed",
        )  # fmt: skip

    def _add(self, kind: Kind, name: str, factory: type) -> None:
        if not dataclasses.is_dataclass(factory):
            raise PluginError(
                f"The {kind} {name!r} isn't a dataclass", where=self._origin,
                fix="put @dataclass(frozen=True) above the class: its fields are its settings",
            )  # fmt: skip
        known = self.plugins.get((kind, name))
        if known is not None:
            raise PluginError(
                f"The {kind} {name!r} is registered twice: by {known.origin} and by {self._origin}",
                fix="rename one of them, or uninstall one",
            )
        if "__pydantic_config__" not in vars(factory):
            factory.__pydantic_config__ = STRICT  # type: ignore[attr-defined]  # pydantic's own hook
        self.plugins[kind, name] = Plugin(kind, name, factory, self._origin, self._package, self._file)


def load_plugins(local: Path | None = None) -> Registry:
    """Load every installed plugin, and those in `local`, a Python file or a folder of them.

    An installed plugin that can't be imported is noted in `failures` and raised only when something asks for it;
    so is one that brings a name twice. A local file is the user's own: its errors are raised at once.
    """
    registry = Registry()
    points = sorted(entry_points(group="graftwork"), key=lambda p: (p.value != "graftwork_plugins", p.name))
    for point in points:
        origin = _origin_of(point)
        try:
            _register(registry, point.load(), origin, point.dist.name if point.dist else None)
        except Exception as error:  # a stranger's plugin must not take us down
            registry.failures[origin] = f"{type(error).__name__}: {error}"
    for file in _local_files(local):
        _register_local(registry, file)
    return registry


def _register(registry: Registry, module: object, origin: str, package: str | None, file: Path | None = None) -> None:
    """Let one module register its plugins: all of them, or, when it fails, none."""
    manager = pluggy.PluginManager("graftwork")
    manager.add_hookspecs(DistributionHooks)
    manager.register(module, name=origin)
    manager.check_pending()
    before = dict(registry.plugins)
    registry._origin, registry._package, registry._file = origin, package, file
    try:
        manager.hook.register_plugins(register=registry)
    except Exception:
        registry.plugins = before
        raise
    if registry.plugins == before:
        raise PluginError("It registers no plugin", where=origin, fix="implement register_plugins(register)")


def _check_hooks(name: str, factory: type, where: str) -> None:
    """Raise for a hook that doesn't exist or has other arguments than its specification."""
    manager = strategy_manager()
    try:
        manager.register(factory, name=name)  # a class does for checking names and arguments
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        hooks = [hook for hook in vars(StrategyHooks) if not hook.startswith("_")]
        near = [did_you_mean(word, hooks) for word in re.findall(r"'(\w+)'", str(error)) if word not in hooks]
        raise PluginError(
            f"The strategy {name!r} has a hook that can't be: {error}", where=where, expected=", ".join(hooks),
            fix=next(filter(None, near), "correct it as graftwork.hookspecs says"),
        ) from None  # fmt: skip
    if not any(manager.get_hookcallers(factory) or []):
        raise PluginError(f"The strategy {name!r} implements no hook", fix="mark its methods with @hookimpl")


def strategy_manager() -> pluggy.PluginManager:
    """Return an empty plugin manager that knows the hooks of strategies."""
    manager = pluggy.PluginManager("graftwork")
    manager.add_hookspecs(StrategyHooks)
    return manager


def _origin_of(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _local_files(local: Path | None) -> list[Path]:
    if local is None:
        return []
    if local.is_dir():
        return sorted(path for path in local.glob("*.py") if not path.name.startswith("_"))
    if local.is_file():
        return [local]
    raise PluginError(
        "The local plugins are not there", where=str(local), expected="a Python file, or a folder of them",
        fix="correct local_plugins in params.yaml",
    )  # fmt: skip


def _register_local(registry: Registry, file: Path) -> None:
    try:
        _register(registry, _import_file(file), f"local file {file.name}", package=None, file=file)
    except PluginError:
        raise
    except Exception as error:
        line = _line_in(file, error)
        raise PluginError(
            f"The local plugin can't be loaded: {type(error).__name__}: {error}", where=f"{file}{line}",
            fix="mend the file, or take it out of local_plugins in params.yaml",
        ) from error  # fmt: skip


def _import_file(file: Path) -> ModuleType:
    name = f"graftwork_local_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError("This isn't a Python file", where=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _line_in(file: Path, error: Exception) -> str:
    trace, line = error.__traceback__, getattr(error, "lineno", None)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))
