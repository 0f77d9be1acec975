"""Strict TOML: every problem in a text at once, each with its line and the nearest known name.

`problems_of` is for the case that something is wrong: a good text is converted by msgspec alone, in one go.
"""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")

Place = tuple[str | int, ...]
"""Where something stands: keys of tables and positions in lists, from the outside in."""

Problem = tuple[Place, str]

MAX_LISTED = 14
"""So many known names are listed where none is near; more would hide the mistake."""

_WORD = r"\"[^\"]*\"|'[^']*'|[\w:-]+"


class StrictError(Exception):
    """A text cannot be used; ``problems`` are sentences, each with file and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def decode(text: str, kind: type[T], name: str) -> T:
    """Return what a TOML text says; ``name`` stands before each problem.

    Raises:
        StrictError: it is not TOML, or says things that are not known; all problems are named.

    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StrictError([f"{name}: not valid TOML: {error}"]) from None
    problems = list(problems_of(raw, kind))
    if problems:
        raise StrictError(located(problems, text, name))
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:  # what no key alone is to blame for
        raise StrictError([f"{name}: {error}"]) from None


def located(problems: Iterable[Problem], text: str, name: str) -> list[str]:
    """Return problems as sentences with file and line."""
    lines = Lines(text)
    return [f"{name}:{lines.of(path)}: {said}" for path, said in problems]


def nearest(said: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known one, or all if they are few."""
    names = list(known)
    near = difflib.get_close_matches(said, names, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if len(names) <= MAX_LISTED else ""


def problems_of(value: object, kind: Any, path: Place = ()) -> Iterator[Problem]:  # noqa: ANN401 - any type
    """Yield every key that a type does not know or lacks, and every value that it does not allow, at any depth."""
    options = [one for one in _options(kind) if one is not NoneType]
    table = next((one for one in options if _fields(one) is not None), None)
    listed = next((one for one in options if get_origin(one) in (tuple, list)), None)
    mapped = next((one for one in options if get_origin(one) is dict), None)
    if table is not None and isinstance(value, dict):
        yield from _of_table(value, table, path)
    elif listed is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems_of(item, get_args(listed)[0], (*path, index))
    elif mapped is not None and isinstance(value, dict):
        keys, items = get_args(mapped)
        for key, item in value.items():
            if get_origin(keys) is Literal and key not in get_args(keys):
                yield (*path, key), f"unknown key {key!r}{nearest(key, get_args(keys))}"
            else:
                yield from problems_of(item, items, (*path, key))
    else:
        yield from _converted(value, kind, path)


def _of_table(value: Mapping[str, object], kind: Any, path: Place) -> Iterator[Problem]:  # noqa: ANN401
    fields = _fields(kind) or {}
    before = 0
    for key, item in value.items():
        if key not in fields:
            before += 1
            yield (*path, key), f"unknown key {key!r}{nearest(key, fields)}"
            continue
        for problem in problems_of(item, fields[key][0], (*path, key)):
            before += 1
            yield problem
    for key, (_, required) in fields.items():
        if required and key not in value:
            before += 1
            yield path, f"{key} is missing"
    if not before:  # each key is right; together they may not be
        yield from _converted(value, kind, path)


def _converted(value: object, kind: Any, path: Place) -> Iterator[Problem]:  # noqa: ANN401
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said, _, where = str(error).replace("`", "'").partition(" - at '$")
        wrong = re.fullmatch(r"Invalid enum value '(.*)'", said)
        known = [text for one in _options(kind) if get_origin(one) is Literal for text in get_args(one)]
        hint = nearest(wrong[1], known) if wrong and known else ""
        named = next((one for one in reversed(path) if isinstance(one, str)), "")
        key = f"{named}: " if named and not wrong else ""
        yield (*path, *_path(where)), f"{key}{said}{hint}"


def _options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _fields(kind: Any) -> dict[str, tuple[Any, bool]] | None:  # noqa: ANN401
    """Return the keys of a table with their types, and whether each must be there; None for what is no table."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, msgspec.Struct):
        return {field.encode_name: (field.type, field.required) for field in msgspec.structs.fields(kind)}
    if dataclasses.is_dataclass(kind):
        hints, missing = get_type_hints(kind), dataclasses.MISSING
        found = dataclasses.fields(kind)
        return {one.name: (hints[one.name], one.default is missing and one.default_factory is missing) for one in found}
    return None


def _path(text: str) -> Place:
    """Return ``.panel[2].row[0].over`` as a tuple."""
    found = re.findall(r"\.?([A-Za-z_]+)|\[(\d+)\]", text)
    return tuple(int(index) if index else key for key, index in found)


class Lines:
    """Where in the text a table or key stands; tomllib does not say."""

    def __init__(self, text: str) -> None:
        self._at: dict[Place, int] = {}
        seen: dict[Place, int] = {}
        here: Place = ()
        items: list[Any] = []
        for number, line in enumerate(text.splitlines(), 1):
            head = re.match(rf"\s*(\[\[?)\s*((?:{_WORD}|[.\s])+?)\s*\]", line)
            key = re.match(rf"\s*({_WORD})\s*=\s*(\[(?!.*\]\s*(?:#.*)?$))?", line)
            if items and re.match(r"\s*\{", line):  # tables of a list, each on a line of its own
                self._at.setdefault((*items[0], items[1]), number)
                items[1] += 1
            elif items and re.match(r"\s*\]", line):
                items = []
            elif head and not items:
                here = self._table([_bare(word) for word in re.findall(_WORD, head[2])], head[1] == "[[", seen)
                self._at[here] = number
            elif key:
                self._at.setdefault((*here, _bare(key[1])), number)
                items = [(*here, _bare(key[1])), 0] if key[2] else items

    def of(self, path: Place) -> int:
        """Return the line of a path, or of the innermost table around it that is known."""
        while path and path not in self._at:
            path = path[:-1]
        return self._at.get(path, 1)

    @staticmethod
    def _table(names: list[str], listed: bool, seen: dict[Place, int]) -> Place:
        path: tuple[Any, ...] = ()
        for name in names[:-1]:
            path = (*path, name)
            if path in seen:
                path = (*path, seen[path])
        path = (*path, names[-1])
        if listed:
            seen[path] = seen.get(path, -1) + 1
            path = (*path, seen[path])
        return path


def _bare(word: str) -> str:
    return word[1:-1] if word[:1] in "\"'" else word
