#!/usr/bin/env bash
# MLflow's "latest" metric is neither the last one logged nor the one with the newest time.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic

cat >"$work/program.py" <<'EOF'
import logging
import sys

from mlflow import MlflowClient

logging.disable(logging.CRITICAL)
client = MlflowClient(f"sqlite:///{sys.argv[1]}/runs.db")
experiment = client.create_experiment("training", artifact_location=f"{sys.argv[1]}/artifacts")
NAN = float("nan")
SERIES = {
    "resumed from the checkpoint of step 50": [(0, 2.0, 1), (50, 0.9, 2), (100, 0.3, 3), (51, 1.4, 4), (52, NAN, 5)],
    "three values in one millisecond, no step": [(None, 0.2, 1), (None, 0.9, 1), (None, 0.5, 1)],
    "three values in one millisecond, one is NaN": [(None, NAN, 1), (None, 0.2, 1), (None, NAN, 1)],
}
for name, points in SERIES.items():
    run = client.create_run(experiment).info.run_id
    for step, value, time_ms in points:
        client.log_metric(run, "loss", value, timestamp=time_ms, step=step)
    latest = client.get_run(run).data.metrics["loss"]
    newest = max(client.get_metric_history(run, "loss"), key=lambda metric: metric.timestamp)
    print(f"{name}: logged {[value for _, value, _ in points]}, latest {latest}")
    if newest.timestamp > 1:
        print(f"  newest by time: {newest.value} of step {newest.step}")
EOF

recorded='resumed from the checkpoint of step 50: logged [2.0, 0.9, 0.3, 1.4, nan], latest 0.3
  newest by time: nan of step 52
three values in one millisecond, no step: logged [0.2, 0.9, 0.5], latest 0.9
three values in one millisecond, one is NaN: logged [nan, 0.2, nan], latest 0.2'
seen=$("$work/venv/bin/python" "$work/program.py" "$work")

echo "software: mlflow-skinny 3.17.2 with its SQLite store (SQLAlchemy 2.1.9)"
echo "an expert expects: run.data.metrics holds what was logged last"
echo "behaviour: the highest step wins, then the newest time, then the highest value"
echo "consequence: a run that went back to a checkpoint and diverged still shows the good loss of before, until it passes the old step"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
