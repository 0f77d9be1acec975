"""How a request shows who asks: the header made of a source's configured token, or user and password."""

from base64 import b64encode

from collectors.config import Secret


def headers(name: str, token: Secret | None, username: str = "", password: Secret | None = None) -> dict[str, str]:
    """Return the header of a source called ``name``; empty where nothing is configured.

    Raises:
        ConfigError: a secret is not to be found.

    """
    if token is not None:
        return {"authorization": f"Bearer {token.read(f'{name}: token')}"}
    if password is not None:
        pair = f"{username}:{password.read(f'{name}: password')}"
        return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return {}
