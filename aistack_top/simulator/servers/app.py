"""All HTTP servers of a simulated node behind one ASGI application: the first part of a path names the server.

    /chat-0/metrics, /chat-0/load, /langfuse/api/public/health ...

A server whose process is gone answers 502, as a proxy before it would; in process, whoever asks can see beforehand
that nobody listens (`Servers.refuses`).
"""

import json
from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers import cloud, dcgm, litellm, milvus, nemo, ray
from aistack_top.simulator.servers.langfuse import Langfuse
from aistack_top.simulator.servers.mlflow import Mlflow
from aistack_top.simulator.servers.text import CONTENT_TYPE
from aistack_top.simulator.servers.vllm import VERSION, VllmServer, adapters_of
from aistack_top.simulator.servers.world import World

Answer = Callable[[Request], Response]

AROUND = ("langfuse", "dcgm", "litellm", "nemo", "milvus", "cloud", "ray", "mlflow")
"""The servers around the engines, named as their kinds of source; the last two only where something is trained."""

PAGES: Mapping[str, Callable[[SimulatedNode], bytes]] = {
    "dcgm": dcgm.metrics,
    "litellm": litellm.metrics,
    "nemo": nemo.metrics,
    "milvus": milvus.metrics,
    "ray": ray.metrics,
}
"""Who has a metrics page only."""


class Servers:
    """The servers of a world by name. ``app`` is the ASGI application in front of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        node = world.advance()
        self._engines = {
            name: VllmServer(engines, adapters_of(engines, node.config.tenant), node.epoch)
            for name, engines in world.servers().items()
        }
        self._around = AROUND if node.training else AROUND[:-2]
        self._mlflow = Mlflow()
        answers = {name: self._vllm(server) for name, server in self._engines.items()}
        answers["langfuse"] = Langfuse(world, node.seed).paths
        answers |= {name: {"/metrics": self._page(write)} for name, write in PAGES.items() if name in self._around}
        routes = [Route("/", self._index)]
        for name, paths in answers.items():
            routes += [_route(f"/{name}{path}", self._guarded(name, one)) for path, one in paths.items()]
        routes += self._metadata()
        if node.training:
            routes += self._tracking()
        self.app = Starlette(routes=routes)

    @property
    def names(self) -> tuple[str, ...]:
        """The servers there are."""
        return (*self._engines, *self._around)

    def refuses(self, name: str) -> bool:
        """Whether nobody listens at a server's address now."""
        node = self._world.advance()
        server = self._engines.get(name)
        return (server is not None and not server.answers) or kind_of(name) in node.down

    def _vllm(self, server: VllmServer) -> Mapping[str, Answer]:
        def metrics(_: Request) -> Response:
            node = self._world.advance()
            return Response(server.metrics(node.epoch + node.now), media_type=CONTENT_TYPE)

        return {
            "/metrics": metrics,
            "/load": lambda _: _json(server.load()),
            "/version": lambda _: _json({"version": VERSION}),
            "/v1/models": lambda _: _json(server.models()),
            "/health": lambda _: Response(b""),
        }

    def _page(self, write: Callable[[SimulatedNode], bytes]) -> Answer:
        return lambda _: Response(write(self._world.advance()), media_type=CONTENT_TYPE)

    def _tracking(self) -> list[Route]:
        """Return MLflow's three searches, two of them POST requests, as in MLflow, and the history of a metric."""
        base, server = "/mlflow/api/2.0/mlflow", self._mlflow

        async def runs(request: Request) -> Response:
            if self.refuses("mlflow"):
                return _nobody()
            return _json(server.runs(self._world.advance(), json.loads(await request.body() or b"{}")))

        def experiments(_: Request) -> Response:
            return _json(server.experiments(self._world.advance()))

        def models(_: Request) -> Response:
            return _json(server.models(self._world.advance()))

        def history(request: Request) -> Response:
            asked = request.query_params
            return _json(server.history(self._world.advance(), asked.get("run_id", ""), asked.get("metric_key", "")))

        return [
            Route(f"{base}/runs/search", runs, methods=["POST"]),
            _route(f"{base}/metrics/get-history", self._guarded("mlflow", history)),
            _route(f"{base}/experiments/search", self._guarded("mlflow", experiments), "POST"),
            _route(f"{base}/registered-models/search", self._guarded("mlflow", models)),
        ]

    def _metadata(self) -> list[Route]:
        """Return the instance's metadata; its token is given out to a PUT request, as by AWS, and changes nothing."""

        def told(request: Request) -> Response:
            if request.headers.get(cloud.SESSION_HEADER) != cloud.SESSION:
                return Response(b"", 401)
            found = cloud.answer(self._world.advance(), request.path_params["path"])
            if found is None:
                return Response(b"", 404)
            return Response(found, media_type="text/plain") if isinstance(found, str) else _json(found)

        return [
            _route("/cloud/latest/api/token", self._guarded("cloud", lambda _: Response(cloud.SESSION)), "PUT"),
            _route(f"/cloud{cloud.BASE}{{path:path}}", self._guarded("cloud", told)),
        ]

    def _guarded(self, name: str, answer: Answer) -> Answer:
        return lambda request: _nobody() if self.refuses(name) else answer(request)

    async def _index(self, _: Request) -> Response:
        return Response("".join(f"/{name}/\n" for name in self.names), media_type="text/plain")


def kind_of(name: str) -> str:
    """Return the kind of source that a server's name belongs to: engines have names of their own."""
    return name if name in AROUND else "vllm"


def _route(path: str, answer: Answer, method: str = "GET") -> Route:
    async def endpoint(request: Request) -> Response:
        return answer(request)

    return Route(path, endpoint, methods=[method])


def _nobody() -> Response:
    return Response("nobody listens there\n", 502, media_type="text/plain")


def _json(told: object) -> Response:
    return Response(json.dumps(told, separators=(",", ":")), media_type="application/json")
