"""A simulated node under a clock: it lives up to the present moment whenever somebody looks at it."""

import threading
from collections.abc import Callable, Mapping

from aistack_top.simulator.engine import SimulatedEngine
from aistack_top.simulator.node import SimulatedNode


class World:
    """A node, and the clock that says how far it has lived. ``now`` returns seconds since the Unix epoch."""

    def __init__(self, node: SimulatedNode, now: Callable[[], float]) -> None:
        self._node = node
        self._now = now
        self._living = threading.Lock()

    @property
    def epoch(self) -> float:
        """When the node's own time began, in seconds since the Unix epoch."""
        return self._node.epoch

    def advance(self) -> SimulatedNode:
        """Return the node as it is now. A clock that stands still or goes back moves nothing.

        NVML is asked from a thread of its own: whoever comes first lets the time pass, the others wait for it.
        """
        with self._living:
            self._node.advance(max(self._now() - self._node.epoch, self._node.now))
        return self._node

    def servers(self) -> Mapping[str, tuple[SimulatedEngine, ...]]:
        """Return the engines by the server they belong to: data-parallel ranks answer behind one port."""
        found: dict[str, tuple[SimulatedEngine, ...]] = {}
        for engine in self._node.engines:
            found[engine.config.name] = (*found.get(engine.config.name, ()), engine)
        return found
