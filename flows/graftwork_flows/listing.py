"""Print what is installed: plugins, their settings, and what failed to load."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork_flows.kept import Listing, kept

if TYPE_CHECKING:
    from graftwork.registry import Kind, Plugin, Registry

BAR = r"\|"  # a bar inside a Markdown table


def registry_at(root: Path) -> Registry:
    """Return the installed plugins and, in a workspace, its local ones."""
    from graftwork.params_file import local_plugins_of
    from graftwork.registry import load_plugins
    from graftwork.workspace import PARAMS

    local = local_plugins_of(root / PARAMS) if (root / PARAMS).is_file() else ""
    return load_plugins(root / local if local else None)


def print_plugins(root: Path, as_json: bool) -> None:
    """Print one table a kind, or JSON."""
    found = kept(root, "plugins", lambda: _listing(registry_at(root)))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for kind, plugins in groupby(found["plugins"], key=lambda plugin: plugin["kind"]):
        print(f"{kind}:")
        for plugin in plugins:
            print(f"  {plugin['name']:<15} {plugin['summary']}  [{plugin['origin']}]")
            for line in _settings_lines(plugin["settings"]):
                print(f"  {'':<15}   {line}")
    for origin, reason in found["failures"].items():
        print(f"failed to load: {origin}: {reason}")


def _listing(registry: Registry) -> Listing:
    from graftwork.registry import KINDS

    found = [_as_json(plugin) for kind in KINDS for plugin in registry.named(kind)]
    return {"plugins": found, "failures": registry.failures}


def plugin_table(registry: Registry, kind: Kind) -> str:
    """Return the README's table of the bundled plugins of a kind."""
    bundled = [plugin for plugin in registry.named(kind) if plugin.package == "graftwork"]
    cells = [(f"`{plugin.name}`", plugin.summary, _settings_of(plugin)) for plugin in bundled]
    rows = [f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |" for row in cells]
    return "\n".join(["| plugin | what it does | settings |", "|---|---|---|", *rows]) + "\n"


def _settings_of(plugin: Plugin) -> str:
    entries = plugin.settings_schema().get("properties", {}).items()
    return ", ".join(f"`{name}: {json.dumps(entry.get('default')).strip(chr(34))}`" for name, entry in entries)


def _as_json(plugin: Plugin) -> dict[str, Any]:
    described = {key: value for key, value in asdict(plugin).items() if key not in ("factory", "file")}
    return {
        **described,
        "summary": plugin.summary,
        "settings": plugin.settings_schema().get("properties", {}),
    }


def _settings_lines(settings: dict[str, Any]) -> list[str]:
    return [f"{name}: {_kind(entry)} = {json.dumps(entry.get('default'))}" for name, entry in settings.items()]


def _kind(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return " | ".join(map(str, entry["enum"]))
    if "anyOf" in entry:
        return " | ".join(_kind(option) for option in entry["anyOf"])
    bounds = [
        f"{sign} {entry[key]:g}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in entry
    ]
    return " ".join([str(entry.get("type", "any")), *bounds])
