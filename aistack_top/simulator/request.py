"""A request on its way: what was asked, and when each part of the answer came."""

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended for the client; each ends exactly once."""

    PENDING = "pending"
    OK = "ok"
    BLOCKED_INPUT = "blocked_input"
    BLOCKED_OUTPUT = "blocked_output"
    TIMEOUT = "timeout"
    ERROR = "error"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Request:
    """One request of one client. Times are seconds since the simulation's start, None until they are known.

    ``prefix_key`` names the run of tokens it shares with others (a system prompt), ``session_key`` the
    conversation whose earlier turns it repeats. ``output_tokens`` is what the model will say if nothing stops it.
    """

    number: int
    model: str
    prompt_tokens: int
    output_tokens: int
    arrived: float
    tenant: str = ""
    user: str = ""
    prompt_version: str = ""
    prefix_key: str = ""
    prefix_tokens: int = 0
    session_key: str = ""
    lora: str = ""
    max_tokens: int = 4096
    retrieves: bool = False
    turn: int = 1

    outcome: Outcome = Outcome.PENDING
    attempts: int = 0
    reasks: int = 0
    input_checked: float | None = None
    retrieved: float | None = None
    ended: float | None = None
    engine: str = ""
    version: str = ""

    queued: float = 0.0
    scheduled: float | None = None
    first_token: float | None = None
    last_token: float = 0.0
    generated: int = 0
    preemptions: int = 0
    cached_tokens: int = 0
    finish_reason: str = ""

    # the engine's own bookkeeping: reset with each attempt
    to_prefill: int = 0
    stored: int = 0
    joined: int = 0
    epoch: int = 0
    blocks: int = 0
    held: list[str] = field(default_factory=list)

    def restart(self, now: float) -> None:
        """Forget the last attempt, as a gateway does before it asks another replica."""
        self.attempts += 1
        self.queued, self.scheduled, self.first_token, self.last_token = now, None, None, now
        self.generated = self.preemptions = self.cached_tokens = 0
        self.finish_reason = ""
        self.to_prefill = self.stored = self.joined = self.blocks = 0
        self.epoch += 1
        self.held.clear()
