"""What a signal is, and the one table of them all.

| who reads the table | for what |
|---|---|
| collectors' tests | every emitted signal is declared |
| panels, drill-downs, help | title, unit, what it means, when to worry |
| exports | unit, OpenTelemetry name |
| diagnosis | kind, direction, floor, when it is recorded |
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

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

    def possible(self, value: float) -> float | None:
        """Return a value within the signal's bounds, what rounding did undone; None for one that cannot be.

        A count, a size or a rate is not below 0 unless ``signed``; a ratio is not above 1.
        """
        if self.signed or (value >= 0.0 and (self.form != "ratio" or value <= 1.0)):
            return value
        slack = ROUNDING if self.form == "ratio" else 1e-9
        if value < 0.0:
            return 0.0 if value >= -slack else None
        return 1.0 if value <= 1.0 + slack else None


@cache
def signals() -> Mapping[str, Signal]:
    """Return the table, by name, in the order of the file."""
    text = files("aistack_top.model").joinpath("signals.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: Signal(name=name, **row) for name, row in tomllib.loads(text).items()})


def signal(name: str) -> Signal:
    """Return one signal.

    Raises:
        KeyError: there is no such signal.

    """
    return signals()[name]
