"""Strict TOML: what is wrong is told all at once, each with its line; nothing else comes of a damaged text."""

from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.strict_toml import Lines, StrictError, decode, nearest


class Wheel(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    brand: Literal["north", "south"] = "north"


class Car(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    wheel: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    notes: dict[str, str | Wheel] = {}

    def __post_init__(self):
        if self.name == "none":
            raise ValueError("a car has a name")


GOOD = """name = "a"
notes = { first = "x" }

[[wheel]]
size = 1

[[wheel]]
size = 2
brand = "south"

[spare]
size = 3
"""


def problems(text):
    with pytest.raises(StrictError) as caught:
        decode(text, Car, "car.toml")
    return caught.value.problems


def test_a_good_text_is_read():
    car = decode(GOOD, Car, "car.toml")
    assert [wheel.size for wheel in car.wheel] == [1, 2]
    assert car.spare == Wheel(3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("brand", "brnd", "car.toml:9: unknown key 'brnd'; did you mean 'brand'?"),
        ('"south"', '"soth"', "car.toml:9: Invalid enum value 'soth'; did you mean 'south'?"),
        ("size = 2", 'size = "2"', "car.toml:8: size: Expected 'int', got 'str'"),
        ("size = 3", "", "car.toml:11: size is missing"),
        ('name = "a"', 'name = "none"', "car.toml:1: a car has a name"),
        ('"x"', "3", "car.toml:2: first: Expected"),
        ("[spare]", "[spar]", "car.toml:11: unknown key 'spar'; did you mean 'spare'?"),
        ('name = "a"', "name = ", "car.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_name(old, new, said):
    assert any(one.startswith(said) for one in problems(GOOD.replace(old, new)))


def test_all_mistakes_are_named_at_once():
    assert len(problems(GOOD.replace("size", "siz").replace("name", "nam"))) == 8


def test_lines_of_quoted_names_and_of_tables_in_a_list_are_found():
    lines = Lines('["a.b"]\nx = 1\nrow = [\n  { y = 1 },\n  { y = 2 }, # second\n]\nz = [1, 2]\n[c]\nk = 1\n')
    assert lines.of(("a.b",)) == 1
    assert lines.of(("a.b", "row", 1, "y")) == 5
    assert lines.of(("a.b", "z")) == 7
    assert lines.of(("c", "k")) == 9
    assert lines.of(("nowhere",)) == 1


def test_names_that_are_far_from_all_are_answered_with_the_list_if_it_is_short():
    assert nearest("zzz", ["one", "two"]) == "; known: one, two"
    assert nearest("zzz", [f"name{n}" for n in range(99)]) == ""


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(0, len(GOOD)), st.text(max_size=6))
def test_a_damaged_text_is_a_car_or_a_strict_error(place, noise):
    try:
        assert decode(GOOD[:place] + noise + GOOD[place + len(noise) :], Car, "x").name is not None
    except StrictError as error:
        assert error.problems  # noqa: PT017  either outcome is fine, a third is not
