"""What can be wrong with a session.

The tree: `SessionError` alone. It is a sentence for a person; what went wrong inside a session that can still be
read is no exception but an entry of `Session.problems`.
"""


class SessionError(Exception):
    """A session cannot be opened, written or exported. ``title`` is the headline, ``msg`` the sentence below it."""

    def __init__(self, title: str, msg: str) -> None:
        super().__init__(f"{title}: {msg}")
        self.title = title
        self.msg = msg
