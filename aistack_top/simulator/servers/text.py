"""Prometheus text, in the form and order in which the Python client library writes it."""

from collections.abc import Mapping
from functools import lru_cache
from math import inf

from aistack_top.simulator.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
"""Names and values, in the order of the names."""


def labels(**named: str) -> Labels:
    """Return labels in the order of their names, as the client writes them."""
    return tuple(sorted(named.items()))


class PageWriter:
    """A page being written: families, each with its samples.

    The Python client also says since when counters and histograms count; the Go client (``go``) does not, and writes
    whole numbers without a point. OpenTelemetry's exporter (``created`` false) writes as the Python client, without it.
    """

    def __init__(self, *, go: bool = False, created: bool = True) -> None:
        self._lines: list[str] = []
        self._go, self._created = go, created and not go

    def family(self, name: str, kind: str, says: str) -> None:
        """Begin a family; ``kind`` is the type and ``says`` the help text."""
        self._lines.append(f"# HELP {name} {says}\n# TYPE {name} {kind}")

    def sample(self, name: str, of: Labels, value: float) -> None:
        """Write one sample."""
        self._lines.append(f"{_head(name, of)} {_number(value, self._go)}")

    def samples(self, name: str, kind: str, says: str, values: Mapping[Labels, float]) -> None:
        """Write a family with all its samples; one without samples is left out."""
        if values:
            self.family(name, kind, says)
            for of, value in values.items():
                self.sample(name, of, value)

    def counter(self, name: str, says: str, values: Mapping[Labels, float], created: float) -> None:
        """Write a counter, ``name`` without ``_total``, and since when it counts."""
        self.samples(f"{name}_total", "counter", says, values)
        if self._created:
            self.samples(f"{name}_created", "gauge", says, dict.fromkeys(values, created))

    def histogram(self, name: str, says: str, values: Mapping[Labels, Histogram], created: float) -> None:
        """Write a histogram, and since when it counts."""
        self.family(name, "histogram", says)
        lines = self._lines
        for of, one in values.items():
            total = 0
            for head, count in zip(_bucket_heads(name, of, one.edges, self._go), one.counts, strict=True):
                total += count
                lines.append(f"{head} {total}" if self._go else f"{head} {total}.0")
            self.sample(f"{name}_count", of, total)
            self.sample(f"{name}_sum", of, one.total)
        if self._created:
            self.samples(f"{name}_created", "gauge", says, dict.fromkeys(values, created))

    def encode(self) -> bytes:
        """Return the page."""
        return ("\n".join(self._lines) + "\n").encode()


def escaped(value: str) -> str:
    """Return a label's value as it stands between quotes."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


@lru_cache(maxsize=8192)
def _head(name: str, of: Labels) -> str:
    if not of:
        return name
    pairs = ",".join(f'{key}="{escaped(value)}"' for key, value in of)
    return f"{name}{{{pairs}}}"


@lru_cache(maxsize=1024)
def _bucket_heads(name: str, of: Labels, edges: tuple[float, ...], go: bool) -> tuple[str, ...]:
    told = ["+Inf" if edge == inf else _number(edge, go) for edge in (*edges, inf)]
    return tuple(_head(f"{name}_bucket", labels(**dict(of), le=edge)) for edge in told)


def _number(value: float, go: bool) -> str:
    return f"{int(value)}" if go and value == int(value) else repr(float(value))
