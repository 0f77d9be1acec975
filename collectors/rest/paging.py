"""Pages of a REST answer, by token, by offset or by Link header, up to a number of pages that is said when reached."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from aistack_top.model.tick import Status
from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer

T = TypeVar("T")

MAX_PAGES = 5
"""Pages that are read in one run unless a source says otherwise."""

Fields = Mapping[str, str | int]
"""What a page adds to the parameters of a GET, or to the body of a search."""

_NEXT = re.compile(r'<([^<>]*)>\s*(?:;[^,<]*?)?;\s*rel="?next"?\s*(?=[;,]|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """What a parser makes of one answer: rows, the token of the next page, and how many rows there are in all."""

    rows: Sequence[T]
    token: str = ""
    total: int | None = None


@dataclass(slots=True)
class Paged(Generic[T]):
    """The rows of all pages that were read; ``is_whole`` says whether those are all there are."""

    rows: list[T] = field(default_factory=list)
    pages: int = 0
    is_whole: bool = False
    failed: SourceError | None = None

    @property
    def status(self) -> Status:
        """The status of a source of which these rows are what matters."""
        return "ok" if self.is_whole else "partial"

    def note(self, what: str) -> str:
        """Return what has to be said of these rows; empty if they are all."""
        if self.is_whole:
            return ""
        why = f": {self.failed.reason}" if self.failed else ""
        return f"the first {len(self.rows)} {what} only{why}"


class Paging(Protocol):
    """How a server divides its rows into pages."""

    def first(self) -> Fields:
        """Return what the request for the first page has."""
        ...

    def following(self, page: Page[T], answer: Answer, fetched: int) -> Fields | str | None:
        """Return what the next request has, or its address; None after the last page. ``fetched`` rows are read."""
        ...


@dataclass(frozen=True, slots=True)
class TokenPaging:
    """Each answer names the token of the next page, sent as ``token_field``."""

    token_field: str
    size: Fields = field(default_factory=dict)

    def first(self) -> Fields:
        """See `Paging.first`."""
        return self.size

    def following(self, page: Page[T], answer: Answer, fetched: int) -> Fields | str | None:
        """See `Paging.following`."""
        return {**self.size, self.token_field: page.token} if page.token else None


@dataclass(frozen=True, slots=True)
class OffsetPaging:
    """Each request says how many rows to skip and how many to send.

    A server may send fewer than asked. Without a total only an empty page is the end, which costs one more request.
    """

    size: int
    offset_field: str = "offset"
    limit_field: str = "limit"

    def first(self) -> Fields:
        """See `Paging.first`."""
        return {self.offset_field: 0, self.limit_field: self.size}

    def following(self, page: Page[T], answer: Answer, fetched: int) -> Fields | str | None:
        """See `Paging.following`."""
        if not page.rows or (page.total is not None and fetched >= page.total):
            return None
        return {self.offset_field: fetched, self.limit_field: self.size}


@dataclass(frozen=True, slots=True)
class LinkPaging:
    """Each answer has the address of the next page in its ``Link`` header (RFC 8288)."""

    size: Fields = field(default_factory=dict)

    def first(self) -> Fields:
        """See `Paging.first`."""
        return self.size

    def following(self, page: Page[T], answer: Answer, fetched: int) -> Fields | str | None:
        """See `Paging.following`."""
        found = _NEXT.search(answer.headers.get("link", ""))
        return found[1] if found else None
