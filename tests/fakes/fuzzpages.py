"""Valid pages that nobody has ever seen: any table's metrics with any values, labels, order, births and resets.

A sequence holds what a real server holds: counters that rise or begin anew, cumulative buckets, shares of which no part
is larger than the whole. Gauges are any double that the format can write.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from collectors.openmetrics.build import table
from collectors.openmetrics.table import Metric, Table, naming
from collectors.vllm.collector import table as vllm_table

TABLES: Mapping[str, Callable[[], Table]] = {
    "vllm": vllm_table,
    "dcgm": lambda: table("compute", "dcgm"),
    "litellm": lambda: table("governance", "litellm"),
    "nemo": lambda: table("governance", "nemo"),
    "ray": lambda: table("training", "ray"),
    "milvus": lambda: table("data", "milvus"),
}

SPECIAL: tuple[float, ...] = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1.7, 100.0, 5e-324, 2147483632.0, 1e18, 9223372036854775807.0, 18446744073709551615.0),
    *(3.4028234663852886e38, 3.5e38, -3.5e38, 1e39, 1.7976931348623157e308, -1.797e308),
    *(float("inf"), float("-inf"), float("nan")),
)
EXTRA = ("pod", "namespace", "instance", "replica", "hostname", "é")
EDGES = ("0", "0.001", "0.005", "0.1", "0.5", "1", "2.5", "10", "100", "1e3", "2.5e4")

Labels = tuple[tuple[str, str], ...]


class Server:
    """One server that a table fits, over time."""

    def __init__(self, kind: str, random: Random) -> None:
        self.table = TABLES[kind]()
        self._random = random
        self._scale = 10.0 ** random.uniform(-3, 36)
        rows = random.sample(self.table.metric, min(len(self.table.metric), random.randint(3, 9)))
        self._series: list[_Series] = []
        for row in rows:
            self._begin(row)

    def pages(self, count: int) -> Iterator[bytes]:
        """Give its pages, one after the other."""
        for _ in range(count):
            chance = self._random.random()
            if chance < 0.1:
                for one in self._series:
                    one.reset()
            elif chance < 0.2:
                self._begin(self._random.choice(self.table.metric))
            elif chance < 0.25 and len(self._series) > 1:
                self._series.pop(self._random.randrange(len(self._series)))
            lines = [line for one in self._series for line in one.lines(self._random, self._scale)]
            # the format wants the lines of a family together; servers and proxies that merge pages do not keep to it
            if self._random.random() < 0.5:
                self._random.shuffle(lines)
            yield "".join(dict.fromkeys(lines)).encode()

    def _begin(self, row: Metric) -> None:
        known = {key for one in self._series for key in one.keys}
        for name in row.names if row.join else (self._random.choice(row.names),):
            for _ in range(self._random.randint(1, 3)):
                labels = self._labels(row)
                over: tuple[()] | tuple[str, Labels] = ()
                if row.over and row.names != row.over:
                    # the whole has the name of the same version, and its part's labels but for what tells them apart
                    rest = {key: text for key, text in labels if key not in row.where}
                    whole = row.over[min(row.names.index(name), len(row.over) - 1)]
                    over = (whole, tuple(sorted({**rest, **self._chosen(row.over_where)}.items())))
                edges = EDGES if self._random.random() < 0.8 else sorted(self._random.sample(EDGES, 4), key=float)
                made = _Series(row, name, labels, over, edges)
                if known.isdisjoint(made.keys):
                    known |= made.keys
                    self._series.append(made)

    def _chosen(self, where: Mapping[str, str]) -> dict[str, str]:
        """Return a label's value that each pattern lets pass, as far as it is a plain list of words."""
        words = {label: [word for word in pattern.split("|") if word.isalnum()] for label, pattern in where.items()}
        return {label: self._random.choice(known or ["200"]) for label, known in words.items()}

    def _labels(self, row: Metric) -> Labels:
        random, found = self._random, dict[str, str]()
        for given_way in {**self.table.entity, **row.entity}.values():
            way = naming(given_way)
            if (way.labels or way.rank) and random.random() < 0.9:
                found.setdefault(random.choice(way.labels or way.rank), random.choice("abc"))
        if row.label:
            found[row.label] = ",".join(random.choices("xyz", k=random.randint(0, 4)))
        found |= self._chosen(row.where)
        if random.random() < 0.3:
            found[random.choice(EXTRA)] = random.choice(("1", "b c", 'q"}{', "z\\"))
        return tuple(sorted(found.items()))


class _Series:
    """A gauge, a counter with or without the whole it is a part of, or a histogram."""

    def __init__(
        self, row: Metric, name: str, labels: Labels, over: tuple[str, Labels] | tuple[()], edges: Sequence[str]
    ) -> None:
        self.name, self.labels, self._over = name, labels, over
        self._row = row
        self._edges = edges
        self.keys = {(name, labels)} | ({over} if over else set())
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._value = self._whole = self._sum = 0.0
        self._counts = [0.0] * (len(self._edges) + 1)

    def lines(self, random: Random, scale: float) -> Iterator[str]:
        """Give its lines of the next page."""
        if self._row.type in ("gauge", "names"):
            yield self._line(self.name, self.labels, _any(random))
        elif self._row.type == "histogram":
            yield from self._histogram(random)
        else:
            step = random.choice((0.0, 1.0, scale * random.random()))
            self._value += step * random.random() if self._over else step
            self._whole += step
            yield self._line(self.name, self.labels, self._value)
            if self._over:
                yield self._line(self._over[0], self._over[1], self._whole)

    def _histogram(self, random: Random) -> Iterator[str]:
        for _ in range(random.randint(0, 40)):
            place = random.randrange(len(self._counts))
            self._sum += float(self._edges[place]) if place < len(self._edges) else 1e6
            for above in range(place, len(self._counts)):
                self._counts[above] += 1.0
        for edge, count in zip((*self._edges, "+Inf"), self._counts, strict=True):
            yield self._line(f"{self.name}_bucket", (*self.labels, ("le", edge)), count)
        yield self._line(f"{self.name}_count", self.labels, self._counts[-1])
        yield self._line(f"{self.name}_sum", self.labels, self._sum)

    @staticmethod
    def _line(name: str, labels: Labels, value: float) -> str:
        escaped = (f'{key}="{text}"' for key, text in ((k, _escaped(v)) for k, v in labels) if key.isascii())
        return f"{name}{{{','.join(escaped)}}} {value!r}\n".replace(" inf", " +Inf").replace(" nan", " NaN")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _any(random: Random) -> float:
    """Return any double, the usual ones more often."""
    chance = random.random()
    if chance < 0.25:
        return random.choice(SPECIAL)
    if chance < 0.6:
        return random.choice((1.0, 10.0, 1e6)) * random.random()
    sign = -1.0 if random.random() < 0.3 else 1.0
    return sign * math.pow(10.0, random.uniform(-320, 308))
