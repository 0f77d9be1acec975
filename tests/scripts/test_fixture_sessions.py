"""The recorded drills: the script is repeatable, and what lies in fixtures/sessions is what it makes."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import fixture_sessions
import pytest
from msgspec.structs import replace

from aistack_top.session.reader import Session
from aistack_top.simulator.node import EPOCH
from aistack_top.simulator.scenario import scenarios

ROOT = Path(__file__).parents[2]
KEPT = sorted((ROOT / "fixtures/sessions").glob("*.aistack"))
MAX_BYTES = 25e6


@pytest.fixture(scope="module")
def script():
    return fixture_sessions


def readings(folder):
    return {
        f"{file.parent.name}/{file.name}": file.read_bytes()
        for name in ("readings", "series", "calls")
        for file in folder.glob(f"b*/{name}.parquet")
    }


def test_the_same_seed_is_the_same_session_byte_for_byte(script, tmp_path):
    scenario = scenarios()["spot_notice"]
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        script.make(replace(scenario, seed=seed), tmp_path / name, 60.0)
    one, again, other = (readings(tmp_path / name) for name in ("one", "again", "other"))
    assert len(one) == 3
    assert one == again
    assert one["b000000/readings.parquet"] != other["b000000/readings.parquet"]


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.stem)
def test_a_kept_drill_opens_and_has_the_answer_of_its_scenario(script, folder):
    session = Session.open(folder)
    scenario = scenarios()[folder.stem]
    assert not session.problems
    assert session.info.closed
    text = (folder / "answer.toml").read_text()
    assert text == script.answer(scenario)
    answer = tomllib.loads(text)
    assert answer["cause"] == scenario.cause
    for name in ("onset", "fault_end", "backlog_end"):
        wanted = getattr(scenario, name)
        assert answer.get(name) == (datetime.fromtimestamp(EPOCH + wanted, UTC) if wanted else None)
    assert session.start <= EPOCH + 1.0
    assert session.end >= EPOCH + max(scenario.fault_end, scenario.backlog_end)


def test_the_kept_drills_have_every_cause_and_stay_small():
    names = {folder.stem for folder in KEPT}
    assert {scenarios()[name].cause for name in names} == {scenario.cause for scenario in scenarios().values()}
    assert sum(file.stat().st_size for folder in KEPT for file in folder.rglob("*")) < MAX_BYTES
