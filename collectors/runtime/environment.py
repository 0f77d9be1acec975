"""Where the console runs: the name of this node, the user's state folder, and the salt of the pseudonyms.

Apart from `collectors.assemble`, because the command line needs these before the first paint and no collector.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from aistack_top.text.sanitize import sanitize
from collectors.config import Config
from collectors.runtime.addresses import without_login

SALT_BYTES = 32


def is_address(url: str) -> bool:
    """Whether this is the address of a server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def wrong_addresses(endpoints: Sequence[str], prometheus: str = "") -> list[str]:
    """Return a sentence for each address of the command line that is none."""
    asked = [("--endpoint", url) for url in endpoints] + ([("--prometheus", prometheus)] if prometheus else [])
    return [
        f"{option} {sanitize(without_login(url))}: write it as http://HOST:PORT"
        for option, url in asked
        if not is_address(url)
    ]


def node_name(config: Config) -> str:
    """Return what this node is called: as configured, else its host name."""
    return sanitize(config.console.node or socket.gethostname() or "this node", 60)


NO_STATE = "no state folder: set HOME or XDG_STATE_HOME to a folder writable by this user"


def state_folder() -> Path | None:
    """Return the user's state folder for the program, made if need be; None where there can be none."""
    import platformdirs

    folder = Path(platformdirs.user_state_dir("aistack-top", appauthor=False))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder


def salt(state: Path | None) -> bytes:
    """Return this node's secret salt, which makes pseudonyms stable here and not to be reversed elsewhere.

    A folder that cannot be written, or none at all, gives a salt for this run only.
    """
    if state is None:
        return os.urandom(SALT_BYTES)
    file = state / "salt"
    try:
        held = file.read_bytes()
        if len(held) == SALT_BYTES:
            return held
    except OSError:
        pass
    made = os.urandom(SALT_BYTES)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(made)
    except OSError:
        pass
    return made
