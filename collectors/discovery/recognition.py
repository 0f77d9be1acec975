"""What an address serves that has no metrics page for us: paths that tell a kind, and how to fix it.

All are read by GET and change nothing. LiteLLM counts a metrics page that is asked for without a key as a failed
request of a user; its own path here is a health check.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer, get

ALIVE = "/health/liveliness"
"""LiteLLM's probe for orchestrators: it wants no key, and is no request of a user (docs.litellm.ai, health checks)."""

MAX_ANSWER = 256 * 1024
_OBJECT = re.compile(rb"\s*\{")
_VERSIONED = re.compile(rb'"version"\s*:\s*"')
_REGISTRY = re.compile(rb'\s*\{\s*(?:\}|"(?:registered_models|next_page_token)")')


@dataclass(frozen=True, slots=True)
class KindProbe:
    """A path by which a kind is known. ``mend`` is what to do, with ``{url}``; without one it can be read at once."""

    kind: str
    title: str
    path: str
    recognise: Callable[[bytes], bool]
    mend: str = ""


LITELLM = KindProbe(
    "litellm",
    "LiteLLM",
    ALIVE,
    lambda body: b"alive" in body[:100],
    'write [[source]] kind = "litellm", url = "{url}", token = {{ env = "NAME" }}',
)
PROBES = (
    LITELLM,
    KindProbe(
        "langfuse",
        "Langfuse",
        "/api/public/health",
        lambda body: bool(_OBJECT.match(body) and _VERSIONED.search(body)),
        'it requires keys: write [[source]] kind = "langfuse", url = "{url}", and set LANGFUSE_PUBLIC_KEY and '
        "LANGFUSE_SECRET_KEY",
    ),
    KindProbe(
        "mlflow",
        "MLflow",
        "/api/2.0/mlflow/registered-models/search?max_results=1",
        lambda body: bool(_REGISTRY.match(body)),
        'set its kind: write [[source]] kind = "mlflow", url = "{url}", or set MLFLOW_TRACKING_URI',
    ),
    KindProbe(
        "prometheus",
        "Prometheus",
        "/-/healthy",
        lambda body: body.startswith(b"Prometheus"),
        "read what it scrapes with --prometheus {url}",
    ),
)


def gateway_error(answer: Answer, url: str) -> SourceError | None:
    """Return what an answer of 5xx means: whatever stands there, it does not work now. None for other answers."""
    if answer.status in (502, 503, 504):
        said = f"{url} returned {answer.status}: a proxy in front of the server responds, the server does not"
        return SourceError("down", said)
    return SourceError("down", f"{url} returned {answer.status}") if answer.status >= 500 else None


async def is_alive(client: httpx.AsyncClient, url: str, deadline_s: float) -> bool:
    """Whether LiteLLM answers at an address.

    Raises:
        SourceError: nothing answers there.

    """
    answer = await get(client, url + ALIVE, deadline_s=deadline_s, largest=MAX_ANSWER)
    return answer.status == 200 and LITELLM.recognise(answer.body)


async def probe(
    client: httpx.AsyncClient, url: str, deadline_s: float, probes: Sequence[KindProbe] = PROBES
) -> tuple[KindProbe | None, list[str]]:
    """Return the kind of server that an address's other paths tell, and what was asked with the answers.

    Raises:
        SourceError: nothing answers there any more.

    """
    asked: list[str] = []
    for one in probes:
        answer = await get(client, url + one.path, deadline_s=deadline_s, largest=MAX_ANSWER)
        if answer.status == 200 and one.recognise(answer.body):
            return one, asked
        asked.append(f"{one.path.partition('?')[0]} ({answer.status})")
    return None, asked
