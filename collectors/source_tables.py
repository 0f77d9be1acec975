"""The tables of sources: the bundled ones beside their layers, and the user's own.

Only the top of a bundled table is parsed until a page is to be read. A table of the user's is checked whole at once,
and one with a mistake is left out and named, so that a mistake in it costs nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from aistack_top.strict_toml import Lines, StrictError, decode, located
from aistack_top.user_files import reads_user_files, toml_files
from collectors.source_head import Known, head_of


@dataclass(frozen=True, slots=True)
class Text:
    """A table that is no file of a folder: the text that a plug-in brings along."""

    text: str

    def read_text(self, encoding: str) -> str:
        """Return the text; it has its encoding behind it."""
        return self.text

    def __str__(self) -> str:
        return "table"


@dataclass(frozen=True, slots=True, eq=False)
class TableFile:
    """A table's file and the top of it; ``own`` if it is one of the user's."""

    file: Path | Traversable | Text
    known: Known
    own: bool = False

    @property
    def kind(self) -> str:
        """The name of the kind of source."""
        return self.known.source.kind

    def text(self) -> str:
        """Return the whole table."""
        return self.file.read_text(encoding="utf-8")


@cache
def bundled() -> tuple[TableFile, ...]:
    """Return the tables that come with the program, by the name of their folder and file."""
    found = []
    for file in _bundled_files():
        known = head_of(file.read_text(encoding="utf-8"))
        if known is not None:
            found.append(TableFile(file, known))
    return tuple(found)


def of_user(taken: frozenset[str]) -> tuple[tuple[TableFile, ...], list[str]]:
    """Return the user's sound tables, and what is wrong in the others; ``taken`` are kinds that exist already."""
    if not toml_files("sources"):
        return (), []
    good, problems = _of_user()
    first: dict[str, TableFile] = {}
    said = list(problems)
    for one in good:
        if one.kind in taken or one.kind in first:
            whose = first[one.kind].file if one.kind in first else "the program"
            line = Lines(one.text()).of(("source", "kind"))
            said.append(f"{one.file}:{line}: {whose} already has the kind {one.kind!r}; rename yours")
        else:
            first[one.kind] = one
    return tuple(first.values()), said


@reads_user_files
def _of_user() -> tuple[tuple[TableFile, ...], list[str]]:
    good, said = [], []
    for file in toml_files("sources"):
        try:
            good.append(checked(file))
        except StrictError as error:
            said += error.problems
    return tuple(good), said


def checked(file: Path | Traversable | Text, *, own: bool = True) -> TableFile:
    """Return a table's file when everything in it is sound.

    Raises:
        StrictError: it is not; all problems are named, with file and line.

    """
    from collectors.openmetrics.table import Table, problems

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StrictError([f"{file}: cannot be read: {error}"]) from None
    table = decode(text, Table, str(file))
    found = problems(table)
    head = table.source
    if head is None:
        found.append(((), "no [source]: give at least kind, layer, reads, needs and sends"))
    elif own and (head.build or head.adder):
        key = "build" if head.build else "adder"
        found.append((("source", key), f"{key} refers to code, which only built-in tables may; use a plug-in"))
    if found or head is None:
        raise StrictError(located(found, text, str(file)))
    return TableFile(file, Known(table.title, head, table.hint, table.prefixes), own)


def _bundled_files() -> Iterator[Traversable]:
    folders = sorted((one for one in files("collectors").iterdir() if one.is_dir()), key=lambda one: one.name)
    for folder in folders:
        yield from sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)
