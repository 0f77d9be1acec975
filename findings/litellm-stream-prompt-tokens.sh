#!/usr/bin/env bash
# LiteLLM reports token counts of its own as the usage of a streamed call, with nothing that marks them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check litellm==1.110.2

cat >"$work/program.py" <<'EOF'
"""The same answer whole, streamed, and streamed with usage: what LiteLLM's logging callback is given."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm.integrations.custom_logger import CustomLogger

litellm.suppress_debug_info = True
USAGE = {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940}
WORDS = ["good ", "morning ", "to ", "you"]


def chunk(choices, usage=None):
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage}
    return f"data: {json.dumps(body)}\n\n"


class Engine(BaseHTTPRequestHandler):
    """An engine whose chat template makes 900 tokens of the question, and whose answer has 40."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if request.get("stream"):
            parts = [chunk([{"index": 0, "delta": {"role": "assistant", "content": word}}]) for word in WORDS]
            parts.append(chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
            if (request.get("stream_options") or {}).get("include_usage"):
                parts.append(chunk([], USAGE))
            kind, body = "text/event-stream", "".join(parts) + "data: [DONE]\n\n"
        else:
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
            kind, body = "application/json", json.dumps({**answer, "usage": USAGE})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


class Log(CustomLogger):
    calls = []

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.calls.append(kwargs["standard_logging_object"])


server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
litellm.callbacks = [Log()]
KINDS = {
    "whole": {},
    "streamed": {"stream": True},
    "streamed with include_usage": {"stream": True, "stream_options": {"include_usage": True}},
}
for name, options in KINDS.items():
    answer = litellm.completion(
        model="openai/m", api_key="none", api_base=f"http://127.0.0.1:{server.server_port}/v1",
        messages=[{"role": "user", "content": "hello there"}],
        input_cost_per_token=0.001, output_cost_per_token=0.001, **options,
    )
    if options:
        for _ in answer:
            pass
    limit = time.monotonic() + 20
    while not Log.calls and time.monotonic() < limit:
        time.sleep(0.05)
    call = Log.calls.pop()
    marks = sorted(k for k in call["metadata"].get("usage_object") or {} if "estim" in k)
    print(f"{name}: prompt {call['prompt_tokens']}, completion {call['completion_tokens']}, "
          f"cost {call['response_cost']:.3f} $, marked as estimated: {bool(marks)}")
EOF

recorded='whole: prompt 900, completion 40, cost 0.940 $, marked as estimated: False
streamed: prompt 9, completion 4, cost 0.013 $, marked as estimated: False
streamed with include_usage: prompt 900, completion 40, cost 0.940 $, marked as estimated: False'
seen=$("$work/venv/bin/python" "$work/program.py")

echo "software: litellm 1.110.2, in front of an OpenAI-compatible engine that counts 900 prompt and 40 output tokens"
echo "an expert expects: usage is what the engine reported, and unknown where it reported none"
echo "behaviour: for a stream without usage LiteLLM counts the text with a tokenizer of its own and logs that as usage and cost"
echo "consequence: spend and token totals of a gateway fall with the share of clients that stream without include_usage; the engine's counters disagree"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
