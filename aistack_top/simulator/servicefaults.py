"""Faults of what is asked and of what stands around the engines; see `faults` for what a fault is."""

from typing import ClassVar, Self

import msgspec

from aistack_top.simulator.engine import SimulatedEngine
from aistack_top.simulator.faults import BaseFault, Undo
from aistack_top.simulator.node import SimulatedNode


class Surge(BaseFault, frozen=True, tag="surge"):
    """A tenant asks more: so many times the whole load of its model comes on top."""

    tenant: str = "analytics"
    load: float = 0.6
    amounts: ClassVar[tuple[str, ...]] = ("load",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        model = next(tenant.model for tenant in node.config.tenant if tenant.name == self.tenant)
        node.traffic.surge(self.tenant, node.rates[model] * self.load, self.until or float("inf"))
        return lambda: None


class Tide(BaseFault, frozen=True, tag="tide"):
    """The ordinary load of all tenants grows to a multiple over so many seconds: a day's morning in short."""

    factor: float = 1.5
    over_s: float = 900.0
    factors: ClassVar[tuple[str, ...]] = ("factor",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        start = node.now
        node.traffic.factor = lambda now: 1.0 + (self.factor - 1.0) * min(1.0, max(0.0, now - start) / self.over_s)

        def undo() -> None:
            node.traffic.factor = lambda _: 1.0

        return undo


class Sizes(BaseFault, frozen=True, tag="sizes"):
    """What tenants ask and get is larger, by factors; a share of the prompts are long documents. None named is all."""

    tenants: tuple[str, ...] = ()
    prompt: float = 1.0
    output: float = 1.0
    documents: float = 0.0
    factors: ClassVar[tuple[str, ...]] = ("prompt", "output")
    amounts: ClassVar[tuple[str, ...]] = ("documents",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        shapes = [node.traffic.shapes[name] for name in self.tenants or node.traffic.shapes]
        for shape in shapes:
            shape.prompt_factor *= self.prompt
            shape.output_factor *= self.output
            shape.long_share += self.documents

        def undo() -> None:
            for shape in shapes:
                shape.prompt_factor /= self.prompt
                shape.output_factor /= self.output
                shape.long_share -= self.documents

        return undo


class PromptVersion(BaseFault, frozen=True, tag="prompt_version"):
    """A tenant's prompt gets a new version: more tokens before the question, longer answers."""

    tenants: tuple[str, ...] = ()
    version: str = "2"
    tokens: int = 0
    output: float = 1.0
    factors: ClassVar[tuple[str, ...]] = ("output",)

    def scaled(self, severity: float) -> Self:
        """See `BaseFault.scaled`: the added tokens are multiplied."""
        return msgspec.structs.replace(super().scaled(severity), tokens=round(self.tokens * severity))

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        shapes = [node.traffic.shapes[name] for name in self.tenants or node.traffic.shapes]
        before = [shape.prompt_version for shape in shapes]
        for shape in shapes:
            shape.prompt_version = self.version
            shape.added_tokens += self.tokens
            shape.output_factor *= self.output

        def undo() -> None:
            for shape, version in zip(shapes, before, strict=True):
                shape.prompt_version = version
                shape.added_tokens -= self.tokens
                shape.output_factor /= self.output

        return undo


class PromptSalt(BaseFault, frozen=True, tag="salt"):
    """Something that changes with each request comes to stand at the head of all prompts: no prefix is ever hit."""

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""

        def turn(on: bool) -> None:
            for shape in node.traffic.shapes.values():
                shape.salted = on

        turn(True)
        return lambda: turn(False)


class Rollout(BaseFault, frozen=True, tag="rollout"):
    """A new version of a model, one replica after the other: slower or wordier by factors. The end rolls back."""

    model: str = ""
    """The served name; empty is the first."""

    version: str = "2"
    compute: float = 1.0
    memory: float = 1.0
    output: float = 1.0
    factors: ClassVar[tuple[str, ...]] = ("compute", "memory", "output")

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        model = self.model or node.models[0]
        before = next(engine.config.version for engine in node.engines if engine.config.served_name == model)
        self._roll(node, model, self.version, self.compute, self.memory)
        node.traffic.model_output[model] = self.output

        def undo() -> None:
            self._roll(node, model, before, 1.0, 1.0)
            node.traffic.model_output[model] = 1.0

        return undo

    def _roll(self, node: SimulatedNode, model: str, version: str, compute: float, memory: float) -> None:
        wait = 0.0
        for engine in node.engines:
            if engine.config.served_name == model:
                self._later(node, engine, wait, version, compute, memory)
                wait += engine.config.load_s + 15.0

    def _later(
        self, node: SimulatedNode, engine: SimulatedEngine, wait: float, version: str, compute: float, memory: float
    ) -> None:
        def replace(_: float) -> None:
            node.restart(engine, version=version)
            engine.knobs.version_compute, engine.knobs.version_memory = compute, memory

        node.agenda.at(node.now + wait, replace)


class Routing(BaseFault, frozen=True, tag="routing"):
    """The router sends a share of everything to one replica, whatever its queue."""

    engine: int = 0
    bias: float = 0.6
    amounts: ClassVar[tuple[str, ...]] = ("bias",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        gateway = node.gateway
        gateway.favourite, gateway.bias = node.engines[self.engine], self.bias

        def undo() -> None:
            gateway.favourite, gateway.bias = None, 0.0

        return undo


class Guardrail(BaseFault, frozen=True, tag="guardrail"):
    """A rail is slower by a factor, fails at times, or says no to a share of what it sees."""

    rail: str = "input"
    slowdown: float = 1.0
    errors: float = 0.0
    hits: float | None = None
    factors: ClassVar[tuple[str, ...]] = ("slowdown",)

    def scaled(self, severity: float) -> Self:
        """See `BaseFault.scaled`: the shares of errors and hits are multiplied."""
        return msgspec.structs.replace(
            super().scaled(severity),
            errors=min(1.0, self.errors * severity),
            hits=None if self.hits is None else min(1.0, self.hits * severity),
        )

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        rail = node.gateway.input_rail if self.rail == "input" else node.gateway.output_rail
        hit_rate = rail.hit_rate
        rail.service.slowdown *= self.slowdown
        rail.service.error_rate += self.errors
        rail.hit_rate = hit_rate if self.hits is None else self.hits

        def undo() -> None:
            rail.service.slowdown /= self.slowdown
            rail.service.error_rate -= self.errors
            rail.hit_rate = hit_rate

        return undo


class Retrieval(BaseFault, frozen=True, tag="retrieval"):
    """The vector store compacts its segments, and searches are slower by a factor while it does."""

    slowdown: float = 20.0
    factors: ClassVar[tuple[str, ...]] = ("slowdown",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        node.gateway.store.begin_compaction(self.slowdown)
        return node.gateway.store.end_compaction


class Spot(BaseFault, frozen=True, tag="spot"):
    """A replica's capacity is called back: no new requests from the notice on, gone two minutes later.

    Two minutes is the warning of AWS (EC2 user guide, spot interruption notices). At the end it is replaced.
    """

    engine: int = 0
    notice_s: float = 120.0

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        engine, gateway = node.engines[self.engine], node.gateway
        gateway.draining.append(engine)
        node.log_fault("notice", engine.label, f"gone in {self.notice_s:.0f} s")
        node.gone_at = node.now + self.notice_s
        node.agenda.at(node.now + self.notice_s, lambda _: node.kill(engine))

        def undo() -> None:
            gateway.draining.remove(engine)
            node.gone_at = None
            node.restart(engine)

        return undo


class SourceDown(BaseFault, frozen=True, tag="source_down"):
    """A source of the console answers nothing, while what it tells of goes on. ``langfuse`` loses its calls too."""

    source: str = "langfuse"

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""

        def turn(down: bool) -> None:
            (node.down.add if down else node.down.discard)(self.source)
            if self.source == "langfuse":
                node.sink.down = down

        turn(True)
        return lambda: turn(False)
