"""The JSON schema of params.yaml: editors complete and check with it."""

from __future__ import annotations

import json
from typing import Any

from graftwork.registry import Kind, Registry
from graftwork.settings import Settings

# Where each kind of plugin is named in the settings' schema: definition, property, whether a list.
PLACES: tuple[tuple[Kind, str, str], ...] = (
    ("origin", "", "origins"),
    ("dataset", "DataSettings", "dataset"),
    ("selection", "DataSettings", "selection"),
    ("weights", "Import", "weights"),
    ("augmentation", "DataSettings", "augmentation"),
    ("model", "", "model"),
    ("strategy", "", "strategies"),
    ("log", "", "log"),
)


def settings_schema(registry: Registry) -> dict[str, Any]:
    """Return the schema of Settings in which `Use` is replaced by what is really installed."""
    schema = Settings.model_json_schema()
    for kind, definition, name in PLACES:
        schema["$defs"][kind.capitalize()] = _choices(registry, kind)
        owner = schema["$defs"][definition] if definition else schema
        owner["properties"][name] = _replaced(owner["properties"][name], kind)
    del schema["$defs"]["Use"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Graftwork's params.yaml",
    }


def schema_text(registry: Registry) -> str:
    """Return the schema as it stands in params.schema.json."""
    return json.dumps(settings_schema(registry), indent=1, ensure_ascii=False) + "\n"


def _choices(registry: Registry, kind: Kind) -> dict[str, Any]:
    """Return the short form (a name) and the long one (a name with settings) of every plugin of a kind."""
    found = list(registry.named(kind))
    long_forms = [
        {
            "type": "object",
            "description": plugin.summary,
            "properties": {plugin.name: plugin.settings_schema()},
            "required": [plugin.name],
            "additionalProperties": False,
        }
        for plugin in found
    ]
    return {"anyOf": [{"enum": [plugin.name for plugin in found]}, *long_forms]}


def _replaced(node: Any, kind: Kind) -> Any:
    if isinstance(node, dict):
        if node.get("$ref") == "#/$defs/Use":
            return {"$ref": f"#/$defs/{kind.capitalize()}"}
        return {key: _replaced(value, kind) for key, value in node.items()}
    return [_replaced(entry, kind) for entry in node] if isinstance(node, list) else node
