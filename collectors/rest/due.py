"""When the requests of a source are due."""

EARLY_SHARE = 0.05
"""A run that comes earlier than the due time by this share of the interval counts as due. A source's runs are not
exact to the millisecond: without it a request every 30 s of a source that runs every 10 s is sent every 40 s as soon
as one run begins a moment early."""


class DueTimes:
    """Remembers when each request was last sent; all are due at first."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}

    def is_due(self, name: str, every_s: float, now: float) -> bool:
        """Whether a request that is sent every ``every_s`` seconds is due."""
        sent = self._sent.get(name)
        return sent is None or now - sent >= every_s * (1.0 - EARLY_SHARE)

    def sent(self, name: str, now: float) -> None:
        """Take note that a request was sent, whatever became of it."""
        self._sent[name] = now

    def reset(self, name: str = "") -> None:
        """Make one request due, or all."""
        if name:
            self._sent.pop(name, None)
        else:
            self._sent.clear()
