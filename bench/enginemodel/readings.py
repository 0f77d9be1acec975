"""The model as ticks: what production collectors would send of it, with the noise that real sources have.

| noise | how much |
|---|---|
| jitter | each look is up to 0.35 s early or late, and a busy host makes it later |
| lost | 2 % of looks bring nothing; now and then a source is silent for 10 to 40 s |
| restarts | an engine that begins anew begins its counters anew; ``reset_s`` makes them begin anew without a fault |
| late traces | a call can be read 5 to 60 s after its end, median 9 s; its parts come one by one |
| clocks | the application's clock is up to 1.2 s off, and wanders |
"""

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from aistack_top.measure.counters import RateMeter
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Call, Event, Fact, Health, ReadingsBuilder, Tick
from collectors.nvml.throttle import ThrottleWatch
from enginemodel.counting import EngineCounters
from enginemodel.gpu import Gpu
from enginemodel.pages import EnginePages, StationPages
from enginemodel.request import Request
from enginemodel.world import World

EPOCH = 1_790_000_000.0
LOST = 0.02
SILENT_EVERY_S = 5400.0
NODE = Entity.of(node="gpu-node-7")
APPLICATION_XIDS = (13, 31, 43, 45)
HTTP_FAILED = {"error", "hung_up"}


class Readings:
    """Reads a world. ``hidden`` are sources nobody reads, ``spans`` among them: then calls have no parts."""

    def __init__(self, world: World, hidden: tuple[str, ...] = (), reset_s: float = 0.0) -> None:
        self.world, self.hidden, self.reset_s = world, hidden, reset_s
        self.chance = random.Random(f"{world.seed}/{world.process}/readings")
        self.engines = [EnginePages(one, gpus, EPOCH) for one, gpus in zip(world.engines, world.gpus, strict=True)]
        self.rails = StationPages(world.rail, "litellm", "governance", 5.0)
        self.store = StationPages(world.store, "milvus", "data", 5.0)
        self.throttles = {gpu.uuid: ThrottleWatch(2.0) for gpus in world.gpus for gpu in gpus}
        self.meters: dict[tuple[str, str], RateMeter] = {}
        self.xids: dict[str, int] = {}
        self.clock = self.chance.uniform(-1.2, 1.2)
        self.coming: list[tuple[float, Call]] = []
        self.silent: dict[str, float] = {}
        self.told_notice: float | None = None
        self.reported: tuple[int, float] | None = None
        self.gpu_facts_due = 0.0

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Go on second by second and yield what is learned."""
        world = self.world
        for second in range(1, int(seconds) + 1):
            offset = self.chance.uniform(-0.35, 0.35) + 0.2 * (world.host.slowdown - 1.0) * self.chance.random()
            world.run(max(second + min(offset, 0.9), world.now + 0.05))
            self._resets(second)
            at = EPOCH + world.now
            batches = [batch for batch in self._looks(second, at) if self._comes(batch, at)]
            yield Tick(at, at, tuple(batches))

    def _comes(self, batch: Batch, at: float) -> bool:
        """Whether a look brings something: not one of a source that is hidden, silent, or had bad luck."""
        source = batch.health.source
        if batch.health.kind in self.hidden or at < self.silent.get(source, 0.0):
            return False
        if self.chance.random() < batch.health.interval_s / SILENT_EVERY_S / 8.0:
            self.silent[source] = at + self.chance.uniform(10.0, 40.0)
        important = bool(batch.events or batch.calls)
        return important or self.chance.random() >= LOST

    def _resets(self, second: int) -> None:
        """Let the counters of engines begin anew, as with a metrics process that is restarted."""
        if self.reset_s and second % int(self.reset_s) == 0:
            for engine in self.world.engines:
                engine.counters = EngineCounters()

    def _looks(self, second: int, at: float) -> Iterator[Batch]:
        if second % 2:
            yield self._gpus(at)
        else:
            for place, engine in enumerate(self.engines):
                slow = self.world.host.slowdown
                yield engine.read(at + 0.01 * place, 0.012 * slow * self.chance.uniform(0.7, 2.0))
            yield self._host(at)
        if second % 5 == 0:
            yield self.rails.read(at, self.world.now)
            yield self.store.read(at, self.world.now)
            yield self._calls(at)
            yield self._cloud(at)
        if second % 15 == 0:
            yield self._training(at)

    def _rate(self, who: str, what: str, at: float, value: float) -> float | None:
        return self.meters.setdefault((who, what), RateMeter()).observe(at, value).rate

    def _gpus(self, at: float) -> Batch:
        builder, lost = ReadingsBuilder(), []
        events: list[Event] = []
        for gpus in self.world.gpus:
            for gpu in gpus:
                events += self._xids(gpu, at)
                if gpu.lost:
                    lost.append(f"gpu {gpu.index} is lost to the driver")
                else:
                    events += self._gpu(builder, gpu, at)
        facts: tuple[Fact, ...] = ()
        if at >= self.gpu_facts_due:
            self.gpu_facts_due = at + 60.0
            all_gpus = [gpu for gpus in self.world.gpus for gpu in gpus]
            facts = tuple(Fact(Entity.of(gpu=g.uuid), "index", str(g.index), watched=False) for g in all_gpus)
        health = Health("nvml", "nvml", "compute", "partial" if lost else "ok", "; ".join(lost), 0.0, 0.004, 2.0)
        return Batch(at, at, health, builder.build(), tuple(events), facts=facts)

    def _gpu(self, builder: ReadingsBuilder, gpu: Gpu, at: float) -> Iterator[Event]:
        about, kind, gauss = Entity.of(gpu=gpu.uuid), gpu.kind, self.chance.gauss
        used = gpu.engine_memory + gpu.neighbour_memory
        busy = min(max(gpu.busy, gpu.neighbour_load) + abs(gauss(0.0, 0.01)), 1.0)
        clock = gpu.clock * kind.clock * (1.0 - abs(gauss(0.0, 0.004)))
        values: Mapping[str, float | None] = {
            "gpu.utilization": round(busy, 2),
            "gpu.tensor.active": min(gpu.tensor_busy * 0.9 + 0.25 * gpu.neighbour_load, 1.0),
            "gpu.dram.active": min(gpu.memory_busy * 0.95 + 0.2 * gpu.neighbour_load, 1.0),
            "gpu.memory.used": used,
            "gpu.memory.total": kind.memory,
            "gpu.memory.usage": min(used / kind.memory, 1.0),
            "gpu.temperature": float(round(gpu.temperature)),
            "gpu.memory.temperature": float(round(gpu.temperature + 6.0)),
            "gpu.temperature.margin": float(round(91.0 - gpu.temperature)),
            "gpu.power.draw": gpu.power + gauss(0.0, 4.0),
            "gpu.power.limit": gpu.limit,
            "gpu.clock.sm": round(clock / 15e6) * 15e6,
            "gpu.clock.sm.max": kind.clock,
            "gpu.ecc.corrected": float(gpu.corrected),
            "gpu.ecc.uncorrected": float(gpu.uncorrected),
            "gpu.rows.remap_pending": float(gpu.remap_pending),
            "gpu.nvlink.active": float(kind.links - gpu.links_down),
            "gpu.nvlink.errors": self._rate(gpu.uuid, "links", at, gpu.link_errors),
            "gpu.processes": 1.0 + gpu.neighbours,
        }
        for signal, value in values.items():
            builder.add(signal, about, value)
        watch = self.throttles[gpu.uuid]
        shares = watch.read(at, gpu.reasons, {})
        for reason, share in shares.items():
            builder.add("gpu.throttle", about.with_(reason=reason), share)
        for turn in watch.turns(at, shares):
            name = turn.reason.name
            detail = (("reason", name), ("state", "began" if turn.began else "ended"))
            text = f"gpu {gpu.index}: {turn.reason.says} holds the clocks down ({name})"
            severity = (turn.reason.severity or "info") if turn.began else "info"
            yield Event(at, at, "compute", "throttle", severity, about, text, "nvml", detail)

    def _xids(self, gpu: Gpu, at: float) -> Iterator[Event]:
        for when, code in gpu.xids[self.xids.get(gpu.uuid, 0) :]:
            group = "application" if code in APPLICATION_XIDS else "memory" if code in (48, 63, 94, 95) else "hardware"
            detail = (("code", str(code)), ("group", group))
            text = f"XID {code} on gpu {gpu.index}"
            about = Entity.of(gpu=gpu.uuid)
            yield Event(EPOCH + when, at, "compute", "xid", "critical", about, text, "nvml", detail)
        self.xids[gpu.uuid] = len(gpu.xids)

    def _host(self, at: float) -> Batch:
        host, builder = self.world.host, ReadingsBuilder()
        busy = min(max(host.busy + self.chance.gauss(0.0, 0.01), 0.0), 1.0)
        builder.add("host.cpu.utilization", NODE, busy)
        builder.add("host.cpu.steal", NODE, 0.0)
        builder.add("host.cpu.iowait", NODE, abs(self.chance.gauss(0.0, 0.002)))
        builder.add("host.cpu.cores", NODE, float(host.cores))
        builder.add("host.cpu.load", NODE, host.load)
        builder.add("host.cpu.run_queue", NODE, max(round(host.load * self.chance.uniform(0.6, 1.4)), 0.0))
        builder.add("host.cpu.pressure", NODE, host.pressure)
        builder.add("host.memory.used", NODE, 0.3 * host.memory + self.chance.gauss(0.0, 2e8))
        builder.add("host.memory.total", NODE, host.memory)
        builder.add("host.memory.usage", NODE, 0.3)
        builder.add("host.memory.pressure", NODE, 0.0)
        return Batch(at, at, Health("host", "host", "compute", "ok", "", 0.0, 0.003, 2.0), builder.build())

    def _cloud(self, at: float) -> Batch:
        events: tuple[Event, ...] = ()
        if self.world.notice_at is not None and self.told_notice is None:
            self.told_notice = at
            text = "AWS takes this spot instance back: terminated"
            detail = (("action", "terminate"), ("due", ""), ("notice", "spot/instance-action"), ("state", "given"))
            events = (Event(at, at, "compute", "notice", "critical", NODE, text, "cloud", detail),)
        return Batch(at, at, Health("cloud", "cloud", "compute", "ok", "", 0.0, 0.01, 5.0), events=events)

    def _training(self, at: float) -> Batch:
        builder, job = ReadingsBuilder(), self.world.training
        if job is not None:
            before = self.reported
            if before is None or job.step > before[0]:
                self.reported = (job.step, at)
            if before is not None and self.reported is not None and job.step > before[0]:
                pace = (at - before[1]) / (job.step - before[0])
                builder.add("training.step_time", Entity.of(job=job.name), pace)
                builder.add("training.tokens.rate", Entity.of(job=job.name), job.tokens_per_step / pace)
            builder.add("training.step", Entity.of(job=job.name), float(job.step))
        return Batch(at, at, Health("mlflow", "mlflow", "pipelines", "ok", "", 0.0, 0.03, 15.0), builder.build())

    # traces

    def _delay(self) -> float:
        return min(max(self.chance.lognormvariate(math.log(9.0), 0.45), 5.0), 60.0)

    def _calls(self, at: float) -> Batch:
        world = self.world
        self.clock += self.chance.gauss(0.0, 0.004)
        for request, kind, name, began, ended in world.spans:
            self._span(request, kind, name, began, ended)
        world.spans.clear()
        for done in world.done:
            self._answer(done.request, done.at)
        world.done.clear()
        ready = [call for due, call in self.coming if due <= world.now]
        self.coming = [pair for pair in self.coming if pair[0] > world.now]
        calls = tuple(self._seen(call, at) for call in ready)
        health = Health("langfuse", "langfuse", "tracing", "ok", "", 0.0, 0.2, 5.0, clock_uncertainty_s=1.0)
        return Batch(at, at, health, calls=calls, calls_until=at)

    @staticmethod
    def _seen(call: Call, at: float) -> Call:
        values: dict[str, Any] = {name: getattr(call, name) for name in Call.__slots__}
        return Call(**(values | {"seen": at, "updated": at}))

    def _span(self, request: Request, kind: str, name: str, began: float, ended: float) -> None:
        if "spans" in self.hidden:
            return
        trace, start, end = f"{self.world.seed}-{request.number}", self._theirs(began), self._theirs(ended)
        call = Call(
            f"{trace}-{name}", trace, f"{trace}-0", kind, name, start, end, end, end, tenant=request.tenant,  # type: ignore[arg-type]
        )  # fmt: skip
        self.coming.append((ended + self._delay(), call))

    def _answer(self, request: Request, ended: float) -> None:
        """Send a request's outermost span and its generation."""
        trace, due = f"{self.world.seed}-{request.number}", ended + self._delay()
        level = "ERROR" if request.outcome in HTTP_FAILED else "DEFAULT"
        common: dict[str, Any] = {"level": level, "tenant": request.tenant, "version": "app-41", "environment": "prod"}
        end = self._theirs(ended)
        root = Call(
            f"{trace}-0",
            trace,
            "",
            "other",
            "request",
            self._theirs(request.arrived),
            end,
            end,
            end,
            root=True,
            **common,
        )
        self.coming.append((due, root))
        if request.sent is None:
            return
        start, first = self._theirs(request.sent), request.first_token
        served = request.outcome == "ok" or first is not None
        call = Call(
            f"{trace}-g", trace, f"{trace}-0", "generation", "answer", start, max(end, start), end, end,
            model=self.world.engines[0].machine.model.name, prompt="chat", prompt_version="7",
            input_tokens=request.prompt if served else None, output_tokens=request.generated if served else None,
            cached_tokens=request.cached if served else None,
            ttft=None if first is None else max(first + self.world.network_s - request.sent, 0.0), **common,
        )  # fmt: skip
        self.coming.append((due + self.chance.uniform(-1.0, 1.0), call))

    def _theirs(self, at: float) -> float:
        return EPOCH + at + self.clock
