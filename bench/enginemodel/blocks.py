"""The pool of KV blocks: those in use, those kept for a prefix that may come again, and those that are free.

A kept prefix nobody uses is as good as free: it is given up, the oldest first, as soon as blocks are needed.
"""

from collections import OrderedDict
from dataclasses import dataclass

BLOCK = 16
"""Tokens of a block."""


@dataclass(slots=True)
class Kept:
    """A prefix whose KV is in the pool; ``users`` requests stand on it now."""

    blocks: int
    tokens: int
    users: int = 0


class Pool:
    """All blocks of an engine. ``used`` + ``kept`` + ``free`` is ``total`` at any time."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self.kept = 0
        self.prefixes: OrderedDict[str, Kept] = OrderedDict()

    @property
    def free(self) -> int:
        """Blocks that hold nothing."""
        return self.total - self.used - self.kept

    @property
    def room(self) -> int:
        """Blocks that can be had: free ones and those of prefixes without users."""
        return self.total - self.used

    @property
    def usage(self) -> float:
        """Share of blocks that requests hold."""
        return self.used / self.total

    def take(self, count: int) -> None:
        """Take blocks; whoever asks has looked at `room`.

        Raises:
            ValueError: there are not so many.

        """
        if count > self.room:
            raise ValueError(f"{count} blocks of {self.room}")
        self._give_up(count - self.free)
        self.used += count

    def give_back(self, count: int) -> None:
        """Give blocks back that hold nothing worth keeping."""
        self.used -= count

    def keep(self, name: str, blocks: int, tokens: int) -> None:
        """Give blocks back whose prefix may come again."""
        old = self.prefixes.pop(name, None)
        if old is not None and old.users:
            self.prefixes[name] = old
            self.used -= blocks
            return
        if old is not None:
            self.kept -= old.blocks
        self.used -= blocks
        self.kept += blocks
        self.prefixes[name] = Kept(blocks, tokens)

    def share(self, name: str) -> int:
        """Stand on a kept prefix; return its tokens, 0 where there is none."""
        known = self.prefixes.get(name)
        if known is None:
            return 0
        self.prefixes.move_to_end(name)
        if not known.users:
            self.kept -= known.blocks
            self.used += known.blocks
        known.users += 1
        return known.tokens

    def leave(self, name: str) -> None:
        """No longer stand on a prefix."""
        known = self.prefixes[name]
        known.users -= 1
        if not known.users:
            self.used -= known.blocks
            self.kept += known.blocks

    def fetch(self, name: str) -> Kept | None:
        """Take a prefix over whole, as the next turn of a conversation does; its blocks are in use from now on."""
        known = self.prefixes.get(name)
        if known is None or known.users:
            return None
        del self.prefixes[name]
        self.kept -= known.blocks
        self.used += known.blocks
        return known

    def clear(self) -> None:
        """Forget everything, as a new process does."""
        self.used = self.kept = 0
        self.prefixes.clear()

    def _give_up(self, count: int) -> None:
        if count <= 0:
            return
        for name in [name for name, one in self.prefixes.items() if not one.users]:
            one = self.prefixes.pop(name)
            self.kept -= one.blocks
            count -= one.blocks
            if count <= 0:
                return
