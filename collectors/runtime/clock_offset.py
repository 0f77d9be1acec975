"""How far a server's clock is from ours, as its answers tell."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

DRIFT = 1e-4
"""How much two clocks may run apart, as a ratio: ten times a bad quartz."""


def http_date(text: str) -> float | None:
    """Return the time of an HTTP date (RFC 9110), or None."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


@dataclass(slots=True)
class ClockOffset:
    """The server's clock minus ours, as an interval that every answer narrows.

    A ``Date`` header is cut to whole seconds: a request sent at a and answered at b with date D says that the
    offset lies between D - b and D + 1 - a. The intersection of such intervals is what all answers agree on.
    """

    low: float | None = None
    high: float | None = None
    _at: float = 0.0

    def observe(self, sent: float, answered: float, date: str | None) -> None:
        """Use the ``Date`` of an answer; an answer that contradicts the earlier ones (a clock was set) starts anew."""
        server = http_date(date) if date else None
        if server is not None:
            self._narrow(server - answered, server + 1.0 - sent, answered)

    def exact(self, sent: float, answered: float, server: float) -> None:
        """Use a time that the server itself wrote into an answer, to fractions of a second."""
        self._narrow(server - answered, server - sent, answered)

    def _narrow(self, low: float, high: float, answered: float) -> None:
        if self.low is not None and self.high is not None:
            drift = DRIFT * max(answered - self._at, 0.0)
            both = max(low, self.low - drift), min(high, self.high + drift)
            low, high = both if both[0] <= both[1] else (low, high)
        self.low, self.high, self._at = low, high, answered

    @property
    def value(self) -> float | None:
        """The server's clock minus ours in seconds; None before the first answer."""
        return None if self.low is None or self.high is None else (self.low + self.high) / 2

    @property
    def uncertainty(self) -> float | None:
        """Half the width of the interval, in seconds."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2
