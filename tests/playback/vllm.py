"""Plays a recorded vLLM server second by second, in process or on a loopback port.

    python -m tests.playback.vllm --series fixtures/captures/vllm-0.32.0/run1/series.jsonl.gz --at burst --port 8000

The play begins with the first request, so that the start-up of whoever asks takes nothing from it. Where the
recording was refused a connection, so is the player's client: in process by `httpx.ConnectError`, on a port by
hanging up.
"""

import argparse
import asyncio
import gzip
import json
import re
import sys
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import httpx

from aistack_top.measure.clock import Clock, WallClock

STATIC = {"/version": "version-t000.json", "/v1/models": "v1_models-t000.json"}
"""What stands beside a recording because it was asked once."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded answer; ``status`` is None where the connection was refused."""

    at: float
    status: int | None
    kind: str
    body: bytes


class Recording:
    """A recorded series: what each path answered when."""

    def __init__(self, series: Path) -> None:
        self.phases: dict[str, float] = {}
        self.answers: dict[str, list[Recorded]] = {}
        with gzip.open(series, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                kind = row.get("ctype") or ("text/plain" if row["url"] == "/metrics" else "application/json")
                body = (row.get("body") or "").encode()
                self.answers.setdefault(row["url"], []).append(Recorded(row["t"], row["status"], kind, body))
        run = series.with_name("run.json")
        if run.exists():
            for phase in json.loads(run.read_text(encoding="utf-8")).get("phases", ()):
                self.phases[phase["name"]] = float(phase["start"])
        for path, name in STATIC.items():
            beside = series.with_name(name)
            if path not in self.answers and beside.exists():
                self.answers[path] = [Recorded(0.0, 200, "application/json", beside.read_bytes())]

    def offset(self, at: str) -> float:
        """Return where a phase begins, or a number of seconds as it is."""
        return self.phases[at] if at in self.phases else float(at)

    def answer(self, path: str, at: float) -> Recorded:
        """Return the newest answer of a path at a time since the start of the recording."""
        known = self.answers.get(path)
        if known is None:
            return Recorded(at, 404, "application/json", b'{"detail":"Not Found"}')
        return known[max(bisect_right(known, at, key=lambda answer: answer.at) - 1, 0)]


class Player:
    """Plays a recording by a clock, from ``at`` (a phase or seconds) on."""

    def __init__(self, recording: Recording, clock: Clock, at: str = "0") -> None:
        self._recording = recording
        self._clock = clock
        self._offset = recording.offset(at)
        self._began: float | None = None
        self.asked: list[str] = []

    def answer(self, path: str) -> Recorded:
        """Return what a path answers now."""
        now = self._clock.monotonic()
        if self._began is None:
            self._began = now
        self.asked.append(path)
        return self._recording.answer(path, self._offset + now - self._began)


class PlayerTransport(httpx.AsyncBaseTransport):
    """Gives a client the player's answers without a socket."""

    def __init__(self, player: Player) -> None:
        self._player = player

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._player.answer(request.url.path)
        if answer.status is None:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        return httpx.Response(answer.status, headers={"content-type": answer.kind}, content=answer.body)


async def serve(player: Player, port: int) -> asyncio.Server:
    """Start answering on a loopback port; 0 takes a free one."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                answer = player.answer(head.split(b" ", 2)[1].decode().partition("?")[0])
                if answer.status is None:
                    break
                lines = f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.kind}\r\n"
                writer.write(f"{lines}content-length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()

    return await asyncio.start_server(talk, "127.0.0.1", port)


def moved(body: bytes, by: int = 30) -> bytes:
    """Return a page after some work: counters have grown, histograms have ``by`` more values in every bucket."""
    grown: dict[bytes, int] = {}

    def grow(match: re.Match[bytes]) -> bytes:
        name, labels, value = match[1], match[2] or b"", float(match[3])
        key = name.rpartition(b"_")[0] + re.sub(rb',?le="[^"]*"', b"", labels)
        if name.endswith(b"_bucket"):
            grown[key] = grown.get(key, 0) + by
        step = grown[key] if name.endswith(b"_bucket") else grown.get(key, by) if name.endswith(b"_count") else by
        return name + labels + b" %.1f" % (value + step)

    pattern = rb"^((?:vllm:\w+|http_requests)_(?:total|bucket|sum))(\{.*\})? (\S+)$"
    body = re.sub(pattern, grow, body, flags=re.MULTILINE)
    return re.sub(pattern.replace(b"total|bucket|sum", b"count"), grow, body, flags=re.MULTILINE)


async def _main() -> None:
    wanted = argparse.ArgumentParser(description="Play a recorded vLLM server on a loopback port.")
    wanted.add_argument("--series", type=Path, required=True, help="a series.jsonl.gz")
    wanted.add_argument("--at", default="0", help="a phase of the recording, or seconds from its start")
    wanted.add_argument("--port", type=int, default=0)
    options = wanted.parse_args()
    server = await serve(Player(Recording(options.series), WallClock(), options.at), options.port)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
