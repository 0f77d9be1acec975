"""What went wrong with a query, in words: refusals and what they say, TLS, time-outs, and what an answer warns of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError

MAX_BYTES = 64 * 1024 * 1024
"""Of one answer; half an hour of 64 engines is about 20 MB."""

TOO_LARGE = f"the response is larger than {MAX_BYTES // 2**20} MB: is this a Prometheus server?"

TAIL = 4096
"""Bytes at either end of an answer in which warnings are looked for; they stand beside the data, not in it."""

TENANT_HEADER = "x-scope-orgid"
"""How Mimir, Cortex and Loki are told whose data is asked for."""

MAX_SAID = 120
"""Characters of a refusal's own words."""

_WARNINGS = re.compile(rb'"warnings":(\[(?:"(?:[^"\\]|\\.)*",?)*\])')
_PARTIAL = re.compile(rb'"isPartial":\s*true')
_ADDRESS = re.compile(r"with url: \S+")
_STATUS = re.compile(r"HTTP Status Code (\d+)")
_TENANT = re.compile(r"\borg.?id\b|x-scope-orgid|\btenant|accountid", re.IGNORECASE)

_NOTHING_SAID = frozenset({"unauthorized", "forbidden", "not found", "404 page not found", "401", "403", "404"})
"""Words of a refusal that its status says already."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the server is and how one is let in; ``ca`` is the file of an own certificate authority."""

    url: str
    headers: Mapping[str, str]
    ca: str = ""
    timeout_s: float = 10.0


def warnings(body: bytes) -> tuple[str, ...]:
    """Return what an answer warns of: a store that was not reached, a result that is not whole."""
    ends = body if len(body) <= 2 * TAIL else body[:TAIL] + body[-TAIL:]
    told: list[str] = []
    for match in _WARNINGS.finditer(ends):
        try:
            told += msgspec.json.decode(match[1], type=list[str])
        except msgspec.MsgspecError:
            continue
    if _PARTIAL.search(ends):
        told.append("the result is not whole")
    return tuple(dict.fromkeys(sanitize(text, 160) for text in told))


def in_words(error: Exception, access: Access, body: bytes = b"") -> SourceError:
    """Return what an exception of the client means to a person; ``body`` is the last answer's."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = _ADDRESS.sub("", str(error))
    lower = text.lower()
    if "HTTP Status Code" in text:
        return refusal(int(found[1]) if (found := _STATUS.search(text)) else 0, body, access)
    if text == TOO_LARGE:
        return SourceError("misconfigured", text)
    if "SSLError" in kinds or "tls ca certificate" in lower:
        return _tls(lower, access)
    if "Timeout" in kinds or "timed out" in lower:
        return SourceError("slow", f"no answer within {access.timeout_s:g} s")
    if kinds & {"JSONDecodeError", "KeyError", "TypeError", "ValidationError"}:
        return SourceError("misconfigured", "not a Prometheus response: is this its address?")
    if "failed to resolve" in lower or "name or service not known" in lower:
        return SourceError("down", "the host name cannot be resolved")
    if "refused" in lower:
        return SourceError("down", "connection refused: nothing listens there")
    if "ConnectionError" in kinds:
        return SourceError("down", "the connection closed before a response arrived")
    return SourceError("down", sanitize(f"{type(error).__name__}: {text}", 200))


def _tls(lower: str, access: Access) -> SourceError:
    if "could not find a suitable tls ca" in lower:
        said = f"there is no file {sanitize(access.ca, 120)}, which ca = names"
    elif "hostname mismatch" in lower or "doesn't match" in lower or "ip address mismatch" in lower:
        said = "TLS: the server's certificate is for another host name"
    elif "has expired" in lower:
        said = "TLS: the server's certificate has expired"
    elif "verify failed" in lower and access.ca:
        said = f"TLS: {sanitize(access.ca, 120)} does not match the server's certificate"
    elif "verify failed" in lower:
        said = "TLS: an unknown authority made the server's certificate; set ca = to that authority's file"
    elif "wrong_version_number" in lower or "wrong version number" in lower or "record layer" in lower:
        said = "TLS: the server does not speak it on this port; write http://"
    elif "no_certificate" in lower or "no certificate or crl found" in lower:
        said = f"{sanitize(access.ca, 120)} holds no certificate (PEM), but is set as ca ="
    else:
        return SourceError("down", "TLS: the connection could not be secured")
    return SourceError("misconfigured", said)


def refusal(status: int, body: bytes, access: Access) -> SourceError:
    """Return what an answer with a status other than 200 means, with what its body says of it."""
    said = said_in(body, access)
    lower = said.lower()
    quoted = f": {said}" if said else ""
    if 400 <= status < 500 and status != 422 and _TENANT.search(said):
        return SourceError("unauthorized", f"HTTP {status}{quoted}; {_tenant_hint(access)}")
    if status in (401, 403):
        if set(access.headers) <= {TENANT_HEADER}:
            hint = "it requires a token; set token, or username and password, for this source"
        else:
            hint = "the token or password is rejected or has expired"
        return SourceError("unauthorized", f"HTTP {status}{quoted}{'; ' if said else ': '}{hint}")
    if status == 404:
        hint = 'no Prometheus API at this address; Mimir and others have it below a path: set url = ".../prometheus"'
        return SourceError("misconfigured", f"HTTP 404{quoted}{'; ' if said else ': '}{hint}")
    if status in (422, 503) and ("timed out" in lower or "timeout" in lower):
        return SourceError("slow", "the server gave up on the query: it took too long")
    if status == 422 and "too many samples" in lower:
        return SourceError("slow", "the query is too large for the server's limit of samples (--query.max-samples)")
    if status == 429:
        return SourceError("slow", f"rate limited (429){quoted}")
    return SourceError("down" if status >= 500 else "misconfigured", f"HTTP {status}{quoted}")


def _tenant_hint(access: Access) -> str:
    if TENANT_HEADER in access.headers:
        return "check tenant = of this source"
    return 'set tenant = "..." of this source (kind prometheus)'


def said_in(body: bytes, access: Access) -> str:
    """Return the words of a refusal, short and without keys; none of a web page, or where it says but its status."""
    text = body[:TAIL].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        text = _message(body)
    if text.startswith("<"):
        return ""
    first = next((line for line in text.splitlines() if line.strip()), "")
    for value in (text for name, text in access.headers.items() if name != TENANT_HEADER):
        for secret in {value, value.rpartition(" ")[2]}:
            first = first.replace(secret, "***") if len(secret) > 3 else first
    said = sanitize(first, MAX_SAID).strip()
    return "" if said.lower().rstrip(".") in _NOTHING_SAID else said


def _message(body: bytes) -> str:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    found = (told.get(key) for key in ("error", "message", "detail")) if isinstance(told, dict) else ()
    return next((text for text in found if isinstance(text, str) and text), "")
