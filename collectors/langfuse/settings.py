"""What a Langfuse source is told, and what its plan allows.

Pace and limits are those of Langfuse's documentation and of a Cloud code path that was measured (4.16.0, Hobby:
29, 14 and 99 requests passed before the first 429). Limits are per organization and shared by all its keys, so a
tenth of each is left to others.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal
from urllib.parse import urlsplit

from collectors.config import Secret

Plan = Literal["self-hosted", "pro", "core", "hobby"]
Bucket = Literal["general", "metrics", "legacy", "free"]
TenantFrom = Literal["user", "metadata", "tag"]

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
DIGEST_BYTES = 4
MAX_KEY = 64
"""The longest key that BLAKE2b takes, in bytes."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in a fixed window, which begins with the first of them."""

    requests: int
    window_s: float


@dataclass(frozen=True, slots=True)
class PollPace:
    """How often what is asked of a plan, in seconds, and the plan's limits; a bucket without one is unlimited."""

    hot_s: float
    sweep_s: float
    health_s: float
    v1_s: float
    limits: Mapping[Bucket, Limit] = field(default_factory=dict)


PACES: Mapping[Plan, PollPace] = {
    "self-hosted": PollPace(5.0, 60.0, 30.0, 10.0),
    "pro": PollPace(
        5.0,
        60.0,
        60.0,
        10.0,
        {"general": Limit(1000, MINUTE_S), "metrics": Limit(500, HOUR_S), "legacy": Limit(100, MINUTE_S)},
    ),
    "core": PollPace(
        5.0,
        60.0,
        60.0,
        10.0,
        {"general": Limit(100, MINUTE_S), "metrics": Limit(100, HOUR_S), "legacy": Limit(30, MINUTE_S)},
    ),
    "hobby": PollPace(
        10.0,
        120.0,
        60.0,
        15.0,
        {"general": Limit(30, MINUTE_S), "metrics": Limit(100, DAY_S), "legacy": Limit(15, MINUTE_S)},
    ),
}


@dataclass(frozen=True, slots=True)
class LangfuseSettings:
    """How one Langfuse project is read. Its ``repr`` shows no key."""

    base_url: str
    """Where the server is; a user name and password in it are ignored."""

    public_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    plan: Plan = "self-hosted"
    """Sets the pace and the request budget."""

    engine_key: str | None = None
    """The metadata key in which the application writes which engine served a call; None asks for no metadata."""

    tenant_from: TenantFrom = "user"
    """What a tenant is: the user id, a metadata value, or a tag."""

    tenant_key: str = ""
    """The metadata key, or the prefix of the tag (``team:``), if ``tenant_from`` is not ``user``."""

    key_names: tuple[str, str] = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
    """Where the keys were found: what to check when they are refused."""

    pseudonyms: bool = True
    """Whether tenants and sessions are shown and recorded as pseudonyms."""

    salt: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """This machine's secret; the same salt gives the same pseudonyms. By default they last for one run."""

    environments: tuple[str, ...] = ()
    """The Langfuse environments to read; none means all."""

    def __post_init__(self) -> None:
        if self.pseudonyms and not self.salt:
            raise ValueError("pseudonyms need a salt: without one they could be reversed by guessing names")
        if self.tenant_from != "user" and not self.tenant_key:
            raise ValueError(f"tenant_from = {self.tenant_from!r} needs tenant_key")

    @property
    def wants_metadata(self) -> bool:
        """Whether the metadata of calls has to be asked for."""
        return self.engine_key is not None or self.tenant_from == "metadata"

    @property
    def pace(self) -> PollPace:
        """The pace and limits of the plan."""
        return PACES[self.plan]

    def pseudonym(self, kind: str, name: str) -> str:
        """Return ``kind-`` and 8 hex digits for a name, or the name itself if pseudonyms are switched off.

        The digits are a BLAKE2b digest keyed with the salt: stable on this machine, and not to be found by
        trying names on another, since a session file does not hold the salt.
        """
        if not name or not self.pseudonyms:
            return name
        key = self.salt if len(self.salt) <= MAX_KEY else blake2b(self.salt).digest()
        digest = blake2b(name.encode("utf-8", "replace"), key=key, digest_size=DIGEST_BYTES)
        return f"{kind}-{digest.hexdigest()}"


def key_name(key: Secret) -> str:
    """Return where a configured key is: its variable, or its file."""
    return key.env or key.file


def bare_address(url: str) -> str:
    """Return a base URL without user name, password, query and fragment, and without a slash at its end.

    Raises:
        ValueError: it cannot be taken apart.

    """
    parts = urlsplit(url.strip())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if parts.scheme else f"{host}{parts.path.rstrip('/')}"
