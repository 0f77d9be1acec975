"""The simulator's model read directly into ticks, with the signals, sampling and gaps of the production collectors.

What passes here by value passes over HTTP in production. Engines and the host every 2 s, GPUs every 2 s, rails and
traces every 5 s, calls up to 6 s after their end. ``missing`` is the share of runs that fail; ``reset_s`` restarts the
counting of every engine's counters so often, as a metrics process does that is restarted.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from math import inf
from typing import Any, ClassVar

from aistack_top.measure.counters import RateMeter
from aistack_top.measure.quantiles import Buckets, HistogramWindow
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Call, CallKind, Event, Fact, Health, Link, ReadingsBuilder, Tick
from aistack_top.simulator.engine import SimulatedEngine
from aistack_top.simulator.gateway import Gateway
from aistack_top.simulator.gpu import Gpu, ThrottleBit
from aistack_top.simulator.histogram import Histogram
from aistack_top.simulator.host import HostReport
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.request import Request

REASONS = {
    "power_cap": ThrottleBit.SW_POWER_CAP,
    "hw_slowdown": ThrottleBit.HW_SLOWDOWN,
    "sw_thermal": ThrottleBit.SW_THERMAL,
    "hw_thermal": ThrottleBit.HW_THERMAL,
    "hw_power_brake": ThrottleBit.HW_POWER_BRAKE,
}
SPREADS = {
    "serving.ttft": "ttft",
    "serving.itl": "itl",
    "serving.e2e": "e2e",
    "serving.queue_time": "queue",
    "serving.prefill_time": "prefill",
    "serving.decode_time": "decode",
    "serving.prompt_tokens.per_request": "request_prompt",
    "serving.generation_tokens.per_request": "request_generation",
}
APPLICATION_XIDS = (13, 31, 43, 45)
FROZEN_S = 10.0


class TellingGateway(Gateway):
    """Tells of each check and look-up as it ends, as their spans are sent, and not with the whole request."""

    __slots__ = ()
    tellers: ClassVar[dict[int, "NodeReader"]] = {}

    def _checked(self, request: Request, now: float) -> None:
        self.tellers[id(self)].span(request, "guardrail", "input", request.arrived, now)
        Gateway._checked(self, request, now)

    def _retrieved(self, request: Request, now: float) -> None:
        self.tellers[id(self)].span(request, "retrieval", "vectors", request.input_checked or request.arrived, now)
        Gateway._retrieved(self, request, now)


def buckets(histogram: Histogram) -> Buckets:
    """Return a histogram as cumulative buckets."""
    return Buckets((*histogram.edges, inf), tuple(accumulate(histogram.counts)), histogram.total)


class EngineReader:
    """One engine as the vLLM collector reads it."""

    def __init__(self, engine: SimulatedEngine, reset_s: float) -> None:
        self.engine, self.reset_s = engine, reset_s
        self.started: float | None = None
        self.frozen = False
        self.forget(0.0)

    def forget(self, now: float) -> None:
        """Begin all counting anew."""
        self.meters: dict[str, RateMeter] = {}
        self.windows = {signal: HistogramWindow() for signal in SPREADS}
        self.ratios: dict[str, list[tuple[float, float, float]]] = {}
        self.balance: tuple[float, float] | None = None
        self.facts_due = 0.0
        self.still = (-1.0, now)
        self.forgot = now

    def rate(self, name: str, at: float, value: float) -> float | None:
        """Return what a counter grew a second."""
        return self.meters.setdefault(name, RateMeter()).observe(at, value).rate

    def read(self, at: float) -> Batch:
        """Return what a scrape of its page gives."""
        engine, about, name = self.engine, Entity.of(engine=self.engine.label), self.engine.label
        if not engine.up:
            return Batch(at, at, Health(name, "vllm", "serving", "down", "connection refused", interval_s=2.0))
        events = []
        restarted = self.started is not None and self.started != engine.started
        if restarted or (self.reset_s and at - self.forgot >= self.reset_s):
            text = f"{name} restarted: its counters began anew"
            events.append(Event(at, at, "serving", "restart", "warning", about, text, name))
            self.forget(at)
        self.started = engine.started
        builder = ReadingsBuilder()
        self.gauges(builder, about, at)
        frozen = self.is_frozen(at)
        builder.add("serving.engine.frozen", about, float(frozen))
        if frozen != self.frozen:
            self.frozen = frozen
            text = f"{name} is frozen" if frozen else f"{name} is no longer frozen"
            severity: Any = "critical" if frozen else "info"
            began = self.still[1] if frozen else at
            events.append(Event(began, at, "serving", "frozen", severity, about, text, name))
        links = tuple(Link(about, Entity.of(gpu=gpu.uuid), "pid") for gpu in engine.gpus)
        health = Health(name, "vllm", "serving", "ok", took_s=0.016, interval_s=2.0)
        return Batch(at, at, health, builder.build(), tuple(events), facts=self.facts(about, at), links=links)

    def gauges(self, builder: ReadingsBuilder, about: Entity, at: float) -> None:
        """Add its numbers."""
        metrics, gauges = self.engine.metrics, self.engine.gauges
        builder.add("serving.requests.running", about, float(gauges.running))
        builder.add("serving.requests.waiting", about, float(gauges.waiting))
        builder.add("serving.kv_cache.usage", about, gauges.kv_usage)
        builder.add("serving.requests.in_flight", about, float(self.engine.load))
        for signal, value in (
            ("serving.preemptions", metrics.preemptions),
            ("serving.prompt_tokens.rate", metrics.prompt_tokens),
            ("serving.generation_tokens.rate", metrics.generation_tokens),
        ):
            builder.add(signal, about, self.rate(signal, at, float(value)))
        balance = float(sum(metrics.finished.values()) + gauges.running + gauges.waiting)
        before, arrived = self.balance or (balance, 0.0)
        self.balance = (balance, arrived + max(balance - before, 0.0))
        builder.add("serving.requests.arrived", about, self.rate("arrived", at, self.balance[1]))
        self.ratio(builder, "serving.prefix_cache.hit_ratio", about, at, metrics.prefix_hits, metrics.prefix_queries)
        accepted, drafted = metrics.accepted_tokens, metrics.draft_tokens
        self.ratio(builder, "serving.speculation.acceptance", about, at, accepted, drafted)
        for signal, attribute in SPREADS.items():
            window = self.windows[signal]
            window.observe(at, buckets(getattr(metrics, attribute)))
            builder.add(signal, about, window.quantiles())

    def ratio(self, builder: ReadingsBuilder, signal: str, about: Entity, at: float, part: float, all_: float) -> None:
        """Add a share of two counters over the last minute."""
        rows = self.ratios.setdefault(signal, [])
        rows.append((at, float(part), float(all_)))
        while len(rows) > 2 and rows[1][0] <= at - 60.0:
            rows.pop(0)
        asked = rows[-1][2] - rows[0][2]
        if asked > 0:
            builder.add(signal, about, (rows[-1][1] - rows[0][1]) / asked)

    def is_frozen(self, at: float) -> bool:
        """Return whether it holds requests and has done nothing for a while."""
        metrics = self.engine.metrics
        work = float(metrics.generation_tokens + metrics.prompt_tokens)
        if work != self.still[0] or not self.engine.load:
            self.still = (work, at)
        return at - self.still[1] >= FROZEN_S

    def facts(self, about: Entity, at: float) -> tuple[Fact, ...]:
        """Return what is known of its settings, once a minute."""
        if at < self.facts_due:
            return ()
        self.facts_due = at + 60.0
        config = self.engine.config
        known = {
            "model": config.served_name,
            "kv_blocks": str(self.engine.num_gpu_blocks),
            "gpu_memory_utilization": str(config.gpu_memory_utilization),
            "enable_prefix_caching": str(config.enable_prefix_caching),
            "max_model_len": str(config.max_model_len),
            "max_num_seqs": str(config.max_num_seqs),
            "model_root": f"{config.model}@{config.version}",
        }
        return tuple(Fact(about, key, value) for key, value in known.items())


class NodeReader:
    """The whole node: `ticks` advances it and reads it."""

    def __init__(self, node: SimulatedNode, missing: float = 0.0, reset_s: float = 0.0) -> None:
        self.node, self.missing = node, missing
        self.engines = [EngineReader(engine, reset_s) for engine in node.engines]
        self.chance = random.Random(f"{node.seed}/scrapes")
        self.meters: dict[tuple[str, str], RateMeter] = {}
        self.windows: dict[str, HistogramWindow] = {}
        self.heard: dict[str, int] = {}
        self.held: set[tuple[str, str]] = set()
        self.coming: list[tuple[float, Call]] = []
        self.asked = 0.0
        self.paces: dict[str, tuple[HostReport, float | None]] = {}
        self.gone_at: float | None = None
        node.gateway.__class__ = TellingGateway
        TellingGateway.tellers = {id(node.gateway): self}

    def span(self, request: Request, kind: CallKind, name: str, start: float, end: float) -> None:
        """Take a step of a request that has ended; it becomes readable a little later."""
        epoch, trace = self.node.epoch, f"{self.node.seed}-{request.number}"
        at = epoch + end
        call = Call(
            f"{trace}-{name}", trace, f"{trace}-0", kind, name, epoch + start, at, at, at, tenant=request.tenant
        )
        self.coming.append((end + self.chance.uniform(0.5, 6.0), call))

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Yield a tick a second for so many seconds."""
        for second in range(1, int(seconds) + 1):
            self.node.advance(float(second))
            at = self.node.epoch + second
            batches: list[Batch] = []
            if second % 2:
                batches.append(self.gpus(at))
            else:
                batches += [engine.read(at) for engine in self.engines]
                batches.append(self.host(at))
            if second % 5 == 0:
                batches += [self.rails(at), self.calls(at), self.cloud(at)]
            if second % 15 == 0 and self.node.training:
                batches.append(self.training(at))
            kept = [batch for batch in batches if not self.missing or self.chance.random() >= self.missing]
            yield Tick(at, at, tuple(kept))

    def rate(self, who: str, what: str, at: float, value: float) -> float | None:
        """Return what a counter grew a second."""
        return self.meters.setdefault((who, what), RateMeter()).observe(at, value).rate

    def gpus(self, at: float) -> Batch:
        """Return what NVML tells."""
        if self.node.down & {"nvml", "dcgm"}:
            return Batch(at, at, Health("nvml", "nvml", "compute", "down", "the driver does not answer"))
        builder, events = ReadingsBuilder(), []
        for gpu in self.node.gpus:
            events += self.gpu(builder, gpu, at)
        facts = tuple(Fact(Entity.of(gpu=g.uuid), "index", str(g.index), watched=False) for g in self.node.gpus)
        return Batch(at, at, Health("nvml", "nvml", "compute", "ok"), builder.build(), tuple(events), facts=facts)

    def gpu(self, builder: ReadingsBuilder, gpu: Gpu, at: float) -> list[Event]:
        """Add a GPU and return what happened to it."""
        about = Entity.of(gpu=gpu.uuid)
        values: Mapping[str, float | None] = {
            "gpu.utilization": gpu.utilization,
            "gpu.tensor.active": gpu.load.tensor,
            "gpu.dram.active": gpu.load.dram,
            "gpu.memory.used": gpu.memory_used,
            "gpu.memory.usage": gpu.memory_used / gpu.model.memory,
            "gpu.temperature": float(round(gpu.temperature)),
            "gpu.memory.temperature": float(round(gpu.memory_temperature)),
            "gpu.power.draw": gpu.power,
            "gpu.power.limit": gpu.power_limit,
            "gpu.clock.sm": round(gpu.clock / 15e6) * 15e6,
            "gpu.ecc.corrected": float(gpu.ecc_corrected),
            "gpu.ecc.uncorrected": float(gpu.ecc_uncorrected),
            "gpu.rows.remap_pending": float(gpu.remap_pending),
            "gpu.nvlink.active": float(gpu.model.nvlink_links - gpu.links_down),
            "gpu.nvlink.errors": self.rate(gpu.uuid, "errors", at, gpu.nvlink_errors),
            "gpu.processes": float(len(gpu.processes)),
        }
        for signal, value in values.items():
            builder.add(signal, about, value)
        events = []
        for name, bit in REASONS.items():
            on = bit in gpu.reasons
            builder.add("gpu.throttle", about.with_(reason=name), float(on))
            if on and (gpu.uuid, name) not in self.held and name.startswith(("sw_t", "hw_t", "hw_p")):
                text = f"the clocks are held down: {name}"
                detail: tuple[tuple[str, str], ...] = (("reason", name),)
                events.append(Event(at, at, "compute", "throttle", "warning", about, text, "nvml", detail))
            (self.held.add if on else self.held.discard)((gpu.uuid, name))
        for when, code in gpu.xids[self.heard.get(gpu.uuid, 0) :]:
            detail = (("code", str(code)), ("group", "application" if code in APPLICATION_XIDS else "hardware"))
            moment = self.node.epoch + when
            events.append(Event(moment, at, "compute", "xid", "critical", about, f"XID {code}", "nvml", detail))
        self.heard[gpu.uuid] = len(gpu.xids)
        return events

    def host(self, at: float) -> Batch:
        """Return what the host tells."""
        host, builder, about = self.node.host, ReadingsBuilder(), Entity.of(node="sim")
        builder.add("host.cpu.utilization", about, host.utilization)
        builder.add("host.cpu.steal", about, host.steal)
        builder.add("host.cpu.cores", about, float(host.cores))
        builder.add("host.cpu.load", about, host.load_average)
        builder.add("host.cpu.pressure", about, max(1.0 - 1.0 / host.slowdown, 0.0))
        builder.add("host.memory.used", about, host.memory_used)
        return Batch(at, at, Health("host", "host", "compute", "ok"), builder.build())

    def cloud(self, at: float) -> Batch:
        """Return what the provider tells: capacity that is called back, once."""
        events, gone_at = [], self.node.gone_at
        if gone_at is not None and self.gone_at is None:
            text = "AWS takes this spot instance back: terminated"
            detail = (("action", "terminate"), ("state", "given"))
            events.append(Event(at, at, "compute", "notice", "critical", Entity.of(node="sim"), text, "cloud", detail))
        self.gone_at = gone_at
        return Batch(at, at, Health("cloud", "cloud", "compute", "ok", interval_s=5.0), events=tuple(events))

    def training(self, at: float) -> Batch:
        """Return what the tracking server tells of training runs: the pace between the two newest reports."""
        builder = ReadingsBuilder()
        for job in self.node.training:
            report = job.report
            if report is None:
                continue
            before, pace = self.paces.get(job.name, (report, None))
            if report.step > before.step:
                pace = (report.at - before.at) / (report.step - before.step)
            self.paces[job.name] = (report, pace)
            about = Entity.of(job=job.name)
            builder.add("training.step_time", about, pace)
            builder.add("training.tokens.rate", about, report.tokens_per_s)
        return Batch(at, at, Health("mlflow", "mlflow", "pipelines", "ok", interval_s=15.0), builder.build())

    def rails(self, at: float) -> Batch:
        """Return what the guardrails tell."""
        builder = ReadingsBuilder()
        for rail in (self.node.gateway.input_rail, self.node.gateway.output_rail):
            service, about = rail.service, Entity.of(rail=rail.service.name)
            builder.add("guardrail.requests", about, self.rate(service.name, "requests", at, service.requests))
            builder.add("guardrail.hits", about, self.rate(service.name, "hits", at, rail.hits))
            window = self.windows.setdefault(service.name, HistogramWindow())
            window.observe(at, buckets(service.latency))
            builder.add("guardrail.latency", about, window.quantiles())
        return Batch(at, at, Health("rails", "litellm", "governance", "ok", interval_s=5.0), builder.build())

    def calls(self, at: float) -> Batch:
        """Return the calls that became known."""
        node = self.node
        if "langfuse" in node.down or node.sink.down:
            return Batch(at, at, Health("langfuse", "langfuse", "tracing", "down", "refused", interval_s=5.0))
        found = [replace(call, seen=at) for due, call in self.coming if due <= node.now]
        self.coming = [pair for pair in self.coming if pair[0] > node.now]
        for visible, request in node.sink.since(self.asked):
            found += self.answer(request, node.epoch + visible, at)
        self.asked = node.now
        health = Health("langfuse", "langfuse", "tracing", "ok", interval_s=5.0, clock_uncertainty_s=0.5)
        return Batch(at, at, health, calls=tuple(found), calls_until=at)

    def answer(self, request: Request, visible: float, at: float) -> Iterator[Call]:
        """Yield a request's root and its generation."""
        epoch, trace = self.node.epoch, f"{self.node.seed}-{request.number}"
        fine = request.outcome.value in ("ok", "blocked_input", "blocked_output")
        common: dict[str, Any] = {
            "seen": at,
            "updated": visible,
            "level": "DEFAULT" if fine else "ERROR",
            "tenant": request.tenant,
            "version": request.version,
            "prompt": "chat",
            "prompt_version": request.prompt_version,
        }
        ended = request.ended or request.arrived
        times = epoch + request.arrived, epoch + ended
        yield Call(f"{trace}-0", trace, "", "other", "request", *times, root=True, **common)
        if request.engine:
            begun = (request.retrieved or request.input_checked or request.arrived) + 0.004
            end = max(request.last_token if request.generated else ended, begun)
            first = None if request.first_token is None else request.first_token - begun
            sizes: dict[str, Any] = {"input_tokens": request.prompt_tokens, "output_tokens": request.generated}
            yield Call(
                f"{trace}-3", trace, f"{trace}-0", "generation", "answer", epoch + begun, epoch + end,
                model=request.model, cached_tokens=request.cached_tokens, ttft=first, **sizes, **common,
            )  # fmt: skip
