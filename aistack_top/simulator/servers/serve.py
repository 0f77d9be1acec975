"""The simulated servers on a loopback port, for curl or a real Prometheus."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from aistack_top.simulator.servers.app import Servers
from aistack_top.simulator.servers.world import World

LOOPBACK = "127.0.0.1"
LIVES_S = 1.0
"""How often the node is let live: whoever asks after a quiet hour must not wait for it."""


def serve(world: World, port: int, told: Callable[[str, tuple[str, ...]], None]) -> None:
    """Serve until interrupted. ``told`` is given the address and the servers' names once they listen; port 0 is any.

    Raises:
        OSError: the port cannot be had.
    """
    servers = Servers(world)
    config = uvicorn.Config(servers.app, host=LOOPBACK, port=port, log_level="warning", lifespan="off")
    listening = _bound(port)
    host, real = listening.getsockname()[:2]

    async def run() -> None:
        server = uvicorn.Server(config)
        living = asyncio.create_task(_live(world))
        told(f"http://{host}:{real}", servers.names)
        try:
            await server.serve([listening])
        finally:
            living.cancel()

    asyncio.run(run())


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen()  # whoever is told the address may ask at once, and waits until the server takes it
    except OSError:
        listening.close()
        raise
    return listening


async def _live(world: World) -> None:
    while True:
        world.advance()
        await asyncio.sleep(LIVES_S)
