import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from aistack_top import snapshot
from aistack_top.model.causes import Cause
from aistack_top.model.signals import LAYERS
from aistack_top.model.tick import Batch, Health, Tick
from aistack_top.state import State
from aistack_top.store.incidents import IncidentStore
from aistack_top.text.incident_json import SCHEMA, decode, document, encode
from tests.aistack_top.diagnosis.factories import incident

AT = 1_764_000_000.0
PUBLISHED = json.loads((Path(__file__).parents[3] / "docs/schema/diagnosis.json").read_text())


def test_an_incident_survives_its_json_form():
    for one in (incident(AT), incident(AT, end=AT - 5.25, calls=None, layer="", cause=Cause.UNKNOWN)):
        assert decode(encode(one)) == one


def test_the_document_is_what_its_schema_says():
    said = document([incident(AT), incident(AT, "i-2", AT, calls=None, layer="")])
    jsonschema.validate(said, PUBLISHED)
    assert said["schema"] == SCHEMA
    assert said["incidents"][0]["onset"] == "2025-11-24T15:59:00.000Z"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**said, "incidents": [{**said["incidents"][0], "confidence": "certain"}]}, PUBLISHED)


def test_the_schema_names_every_cause_and_layer():
    assert set(PUBLISHED["$defs"]["cause"]["enum"]) == {cause.value for cause in Cause}
    assert tuple(PUBLISHED["$defs"]["layer"]["enum"]) == LAYERS


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"id": 1}', encode(incident(AT)).replace("2025-11-24T15:59:00.000Z", "yesterday")],
)
def test_what_is_no_incident_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do, and none may be another exception
        decode(text)


def test_texts_from_a_session_cannot_move_the_cursor():
    hostile = incident(AT)
    hostile = replace(hostile, verdict=replace(hostile.verdict, why="\x1b[31mred\x07"))
    assert decode(encode(hostile)).verdict.why == "red"


def test_the_book_says_what_was_known_at_a_moment():
    book = IncidentStore()
    book.add([incident(AT, onset=AT - 60), incident(AT + 30, onset=AT - 60, confidence="confirmed")])
    book.add([incident(AT + 10, "i-2", onset=AT - 90)])
    assert book.at(AT - 1) == ()
    assert [one.confidence for one in book.at(AT + 29) if one.id == "i-1"] == ["likely"]
    assert [(one.id, one.confidence) for one in book.at()] == [("i-2", "likely"), ("i-1", "confirmed")]
    assert book.get("i-1").revised == AT + 30


def test_a_frame_and_a_snapshot_tell_of_open_incidents():
    state = State()
    batch = Batch(AT, AT, Health("nvml", "nvml", "compute", "ok"))
    state.apply(Tick(AT, AT, (batch,), incidents=(incident(AT, onset=AT - 60),)))
    state.apply(Tick(AT + 9, AT + 9, (batch,), incidents=(incident(AT + 9, onset=AT - 60, end=AT + 5),)))

    then, now = state.frame(AT + 3), state.frame()
    assert [one.open for one in then.incidents] == [True]
    assert [one.open for one in now.incidents] == [False]
    assert [one["id"] for one in snapshot.document(then, "node")["incidents"]] == ["i-1"]
    assert snapshot.document(now, "node")["incidents"] == []
    assert snapshot.exit_code(then) == 1
    assert snapshot.exit_code(now) == 0
    assert "incident i-1: TTFT p95 of chat-0 peak 4.0 s (8.0x baseline), since " in snapshot.text(then, "node")
