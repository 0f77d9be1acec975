"""The bars of docs/performance.md: start, CPU, bytes, memory, keys and quit, beside the bare Textual floor.

    python bench/console.py [--seconds 30] [--size 120x40] [--only NAME]

Figures are taken one after the other in one run; on a shared machine compare the ratios, not the milliseconds.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from terminal import measure, rounded

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def programs(port: int) -> dict[str, dict[str, Any]]:
    """Return what is measured: a name, the command, and how to know that data is on the screen."""
    console = f"{BIN}/aistack-top"
    live = f"{console} --endpoint http://127.0.0.1:{port}"
    found: dict[str, dict[str, object]] = {
        "floor": {"command": f"{sys.executable} {HERE}/floor.py", "marker": r"0\.\d{4}"},
        "demo": {"command": f"{console} demo"},
        "live, 1 engine": {"command": live, "marker": "running"},
        "live, 1 engine, no ring": {"command": f"{live} --no-ring"},
        "live, thin link": {"command": f"{live} --low-bandwidth --no-ring"},
    }
    if (BIN / "nvitop").exists():
        found["nvitop"] = {"command": f"{BIN}/nvitop"}
    return found


def main() -> None:
    """Measure and print one JSON line a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--only")
    parser.add_argument("--port", type=int, default=18765)
    options = parser.parse_args()
    columns, rows = (int(part) for part in options.size.split("x"))
    series = HERE.parent / "fixtures/captures/vllm-0.32.0/run1/series.jsonl.gz"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.playback.vllm"),
            "--series",
            series,
            "--at",
            "normal",
            "--port",
            str(options.port),
        ],
        cwd=HERE.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for name, program in programs(options.port).items():
            if options.only in (None, name):
                figures = measure(seconds=options.seconds, rows=rows, columns=columns, **program)
                load = os.getloadavg()[0]
                print(json.dumps({"program": name, "size": options.size, **rounded(figures), "load": round(load, 2)}))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
