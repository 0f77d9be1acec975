"""Streaming detection: when a symptom leaves what is usual for it, and since when. O(1) a sample.

A value is the median of the last 30 s, on a log scale. What is usual is the median and the spread of the last 30
minutes, without the last minute, and not while it is out. Out is above the usual by a factor and by a floor, and above
nearly all that was seen in those 30 minutes by a factor: busy minutes of an ordinary day stay inside.
"""

from collections import deque
from dataclasses import dataclass, field
from math import exp, inf, log

from aistack_top.diagnosis.change import median, spread
from aistack_top.model.tick import SeriesKey

STEP_S = 5.0
SMOOTH = 6
"""Samples of the trailing median: 30 s."""

MAX_SAMPLES = 360
HOLD_BACK_SAMPLES = 12
"""The last minute is not yet baseline."""

MIN_SAMPLES = 36
"""Three minutes of baseline; with fewer only absolute floors speak."""

NEEDED, NEEDED_FAR, NEEDED_STRONG = 18, 12, 4
"""Grid samples in a row: 90 s for what is just outside, a minute from one and a half times the limit, 20 s from two
and a half times. A burst of fifteen seconds lifts a quantile over 60 s for over a minute, and is no incident."""

FAR, STRONG = log(1.5), log(2.5)
CALM_S = 60.0
SILENT_S = 300.0
"""A symptom that says nothing for so long has ended, as far as anybody can tell."""

LOOK_BACK = 72
TINY = 1e-6

EARLY, EARLY_RATIO, EARLY_FLOORS, EARLY_NEEDED, EARLY_HELD = 6, log(4.0), 4.0, 6, 3
"""Before there is a baseline: over four times all that was seen in at least 30 s, by four floors, for 30 s. The newest
15 s are held back: a median climbs in steps."""


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
    _out: int = 0
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
        if least > 1.0 and len(self._past) >= MIN_SAMPLES:
            limit = max(limit, self._middle + log(least))
        out = len(self._recent) >= 3 and level > limit
        self._out = self._out + 1 if out else 0
        over = level - limit
        needed = NEEDED_STRONG if over > STRONG else NEEDED_FAR if over > FAR else NEEDED
        if len(self._past) < MIN_SAMPLES and self._early() == limit:
            needed = EARLY_NEEDED
        if self._out >= needed * self.limits.min_duration and value > exp(limit):
            return self._open(at, smooth)
        if not out:
            self._learn(level)
        return None

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
            worst + log(limits.ratio_to_p99),
            log(usual + limits.floor),
        )

    def _threshold(self) -> float:
        if len(self._past) < MIN_SAMPLES:
            absolute = self.limits.absolute
            return min(inf if absolute is None else log(absolute * self.raised), self._early())
        return max(self._limit, self.season) + log(self.raised)

    def _seen(self) -> list[float]:
        return [*self._past, *self._waiting]

    def _early(self) -> float:
        seen = self._seen()[:-EARLY_HELD]
        if len(seen) < EARLY:
            return inf
        usual = exp(median(sorted(seen)))
        return max(max(seen) + EARLY_RATIO, log(usual + EARLY_FLOORS * self.limits.floor)) + log(self.raised)

    def _open(self, at: float, smooth: float) -> Anomaly:
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
        self.excursion = Anomaly(self.key, onset, at, usual, level, known, last=at, worst=worst, now=worst)
        self._calm = 0
        if len(self._past) >= MIN_SAMPLES:
            self._waiting.clear()  # the climb belongs to the trouble
        return self.excursion

    def _while_open(self, at: float, smooth: float, level: float, limit: float) -> Anomaly | None:
        excursion = self.excursion
        if excursion is None:
            return None
        excursion.peak, excursion.now = max(excursion.peak, smooth), self._raw[-1][1]
        excursion.worst = max(excursion.worst, excursion.now)
        if level > limit:
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
        self._out = 0
        return excursion
