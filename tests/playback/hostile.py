"""Servers as nobody wants them, by path: run it and point the console at all of them at once.

    python -m tests.playback.hostile --port 18090

Each path is the address of one endpoint, so ``http://127.0.0.1:18090/huge`` serves ``/huge/metrics``.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n"
LABELS = 'engine="0",model_name="\x1b[31mred\x1b[2J [bold]m[/]\\n"'
SOUND = f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{{LABELS}}} 3\n"


async def _html() -> AsyncIterator[bytes]:
    yield HEAD.replace(b"text/plain; version=0.0.4", b"text/html") + b"\r\n<html><body>\x1b[2Jhello</body></html>"


async def _huge() -> AsyncIterator[bytes]:
    yield HEAD + b"\r\n" + SOUND.encode()
    for _ in range(1600):
        yield b"vllm:x 1\n" * 7300


async def _drip() -> AsyncIterator[bytes]:
    yield HEAD + b"\r\n"
    for _ in range(600):
        yield b"v"
        await asyncio.sleep(0.1)


async def _cut() -> AsyncIterator[bytes]:
    yield HEAD + b"Content-Length: 100000\r\n\r\n" + SOUND.encode()


async def _garbage() -> AsyncIterator[bytes]:
    yield HEAD + b"\r\nvllm:" + bytes(range(256)) * 64


async def _nan() -> AsyncIterator[bytes]:
    body = SOUND + f"vllm:num_requests_waiting{{{LABELS}}} NaN\nvllm:kv_cache_usage_perc{{{LABELS}}} +Inf\n"
    yield HEAD + b"\r\n" + body.encode()


async def _many() -> AsyncIterator[bytes]:
    rows = (f'vllm:num_requests_running{{engine="{n}",model_name="m{n}"}} 1\n' for n in range(50_000))
    yield HEAD + b"\r\n" + "".join(rows).encode()


async def _twice() -> AsyncIterator[bytes]:
    yield HEAD + b"\r\n" + (SOUND + SOUND.replace(" 3", " 4") + "vllm:num_requests_waiting{ oops\n").encode()


async def _loop() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 302 Found\r\nLocation: /loop/metrics\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def _hang() -> AsyncIterator[bytes]:
    await asyncio.sleep(600)
    yield b""


PATHS: dict[str, Callable[[], AsyncIterator[bytes]]] = {
    "html": _html,
    "huge": _huge,
    "drip": _drip,
    "cut": _cut,
    "garbage": _garbage,
    "nan": _nan,
    "many": _many,
    "twice": _twice,
    "loop": _loop,
    "hang": _hang,
}


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request as its path asks for, and hang up."""
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        name = request.split(b" ")[1].decode("latin-1").strip("/").split("/")[0]
        async for chunk in PATHS.get(name, _html)():
            writer.write(chunk)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        return
    finally:
        writer.close()


async def serve(port: int, ready: Callable[[int], Awaitable[None]] | None = None) -> None:
    """Serve on loopback until cancelled; ``ready`` is told the port."""
    server = await asyncio.start_server(handle, "127.0.0.1", port)
    if ready is not None:
        await ready(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18090)
    asyncio.run(serve(parser.parse_args().port))
