#!/usr/bin/env bash
# OpenTelemetry keeps a NumPy float64 as a number and turns a NumPy int64 into text.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-common==1.45.2 numpy==2.4.6
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check --target "$work/before" \
    opentelemetry-sdk==1.30.0 opentelemetry-exporter-otlp-proto-common==1.30.0

cat >"$work/program.py" <<'EOF'
"""What kind each value has on the wire (OTLP), once it was set as an attribute of a span."""

import importlib.metadata
import logging

import numpy
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider

logging.disable(logging.CRITICAL)
lengths = numpy.array([3, 4])
VALUES = {
    "int 7": 7,
    "numpy.int64 7 (lengths.sum())": lengths.sum(),
    "numpy.float64 3.5 (lengths.mean())": lengths.mean(),
    "numpy.float32 3.5": numpy.float32(3.5),
    "numpy.bool True (lengths.any())": lengths.any(),
}
span = TracerProvider().get_tracer("server").start_span("generate")
for name, value in VALUES.items():
    span.set_attribute(name, value)
span.end()
sent = {a.key: a.value for a in encode_spans([span]).resource_spans[0].scope_spans[0].spans[0].attributes}
print(f"opentelemetry-sdk {importlib.metadata.version('opentelemetry-sdk')}")
for name in VALUES:
    value = sent.get(name)
    print(f"  {name}: {'not sent' if value is None else value.WhichOneof('value')}")
EOF

recorded='opentelemetry-sdk 1.30.0
  int 7: int_value
  numpy.int64 7 (lengths.sum()): not sent
  numpy.float64 3.5 (lengths.mean()): double_value
  numpy.float32 3.5: not sent
  numpy.bool True (lengths.any()): not sent
opentelemetry-sdk 1.45.2
  int 7: int_value
  numpy.int64 7 (lengths.sum()): string_value
  numpy.float64 3.5 (lengths.mean()): double_value
  numpy.float32 3.5: string_value
  numpy.bool True (lengths.any()): string_value'
PYTHONPATH="$work/before" "$work/venv/bin/python" "$work/program.py" >"$work/seen"
"$work/venv/bin/python" "$work/program.py" >>"$work/seen"
seen=$(cat "$work/seen")

echo "software: opentelemetry-sdk 1.30.0 and 1.45.2, numpy 2.4.6"
echo "an expert expects: a NumPy integer is sent as an integer, as a NumPy float is sent as a float"
echo "behaviour: float64 is a Python float and passes; int64 is no Python int and was dropped, later sent as text"
echo "consequence: token counts taken from arrays are missing or text at the backend, where sums leave them out; averages beside them are right"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
