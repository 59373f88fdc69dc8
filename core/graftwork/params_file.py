"""Read params.yaml once, at the edge, into Settings; every mistake becomes one clear message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

import graftwork
from graftwork.errors import SettingsError, did_you_mean, listed
from graftwork.secrets import without_secrets
from graftwork.settings import Settings, Sweep, Use
from graftwork.yaml_source import YamlSource, parse_value, read_yaml

if TYPE_CHECKING:
    from graftwork.registry import Kind, Registry

Location = tuple[str | int, ...]


def load_settings(path: Path, registry: Registry | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read and check params.yaml, with `key=value` overrides on top.

    With a registry, every plugin's own settings are checked too. Raises SettingsError.
    """
    source = read_yaml(path)
    values = apply_overrides(source.values, overrides)
    source = replace(source, overridden=tuple(override.partition("=")[0].strip() for override in overrides))
    settings = _validated(values, source)
    _check_versions(settings, source)
    if registry is not None:
        _check_uses(settings, registry, source)
    return settings


def sweep_of(settings: Settings) -> Sweep:
    """Return the settings of sweeps. Raises SettingsError where params.yaml has none, or they name what isn't there."""
    sweep = settings.sweep
    if sweep is None:
        raise SettingsError(
            "There is nothing to sweep", where="params.yaml", expected="a key `sweep`",
            fix="add  sweep: {strategies: [scratch, full_copy], labels_per_class: [5, 10], minimum_steps: 60}",
        )  # fmt: skip
    unknown = sorted(set(sweep.strategies) - settings.strategies.keys())
    if unknown:
        raise SettingsError(
            f"Unknown strategy {unknown[0]!r}", where="params.yaml, key sweep.strategies",
            expected=f"some of: {', '.join(settings.strategies)}",
            fix=did_you_mean(unknown[0], settings.strategies) or "add it under strategies, or correct the name",
        )  # fmt: skip
    return sweep


def local_plugins_of(path: Path, overrides: Sequence[str] = ()) -> str:
    """Return the `local_plugins` entry alone: it is needed before the rest can be checked."""
    found = apply_overrides(read_yaml(path).values, overrides).get("local_plugins")
    return found if isinstance(found, str) else ""


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of nested `values` with each `a.b=c` set; raise SettingsError for malformed ones."""
    result: dict[str, Any] = json.loads(json.dumps(values, default=str))
    for override in overrides:
        key, equals, text = override.partition("=")
        shown = without_secrets(override)
        if not equals or not key:
            raise SettingsError(
                f"The override {shown!r} can't be read",
                expected="KEY=VALUE",
                fix="--set finetune.lr=0.01",
            )
        *parents, last = key.strip().split(".")
        node = result
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise SettingsError(f"The override {shown!r} goes below {parent!r}, which has no keys")
            node = child
        node[last] = parse_value(text)
    return result


def _validated(values: dict[str, Any], source: YamlSource) -> Settings:
    try:
        return Settings.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise settings_error(error, Settings, source) from None


def settings_error(error: ValidationError, model: type, source: YamlSource, prefix: Location = ()) -> SettingsError:
    """Turn pydantic's first complaint into a message with file, line, key, found and expected."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] not in unknown)
    first = problems[0]  # a misspelt key first: the key that is missing is then explained
    location = prefix + tuple(part for part in first["loc"] if _is_key(part))
    where = f"{source.place(location)}, key {'.'.join(map(str, location)) or '(top level)'}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] in unknown:
        known = keys_at(model, location[len(prefix) : -1])
        suggestion = did_you_mean(str(location[-1]), known)
        return SettingsError(
            f"Unknown key {str(location[-1])!r}{more}", where=where, expected=listed(known, 20),
            fix=suggestion or "remove the key",
        )  # fmt: skip
    if first["type"] == "missing":
        return SettingsError(f"The key {str(location[-1])!r} is missing{more}", where=where, fix="add it")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if not location:  # a rule between keys, which begins with the key that breaks it
        key, _, rule = message.partition(": ")
        return SettingsError(
            f"{key}: {rule}", where=f"{source.place((key,))}, key {key}", fix=f"correct {key} in {source.path.name}"
        )
    found = without_secrets(json.dumps(first["input"], default=str, ensure_ascii=False))
    found = found if len(found) < 80 else found[:77] + "..."
    return SettingsError(
        f"The value {found} can't be used{more}",
        where=where,
        expected=message,
        fix=f"correct {location[-1]}, {source.place(location)}",
    )


def keys_at(model: type, location: Location) -> list[str]:
    """Return the keys that a model (or dataclass) knows at a location inside it."""
    current: Any = model
    for part in location:
        if get_origin(current) is dict:  # its keys are names of the user's own
            current = get_args(current)[1]
            continue
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            return []
        annotation = fields[part].annotation
        nested = [a for a in (annotation, *get_args(annotation)) if _is_model(a)]
        current = annotation if get_origin(annotation) is dict else nested[0] if nested else None
    names = getattr(current, "model_fields", None) or getattr(current, "__dataclass_fields__", {})
    return sorted(names)


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_key(part: str | int) -> bool:
    """Tell a key of the file from pydantic's own marks, such as `constrained-int` in a union."""
    return isinstance(part, int) or (part.isidentifier() and part not in ("int", "float", "bool"))


def _check_versions(settings: Settings, source: YamlSource) -> None:
    """Raise unless every package in `versions` is installed in just that version."""
    for name, wanted in settings.versions.items():
        found = graftwork.__version__ if name == "graftwork" else _installed(name)
        if found != wanted:
            other = f"; or set it to {found}: every stage runs again" if found else ""
            raise SettingsError(
                f"These settings are for {name} {wanted}, but {found or 'none'} is installed",
                where=f"{source.place(('versions', name))}, key versions.{name}",
                fix=f"pip install {name}=={wanted}{other}",
            )
    if "graftwork" not in settings.versions:
        raise SettingsError(
            "The key 'graftwork' is missing", where=f"{source.place(('versions',))}, key versions",
            fix=f"add graftwork: {graftwork.__version__}",
        )  # fmt: skip


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _check_uses(settings: Settings, registry: Registry, source: YamlSource) -> None:
    """Raise unless every plugin that is named exists, takes its settings, and has its package in `versions`."""
    for kind, use, location in uses(settings):
        plugin = registry.check(kind, use, source, location)
        if plugin.package and plugin.package not in settings.versions and kind != "log":
            raise SettingsError(
                f"{use.name} comes from {plugin.origin}, of which `versions` says nothing",
                where=f"{source.place(location)}, key {'.'.join(map(str, location))}",
                expected="every package that decides the results, so that an upgrade runs the stages again",
                fix=f"add {plugin.origin.replace(' ', ': ')} under versions",
            )  # fmt: skip


def uses(settings: Settings) -> Iterator[tuple[Kind, Use, Location]]:
    """Yield every plugin that the settings name: its kind, its use, and the place."""
    yield "model", settings.model, ("model",)
    for name, origin in settings.origins.items():
        yield "origin", origin, ("origins", name)
    for name, imported in settings.imports.items():
        yield "weights", imported.weights, ("imports", name, "weights")
    for name, data in settings.data.items():
        yield "dataset", data.dataset, ("data", name, "dataset")
        yield "selection", data.selection, ("data", name, "selection")
        for index, use in enumerate(data.augmentation):
            yield "augmentation", use, ("data", name, "augmentation", index)
    for strategy, stack in settings.strategies.items():
        for index, use in enumerate(stack):
            yield "strategy", use, ("strategies", strategy, index)
    for index, use in enumerate(settings.log):
        yield "log", use, ("log", index)
