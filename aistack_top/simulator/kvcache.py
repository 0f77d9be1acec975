"""The blocks of one engine's KV cache: what requests hold, what prefixes share, what may be thrown out.

Blocks are held by one request (``private``), by a prefix some running request uses (``shared``), by a prefix
nobody uses now (``idle``: free in vLLM's own count, thrown out oldest first), or they are empty. These four always
add up to ``total``, which is one less than the server's ``num_gpu_blocks``: vLLM keeps a null block.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class Prefix:
    """A run of cached tokens that requests can share: whole blocks, and how many requests hold them now."""

    blocks: int
    holders: int = 0


class KvCache:
    """Counts blocks; which block is which does not matter to anything that can be measured."""

    __slots__ = ("_prefixes", "block_size", "idle", "private", "shared", "total")

    def __init__(self, num_gpu_blocks: int, block_size: int) -> None:
        if num_gpu_blocks < 2 or block_size < 1:
            raise ValueError(f"{num_gpu_blocks} KV blocks of {block_size} tokens cannot hold anything")
        self.total = num_gpu_blocks - 1
        self.block_size = block_size
        self.private = self.shared = self.idle = 0
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that can be taken now; idle prefixes give way."""
        return self.total - self.private - self.shared

    @property
    def usage(self) -> float:
        """Share of the blocks in use, 0 to 1, as ``vllm:kv_cache_usage_perc`` counts it."""
        return (self.private + self.shared) / self.total

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold this many tokens."""
        return -(-tokens // self.block_size)

    def has(self, key: str) -> bool:
        """Whether a prefix is cached."""
        return key in self._prefixes

    def blocks_of(self, key: str) -> int:
        """Return the blocks of a cached prefix, 0 if it is not cached."""
        prefix = self._prefixes.get(key)
        return prefix.blocks if prefix else 0

    def cost_of(self, key: str, blocks: int) -> int:
        """Return how many available blocks holding this prefix would take: none if somebody holds it already."""
        prefix = self._prefixes.get(key)
        return blocks if prefix is None else 0 if prefix.holders else prefix.blocks

    def pin(self, key: str, blocks: int) -> None:
        """Hold a prefix for one request, making it if it is not there; the caller has checked what it costs."""
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._prefixes[key] = Prefix(blocks)
            self.shared += blocks
        elif not prefix.holders:
            self.idle -= prefix.blocks
            self.shared += prefix.blocks
        prefix.holders += 1
        self._prefixes.move_to_end(key)
        self._make_room()

    def release(self, key: str) -> None:
        """Let one holder go; the prefix stays cached until its blocks are needed."""
        prefix = self._prefixes[key]
        prefix.holders -= 1
        if not prefix.holders:
            self.shared -= prefix.blocks
            self.idle += prefix.blocks

    def allocate(self, blocks: int) -> None:
        """Take blocks for a request; the caller has checked that they are available."""
        self.private += blocks
        self._make_room()

    def give(self, blocks: int) -> None:
        """Give a request's blocks back."""
        self.private -= blocks

    def keep(self, key: str, blocks: int) -> None:
        """Turn private blocks into (more of) an idle prefix, as when a conversation's answer ends."""
        self.private -= blocks
        prefix = self._prefixes.setdefault(key, Prefix(0))
        if prefix.holders:
            self.shared += blocks
        else:
            self.idle += blocks
        prefix.blocks += blocks
        self._prefixes.move_to_end(key)

    def balance(self) -> int:
        """Return the blocks that are empty; below zero the count would be broken."""
        return self.total - self.private - self.shared - self.idle

    def _make_room(self) -> None:
        while self.idle and self.balance() < 0:
            key = next(key for key, prefix in self._prefixes.items() if not prefix.holders)
            self.idle -= self._prefixes.pop(key).blocks
