#!/usr/bin/env bash
# The request durations of two LLM routers end with a stream's headers, and one series holds streams and whole answers.
set -eu
work=$(mktemp -d)
router=
finish() {
    if [ -n "$router" ]; then kill "$router" 2>/dev/null || true; wait "$router" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check vllm-router==0.1.17 sglang-router==0.3.2

cat >"$work/program.py" <<'EOF'
"""A worker whose answers take one second, asked through the router: the client's clock beside the router's."""

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REQUESTS = 3
worker_port, port, page_port, metric = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Worker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        head = {"id": "c", "created": 1, "model": "m"}
        if not request.get("stream"):
            time.sleep(1)
            choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 10, "total_tokens": 11}
            self.answer({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
        for _ in range(10):
            self.write(json.dumps({**head, "object": "chat.completion.chunk", "choices": [choice]}))
            time.sleep(0.1)
        self.write("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def write(self, text):
        event = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.flush()

    def log_message(self, *args):
        pass


def get(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def total():
    """Seconds and requests of the router's histogram so far."""
    found = {"sum": 0.0, "count": 0.0}
    for line in get(f"http://127.0.0.1:{page_port}/metrics").splitlines():
        for part in found:
            if line.startswith(f"{metric}_{part}"):
                found[part] += float(line.rsplit(" ", 1)[1])
    return found["sum"], found["count"]


def measure(stream):
    before = total()
    question = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    start = time.monotonic()
    for _ in range(REQUESTS):
        address = f"http://127.0.0.1:{port}/v1/chat/completions"
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(address, json.dumps(question).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
    client = (time.monotonic() - start) / REQUESTS
    after = total()
    counted = after[1] - before[1]
    told = (after[0] - before[0]) / counted
    kind = "streamed" if stream else "whole"

    def words(seconds):
        return "about a second or more" if seconds > 0.9 else "less than a quarter" if seconds < 0.25 else f"{seconds} s"

    print(f"  {counted:.0f} {kind}: client's mean {words(client)}, router's mean {words(told)}")


server = ThreadingHTTPServer(("127.0.0.1", worker_port), Worker)
threading.Thread(target=server.serve_forever, daemon=True).start()
for _ in range(120):
    try:
        get(f"http://127.0.0.1:{port}/health")
        break
    except (urllib.error.URLError, OSError):
        time.sleep(0.5)
measure(stream=True)
measure(stream=False)
EOF

free_port() { "$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# run NAME METRIC COMMAND...: the router in front of the worker, ended by its pid afterwards
run() {
    local name=$1 metric=$2 worker port page
    shift 2
    worker=$(free_port) port=$(free_port) page=$(free_port)
    "$@" --worker-urls "http://127.0.0.1:$worker" --policy round_robin --host 127.0.0.1 --port "$port" \
        --prometheus-host 127.0.0.1 --prometheus-port "$page" >"$work/$name.log" 2>&1 &
    router=$!
    echo "$name"
    "$work/venv/bin/python" "$work/program.py" "$worker" "$port" "$page" "$metric"
    kill "$router"
    wait "$router" 2>/dev/null || true
    router=
}

recorded='vllm-router
  3 streamed: client'"'"'s mean about a second or more, router'"'"'s mean less than a quarter
  3 whole: client'"'"'s mean about a second or more, router'"'"'s mean about a second or more
sglang-router
  3 streamed: client'"'"'s mean about a second or more, router'"'"'s mean less than a quarter
  3 whole: client'"'"'s mean about a second or more, router'"'"'s mean about a second or more'
run vllm-router vllm_router_generate_duration_seconds "$work/venv/bin/vllm-router" >"$work/seen"
run sglang-router smg_router_request_duration_seconds "$work/venv/bin/sglang-router" launch >>"$work/seen"
seen=$(cat "$work/seen")

echo "software: vllm-router 0.1.17 (vllm_router_generate_duration_seconds), sglang-router 0.3.2 (smg_router_request_duration_seconds)"
echo "an expert expects: the duration of a generation lasts until its last token"
echo "behaviour: for a stream the clock stops at the worker's headers; no label tells streams from whole answers"
echo "consequence: mean and quantiles follow the share of streamed requests, not the load; a slow engine stays unseen"
echo "seen (each answer takes one second):"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
