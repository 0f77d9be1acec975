#!/usr/bin/env bash
# With several processes, the minimum of a prometheus_client gauge is 0 as soon as one process never set it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check prometheus-client==0.26.0

cat >"$work/program.py" <<'EOF'
"""Three processes with the same gauges: two set them to 40 and 60, the third only imports the module."""

import os
import subprocess
import sys
import tempfile

LABELLED, BARE = "free_blocks_by_pool", "free_blocks"


def worker(value):
    from prometheus_client import Gauge

    for mode in ("min", "max", "all", "mostrecent"):
        bare = Gauge(f"{BARE}_{mode}", "-", multiprocess_mode=mode)
        labelled = Gauge(f"{LABELLED}_{mode}", "-", ["pool"], multiprocess_mode=mode)
        if value is not None:
            bare.set(value)
            labelled.labels("gpu").set(value)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        for value in ("40", "60", "nothing"):
            subprocess.run([sys.executable, __file__, value], check=True)
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        found = {}
        for family in registry.collect():
            found[family.name] = sorted(sample.value for sample in family.samples)
        for name in sorted(found):
            print(f"{name}: {found[name]}")


if len(sys.argv) > 1:
    worker(None if sys.argv[1] == "nothing" else float(sys.argv[1]))
else:
    main()
EOF

recorded='free_blocks_all: [0.0, 40.0, 60.0]
free_blocks_by_pool_all: [40.0, 60.0]
free_blocks_by_pool_max: [60.0]
free_blocks_by_pool_min: [40.0]
free_blocks_by_pool_mostrecent: [60.0]
free_blocks_max: [60.0]
free_blocks_min: [0.0]
free_blocks_mostrecent: [60.0]'
seen=$("$work/venv/bin/python" "$work/program.py")

echo "software: prometheus_client 0.26.0 in multiprocess mode"
echo "an expert expects: a process that never set a gauge has no say in its minimum, 40"
echo "behaviour: a gauge without labels exists with 0 from its import on, in every process; one with labels does not"
echo "consequence: the lowest free memory, oldest heartbeat or smallest margin of a pool of workers reads 0 from the first idle worker on"
echo "seen (set to 40 and 60 in two of three processes):"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
