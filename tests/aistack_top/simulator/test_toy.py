"""The model, set to the limits of a recorded vLLM 0.32 server and fed its requests, against what that server did.

The bounds are the factors docs/simulator.md states; the right-hand numbers are those of the recording.
"""

from statistics import mean

import pytest

from tests.aistack_top.simulator.toy import replay


@pytest.fixture(scope="module")
def phases():
    return replay()


def within(factor, model, recorded):
    assert recorded / factor <= model <= recorded * factor, (model, recorded)


def test_normal_time_is_calm(phases):
    normal = phases["normal"]
    assert max(normal.waiting) == 0
    assert normal.preemptions == 0
    # the model knows no tokenizer and no HTTP server, which take most of 43 ms on two busy cores
    within(3.5, normal.median_ttft, 0.043)


@pytest.mark.parametrize(("name", "recorded"), [("burst", 101), ("drain", 88), ("recovery", 47)])
def test_requests_wait_as_many_as_recorded(phases, name, recorded):
    within(1.35, mean(phases[name].waiting), recorded)


@pytest.mark.parametrize(("name", "recorded"), [("burst", 0.86), ("drain", 0.91), ("recovery", 0.77)])
def test_the_cache_is_as_full_as_recorded(phases, name, recorded):
    within(1.25, mean(phases[name].usage), recorded)


def test_preemptions_come_as_often_as_recorded(phases):
    within(1.5, sum(phase.preemptions for phase in phases.values()), 47 + 40 + 39)


@pytest.mark.parametrize(("name", "recorded"), [("burst", 20.0), ("drain", 60.0), ("recovery", 36.0)])
def test_first_tokens_come_as_late_as_recorded(phases, name, recorded):
    within(1.35, phases[name].median_ttft, recorded)


@pytest.mark.parametrize(("name", "recorded"), [("burst", 594), ("drain", 636), ("recovery", 598)])
def test_tokens_come_as_fast_as_recorded(phases, name, recorded):
    lasts = {"burst": 50.0, "drain": 30.0, "recovery": 40.0}[name]
    within(1.25, phases[name].tokens / lasts, recorded)
