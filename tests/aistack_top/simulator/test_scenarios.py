"""Scenarios as data, faults that undo what they did, and the measured answers held against runs."""

from dataclasses import asdict

import msgspec
import pytest

from aistack_top.model.causes import Cause
from aistack_top.model.signals import signals
from aistack_top.simulator.measure import ALIKE, EXCURSION, backlog_end, excursion, watch
from aistack_top.simulator.scenario import nodes, scenarios

ALL = list(scenarios().values())
NO_LATENCY = {Cause.NONE, Cause.SOURCE_LOST}
each = pytest.mark.parametrize("scenario", ALL, ids=[scenario.name for scenario in ALL])


def state(node):
    """Everything faults turn that must be as it was when they are over."""
    return {
        "knobs": [asdict(engine.knobs) for engine in node.engines],
        "acceptance": [engine.acceptance for engine in node.engines],
        "gpus": [
            (g.cooling, g.inlet, g.brake, g.power_limit, g.link_share, g.links_down, g.nvlink_error_rate)
            for g in node.gpus
        ],
        "strangers": [(g.other_sm, g.other_dram) for g in node.gpus],
        "host": (node.host.stranger_cores, node.host.steal, [job.loader_cores for job in node.training]),
        "rails": [
            (rail.service.slowdown, rail.service.error_rate, rail.hit_rate)
            for rail in (node.gateway.input_rail, node.gateway.output_rail)
        ],
        "store": (node.gateway.store.search.slowdown, node.gateway.store.compacting),
        "routing": (node.gateway.favourite, node.gateway.bias, len(node.gateway.draining)),
        "shapes": [asdict(shape) for shape in node.traffic.shapes.values()],
        "down": set(node.down),
        "sink": node.sink.down,
    }


def close(before, after):
    if isinstance(before, float):
        return after == pytest.approx(before)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(close, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(close(value, after[key]) for key, value in before.items())
    return before == after


def soon(scenario):
    """The same drill within ten seconds."""
    faults = tuple(
        msgspec.structs.replace(fault, at=2.0, until=6.0 if fault.until else 0.0) for fault in scenario.fault
    )
    return msgspec.structs.replace(scenario, fault=faults)


@each
@pytest.mark.parametrize(("severity", "band"), [(0.5, 0.40), (1.0, 0.65), (2.0, 0.85)])
def test_it_plays_at_any_severity_and_band_and_undoes_what_it_did(scenario, severity, band):
    node = soon(scenario).start(node=scenario.light, severity=severity, band=band, seed=9)
    before = state(node)
    node.advance(4.0)
    assert len([one for one in node.happenings if one.text == "begins"]) == len(scenario.fault)
    if "prompt_version" not in scenario.name:  # the version itself is put back, what it cost is compared below
        during = state(node)
        visible = (
            "xid",
            "ecc",
            "kv_config",
            "batch_limit",
            "frozen_engine",
            "kv_neighbour",
            "traffic_surge",
            "model_version",
        )
        if scenario.fault and not scenario.name.startswith(("decoy", *visible)):
            assert not close(before, during)
    node.advance(10.0)
    if all(fault.until for fault in scenario.fault):
        assert close(before, state(node))


@each
def test_its_answer_is_whole(scenario):
    assert scenario.says.endswith(".")
    assert {scenario.node, scenario.light} <= set(nodes())
    if scenario.onset:
        assert scenario.onset < scenario.fault_end < scenario.minutes * 60.0
    if scenario.cause in NO_LATENCY:
        assert scenario.symptom is None
        return
    assert scenario.symptom is not None
    assert scenario.symptom.signal in signals()
    assert scenario.layer is not None
    assert scenario.fault_end <= scenario.backlog_end <= scenario.minutes * 60.0 - 120.0
    for node in (scenario.node, scenario.light):
        labels = {engine.name for engine in nodes()[node].engine}
        assert scenario.symptom.entity.get("engine", "chat-0") in labels or node != scenario.node


def test_every_cause_has_a_drill():
    told = {cause for scenario in ALL for cause in (scenario.cause, *scenario.also)}
    # real captures and a made-up plant hold these
    assert told == set(Cause) - {Cause.ENGINE_DOWN, Cause.OVERLOAD, Cause.NETWORK_DELAY}


def test_a_fault_shows_and_its_backlog_ends_when_the_data_says():
    """One of them in full; `bench/simulator.py survey` does the same for all."""
    scenario = scenarios()["xid"]
    node = scenario.start()
    curves = watch(node, scenario.backlog_end + 150.0)
    own = curves[scenario.symptom.signal, scenario.symptom.entity.get("engine", "")]
    risen = excursion(own, scenario.onset)
    assert risen.ratio >= EXCURSION
    assert risen.seconds >= 120.0
    assert backlog_end(curves["calls.latency", ""], scenario.onset, scenario.fault_end) == scenario.backlog_end


def test_a_decoy_does_not_show():
    scenario = scenarios()["decoy_correctable_ecc"]
    earlier = tuple(msgspec.structs.replace(fault, at=400.0) for fault in scenario.fault)
    node = msgspec.structs.replace(scenario, fault=earlier).start()
    for points in watch(node, 580.0).values():
        assert excursion(points, 400.0).seconds < 60.0
    assert node.gpus[0].ecc_corrected == 340


def test_the_measures_on_curves_by_hand():
    points = [(at, 1.0 if at < 900 or at > 1500 else 3.0 if at < 1200 else 1.8) for at in map(float, range(0, 1800, 5))]
    risen = excursion(points, 900.0)
    assert (risen.usual, risen.ratio, risen.seconds) == (1.0, 3.0, 300.0)
    assert backlog_end(points, 900.0, 1200.0) == 1505.0
    assert ALIKE < 1.8
    assert backlog_end(points[:305], 900.0, 1200.0) == float("inf")
