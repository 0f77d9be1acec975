"""What a table says about its source besides its rows: everything that is known of a kind, in one place.

| key of ``[source]`` | what it says, and who reads it |
|---|---|
| ``kind``, ``layer`` | what ``kind = "..."`` in the configuration may say, and the layer it belongs to |
| ``reads``, ``about`` | a line for ``aistack-top sources``; a sentence or two for the reference of the configuration |
| ``needs``, ``sends`` | for ``aistack-top doctor --permissions`` |
| ``fills`` | by layer: what an empty panel says would fill it, the longest form first |
| ``fixes`` | by status: what ``aistack-top doctor`` says to do |
| ``defaults`` | by key: the numbers that the configuration has unless set, where they are not the usual ones |
| ``[source.local]`` | how such a server is found on this node; without it, it is only read where it is named |
| ``build``, ``adder`` | bundled tables only: functions that read what no table can say, as ``MODULE:NAME`` |

``title``, ``identity``, ``hint`` and ``prefixes`` stand at the top of the file: the engine that reads pages needs them.
"""

import re
import tomllib
from typing import Literal

import msgspec

from aistack_top.model.signals import Layer
from aistack_top.strict_toml import Problem, nearest

Identity = tuple[str | tuple[str, ...], ...]
"""By what a page is known: one of these is enough. A text begins a name; a list has whole names, all on the page."""

FIX_STATUSES = ("down", "slow", "stale", "unauthorized", "misconfigured")
DEFAULT_KEYS = ("interval", "timeout")


class DiscoveryHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    r"""How a server of a kind is found on this node.

    ``ports`` are those it has unless told otherwise; ``process`` is a pattern of its command line, words parted by
    ``\0``. ``names`` are by what its page is known, where ``identity`` would also fit others; a page with one of
    the names ``without``, or one of the labels ``without_labels`` on its own names, is another's.
    """

    ports: tuple[int, ...] = ()
    process: str = ""
    path: str = "/metrics"
    names: Identity = ()
    without: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[source]``. The module's table explains the keys."""

    kind: str
    layer: Layer
    reads: str
    needs: str
    sends: str
    about: str = ""
    fills: dict[str, tuple[str, ...]] | None = None
    fixes: dict[str, str] = {}
    defaults: dict[Literal["interval", "timeout"], float] = {}
    local: DiscoveryHints | None = None
    build: str = ""
    adder: str = ""

    def problems(self) -> list[Problem]:
        """Return what is well formed and yet wrong, each with the key that says it."""
        found: list[Problem] = []
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.kind):
            found.append((("source", "kind"), f"{self.kind!r} is not a valid kind: use a-z, 0-9 and '-'"))
        found += [
            (("source", "fixes", status), f"no such status: {status!r}{nearest(status, FIX_STATUSES)}")
            for status in self.fixes
            if status not in FIX_STATUSES
        ]
        found += [(("source", "defaults", key), f"{key}: more than 0") for key, n in self.defaults.items() if n <= 0]
        if self.local:
            try:
                re.compile(self.local.process)
            except (re.error, OverflowError) as error:
                found.append((("source", "local", "process"), f"process is no regular expression: {error}"))
        return found


class Known(msgspec.Struct, frozen=True):
    """The top of a table's file: what is needed of it before a page is read. ``where`` is its file, for a person."""

    title: str
    source: Head
    hint: str = ""
    prefixes: tuple[str, ...] = ()


def head_of(text: str) -> Known | None:
    """Return the top of a sound table without parsing its rows; None for a file that has no ``[source]``."""
    if "\n[source]\n" not in text:
        return None
    return msgspec.convert(tomllib.loads(text.partition("\n[[metric]]")[0]), Known)
