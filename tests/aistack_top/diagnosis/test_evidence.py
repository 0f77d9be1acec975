"""Causes by what stands around the engines: links with errors, the network, a starved console, lines of a log."""

import pytest

from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Fact, Quantiles
from tests.aistack_top.diagnosis.fake_node import NODE, START, bent, both, engine, only, watch
from tests.aistack_top.diagnosis.test_detector import DECODE, SLOW, event
from tests.aistack_top.diagnosis.test_steps import KNOWN, Known

GPU = Entity.of(gpu="GPU-0")
MODEL = Entity.of(model="llama")


class Told(Known):
    """A plant with readings that are calm before ``since`` and not from then on."""

    def __init__(self, *args, calm=(), **values):
        super().__init__(*args, **values)
        self.calm, self.loud = calm, self.adds

    def ticks(self, seconds, start=0):
        for second in range(start, seconds, 5):
            self.adds = self.loud if second >= self.since else self.calm
            self._since, self.since = self.since, -1
            yield from super().ticks(second + 5, second)
            self.since = self._since


def calls(mean):
    return (("calls.ttft", MODEL, Quantiles(mean * 0.9, mean * 1.8, mean * 2.2, mean, 200.0, 60.0)),)


def told(*args, calm, loud, since=1000, **values):
    return Told(*args, calm=calm, adds=loud, since=since, **values)


def test_links_with_errors_that_are_all_up_are_the_cause_and_the_gpu_is_named():
    links = lambda rate: (("gpu.nvlink.errors", GPU, rate),)  # noqa: E731
    found = only(watch(told(bent(1010, **DECODE), calm=links(0.0), loud=links(400.0), since=990)))
    assert (found.cause, found.layer) == (Cause.NVLINK, "compute")
    assert found.confidence in ("confirmed", "likely")
    assert "are up, but have errors" in found.verdict.why
    assert found.verdict.next_step.startswith("nvidia-smi nvlink -e -i 3 names the link")


def test_a_link_error_now_and_then_is_no_cause():
    links = lambda rate: (("gpu.nvlink.errors", GPU, rate),)  # noqa: E731
    found = only(watch(told(bent(1010, **DECODE), calm=links(0.0), loud=links(0.5), since=990)))
    assert found.cause is Cause.UNKNOWN


def test_callers_that_wait_longer_than_the_engines_work_wait_on_the_network():
    found = only(watch(told(calm=calls(0.5), loud=calls(2.0), facts=KNOWN)))
    assert (found.cause, found.layer, found.confidence) == (Cause.NETWORK_DELAY, "compute", "likely")
    assert found.symptom.signal == "calls.ttft"
    assert found.verdict.next_step.startswith("mtr from a caller's host to n,")
    assert any("TTFT" in text for text in found.verdict.support)


@pytest.mark.parametrize(
    ("bend", "cause"),
    [
        (bent(1000, **SLOW), Cause.UNKNOWN),
        (bent(1000, guardrail__latency=40.0), Cause.GUARDRAIL_SLOW),
    ],
)
def test_what_the_engines_or_a_guardrail_do_is_no_network(bend, cause):
    found = watch(told(bend, calm=calls(0.5), loud=calls(2.0)))
    assert cause in [versions[-1].cause for versions in found.values()]
    assert Cause.NETWORK_DELAY not in [versions[-1].cause for versions in found.values()]


def test_without_any_numbers_of_the_engines_nobody_says_network():
    plant = told(calm=calls(0.5), loud=calls(2.0))
    plant.engines = 0
    assert only(watch(plant)).cause is Cause.UNKNOWN


def test_a_console_that_waits_for_a_cpu_speaks_for_the_engines_beside_it():
    waits = lambda share: (("host.cpu.console_delay", NODE, share),)  # noqa: E731
    found = only(watch(told(bent(1000, **DECODE), calm=waits(0.04), loud=waits(0.6), since=990)))
    assert (found.cause, found.confidence) == (Cause.CPU_STARVATION, "likely")
    assert "console waits for CPU [n] 4.0 % -> 60 %" in " ".join(found.verdict.support)
    calm = only(watch(told(bent(1000, **DECODE), calm=waits(0.04), loud=waits(0.2), since=990)))
    assert calm.cause is Cause.UNKNOWN


def xid(code="79", severity="critical", group="hardware", second=995):
    text = f"XID {code} at PCI 0000:03:00: GPU fell off the bus; reboot the node"
    detail = {"pattern": "xid", "code": code, "group": group, "pci": "0000:03:00", "action": "reboot the node"}
    return event(second, "log", NODE, text, severity, **detail)


def test_an_xid_in_the_kernels_log_is_an_incident_at_once_and_never_more_than_likely():
    (versions,) = watch(told(calm=(), loud=(), events=xid())).values()
    first = versions[0]
    assert (first.cause, first.confidence, first.layer) == (Cause.XID, "likely", "compute")
    assert first.detected - START <= 1000
    assert first.verdict.what.startswith("the kernel of n reports a GPU error, since ")
    said = "as NVIDIA documents: reboot the node; send the work of"
    assert first.verdict.next_step == f"XID 79 at PCI 0000:03:00, {said} that GPU elsewhere first"
    facts = (*KNOWN, Fact(GPU, "pci_bus_id", "00000000:03:00.0"))
    assert only(watch(told(calm=(), loud=(), events=xid(), facts=facts))).verdict.next_step == (
        f"XID 79, {said} gpu 3 elsewhere first"
    )


def test_an_applications_xid_in_the_log_is_none():
    assert watch(told(calm=(), loud=(), events=xid("31", "warning", "application"))) == {}
    assert watch(told(calm=(), loud=(), events=xid("31", "critical", "application"))) == {}


def test_the_drivers_word_and_the_logs_are_one_incident():
    text = "XID 79: GPU fell off the bus; reboot the node"
    driver = event(1000, "xid", GPU, text, "critical", code="79", group="hardware")
    found = only(watch(told(calm=(), loud=(), events={**xid(), **driver})))
    assert found.cause is Cause.XID


def test_a_switch_that_complains_explains_slow_decoding_and_alone_opens_nothing():
    sxid = event(995, "log", NODE, "NVSwitch SXid 28006 at PCI 0000:c1:00.0, not fatal", pattern="sxid", code="28006")
    found = only(watch(told(bent(1000, **DECODE), calm=(), loud=(), events=sxid)))
    assert (found.cause, found.confidence) == (Cause.NVLINK, "likely")
    assert "SXid 28006" in found.verdict.why
    assert watch(told(calm=(), loud=(), events=sxid)) == {}


def test_what_the_kernel_killed_is_the_step_of_an_engine_that_is_gone():
    text = "the kernel killed process 4711 (VLLM::EngineCor) for lack of memory"
    plain = event(1000, "oom", NODE, "the kernel killed 1 process for lack of memory")
    named = event(995, "oom", NODE, text, pattern="oom", pid="4711")
    found = only(watch(told(calm=(), loud=(), events={**named, **plain}, down={"chat-0": (1000, 1200)})))
    assert found.cause is Cause.ENGINE_DOWN
    assert found.verdict.next_step == f"{text}: give chat-0 more memory or find what grew, then restart it"
    assert any("killed process 4711" in one.text for one in found.events)
    assert found.place == engine(0)


def test_everything_at_once_is_still_the_gpu_that_is_lost():
    starved = both(bent(1010, **DECODE), bent(1010, **SLOW))
    waits = (("host.cpu.console_delay", NODE, 0.6),)
    found = watch(told(starved, calm=(), loud=waits, events=xid()))
    assert Cause.XID in [versions[-1].cause for versions in found.values()]
