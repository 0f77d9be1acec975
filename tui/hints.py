"""What an empty panel says would fill it: the sources that can be read for its layer."""

from aistack_top.user_files import reads_user_files
from layouts.load import Panel


def empty_texts(panel: Panel) -> tuple[str, ...]:
    """Return what a panel without a source says, in several lengths, longest first.

    Its layout's own words, if it has some; else the kinds of source that fill its layer. They are looked up when the
    first panel is found empty, which is after the first paint.
    """
    if panel.empty is not None:
        return panel.empty
    return _of_sources().get(panel.layer, ("no source for this layer",))


@reads_user_files
def _of_sources() -> dict[str, tuple[str, ...]]:
    from aistack_top.model.signals import LAYERS
    from collectors.registry import kinds

    found: dict[str, tuple[str, ...]] = {}
    for layer in LAYERS:
        ways = [way for kind in kinds() if (way := kind.filling(layer))]
        if ways:
            found[layer] = _texts(ways)
    return found


def _texts(ways: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the texts for what would fill a panel, each way in its forms, the longest first."""
    short = [way[min(1, len(way) - 1)] for way in ways]
    texts = [f"no source: connect {_listed([way[0] for way in ways])}"]
    texts += [f"no source: connect {short[0]}"] if len(ways) == 1 else []
    texts += [f"no source: {', '.join(short[:count])}" for count in range(len(short), 0, -1)]
    return tuple(dict.fromkeys([*texts, f"no source: {ways[0][-1]}"]))


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
