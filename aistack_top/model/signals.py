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
