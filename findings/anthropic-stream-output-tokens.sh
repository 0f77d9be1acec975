#!/usr/bin/env bash
# OpenLLMetry's Anthropic instrumentation counts more output tokens when the same answer is streamed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check anthropic==2.14.0 \
    opentelemetry-instrumentation-anthropic==0.62.4 openinference-instrumentation-anthropic==3.1.0 opentelemetry-sdk==1.45.2

cat >"$work/program.py" <<'EOF'
"""One answer of 40 output tokens, whole and streamed, as two instrumentations record it."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
from openinference.instrumentation.anthropic import AnthropicInstrumentor as OpenInference
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor as OpenLLMetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

logging.disable(logging.CRITICAL)
ANSWER = {"id": "msg_1", "type": "message", "role": "assistant", "model": "example-model", "stop_sequence": None}


def usage(output):
    return {"input_tokens": 100, "output_tokens": output}


def events():
    """The stream as the API documents it: a first count at its start, then the cumulative one at its end."""
    first = 5
    yield "message_start", {"message": {**ANSWER, "content": [], "stop_reason": None, "usage": usage(first)}}
    yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
    yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "good morning"}}
    yield "content_block_stop", {"index": 0}
    yield "message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 40}}
    yield "message_stop", {}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if request.get("stream"):
            kind = "text/event-stream"
            text = "".join(f"event: {n}\ndata: {json.dumps({'type': n, **d})}\n\n" for n, d in events())
        else:
            kind = "application/json"
            content = [{"type": "text", "text": "good morning"}]
            text = json.dumps({**ANSWER, "content": content, "stop_reason": "end_turn", "usage": usage(40)})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
question = {"model": "example-model", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


def recorded(instrumentor, attribute):
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor.instrument(tracer_provider=provider)
    client = anthropic.Anthropic(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}")
    client.messages.create(**question)
    for _ in client.messages.create(stream=True, **question):
        pass
    with client.messages.stream(**question) as stream:
        final = stream.get_final_message().usage.output_tokens
    instrumentor.uninstrument()
    return [span.attributes[attribute] for span in spans.get_finished_spans()], final


for name, instrumentor, attribute in (
    ("opentelemetry-instrumentation-anthropic", OpenLLMetry(), "gen_ai.usage.output_tokens"),
    ("openinference-instrumentation-anthropic", OpenInference(), "llm.token_count.completion"),
):
    (whole, stream, helper), final = recorded(instrumentor, attribute)
    print(f"{name}: whole {whole}, stream=True {stream}, messages.stream() {helper}; the client's own count {final}")
EOF

recorded='opentelemetry-instrumentation-anthropic: whole 40, stream=True 45, messages.stream() 45; the client'"'"'s own count 40
openinference-instrumentation-anthropic: whole 40, stream=True 40, messages.stream() 40; the client'"'"'s own count 40'
seen=$("$work/venv/bin/python" "$work/program.py")

echo "software: opentelemetry-instrumentation-anthropic 0.62.4, openinference-instrumentation-anthropic 3.1.0, anthropic 2.14.0"
echo "an expert expects: an answer of 40 output tokens is recorded as 40, streamed or not"
echo "behaviour: the first adds message_start's count to message_delta's, which is cumulative and holds it already"
echo "consequence: streaming looks dearer and faster (tokens/s) than it is; the share grows as answers get shorter"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
