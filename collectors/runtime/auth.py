"""How a request shows who asks: the header made of a source's configured token, or user and password."""

from base64 import b64encode

from collectors.config import Secret
from collectors.runtime.addresses import login_of


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


def login_headers(url: str) -> dict[str, str]:
    """Return the header made of the login in an address, for a client that does not send that itself."""
    login = login_of(url)
    return _basic(*login) if login else {}


def _basic(username: str, password: str) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}
