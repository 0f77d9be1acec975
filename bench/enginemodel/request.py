"""A request on its way, with the time of each station in seconds; None where it never got there."""

from dataclasses import dataclass, field

from enginemodel.blocks import BLOCK


@dataclass(slots=True)
class Request:
    """A request. ``prompt`` includes ``prefix`` (shared by a tenant) and ``history`` (of its conversation)."""

    number: int
    tenant: str
    arrived: float
    prompt: int
    output: int
    prefix: int = 0
    prefix_name: str = ""
    history: int = 0
    session: str = ""
    looks_up: bool = False
    patience: float = 120.0
    tries: int = 0
    checked: float | None = None
    looked_up: float | None = None
    sent: float | None = None
    entered: float | None = None
    placed: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    ended: float | None = None
    outcome: str = ""
    engine: int = -1
    cached: int = 0
    generated: int = 0
    recomputes: int = 0
    steps: list[tuple[str, str, float, float]] = field(default_factory=list)
    # what the engine keeps of it
    to_compute: int = 0
    computed: int = 0
    own_blocks: int = 0
    stands_on: str = ""
    shared_tokens: int = 0
    joined: int = 0
    tokens_at_join: int = 0
    epoch: int = 0

    def context(self, tick: int) -> int:
        """Return the tokens in its KV at a tick of the engine's counting, while it decodes."""
        return self.tokens_at_join + tick - self.joined

    def blocks_at(self, tick: int) -> int:
        """Return the blocks that are its own at a tick, while it decodes."""
        return blocks_for(self.context(tick) - self.shared_tokens)


def blocks_for(tokens: int) -> int:
    """Return how many blocks hold so many tokens."""
    return -(-tokens // BLOCK)
