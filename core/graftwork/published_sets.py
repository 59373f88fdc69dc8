"""Data sets that an origin plugin offers by name, as `graftwork init --source NAME` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graftwork.registry import Plugin, Registry


@dataclass(frozen=True)
class PublishedSet:
    """What an origin makes of a published data set: an entry, by the set's name, of its class attribute `PUBLISHED`."""

    dataset: str  # the plugin that reads it
    file: str = ""  # in the origin's folder; nothing: the folder itself
    splits: tuple[str, ...] = ("test",)  # that it brings of its own, beside the training images


@dataclass(frozen=True)
class Offer:
    """A published set, and the origin plugin that gets it."""

    plugin: Plugin
    published: PublishedSet


def offers(registry: Registry) -> dict[str, Offer]:
    """Return the published data sets of all origins, by name."""
    found: dict[str, Offer] = {}
    for plugin in registry.named("origin"):
        sets: Mapping[str, PublishedSet] = getattr(plugin.factory, "PUBLISHED", {})
        found |= {name: Offer(plugin, published) for name, published in sets.items()}
    return found
