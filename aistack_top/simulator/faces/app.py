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

from aistack_top.simulator.faces.text import CONTENT_TYPE
from aistack_top.simulator.faces.vllm import VERSION, VllmServer, adapters_of
from aistack_top.simulator.faces.world import World

Answer = Callable[[Request], Response]


class Servers:
    """The servers of a world by name. ``app`` is the ASGI application in front of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        node = world.look()
        self._engines = {
            name: VllmServer(engines, adapters_of(engines, node.config.tenant), node.epoch)
            for name, engines in world.servers().items()
        }
        routes = [Route("/", self._index)]
        for name, server in self._engines.items():
            routes += [_route(f"/{name}{path}", self._guarded(name, one)) for path, one in self._vllm(server).items()]
        self.app = Starlette(routes=routes)

    @property
    def names(self) -> tuple[str, ...]:
        """The servers there are."""
        return tuple(self._engines)

    def refuses(self, name: str) -> bool:
        """Whether nobody listens at a server's address now."""
        node = self._world.look()
        server = self._engines.get(name)
        return (server is not None and not server.answers) or kind_of(name) in node.down

    def _vllm(self, server: VllmServer) -> Mapping[str, Answer]:
        def metrics(_: Request) -> Response:
            node = self._world.look()
            return Response(server.metrics(node.epoch + node.now), media_type=CONTENT_TYPE)

        return {
            "/metrics": metrics,
            "/load": lambda _: _json(server.load()),
            "/version": lambda _: _json({"version": VERSION}),
            "/v1/models": lambda _: _json(server.models()),
            "/health": lambda _: Response(b""),
        }

    def _guarded(self, name: str, answer: Answer) -> Answer:
        def guarded(request: Request) -> Response:
            if self.refuses(name):
                return Response("nobody listens there\n", 502, media_type="text/plain")
            return answer(request)

        return guarded

    async def _index(self, _: Request) -> Response:
        return Response("".join(f"/{name}/\n" for name in self.names), media_type="text/plain")


def kind_of(name: str) -> str:
    """Return the kind of source that a server's name belongs to: engines have names of their own."""
    return name if name in ("langfuse", "ray", "milvus", "mlflow") else "vllm"


def _route(path: str, answer: Answer) -> Route:
    async def endpoint(request: Request) -> Response:
        return answer(request)

    return Route(path, endpoint)


def _json(told: object) -> Response:
    return Response(json.dumps(told, separators=(",", ":")), media_type="application/json")
