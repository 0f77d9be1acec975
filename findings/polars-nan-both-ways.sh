#!/usr/bin/env bash
# To Polars a NaN is no value for max() and the greatest value for filters, quantiles and sorting, in the same column.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check polars==2.1.0 pyarrow==26.0.1

cat >"$work/program.py" <<'EOF'
"""A loss of six steps, two of them NaN, read from one Parquet file by two libraries."""

import sys

import polars
import pyarrow
import pyarrow.compute
import pyarrow.parquet

path = f"{sys.argv[1]}/loss.parquet"
nan = float("nan")
pyarrow.parquet.write_table(pyarrow.table({"loss": [1.0, 2.0, nan, 1.5, nan, 0.5]}), path)
loss = polars.col("loss")
frame = polars.read_parquet(path)
table = pyarrow.parquet.read_table(path)
print("max():", frame["loss"].max())
print("rows above max():", frame.filter(loss > loss.max()).height)
print("arg_max():", frame["loss"].arg_max(), "top_k(1):", frame["loss"].top_k(1).to_list())
print("cum_max():", frame["loss"].cum_max().to_list())
print("rolling_max(2):", frame["loss"].rolling_max(2, min_samples=1).to_list())
print("median():", frame["loss"].median(), "of the numbers alone:", frame["loss"].drop_nans().median())
print("rows above 100, polars:", frame.filter(loss > 100).height, "lazily:", polars.scan_parquet(path).filter(loss > 100).collect().height)
print("rows above 100, pyarrow:", table.filter(pyarrow.compute.field("loss") > 100).num_rows)
EOF

recorded='max(): 2.0
rows above max(): 2
arg_max(): 1 top_k(1): [nan]
cum_max(): [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
rolling_max(2): [1.0, 2.0, nan, nan, nan, nan]
median(): 1.75 of the numbers alone: 1.25
rows above 100, polars: 2 lazily: 2
rows above 100, pyarrow: 0'
seen=$("$work/venv/bin/python" "$work/program.py" "$work")

echo "software: polars 2.1.0, pyarrow 26.0.1"
echo "an expert expects: no row lies above a column's own maximum; NaN is left out everywhere, or poisons every result, as in NumPy"
echo "behaviour: max, arg_max and cum_max pass NaN over; comparisons, top_k, median and rolling_max hold it for the greatest value"
echo "consequence: a median or p95 of a series with NaN is too high and looks like a number; an alert rule 'loss > 100' depends on the library"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
