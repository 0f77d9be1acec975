"""How every source was: the newest record, and one entry for each change."""

from aistack_top.model.tick import Health
from aistack_top.store.health import HealthLog


def record(status, reason="", age=0.0):
    return Health("vllm-0", "vllm", "serving", status, reason, age)


def test_only_a_change_of_status_is_an_event():
    log = HealthLog()
    assert log.apply(1.0, record("ok")) is None
    assert log.apply(2.0, record("ok", age=3.0)) is None
    event = log.apply(3.0, record("down", "connection refused"))
    assert (event.at, event.severity, event.text) == (3.0, "warning", "vllm-0 down: connection refused")
    assert log.apply(4.0, record("down", "timeout")) is None
    assert log.apply(5.0, record("ok")).severity == "info"


def test_a_moment_has_the_record_that_held_then_and_now_the_newest():
    log = HealthLog()
    for seen, status in ((1.0, "ok"), (3.0, "down"), (5.0, "ok")):
        log.apply(seen, record(status))
    assert log.at(0.5) == ()
    assert [one.status for _, one in log.at(4.0)] == ["down"]
    assert log.apply(6.0, record("ok", age=2.0)) is None
    ((seen, newest),) = log.at()
    assert (seen, newest.age_s) == (6.0, 2.0)
    assert [seen for seen, _ in log.changes(1.0, 5.0)] == [3.0, 5.0]
