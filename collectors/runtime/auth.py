"""How a request shows who asks: the header made of a source's configured token, or user and password."""

import re
from base64 import b64encode
from collections.abc import Mapping

from collectors.config import ConfigError, Secret
from collectors.runtime.addresses import login_of

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SECRET = re.compile(r"auth|cookie|key|password|secret|token", re.IGNORECASE)


def headers(name: str, token: Secret | None, username: str = "", password: Secret | None = None) -> dict[str, str]:
    """Return the header of a source called ``name``; empty where nothing is configured.

    Raises:
        ConfigError: a secret is not to be found.

    """
    if token is not None:
        return {"authorization": f"Bearer {token.read(f'{name}: token')}"}
    if password is not None:
        return _basic(username, password.read(f"{name}: password"))
    return {}


def more_headers(name: str, tenant: str, given: Mapping[str, str | Secret]) -> dict[str, str]:
    """Return the further headers of a source called ``name``: that of its tenant, and those configured, in lower case.

    Raises:
        ConfigError: a secret is not to be found or is written in the configuration, or a header cannot be sent.

    """
    found = {"x-scope-orgid": tenant} if tenant else {}
    for header, value in given.items():
        where = f"{name}: headers: {header}"
        if not _NAME.fullmatch(header):
            raise ConfigError([f"{where}: not the name of a header"])
        if isinstance(value, str) and _SECRET.search(header):
            raise ConfigError([f'{where}: do not write a secret here; use {{ env = "NAME" }} or {{ file = "PATH" }}'])
        found[header.lower()] = value.read(where) if isinstance(value, Secret) else value
    for header, text in found.items():
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ConfigError([f"{name}: headers: {header}: the value has characters that a header cannot hold"])
    return found


def login_headers(url: str) -> dict[str, str]:
    """Return the header made of the login in an address, for a client that does not send that itself."""
    login = login_of(url)
    return _basic(*login) if login else {}


def _basic(username: str, password: str) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}
