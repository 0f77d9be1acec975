"""Conditional requests (RFC 9110, 13): ask only for what has changed since the last answer."""

from collections import OrderedDict
from dataclasses import replace

from collectors.runtime.http import Answer

MAX_KEPT = 32
MAX_KEPT_BYTES = 256 * 1024
"""Answers kept of one source, and bytes of the largest: 8 MB at most. A larger answer is asked for whole each time."""


class KeptAnswers:
    """The last answers that a server can be asked to confirm, by address; the longest unused goes first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def condition(self, url: str) -> dict[str, str]:
        """Return the headers that ask only for what is newer; empty where nothing is kept."""
        kept = self._answers.get(url)
        if kept is None:
            return {}
        if tag := kept.headers.get("etag"):
            return {"if-none-match": tag}
        return {"if-modified-since": kept.headers["last-modified"]}

    def resolve(self, url: str, answer: Answer) -> Answer:
        """Return the answer itself or, for a 304, the kept one; keep what can be confirmed."""
        kept = self._answers.get(url)
        if answer.status == 304 and kept is not None:
            self._answers.move_to_end(url)
            return replace(kept, took_s=answer.took_s)
        self._answers.pop(url, None)
        has_validator = "etag" in answer.headers or "last-modified" in answer.headers
        if answer.status == 200 and has_validator and len(answer.body) <= MAX_KEPT_BYTES:
            self._answers[url] = answer
            while len(self._answers) > MAX_KEPT:
                self._answers.popitem(last=False)
        return answer
