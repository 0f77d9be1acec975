"""Addresses of servers as people write them, and the one form in which they are used and shown."""

import re
from urllib.parse import unquote, urlsplit

_PAGE = re.compile(r"(?:/+metrics)?/*$")


def server_url(text: str) -> str:
    """Return the address of a server: without its page's ``/metrics``, a query, a fragment and slashes at the end.

    A login stays in it, since it is sent; `without_login` is what is shown. What is no address is returned as it is.
    """
    try:
        parts = urlsplit(text.strip())
        if not parts.hostname:
            return text
    except ValueError:
        return text
    login, at, place = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{login}{at}{place.lower()}{_PAGE.sub('', parts.path)}"


def without_login(url: str) -> str:
    """Return an address that may be shown: without a user name and a password."""
    scheme, mark, rest = url.rpartition("://") if "://" in url else ("", "", url)
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"


def login_of(url: str) -> tuple[str, str] | None:
    """Return the user name and the password in an address; None where there are none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not parts.username and not parts.password:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")
