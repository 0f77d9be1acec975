"""What is typed after ``/``: words and fields, as in ``model:llama ttft>2s !status:ok``.

| term | a row stays if |
|---|---|
| ``llama`` | any of its texts has the word |
| ``model:llama`` | this field has the word |
| ``ttft>2s`` ``>=`` ``<`` ``<=`` ``=`` | this number compares so; units as they are written on the screen |
| ``!term`` | the term does not hold |

All terms must hold. A number nobody knows compares with nothing.
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan

Value = str | float | None
Fields = Mapping[str, Value]

_TERM = re.compile(r"(!?)(?:([A-Za-z_][\w.\-]*)(:|>=|<=|>|<|=))?(.+)")
_NUMBER = re.compile(r"\$?(-?\d+(?:\.\d+)?)\s*([A-Za-zµ%]*)")
_UNITS = {
    "": 1.0,
    "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60.0, "h": 3600.0,
    "%": 0.01,
    "k": 1e3, "m": 1e6, "g": 1e9,
    "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
    "hz": 1.0, "mhz": 1e6, "ghz": 1e9, "w": 1.0, "kw": 1e3, "c": 1.0,
}  # fmt: skip


class FilterError(ValueError):
    """The filter cannot be read; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on a row."""

    negated: bool
    field: str
    relation: str
    text: str
    number: float | None

    def holds(self, fields: Fields) -> bool:
        """Whether a row meets the condition."""
        return self._plainly(fields) != self.negated

    def _plainly(self, fields: Fields) -> bool:
        if not self.field:
            return any(self.text in value.casefold() for value in fields.values() if isinstance(value, str))
        value = fields.get(self.field)
        if self.relation == ":":
            return isinstance(value, str) and self.text in value.casefold()
        if isinstance(value, str):
            return self.relation == "=" and value.casefold() == self.text
        if value is None or isnan(value) or self.number is None:
            return False
        return _RELATIONS[self.relation](value, self.number)


@dataclass(frozen=True, slots=True)
class Filter:
    """All the conditions of a filter, and how it was typed."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def passes(self, fields: Fields) -> bool:
        """Whether a row stays."""
        return all(term.holds(fields) for term in self.terms)

    def unknown(self, known: Iterable[str]) -> str:
        """Return a sentence about the first field that no row has; empty when all are known."""
        names = sorted(set(known))
        for term in self.terms:
            if term.field and term.field not in names:
                near = difflib.get_close_matches(term.field, names, 1)
                return f"no field {term.field!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        return ""

    def __bool__(self) -> bool:
        return bool(self.terms)


EVERYTHING = Filter()


def read(text: str) -> Filter:
    """Return the filter that was typed.

    Raises:
        FilterError: a term cannot be read.

    """
    return Filter(text.strip(), tuple(_term(part) for part in text.split()))


def field_name(title: str) -> str:
    """Return a column's title as it is typed in a filter: ``TTFT p95`` is ``ttft_p95``."""
    return re.sub(r"[^\w]+", "_", title.strip().casefold()).strip("_")


def _term(part: str) -> Term:
    match = _TERM.fullmatch(part)
    if match is None or part == "!" or part[-1] in "<>=:":
        raise FilterError(f"{part!r} is not a condition; write model:llama or ttft>2s")
    negated, field, relation, said = bool(match[1]), (match[2] or "").casefold(), match[3] or "", match[4]
    number = None
    if relation and relation != ":":
        number = _number(said)
        if number is None and relation != "=":
            raise FilterError(f"{said!r} is not a number; write {field}{relation}2s")
    return Term(negated, field, relation, said.casefold(), number)


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].casefold() not in _UNITS:
        return None
    return float(match[1]) * _UNITS[match[2].casefold()]


def _near(value: float, limit: float) -> bool:
    return abs(value - limit) <= 1e-9 * max(abs(limit), 1.0)


_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": _near,
}
