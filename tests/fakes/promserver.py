"""A Prometheus server in memory: pages that were scraped at certain times, and the few forms of query asked of it."""

import http.server
import json
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from urllib.parse import parse_qsl

from prometheus_client.parser import text_string_to_metric_families

from collectors.prometheus.client import Access

ACCESS = Access("http://prometheus:9090", {})
LOOKBACK_S = 300.0

_QUERY = re.compile(
    r"(?:count by \((?P<by>[\w, ]+)\) \(|(?P<function>timestamp)\()?(?P<over>last_over_time\()?"
    r"(?P<selector>\{.*\})(?P<range>\[\d+s\])?\)*"
)
_MATCHER = re.compile(r'(\w+)(=~?)"((?:[^"\\]|\\.)*)"')

Labels = tuple[tuple[str, str], ...]


class FakePrometheus:
    """Answers as ``PrometheusConnect`` does, by its own clock; ``fault`` is raised instead, ``asked`` what came."""

    def __init__(self, now) -> None:
        self._now = now
        self._series: dict[Labels, list[tuple[float, float | None]]] = {}
        self._of: dict[Labels, set[Labels]] = {}
        self.asked: list[str] = []
        self.fault: Exception | None = None
        self.warning = b""
        self.hidden: set[str] = set()

    def connect(self, access, listen):
        self._listen = listen
        return self

    def scrape(self, at: float, instance: str, body: bytes | None, job: str = "vllm", *, up=True, **labels) -> None:
        """Take a page, or None for a target that did not answer; what it no longer has ends there.

        ``labels`` are the target's further ones; without ``up`` it is pushed, and nothing says that a series ended.
        """
        own = tuple({"instance": instance, "job": job, **labels}.items())
        own = tuple((key, value) for key, value in own if value)
        fresh: dict[Labels, float] = {(("__name__", "up"), *own): float(body is not None)} if up else {}
        for name, told, value in _samples(body or b""):
            shown = {f"exported_{k}" if k in dict(own) else k: v for k, v in told.items() if v}
            fresh[("__name__", name), *shown.items(), *own] = value
        fresh = {tuple(sorted(key)): value for key, value in fresh.items()}
        before = self._of.setdefault(own, set())
        for key in before - set(fresh) if up else ():
            if self._series[key][-1][1] is not None:
                self._series[key].append((at, None))
        before |= set(fresh)
        for key, value in fresh.items():
            self._series.setdefault(key, []).append((at, value))

    def forget(self, instance: str, **labels) -> None:
        """Let a target be scraped no more: all its series end."""
        for own, keys in self._of.items():
            if dict(own).items() >= {"instance": instance, **labels}.items():
                for key in keys:
                    self._series[key].append((self._series[key][-1][0] + 0.001, None))

    def custom_query(self, query, params):
        match, wanted = self._read(query, params)
        now = float(params.get("time", self._now()))
        back = int(match["range"][1:-2]) if match["range"] else 0
        if back:
            return [
                {
                    "metric": dict(key),
                    "values": [[at, str(v)] for at, v in samples if now - back <= at <= now and v is not None],
                }
                for key, samples in wanted
                if any(now - back <= at <= now and v is not None for at, v in samples)
            ]
        there = [(key, one[1]) for key, samples in wanted if (one := _stood(samples, now))]
        if match["by"]:
            return [{"metric": key, "value": [now, "1"]} for key in _grouped((key for key, _ in there), match["by"])]
        return [{"metric": dict(key), "value": [now, str(value)]} for key, value in there]

    def custom_query_range(self, query, start_time, end_time, step, params):
        match, wanted = self._read(query, params)
        assert isinstance(start_time, datetime)
        start, end, step = float(params["start"]), float(params["end"]), float(step)
        steps = [start + n * step for n in range(int((end - start) / step + 1e-6) + 1)]
        assert len(steps) <= 11_000
        back = int(match["range"][1:-2]) if match["range"] else 0
        if match["by"]:
            there = (key for key, row in wanted for at in steps if _within(row, at, back))
            return [{"metric": key, "values": [[end, "1"]]} for key in _grouped(there, match["by"])]
        found = []
        for key, samples in wanted:
            stood = [(at, _stood(samples, at)) for at in steps]
            rows = [[at, str(one[0] if match["function"] else one[1])] for at, one in stood if one]
            if rows:
                found.append({"metric": dict(key), "values": rows})
        return found

    def _read(self, query, params):
        assert params["timeout"] == "10s"
        self.asked.append(query)
        if self.fault is not None:
            raise self.fault
        self._listen(b'{"status":"success"%s}' % self.warning)
        match = _QUERY.fullmatch(query)
        assert match, query
        tests = []
        for name, how, text in _MATCHER.findall(match["selector"]):
            text = text.replace('\\"', '"').replace("\\\\", "\\")
            tests.append((name, re.compile(text if how == "=~" else re.escape(text))))
        wanted = [
            (key, samples)
            for key, samples in self._series.items()
            if all(test.fullmatch(dict(key).get(name, "")) for name, test in tests)
            and not self.hidden & {dict(key)["__name__"]}
        ]
        return match, wanted


def _grouped(keys, by):
    """Return the label sets that series have of some labels, each once."""
    names = by.split(", ")
    sets = {tuple((name, dict(key)[name]) for name in names if dict(key).get(name)) for key in keys}
    return [dict(one) for one in sorted(sets)]


def _within(samples, at, back):
    """Return whether there is a sample in the last seconds before a time, or one that stands then."""
    return (
        any(at - back <= moment <= at and value is not None for moment, value in samples)
        if back
        else _stood(samples, at)
    )


@cache
def _samples(body: bytes) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(body.decode())
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


@contextmanager
def over_http(fake: FakePrometheus):
    """Let a server in memory answer on a loopback port; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, query = self.path.partition("?")
            params = dict(parse_qsl(query))
            fake.connect(None, lambda _: None)
            if path == "/api/v1/query_range":
                start, end = (datetime.fromtimestamp(float(params[name]), UTC) for name in ("start", "end"))
                rows = fake.custom_query_range(params["query"], start, end, params["step"], params)
            else:
                rows = fake.custom_query(params["query"], params)
            body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _stood(samples, at):
    """Return the newest sample at a time; None where there is none, or where the series had ended."""
    past = [one for one in samples if at - LOOKBACK_S < one[0] <= at]
    return past[-1] if past and past[-1][1] is not None else None
