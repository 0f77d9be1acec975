"""What is said beside the readings of a run: notes on what is missing, joined into the reason of a health record."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError

REASON_LIMIT = 400
"""Characters of a reason; what is longer does not fit a line of the health screen twice over."""


def reason(notes: Iterable[str]) -> str:
    """Return the notes of a run as one sentence for the health record; empty ones are left out."""
    return sanitize("; ".join(note for note in notes if note), REASON_LIMIT)


class Notes:
    """The notes of one source that hold until they are replaced, by the subject that each is about."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def set(self, subject: str, text: str) -> None:
        """Replace the note on a subject; an empty text removes it."""
        if text:
            self._texts[subject] = text
        else:
            self._texts.pop(subject, None)

    @contextmanager
    def optional(self, subject: str, text: str) -> Iterator[None]:
        """Let a `SourceError` within cost only itself: it becomes the note ``TEXT: what went wrong``."""
        try:
            yield
        except SourceError as error:
            self.set(subject, f"{text}: {error.reason}")

    def reason(self, *more: str) -> str:
        """Return the notes, and more that hold for this run only, as the reason of a health record."""
        return reason([*self._texts.values(), *more])
