"""Streaming detection: when a symptom leaves what is usual for it, and since when. O(1) a sample.

A value is the median of the last 30 s, on a log scale. What is usual is the median and the spread of the last 30
minutes, without the last minute, and not while it is out. Out is above the usual by a factor and by a floor, and above
nearly all that was seen in those 30 minutes by a factor: busy minutes of an ordinary day stay inside.

Bursts that pass are usual life too. They are learned when they are over: how high they were, and how long. What is no
higher must last longer than they do, and two minutes, or have a cause that is not the load
(`AnomalyDetector.candidate`).
"""

from collections import deque
from dataclasses import dataclass, field
from math import exp, inf, log, sqrt

from aistack_top.diagnosis.change import median, spread
from aistack_top.model.tick import SeriesKey

STEP_S = 5.0
SMOOTH = 6
"""Samples of the trailing median: 30 s."""

MAX_SAMPLES = 360
HOLD_BACK_SAMPLES = 12
"""The last minute is not yet baseline."""

MIN_SAMPLES = 36
"""Three minutes of baseline; with fewer only absolute floors speak, after a minute."""

NEEDED, NEEDED_FAR, NEEDED_STRONG = 18, 12, 4
"""Grid samples in a row: 90 s for what is just outside, a minute from one and a half times the limit, 20 s from two
and a half times. A burst of fifteen seconds lifts a quantile over 60 s for over a minute, and is no incident."""

FAR, STRONG = log(1.5), log(2.5)
LASTING, LASTING_RATIO = 24, log(2.0)
"""Pain that lasts: twice the usual for two minutes, whatever bursts reached."""

MAX_LASTING = 60
"""Five minutes are no burst, however long those before were."""

TAIL_SPREADS = 4.0
"""Of bursts that last, or exceed their usual height, exponentially long, one in ``exp(4)`` is longer or higher than the
usual by four spreads: of one a minute less than one an hour, and both must be so at once."""

MAX_RUNS = 64
UNTRIED = 120
"""With less than ten minutes of baseline few bursts can have been seen: what may be one must last as long as none."""

BRIEF_S = 300.0
"""An excursion that ended so soon is learned as a burst."""
CALM_S = 60.0
SILENT_S = 300.0
"""A symptom that says nothing for so long has ended, as far as anybody can tell."""

LOOK_BACK = 72
TINY = 1e-6

EARLY, EARLY_RATIO, EARLY_FLOORS, EARLY_HELD = 6, log(4.0), 4.0, 3
"""Before there is a baseline: over four times all that was seen in at least 30 s, by four floors, for two minutes. The
newest 15 s are held back: a median climbs in steps."""


def _linear(level: float) -> float:
    """Return the value of a log level; what stood at the floor of the scale was nothing at all."""
    return exp(level) if level > log(TINY) + TINY else 0.0


@dataclass(frozen=True, slots=True)
class AnomalyLimits:
    """What makes a symptom's excursion.

    A factor over the usual, a floor above it in its unit, a factor over the 99th percentile of the past, and the value
    that is trouble whatever is usual (None: no such value).
    """

    ratio: float = 1.5
    floor: float = 0.1
    ratio_to_p99: float = 1.25
    min_duration: float = 1.0
    """Factor on how long it must last; a mean over many is steadier than a high quantile."""

    absolute: float | None = None
    early: int = LASTING
    """Samples that an excursion takes before there is a baseline."""


@dataclass(slots=True)
class Anomaly:
    """A symptom out of its usual range. Times are seconds since the epoch; ``usual`` is None without a baseline."""

    key: SeriesKey
    onset: float
    detected: float
    usual: float | None
    peak: float
    baseline_s: float
    end: float | None = None
    last: float = 0.0
    worst: float = 0.0
    """The largest value itself; ``peak`` is the largest median of 30 s, which opens and closes it."""

    now: float = 0.0

    @property
    def ratio(self) -> float | None:
        """How many times the usual its worst is."""
        return max(self.worst, self.peak) / self.usual if self.usual else None

    @property
    def ratio_now(self) -> float:
        """How many times the usual it is now; 1 where no usual is known."""
        return self.now / self.usual if self.usual else 1.0


@dataclass(slots=True)
class AnomalyDetector:
    """Watches one symptom series. Feed it every grid sample in order with `step`."""

    key: SeriesKey
    limits: AnomalyLimits
    excursion: Anomaly | None = None
    raised: float = 1.0
    """A person dismissed an incident of this symptom: its limits are higher by this factor."""

    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=SMOOTH))
    _raw: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LOOK_BACK))
    _waiting: deque[float] = field(default_factory=lambda: deque(maxlen=HOLD_BACK_SAMPLES))
    _past: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    _held: list[float] = field(default_factory=list)
    """Levels since it went out: a burst, if it passes."""

    _runs: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_RUNS))
    """How many samples each burst stood at twice the usual."""

    _out: int = 0
    _long: int = 0
    _lasting: float = inf
    _needed_long: int = LASTING
    _since_fit: int = 0
    _middle: float = 0.0
    _limit: float = inf
    _calm: int = 0
    _last: float = 0.0
    _first: float | None = None
    season: float = -inf
    """Log of what the same half hour of an earlier day reached; an excursion must exceed this too."""

    @property
    def baseline_s(self) -> float:
        """Seconds of usual life that are known."""
        return len(self._past if len(self._past) >= MIN_SAMPLES else self._seen()) * STEP_S

    @property
    def baseline(self) -> float | None:
        """The usual value, None while it is unknown; of less than three minutes it is only what was seen so far."""
        if len(self._past) >= MIN_SAMPLES:
            return _linear(self._middle)
        seen = sorted(self._seen())
        return _linear(median(seen)) if len(seen) >= EARLY else None

    def step(self, at: float, value: float, least: float = 1.0) -> Anomaly | None:
        """Take a sample; return the excursion when it opens or closes, else None. NaN is a gap and changes nothing.

        ``least``: none opens below so many times the usual, for what is known to pass.
        """
        if value != value:
            return self._silence(at)
        self._last = at
        self._first = at if self._first is None else self._first
        self._raw.append((at, value))
        self._recent.append(value)
        smooth = median(sorted(self._recent))
        level = log(max(smooth, TINY))
        limit = self._threshold()
        if self.excursion is not None:
            return self._while_open(at, smooth, level, limit)
        lasting = self._lasting_limit()
        if least > 1.0 and len(self._past) >= MIN_SAMPLES:
            limit, lasting = (max(one, self._middle + log(least)) for one in (limit, lasting))
        out, long = (len(self._recent) >= 3 and level > one for one in (limit, lasting))
        self._out = self._out + 1 if out else 0
        if not long and self._long:
            self._passed(self._long)
        self._long = self._long + 1 if long else 0
        if self._is_anomaly(value, level, limit, lasting):
            return self._open(at, smooth)
        if out or long:
            self._held.append(level)
        else:
            self._release()
            self._learn(level)
        return None

    def _is_anomaly(self, value: float, level: float, limit: float, lasting: float) -> bool:
        """Whether it is out for long enough: beyond what bursts reach, or for longer than they last."""
        over = level - limit
        needed = _needed(over)
        if len(self._past) < MIN_SAMPLES:
            needed = self.limits.early if self._early() == limit else max(needed, NEEDED_FAR)
        elif len(self._past) < UNTRIED:
            needed = LASTING
        if self._out >= needed * self.limits.min_duration and value > exp(limit):
            return True
        needed = MAX_LASTING if len(self._past) < UNTRIED else self._needed_long
        return self._long >= needed and value > exp(lasting)

    @property
    def candidate(self) -> Anomaly | None:
        """What would be an excursion if no bursts were usual here; None where nothing is out for so long.

        A cause that is not the load makes it one: see `confirm`.
        """
        if not self._long or self.excursion is not None or len(self._past) < MIN_SAMPLES:
            return None
        smooth = median(sorted(self._recent))
        needed = _needed(log(max(smooth, TINY)) - self._lasting_limit()) * self.limits.min_duration
        return self._excursion(self._last, smooth) if self._long >= needed else None

    def confirm(self, found: Anomaly) -> None:
        """Make a candidate the excursion."""
        self._begin(found)

    def _passed(self, run: int) -> None:
        """Remember how many samples a burst stood at twice the usual."""
        self._runs.append(run)
        self._needed_long = self._longer_than_bursts()

    def _longer_than_bursts(self) -> int:
        """Return how many samples are more than bursts last: two minutes, or the longest and a few spreads more."""
        mean = sum(self._runs) / len(self._runs)
        wide = sqrt(sum((run - mean) ** 2 for run in self._runs) / len(self._runs))
        usual = max(self._runs) + TAIL_SPREADS * wide
        return int(min(max(usual, LASTING), MAX_LASTING))

    def _release(self) -> None:
        """Learn what was out and passed."""
        for level in self._held:
            self._learn(level)
        self._held.clear()

    def ignore(self, peak: float) -> None:
        """Take a peak for harmless: only what goes a tenth beyond it is an excursion from now on."""
        if self.limits.absolute is not None or len(self._past) >= MIN_SAMPLES:
            self.raised *= max(1.1 * peak / exp(self._threshold()), 1.0)

    def _learn(self, level: float) -> None:
        if len(self._waiting) == HOLD_BACK_SAMPLES:
            self._past.append(self._waiting[0])
        self._waiting.append(level)
        self._since_fit += 1
        if self._since_fit >= HOLD_BACK_SAMPLES or len(self._past) == MIN_SAMPLES:
            self._fit()

    def _fit(self) -> None:
        self._since_fit = 0
        ordered: list[float] = sorted(self._past)
        if not ordered:
            return
        limits = self.limits
        self._middle = median(ordered)
        wide = 1.4826 * spread(ordered, self._middle)
        worst = ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)]
        usual = exp(self._middle)
        self._limit = max(
            self._middle + log(limits.ratio),
            self._middle + 4.0 * wide,
            worst + max(log(limits.ratio_to_p99), TAIL_SPREADS * _tail(ordered, log(usual + limits.floor))),
            log(usual + limits.floor),
        )
        self._lasting = max(self._middle + max(log(limits.ratio), LASTING_RATIO), log(usual + limits.floor))

    def _threshold(self) -> float:
        if len(self._past) < MIN_SAMPLES:
            absolute = self.limits.absolute
            return min(inf if absolute is None else log(absolute * self.raised), self._early())
        return max(self._limit, self.season) + log(self.raised)

    def _lasting_limit(self) -> float:
        if len(self._past) < MIN_SAMPLES:
            return inf
        return max(self._lasting, self.season) + log(self.raised)

    def _seen(self) -> list[float]:
        return [*self._past, *self._waiting]

    def _early(self) -> float:
        seen = self._seen()[:-EARLY_HELD]
        if len(seen) < EARLY:
            return inf
        usual = exp(median(sorted(seen)))
        return max(max(seen) + EARLY_RATIO, log(usual + EARLY_FLOORS * self.limits.floor)) + log(self.raised)

    def _open(self, at: float, smooth: float) -> Anomaly:
        return self._begin(self._excursion(at, smooth))

    def _begin(self, found: Anomaly) -> Anomaly:
        self.excursion = found
        self._calm = 0
        if len(self._past) >= MIN_SAMPLES:
            self._waiting.clear()  # the climb belongs to the trouble
        return found

    def _excursion(self, at: float, smooth: float) -> Anomaly:
        usual = self.baseline
        rise = sorted(value for _, value in list(self._raw)[-SMOOTH:])
        level = max(median(rise), smooth)
        half = exp(self._threshold()) if usual is None else usual + (level - usual) / 2
        onset = at
        for moment, value in reversed(self._raw):
            if value < half:
                break
            onset = moment
        # what was learned since the onset is no usual life: a start in the middle of things has hardly any
        known = min(self.baseline_s, max(onset - (self._first or onset), 0.0))
        worst = max(value for moment, value in self._raw if moment >= onset)
        return Anomaly(self.key, onset, at, usual, level, known, last=at, worst=worst, now=worst)

    def _while_open(self, at: float, smooth: float, level: float, limit: float) -> Anomaly | None:
        excursion = self.excursion
        if excursion is None:
            return None
        excursion.peak, excursion.now = max(excursion.peak, smooth), self._raw[-1][1]
        excursion.worst = max(excursion.worst, excursion.now)
        self._held.append(level)
        out = level > min(limit, self._lasting_limit())
        self._long = self._long + 1 if out else 0
        # once calm, what lasts no longer than bursts do is one
        if out and (not self._calm or not self._runs or self._long >= min(max(self._runs), LASTING)):
            excursion.last, self._calm = at, 0
            return None
        self._calm += 1
        return self._close(excursion.last + STEP_S) if self._calm * STEP_S >= CALM_S else None

    def _silence(self, at: float) -> Anomaly | None:
        gone = self.excursion is not None and self._last and at - self._last > SILENT_S
        return self._close(self._last) if gone else None

    def _close(self, end: float) -> Anomaly | None:
        excursion, self.excursion = self.excursion, None
        if excursion is not None:
            excursion.end = end
            if end - excursion.onset <= BRIEF_S and len(self._past) >= MIN_SAMPLES:
                self._passed(int((end - excursion.onset) / STEP_S))
                self._release()
        self._held.clear()
        self._out = self._long = 0
        return excursion


def _needed(over: float) -> int:
    """Return how many samples in a row it takes that far over a limit."""
    return NEEDED_STRONG if over > STRONG else NEEDED_FAR if over > FAR else NEEDED


def _tail(ordered: list[float], least: float) -> float:
    """Return the spread of the upper tenth of sorted levels: how far they exceed its lower end, in the mean.

    What is below ``least`` is none.
    """
    place = int(0.9 * len(ordered))
    first = max(ordered[place], least)
    return sum(max(level - first, 0.0) for level in ordered[place:]) / (len(ordered) - place)
