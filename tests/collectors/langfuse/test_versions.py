"""What came into use in the calls: told once, when it is news, and where it belongs in time."""

import pytest

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Call
from collectors.langfuse.versions import ABSENT_S, MIN_CALLS, VersionWatch
from tests.collectors.langfuse.langfuse_helpers import calls_of, collector, playback, polls

START = 1_764_000_000.0
PLAIN = "llama"


def call(number, end, *, model=PLAIN, version="1.7", prompt="answer", prompt_version="3", name="chat"):
    told = {"model": model, "version": version, "prompt": prompt, "prompt_version": prompt_version}
    return Call(f"{number}-{end}", "t", "", "generation", name, end - 2, end, end + 5, end + 5, **told)


def usual(count=50, start=START, **more):
    return [call(number, start + number, **more) for number in range(count)]


def texts(events):
    return [event.text for event in events]


@pytest.mark.parametrize(
    ("changed", "about", "said", "key"),
    [
        ({"version": "1.8"}, {"model": PLAIN}, "version 1.8 in calls, until now 1.7", "version"),
        ({"prompt_version": "4"}, {"prompt": "answer"}, "prompt version 4 in calls, until now 3", "prompt_version"),
        ({"model": "qwen"}, {"model": "qwen"}, "chat: model qwen in calls, until now llama", "model"),
    ],
)
def test_what_comes_into_use_is_told_once_with_what_was_before(changed, about, said, key):
    watch = VersionWatch("langfuse")
    assert watch.observe(usual()) == ()
    (event,) = watch.observe([call(1, START + 90, **changed), call(2, START + 91, **changed)])
    assert (event.text, event.kind, event.layer, event.severity) == (said, "changed", "tracing", "info")
    assert (event.entity, event.at, event.seen) == (Entity.of(**about), START + 88, START + 95)
    assert event.detail[0] == ("key", key)
    assert watch.observe([call(3, START + 100, **changed), *usual(2, START + 110)]) == ()


def test_after_few_calls_nothing_is_known_to_be_new():
    watch = VersionWatch("langfuse")
    few = MIN_CALLS["version"]
    assert watch.observe([*usual(few - 1), call(1, START + 90, version="1.8")]) == ()
    assert watch.observe(usual(few, START + 100, version="1.8")) == ()


def test_a_version_that_was_away_comes_back_as_news():
    watch = VersionWatch("langfuse")
    watch.observe(usual())
    assert len(watch.observe(usual(50, START + 90, version="1.8"))) == 1
    watch.observe(usual(2, START + ABSENT_S, version="1.8"))
    assert texts(watch.observe([call(1, START + ABSENT_S + 60)])) == ["version 1.7 in calls, until now 1.8"]


def test_after_a_silence_of_all_nothing_is_compared():
    watch = VersionWatch("langfuse")
    watch.observe(usual())
    assert watch.observe(usual(2, START + 3 * ABSENT_S)) == ()


def test_a_late_call_of_an_old_version_is_no_news_and_one_of_a_new_version_among_others_is():
    watch = VersionWatch("langfuse")
    watch.observe(usual(100, version="1.8"))
    assert watch.observe([call(1, START - 900, version="1.6")]) == ()
    assert texts(watch.observe([call(2, START + 90, version="1.9")])) == ["version 1.9 in calls, until now 1.8"]


def test_names_from_outside_are_harmless_and_bounded():
    watch = VersionWatch("langfuse")
    watch.observe([call(number, START + number, prompt=f"p{number}") for number in range(1500)])
    (event,) = watch.observe([call(1, START + 1600, version="\x1b[2J")])
    assert "\x1b" not in event.text


async def test_the_rollout_in_the_capture_is_told_for_each_model_and_nothing_else():
    play = playback("v4", "2026-11-23T15:20:00Z")
    batches = await polls(collector(play), play, 6600, 10)
    events = [event for batch in batches for event in batch.events]
    first: dict[str, float] = {}
    for one in sorted(calls_of(batches), key=lambda call: call.end):
        if one.version == "app-1.9.0" and one.kind == "generation":
            first.setdefault(one.model, one.start)
    assert set(texts(events)) == {"version app-1.9.0 in calls, until now app-1.8.0"}
    assert {event.entity.get("model"): event.at for event in events} == first
    assert len(events) == len(first) == 4
