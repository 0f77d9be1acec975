"""Kinds of sources that other packages bring, by the entry-point group ``aistack_top.sources``.

An entry point is called like its kind and names a `collectors.registry.Kind`. Its module is imported when a source of
that kind is configured, and not before: listing them imports nothing.
"""

from collections.abc import Container
from functools import cache
from typing import TYPE_CHECKING

from aistack_top.text.sanitize import sanitize
from collectors.kind import Kind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "aistack_top.sources"


class PluginError(Exception):
    """A plug-in cannot be used; the message says which package and why."""


@cache
def _points() -> dict[str, "EntryPoint"]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.value)}


_loaded: dict[str, Kind] = {}


def names() -> tuple[str, ...]:
    """Return the kinds that installed packages bring; imports none of them."""
    return tuple(sorted(_points()))


def package(kind: str) -> str:
    """Return the name and version of the package that brings a kind."""
    found = _points()[kind].dist
    return sanitize(f"{found.name} {found.version}", 80) if found else "an unnamed package"


def loaded() -> tuple[Kind, ...]:
    """Return the kinds of plug-ins that have been asked for."""
    return tuple(_loaded.values())


def load(kind: str, taken: Container[str] = ()) -> Kind:
    """Import the plug-in of a kind and return what it says; ``taken`` are the names of the program's own kinds.

    Raises:
        PluginError: it cannot be imported, or is no kind of source of that name.

    """
    if kind in _loaded:
        return _loaded[kind]
    point = _points()[kind]
    whose = f"the plug-in {package(kind)} for kind {kind!r}"
    if kind in taken:
        raise PluginError(f"{whose}: the kind is built in; rename the plug-in's kind")
    try:
        found = point.load()
    except Exception as error:
        said = sanitize(f"{type(error).__name__}: {error}", 200)
        raise PluginError(f"{whose} cannot be imported: {said}; reinstall or remove it") from None
    if not isinstance(found, Kind):
        raise PluginError(f"{whose}: {point.value} is not a collectors.registry.Kind; report this to its author")
    if found.name != kind:
        raise PluginError(f"{whose}: its configuration has the tag {found.name!r}; report this to its author")
    _loaded[kind] = found
    return found
