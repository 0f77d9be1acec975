"""How a REST source shows who asks: a bearer token, user and password, a header of its own, or a log-in form."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

import httpx

from collectors.config import ConfigError, Secret
from collectors.rest.refusals import is_web_page
from collectors.runtime import auth
from collectors.runtime.base import SourceError
from collectors.runtime.http import LOGINS, Answer, log_in

MAX_COOKIES = 20
MAX_COOKIE_BYTES = 8192
"""Cookies kept of a session: servers give one to three, and refuse more than 8 kB of headers."""

FIRST_WAIT_S, MAX_WAIT_S = 60.0, 3600.0
"""How long a refused log-in form is left alone, doubled each time: servers lock an account after a few wrong ones."""

HIDDEN = "***"


class Login:
    """Headers that are the same in every request; without any, nobody is named."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = dict(headers or {})

    @property
    def is_set(self) -> bool:
        """Whether a login is configured."""
        return bool(self._headers)

    def headers(self) -> Mapping[str, str]:
        """Return what a request carries."""
        return self._headers

    def secrets(self) -> list[str]:
        """Return what must be in no text."""
        return [part for value in self._headers.values() for part in (value, value.rpartition(" ")[2])]

    def scrubbed(self, text: str) -> str:
        """Return a text without the secrets of this login."""
        for secret in sorted(filter(None, self.secrets()), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text


class FormLogin(Login):
    """A session that a log-in form gives, as cookies; see `form`. A form with a hidden CSRF token cannot be sent."""

    def __init__(self, path: str, fields: Mapping[str, str], password: str, keys: str) -> None:
        super().__init__()
        if not path.endswith(LOGINS):
            raise ValueError(f"not the path of a log-in form: {path}")
        self.path = path
        self._fields = fields
        self._password = password
        self._keys = keys
        self._cookies: dict[str, str] = {}
        self._wait_s = 0.0
        self._again = 0.0
        self._status = 0

    @property
    def is_set(self) -> bool:
        """See `Login.is_set`."""
        return True

    def headers(self) -> Mapping[str, str]:
        """See `Login.headers`."""
        return (
            {"cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())} if self._cookies else {}
        )

    def secrets(self) -> list[str]:
        """See `Login.secrets`."""
        return [self._password, *self._cookies.values()]

    async def open(self, client: httpx.AsyncClient, base: str, now: float, deadline_s: float) -> None:
        """Send the form and keep the session's cookies; ``now`` is seconds since the epoch.

        Raises:
            SourceError: no answer, or the log-in is refused, now or a short while ago.

        """
        self._cookies = {}
        if now < self._again:
            raise self._refusal(self._again - now)
        answer = await log_in(client, base + self.path, self._fields, deadline_s=deadline_s)
        if answer.status >= 500:
            raise SourceError("down", f"the login form returned HTTP {answer.status}")
        self._cookies = session_cookies(answer)
        if not self._cookies or answer.status >= 400:
            raise self.refuse(now, answer.status)

    def accept(self) -> None:
        """Take note that the session was accepted."""
        self._wait_s = 0.0

    def refuse(self, now: float, status: int) -> SourceError:
        """Return what is to be said of a log-in that brought no session that is accepted; the next one waits."""
        self._cookies, self._status = {}, status
        self._wait_s = min(max(self._wait_s * 2, FIRST_WAIT_S), MAX_WAIT_S)
        self._again = now + self._wait_s
        return self._refusal(self._wait_s)

    def is_needed(self, answer: Answer) -> bool:
        """Whether an answer says that there is no session: 401 or a redirect to the log-in form.

        Before there is a session so do 403 and a web page.
        """
        target = answer.headers.get("location", "").partition("?")[0]
        if answer.status == 401 or (300 <= answer.status < 400 and target.endswith(LOGINS)):
            return True
        return not self._cookies and (answer.status == 403 or (answer.status == 200 and is_web_page(answer)))

    def _refusal(self, wait_s: float) -> SourceError:
        said = f"the log-in is refused ({self._status}): check {self._keys}; tried again in {wait_s:.0f} s"
        return SourceError("unauthorized", said, wait_s)


def form(
    name: str,
    path: str,
    username: str,
    password: Secret,
    *,
    fields: tuple[str, str] = ("username", "password"),
    keys: str = "username and password",
) -> FormLogin:
    """Return the login of the source called ``name`` by the form at a path; ``fields`` are those of the form.

    Raises:
        ConfigError: the password is not to be found.

    """
    secret = password.read(f"{name}: password")
    return FormLogin(path, {fields[0]: username, fields[1]: secret}, secret, keys)


def header(name: str, header_name: str, secret: Secret | None) -> Login:
    """Return the login of the source called ``name`` by a header of its own, such as ``api-key``.

    Raises:
        ConfigError: the secret is not to be found, or no header can hold it.

    """
    return Login() if secret is None else Login(auth.more_headers(name, "", {header_name: secret}))


def bearer_or_basic(name: str, token: Secret | None, username: str = "", password: Secret | None = None) -> Login:
    """Return the login of the source called ``name`` by its token, else by user and password, else by nothing.

    Raises:
        ConfigError: a secret is not to be found.

    """
    found = auth.headers(name, token, username, password)
    if not all(value.isascii() and value.isprintable() for value in found.values()):
        raise ConfigError([f"{name}: token: the value has characters that a header cannot hold, such as a line break"])
    return _Basic(found, password.read(name)) if password is not None and token is None else Login(found)


def session_cookies(answer: Answer) -> dict[str, str]:
    """Return the cookies that an answer sets, without those that it deletes and those that cannot be read."""
    found: dict[str, str] = {}
    for line in answer.headers.get_list("set-cookie"):
        try:
            read = SimpleCookie(line)
        except CookieError:
            continue
        for key, morsel in read.items():
            if morsel.value and morsel["max-age"] != "0" and len(found) < MAX_COOKIES:
                found[key] = morsel.coded_value
    return found if sum(len(key) + len(value) for key, value in found.items()) <= MAX_COOKIE_BYTES else {}


class _Basic(Login):
    def __init__(self, headers: Mapping[str, str], password: str) -> None:
        super().__init__(headers)
        self._password = password

    def secrets(self) -> list[str]:
        return [*super().secrets(), self._password]
