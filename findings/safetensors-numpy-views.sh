#!/usr/bin/env bash
# safetensors writes a transposed or strided NumPy array with its values in another order, and says nothing.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --target "$work/before" safetensors==0.7.0

cat >"$work/program.py" <<'EOF'
import pathlib
import sys

import numpy
from safetensors.numpy import load_file, save_file

path = pathlib.Path(sys.argv[1])
weights = numpy.array([[0, 1, 2], [3, 4, 5]], dtype=numpy.float32)
arrays = {
    "as created": weights,
    "transposed": weights.T,
    "column-major copy": numpy.asfortranarray(weights),
    "every second column": weights[:, ::2],
}
for name, array in arrays.items():
    save_file({"w": array}, path)
    back = load_file(path)["w"]
    verdict = "equal" if numpy.array_equal(array, back) else f"saved {array.tolist()}, loaded {back.tolist()}"
    print(f"{name}: {verdict}")
EOF

before='as created: equal
transposed: equal
column-major copy: equal
every second column: equal'
recorded='as created: equal
transposed: saved [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], loaded [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
column-major copy: saved [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], loaded [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
every second column: saved [[0.0, 2.0], [3.0, 5.0]], loaded [[0.0, 1.0], [2.0, 3.0]]'
seen=$("$work/venv/bin/python" "$work/program.py" "$work/weights.safetensors")
seen_before=$(PYTHONPATH="$work/before" "$work/venv/bin/python" "$work/program.py" "$work/weights.safetensors")

echo "software: safetensors 0.8.0 and 0.7.0 (safetensors.numpy), numpy 2.4.6"
echo "an expert expects: what is loaded equals what was saved, or an error as the PyTorch functions raise it"
echo "behaviour: 0.7.0 does; 0.8.0 writes the array's memory as it lies under the view's shape, without error or warning"
echo "consequence: shapes, sizes and the file's checks are right and the weights are not"
echo "seen with 0.7.0:"
echo "$seen_before"
echo "seen with 0.8.0:"
echo "$seen"
if [ "$seen" != "$recorded" ] || [ "$seen_before" != "$before" ]; then
    echo "CHANGED; recorded with 0.7.0 and 0.8.0 was:"
    echo "$before"
    echo "$recorded"
    exit 1
fi
