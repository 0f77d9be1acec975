"""Why a GPU holds its clocks down, how much of the time, and when that began and ended.

A snapshot of the reasons misses short ones, so the share of the interval comes from the driver's own counters of
nanoseconds where it keeps them, and from the snapshot (all or nothing) for the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aistack_top.measure.counters import RateMeter
from aistack_top.model.tick import Severity
from collectors.nvml.calls import Field, FieldKey

NANO: Final = 1e-9
MIN_SHARE: Final = 0.01
"""A smaller share of an interval is not worth an event, and a counter that shows less while the snapshot shows the
reason twice in a row is not kept by this GPU."""

CALM_S: Final = 5.0
"""A reason that comes and goes within this time has not ended in between."""


@dataclass(frozen=True, slots=True)
class ThrottleReason:
    """A clock-event reason: its bit (``nvmlClocksEventReason*``), its counter in ns, and whether it is an alarm.

    A reason with a ``severity`` makes events; ``after`` is how many readings in a row it takes to begin one.
    """

    name: str
    bit: int
    says: str
    counter: Field | None = None
    zero: bool = False
    severity: Severity | None = None
    after: int = 1


REASONS: Final = (
    ThrottleReason("gpu_idle", 0x001, "idle"),
    ThrottleReason("clocks_setting", 0x002, "an operator fixed the clocks"),
    ThrottleReason("power_cap", 0x004, "the power limit", Field.PERF_POLICY_POWER, zero=True),
    # also seen for a moment at changes of the performance state
    ThrottleReason(
        "hw_slowdown", 0x008, "the hardware, for heat or power", None, zero=True, severity="critical", after=2
    ),
    ThrottleReason("sync_boost", 0x010, "the slowest GPU of its sync-boost group", Field.PERF_POLICY_SYNC_BOOST),
    ThrottleReason(
        "sw_thermal", 0x020, "heat", Field.CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, zero=True, severity="warning"
    ),
    ThrottleReason(
        "hw_thermal",
        0x040,
        "heat at the limit of the hardware",
        Field.CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
        zero=True,
        severity="critical",
    ),
    ThrottleReason(
        "hw_power_brake",
        0x080,
        "the power brake of the chassis or its power supply",
        Field.CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
        zero=True,
        severity="critical",
    ),
    ThrottleReason("display_clocks", 0x100, "the display's clocks"),
)
"""Table 2 of NVIDIA's ``nvml.h`` (clocks event reasons), in the order of the bits."""

COUNTERS: Final = tuple(reason.counter for reason in REASONS if reason.counter is not None)
THERMAL: Final = 0x020 | 0x040
_KNOWN: Final = sum(reason.bit for reason in REASONS)
_DEEPER: Final = frozenset({"hw_thermal", "hw_power_brake"})


@dataclass(frozen=True, slots=True)
class ThrottleChange:
    """A reason began to hold the clocks down, or ended after ``lasted_s`` seconds."""

    reason: ThrottleReason
    began: bool
    lasted_s: float = 0.0


@dataclass(slots=True)
class _Spell:
    readings: int = 0
    since: float = 0.0
    last: float = 0.0
    told: bool = False


class ThrottleWatch:
    """The reasons of one GPU from reading to reading."""

    def __init__(self, interval_s: float) -> None:
        self._meters = {reason.name: RateMeter(interval_s) for reason in REASONS if reason.counter is not None}
        self._before = 0
        self._unkept: set[str] = set()
        self._seen = {reason.name for reason in REASONS if reason.zero}
        self._spells: dict[str, _Spell] = {}

    def read(self, at: float, mask: int | None, counters: Mapping[FieldKey, float]) -> Mapping[str, float]:
        """Return the share of the time since the last reading, 0 to 1, by reason.

        ``mask`` is the snapshot, None where there is none; ``counters`` nanoseconds since the driver's start, by
        field. A zero is a known zero: reasons never seen on this GPU are left out, but for those that are alarms.
        """
        shares: dict[str, float] = {}
        for reason in REASONS:
            share = self._share(reason, at, mask, counters)
            if share is not None and (share > 0 or reason.name in self._seen):
                self._seen.add(reason.name)
                shares[reason.name] = share
        for name in _others(mask or 0):
            self._seen.add(name)
            shares[name] = 1.0
        if mask is not None:
            for name in self._seen:
                if name.startswith("other "):
                    shares.setdefault(name, 0.0)
        self._before = mask or 0
        return shares

    def turns(self, at: float, shares: Mapping[str, float]) -> Iterator[ThrottleChange]:
        """Yield what began and what ended with these shares."""
        deeper = any(shares.get(name, 0.0) >= MIN_SHARE for name in _DEEPER)
        for reason in REASONS:
            if reason.severity is None:
                continue
            # the general bit is set along with the particular one, which says more
            held = shares.get(reason.name, 0.0) >= MIN_SHARE and not (reason.name == "hw_slowdown" and deeper)
            turn = self._turn(reason, at, held)
            if turn is not None:
                yield turn

    def _share(
        self, reason: ThrottleReason, at: float, mask: int | None, counters: Mapping[FieldKey, float]
    ) -> float | None:
        held = None if mask is None else bool(mask & reason.bit)
        count = None if reason.counter is None else counters.get((reason.counter, 0))
        if count is not None:
            rate = self._meters[reason.name].observe(at, count).rate
            if rate is not None:
                share = min(rate * NANO, 1.0)
                if share >= MIN_SHARE:
                    self._unkept.discard(reason.name)
                elif held and self._before & reason.bit:
                    self._unkept.add(reason.name)
                if reason.name not in self._unkept:
                    return share
        return None if held is None else float(held)

    def _turn(self, reason: ThrottleReason, at: float, held: bool) -> ThrottleChange | None:
        spell = self._spells.get(reason.name)
        if held:
            if spell is None:
                spell = self._spells[reason.name] = _Spell(since=at)
            spell.readings += 1
            spell.last = at
            if not spell.told and spell.readings >= reason.after:
                spell.told = True
                return ThrottleChange(reason, began=True)
        elif spell is not None:
            if not spell.told:
                del self._spells[reason.name]
            elif at - spell.last >= CALM_S:
                del self._spells[reason.name]
                return ThrottleChange(reason, began=False, lasted_s=spell.last - spell.since)
        return None


def _others(mask: int) -> list[str]:
    rest = mask & ~_KNOWN
    return [f"other {1 << place:#x}" for place in range(rest.bit_length()) if rest >> place & 1]
