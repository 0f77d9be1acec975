"""The call store: each call once, in the order of the ends, never more than it may hold."""

from dataclasses import replace

from aistack_top.model.tick import Call
from aistack_top.store.calls import CallStore


def call(name, end, updated=1.0):
    return Call(name, "t", "", "generation", "chat", end - 1, end, updated, end + 5)


def ids(calls):
    return [one.id for one in calls]


def test_calls_are_ordered_by_their_ends_however_they_come():
    book = CallStore()
    book.add([call("c", 30.0), call("a", 10.0), call("b", 20.0)])
    assert ids(book.between(0.0, 100.0)) == ["a", "b", "c"]
    assert ids(book.between(10.0, 20.0)) == ["b"]
    assert book.oldest == 10.0


def test_a_row_that_is_written_again_replaces_the_first_and_keeps_when_it_was_seen():
    book = CallStore()
    first = call("a", 10.0)
    assert book.add([first]) == [first]
    assert book.add([first]) == []
    (fresh,) = book.add([replace(call("a", 12.0, updated=2.0), seen=99.0)])
    assert (fresh.end, fresh.seen) == (12.0, first.seen)
    assert len(book) == 1
    assert book.get("a") == fresh
    assert book.changes == 2


def test_the_oldest_are_forgotten_when_there_are_too_many():
    book = CallStore(most=2)
    book.add([call(name, float(end)) for end, name in enumerate("abcd")])
    assert ids(book.between(-1.0, 100.0)) == ["c", "d"]
    assert book.get("a") is None
