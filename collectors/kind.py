"""What a kind of source is: its layer, its configuration, how it is built, found, explained and mended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from aistack_top.model.signals import Layer
from collectors.source_head import DiscoveryHints
from collectors.source_tables import TableFile


def kind_name(config: type[msgspec.Struct] | msgspec.Struct) -> str:
    """Return what ``kind`` says in the configuration of a source: the tag of its struct, which is nowhere else."""
    return str(config.__struct_config__.tag)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source: its layer, its configuration, where its collector lives, and what one needs to know.

    ``config`` is a struct whose tag is the kind's name; it has ``name`` and ``interval``, and ``url`` where there is
    an address. ``build`` names the function that makes a collector of it and of `CollectorContext`, ``adder`` one that
    makes an `exposition_source.Add` of a `Source`: what its pages tell beyond their table. ``needs`` and ``sends`` are
    what ``doctor --permissions`` prints, ``fixes`` what ``doctor`` says to do, by status. ``fills`` says by layer what
    an empty panel would be filled by, the longest form first; ``None`` is the title, in its own layer.
    """

    layer: Layer
    config: type[msgspec.Struct]
    build: str
    reads: str
    title: str
    needs: str
    sends: str
    local: DiscoveryHints | None = None
    adder: str = ""
    fixes: Mapping[str, str] = field(default_factory=dict)
    fills: Mapping[str, tuple[str, ...]] | None = None
    table: TableFile | None = None

    @property
    def name(self) -> str:
        """What ``kind`` says in the configuration."""
        return kind_name(self.config)

    @property
    def own(self) -> bool:
        """Whether a table of the user's says what it is."""
        return self.table is not None and self.table.own

    def filling(self, layer: str) -> tuple[str, ...]:
        """Return what would fill an empty panel of a layer; empty where this kind would not."""
        if self.fills is None:
            return (self.title,) if layer == self.layer else ()
        return self.fills.get(layer, ())
