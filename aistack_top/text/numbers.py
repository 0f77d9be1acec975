"""Numbers as people read them: four significant places at the most, a unit, and no false precision.

| the truth | what is written |
|---|---|
| nothing known | ``–`` |
| too few to say | ``too few`` |
| below the histogram's first edge | ``< 0.3 s`` |
| above its last | ``> 80 s`` |
"""

from collections.abc import Callable
from math import isfinite

from aistack_top.model.signals import Signal
from aistack_top.model.tick import Bound

UNKNOWN = "–"
TOO_FEW = "too few"

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_MEMORY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
"""Memory in powers of two, as nvidia-smi counts it; traffic in powers of ten, as links are rated."""

_PLAIN = ("", "k", "M", "G", "T")


def show(value: float | Bound | None, unit: str) -> str:
    """Return a value of a unit (those of ``signals.toml``) as text; None and what is not finite are `UNKNOWN`."""
    if value is None or not isfinite(value.limit if isinstance(value, Bound) else value):
        return UNKNOWN
    if isinstance(value, Bound):
        sign = "<" if value.side == "below" else ">"
        return f"{sign} {value.limit:g} s" if unit == "s" else f"{sign} {show(value.limit, unit)}"
    if unit in _UNITS:
        return _UNITS[unit](value)
    text = short(value)
    return text + "/s" if unit.endswith("/s") else text + "/day" if unit.endswith("/d") else text


def of_signal(value: float | Bound | None, signal: Signal) -> str:
    """Return a value of a signal as text: yes or no for a flag that is on or off, else as `show` writes its unit."""
    if signal.kind == "flag" and signal.form == "gauge" and signal.unit == "1" and isinstance(value, float):
        return UNKNOWN if not isfinite(value) else "yes" if value else "no"
    return show(value, signal.unit)


def short(value: float) -> str:
    """Return a bare number in at most five characters and a sign: 0.042, 4.2, 42, 4200, 42k."""
    size = abs(value)
    if size >= 10_000:
        return _scaled(value, _PLAIN, 1000.0, "")
    if value == int(value) or size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.095 else f"{value:.3f}"


def seconds(value: float) -> str:
    """Return a duration: microseconds to days."""
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.001:
        return f"{value * 1e6:.0f} µs"
    if size < 0.9995:
        return f"{value * 1e3:.0f} ms" if size >= 0.00995 else f"{value * 1e3:.1f} ms"
    if size < 99.95:
        return f"{value:.1f} s" if size >= 9.95 or value == round(value, 1) else f"{value:.2f} s"
    if size < 5_940:
        return f"{value / 60:.1f} min" if size < 600 else f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h" if size < 172_800 else f"{value / 86400:.1f} d"


def duration(value: float | None) -> str:
    """Return a duration that may not be known."""
    return UNKNOWN if value is None else seconds(value)


def age(value: float | None) -> str:
    """Return an age as it stands beside a number: ``4 s``, ``3 min``; never finer than a second."""
    if value is None:
        return "never"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def _scaled(value: float, names: tuple[str, ...], base: float, gap: str) -> str:
    size, step = abs(value), 0
    while size >= base * 0.9995 and step < len(names) - 1:
        size, value, step = size / base, value / base, step + 1
    text = f"{value:.0f}" if size >= 99.5 or value == int(value) else f"{value:.1f}" if size >= 9.95 else f"{value:.2f}"
    return f"{text}{gap}{names[step]}"


def _percent(value: float) -> str:
    size = abs(value) * 100
    return (
        f"{value * 100:.0f} %" if size >= 9.95 or size == 0 else f"{value * 100:.1f} %" if size >= 0.05 else "< 0.1 %"
    )


def _hertz(value: float) -> str:
    return f"{value / 1e6:.0f} MHz"


def _dollars(value: float) -> str:
    return (
        f"${value:,.0f}"
        if abs(value) >= 1000
        else f"${value:.2f}"
        if abs(value) >= 0.1 or value == 0
        else f"${value:.4f}"
    )


_UNITS: dict[str, Callable[[float], str]] = {
    "1": _percent,
    "s": seconds,
    "By": lambda value: _scaled(value, _MEMORY, 1024.0, " "),
    "By/s": lambda value: _scaled(value, _BYTES, 1000.0, " ") + "/s",
    "Hz": _hertz,
    "{flag}": lambda value: "yes" if value else "no",
    "W": lambda value: f"{value:.0f} W",
    "J": lambda value: _scaled(value, ("J", "kJ", "MJ", "GJ"), 1000.0, " "),
    "Cel": lambda value: f"{value:.0f} °C",
    "USD": _dollars,
    "USD/h": lambda value: _dollars(value) + "/h",
}
