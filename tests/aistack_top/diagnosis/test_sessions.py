"""Recorded sessions get their answers: one of each kind here, all of them in bench/diagsessions.py."""

import tomllib
from pathlib import Path

import pytest

from aistack_top.diagnosis.anew import anew
from aistack_top.session.reader import Session

SESSIONS = Path(__file__).parents[3] / "fixtures/sessions"


@pytest.mark.parametrize("name", ["ecc", "spot_notice", "guardrail_slow", "langfuse_down", "decoy_warm_gpu"])
async def test_a_recorded_session_gets_its_answer(name):
    session = Session.open(SESSIONS / f"{name}.aistack")
    answer = tomllib.loads((SESSIONS / f"{name}.aistack/answer.toml").read_text())
    found = await anew(session, session.end)
    assert [one.cause for one in found] == ([] if answer["cause"] == "none" else [answer["cause"]])
    for incident in found:
        assert incident.layer == answer["layer"]
        assert abs(incident.onset - answer["onset"].timestamp()) <= 120
