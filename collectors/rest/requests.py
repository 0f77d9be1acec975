"""The requests of a REST source, as a table that is also the list of what may be sent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from collectors.runtime.http import SEARCHES

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one answer, unless a request says otherwise: 1,000 rows of 4 kB."""

_PLACE = re.compile(r"\{(\w+)\}")


class RequestNotAllowedError(ValueError):
    """A request that is not in its source's table: a mistake of this program, not of the server."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One request of a source; ``path`` is from the server's address, with ``{places}`` for names.

    ``every_s`` is how often it is sent, in seconds; 0 is in every run. A POST is a search that only reads, and has
    to be in `collectors.runtime.http.SEARCHES` too. ``conditional`` asks only for what is newer than the last answer
    (ETag, Last-Modified). ``max_bytes`` is the limit of an answer. ``since`` is the version that first has it, for
    what is said after a 404.
    """

    name: str
    path: str
    every_s: float = 0.0
    method: Literal["GET", "POST"] = "GET"
    conditional: bool = False
    max_bytes: int = MAX_BYTES
    since: str = ""

    def __post_init__(self) -> None:
        """Refuse what is never sent.

        Raises:
            RequestNotAllowedError: a method or a path that is not for reading.

        """
        if self.method == "POST" and not self.path.endswith(SEARCHES):
            raise RequestNotAllowedError(f"not a search that only reads: POST {self.path}")
        if self.method not in ("GET", "POST") or not self.path.startswith("/"):
            raise RequestNotAllowedError(f"not a request that reads: {self.method} {self.path}")
        if self.method == "POST" and self.conditional:
            raise RequestNotAllowedError(f"a POST has no condition: {self.path}")

    def filled(self, names: Mapping[str, str] | None = None) -> str:
        """Return the path with a name for each of its places, quoted so that it stays one part of the path.

        Raises:
            RequestNotAllowedError: a name that would leave its place, such as ``..``.

        """
        names = names or {}
        for name in names.values():
            if name in ("", ".", ".."):
                raise RequestNotAllowedError(f"not a name in a path: {name!r}")
        return _PLACE.sub(lambda place: quote(names[place[1]], safe=""), self.path)


class Allowlist:
    """Which methods and paths a source may send: those of its table."""

    def __init__(self, requests: Sequence[RestRequest]) -> None:
        names = [request.name for request in requests]
        if len(set(names)) < len(names):
            raise ValueError(f"two requests of one name: {', '.join(sorted(names))}")
        self._allowed = [(request.method, _pattern(request.path)) for request in requests]

    def check(self, method: str, path: str) -> None:
        """Refuse what is not listed; ``path`` is from the server's address, quoted.

        Raises:
            RequestNotAllowedError: it is not in the table.

        """
        if not any(method == allowed and pattern.fullmatch(path) for allowed, pattern in self._allowed):
            raise RequestNotAllowedError(f"not in the table of requests: {method} {path}")


def _pattern(path: str) -> re.Pattern[str]:
    """Return what matches a path whose places hold any one part of a path except ``.`` and ``..``."""
    fixed = _PLACE.split(path)[::2]
    return re.compile(r"(?!\.{1,2}(?:/|$))[^/?#]+".join(map(re.escape, fixed)))
