"""Every recorded drill, computed anew, gets its answer."""

import tomllib
from pathlib import Path

import pytest

from aistack_top.feeds.rediagnose import rediagnose
from aistack_top.session.reader import Session
from aistack_top.simulator.scenario import scenarios

SESSIONS = Path(__file__).parents[3] / "fixtures/sessions"
KEPT = sorted(SESSIONS.glob("*.aistack"))

MAX_LATE_S = 120.0
MORE = {"collector_dies": {"source_lost"}, "kv_config": {"traffic_surge"}}
"""What is told beside the cause, and is so: the collector that dies of it, a burst an hour before."""


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.stem)
async def test_a_recorded_drill_gets_its_answer(folder):
    session = Session.open(folder)
    answer = tomllib.loads((folder / "answer.toml").read_text())
    found = await rediagnose(session, session.end)
    if answer["cause"] == "none":
        assert not found
        return
    right = [one for one in found if one.cause == answer["cause"]]
    assert any(
        one.layer == (answer["layer"] if one.cause != "unknown" else "")
        and abs(one.onset - answer["onset"].timestamp()) <= MAX_LATE_S
        for one in right
    )
    true = {answer["cause"], *scenarios()[folder.stem].also, *MORE.get(folder.stem, ())}
    assert [one.cause for one in found if one.cause not in true] == []
