"""Valid inputs as installations give them, each with the right answer; `docs/variants.md` lists them.

Every page is made up by the names and labels of the software that its title names. The answers were worked out by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

START = 1_000_000.0

Wanted = Mapping[tuple[str, str], float | None]
"""Signal and entity (``key=value`` joined by spaces, its source left out) to the value; None: no number is told."""


@dataclass(frozen=True)
class Variant:
    """One input: ``pages`` are ``step`` s apart.

    ``says`` and ``events`` are parts of what the health record and the events say, ``silent`` of what they do not.
    """

    title: str
    kind: str
    pages: Sequence[str]
    wanted: Wanted
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    no_event: tuple[str, ...] = ()
    step: float = 5.0
    content_type: str = "text/plain; version=0.0.4"
    only: str = ""
    """Beginning of signals of which there is nothing but what is ``wanted``."""
    config: Mapping[str, object] = field(default_factory=dict)


def histogram(name: str, labels: str, counts: Mapping[str, float], total: float) -> str:
    """Return the lines of a histogram; ``counts`` are cumulative, by upper edge."""
    comma = "," if labels else ""
    lines = [f'{name}_bucket{{{labels}{comma}le="{edge}"}} {count}' for edge, count in counts.items()]
    return "\n".join([*lines, f"{name}_sum{{{labels}}} {total}", f"{name}_count{{{labels}}} {counts['+Inf']}"]) + "\n"


def gpu(number: int, host: str = "n1", **more: str) -> str:
    """Return the labels of dcgm-exporter's lines."""
    named = {"gpu": str(number), "UUID": f"GPU-{host}-{number}", "modelName": "NVIDIA H100", "Hostname": host, **more}
    return ",".join(f'{key}="{text}"' for key, text in named.items() if text)
