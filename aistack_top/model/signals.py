"""What a signal is, and the one table of them all.

| who reads the table | for what |
|---|---|
| collectors' tests | every emitted signal is declared |
| panels, drill-downs, help | title, unit, what it means, when to worry |
| exports | unit, OpenTelemetry name |
| diagnosis | kind, direction, floor, when it is recorded |

The user's own files (`aistack_top.user_files`) add signals to the table and change none of it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from aistack_top.user_files import reads_user_files, toml_files

Layer = Literal["compute", "serving", "training", "data", "pipelines", "tracing", "governance", "spend"]
LAYERS: tuple[Layer, ...] = (
    "compute",
    "serving",
    "training",
    "data",
    "pipelines",
    "tracing",
    "governance",
    "spend",
)
"""The layers in the order of the overview; a layer's key is its place, counted from 1."""

Form = Literal["gauge", "rate", "ratio", "quantiles", "count"]
Kind = Literal["flag", "input", "state", "symptom", "other"]
Hurts = Literal["up", "down", "both"]
Recorded = Literal["sample", "arrival", "first_token", "finish"]


ROUNDING = 0.005
"""How far a share may lie outside 0 to 1 and still be meant: half a percent, what whole percents are rounded to."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured quantity, whoever measures it. The fields are explained at the head of ``signals.toml``."""

    name: str
    layer: Layer
    unit: str
    form: Form
    kind: Kind
    hurts: Hurts
    floor: float
    title: str
    help: str
    recorded: Recorded = "sample"
    otel: str = ""
    worry: str = ""
    under: str = ""
    covered: str = ""
    adds: bool = False
    signed: bool = False
    per: str = ""

    @property
    def up_to_one(self) -> bool:
        """Whether no value is above 1: of a share, and of what is either on or off."""
        return self.form == "ratio" or self.unit == "{flag}" or (self.kind == "flag" and self.unit == "1")

    def possible(self, value: float) -> float | None:
        """Return a value within the signal's bounds, what rounding did undone; None for one that cannot be.

        A count, a size or a rate is not below 0 unless ``signed``; neither a ratio nor a flag is above 1.
        """
        if self.signed or (value >= 0.0 and (value <= 1.0 or not self.up_to_one)):
            return value
        slack = ROUNDING if self.form == "ratio" else 1e-9
        if value < 0.0:
            return 0.0 if value >= -slack else None
        return 1.0 if value <= 1.0 + slack else None


@reads_user_files
def signals() -> Mapping[str, Signal]:
    """Return the table, by name, in the order of the files: the bundled one, then the user's own."""
    bundled = _bundled()
    return MappingProxyType(bundled | _of_user()[0] if toml_files("signals") else bundled)


def signal(name: str) -> Signal:
    """Return one signal.

    Raises:
        KeyError: there is no such signal.

    """
    return signals()[name]


def user_problems() -> list[str]:
    """Return what is wrong in the user's signal files, with file and line; a signal with a mistake is left out."""
    return _of_user()[1]


def _bundled() -> dict[str, Signal]:
    text = files("aistack_top.model").joinpath("signals.toml").read_text(encoding="utf-8")
    return {name: Signal(name=name, **row) for name, row in tomllib.loads(text).items()}


@reads_user_files
def _of_user() -> tuple[dict[str, Signal], list[str]]:
    """Return the user's signals, and what is wrong in their files."""
    import re

    from aistack_top.strict_toml import Problem, located, nearest, problems_of

    bundled, good, said = _bundled(), {}, []
    for file in toml_files("signals"):
        try:
            text = file.read_text(encoding="utf-8")
            raw = tomllib.loads(text)
        except (OSError, ValueError) as error:
            said.append(f"{file}: cannot be read: {error}")
            continue
        for name, row in raw.items():
            if not isinstance(row, dict):
                said += located([((name,), f'write ["{name}"] and its keys below')], text, str(file))
                continue
            problems: list[Problem] = list(problems_of({"name": name, **row}, Signal, (name,)))
            if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+", name):
                problems.append(((name,), f"{name!r} is no name of a signal; write it as 'data.queue_length'"))
            if name in bundled or name in good:
                problems.append(((name,), f"{name} is a signal already; give yours another name"))
            problems += [
                ((name, key), f"no such signal: {row[key]!r}{nearest(str(row[key]), [*bundled, *raw])}")
                for key in ("under", "covered")
                if row.get(key) and row[key] not in bundled and row[key] not in raw
            ]
            said += located(problems, text, str(file))
            if not problems:
                good[name] = Signal(name=name, **row)
    return good, said
