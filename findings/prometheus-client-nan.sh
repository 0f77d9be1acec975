#!/usr/bin/env bash
# One NaN observed by prometheus_client makes a histogram's sum NaN for good, and is not in its count.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    prometheus-client==0.26.0 opentelemetry-sdk==1.45.2

cat >"$work/program.py" <<'EOF'
"""Four observations, the second of them NaN, by the two Python clients; a Summary and a Counter beside them."""

import logging

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

logging.disable(logging.CRITICAL)
NAN = float("nan")
OBSERVED = [0.5, NAN, 1.5, 9.0]
registry = CollectorRegistry()
histogram = Histogram("wait_seconds", "-", buckets=[1, 2], registry=registry)
summary = Summary("size_tokens", "-", registry=registry)
counter = Counter("work", "-", registry=registry)
reader = InMemoryMetricReader()
other = MeterProvider([reader]).get_meter("m").create_histogram("wait", explicit_bucket_boundaries_advisory=[1, 2])
for value in OBSERVED:
    for instrument in (histogram, summary):
        instrument.observe(value)
    counter.inc(value)
    other.record(value)


def sample(name, **labels):
    return registry.get_sample_value(name, labels)


print(f"observed: {len(OBSERVED)}")
for name in ("wait_seconds", "size_tokens"):
    print(f"prometheus_client {name}: count {sample(name + '_count'):.0f}, sum {sample(name + '_sum')}")
print(f"prometheus_client wait_seconds_bucket: le=1.0 {sample('wait_seconds_bucket', le='1.0')}, "
      f"le=+Inf {sample('wait_seconds_bucket', le='+Inf')}")
print(f"prometheus_client work_total: {sample('work_total')}")
point = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
print(f"opentelemetry-sdk wait: count {point.count}, sum {point.sum}")
EOF

recorded='observed: 4
prometheus_client wait_seconds: count 3, sum nan
prometheus_client size_tokens: count 4, sum nan
prometheus_client wait_seconds_bucket: le=1.0 1.0, le=+Inf 3.0
prometheus_client work_total: nan
opentelemetry-sdk wait: count 3, sum 11.0'
seen=$("$work/venv/bin/python" "$work/program.py")

echo "software: prometheus_client 0.26.0, opentelemetry-sdk 1.45.2"
echo "an expert expects: NaN is refused, as a negative increment is, or else counted as an observation in +Inf"
echo "behaviour: a histogram adds it to its sum and to no bucket, so not to its count; a summary counts it; a counter takes it"
echo "consequence: the mean is lost until the process restarts, quantiles go on as if nothing was, and a rate of NaN fires no alert"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
