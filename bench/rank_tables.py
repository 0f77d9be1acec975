"""Ranks a great many small tables of every kind as files: none may end in anything but a ranking or one sentence.

python bench/rank_tables.py [--tables 100000] [--seed 1]
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from aistack_top.rank.rank import rank
from aistack_top.rank.table import MetricsTableError, moment_of, read_table

WORDS = (
    "",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "0",
    "1",
    "-1",
    "1e308",
    "1e-320",
    "3.5 ms",
    "true",
    '"a,b"',
    '"x""y"',
    "\u00e9",
)
HEADS = ("a", "b", "b", "a", "cpu", '"m{le=""1""}"', "", "time", "timestamp", "a_duplicated_0", "b (2)", "x->y_latency")
STEPS = (1, 5, 15, 21, 30, 60, 90, 120, 300, 3600)
TIMES = ("none", "-1m", "+2m", "1700000100", "0", "14:02", "2023-11-14T22:15:00Z")


def text(rng: random.Random) -> str:
    """Return a small table as CSV, right or wrong in every way that comes to mind."""
    rows, columns, step = rng.randint(0, 40), rng.randint(0, 5), rng.choice(STEPS)
    head = [rng.choice((*("time",) * 9, "Time", "ts", "t")), *(rng.choice(HEADS) for _ in range(columns))]
    kinds = [rng.choice(("steps", "noise", "words", "still", "counter", "huge")) for _ in range(columns)]
    lines = [",".join(head)]
    unit, form = rng.choice((1, 1e3, 1e6, 1e9)), rng.choice((*("number",) * 6, "iso", "odd"))
    at, place = 1_700_000_000.0, rng.randint(0, max(rows - 1, 0))
    for n in range(rows):
        at += step * rng.choice((1, 1, 1, 1, 0, 40, -1))
        shown = (
            repr(at * unit)
            if form == "number"
            else f"2023-11-14T22:{n % 60:02}:00Z"
            if form == "iso"
            else rng.choice(WORDS)
        )
        lines.append(",".join([shown, *(_cell(kind, n, place, rng) for kind in kinds)][: rng.choice((99, 99, 99, 2))]))
    return rng.choice(("\n", "\n", "\r\n")).join(lines) + rng.choice(("", "\n"))


def _cell(kind: str, n: int, place: int, rng: random.Random) -> str:
    values: dict[str, Callable[[], str]] = {
        "steps": lambda: repr(rng.gauss(10, 0.5) + (9 if n >= place else 0)),
        "noise": lambda: repr(rng.gauss(0, 1)),
        "words": lambda: rng.choice(WORDS),
        "still": lambda: "3",
        "counter": lambda: str(n * 7 % 90),
        "huge": lambda: repr(rng.choice((1, -1)) * 10.0 ** rng.randint(-320, 308)),
    }
    return values[kind]()


def main() -> None:
    """Print how many tables were ranked and refused; exit 1 with the first traceback where one raised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        for number in range(options.tables):
            rng = random.Random(options.seed * 1_000_003 + number)
            path.write_text(text(rng), encoding="utf-8")
            said = rng.choice(TIMES)
            try:
                table = read_table(path)
                sli = rng.choice([None, *table.columns])
                rank(table, None if said == "none" else moment_of(said, table.times), sli)
                counts["ranked"] += 1
            except MetricsTableError:
                counts["refused in one sentence"] += 1
            except Exception:  # what is looked for
                print(f"table {number}, --incident-time {said}:\n{path.read_text(encoding='utf-8')}")
                traceback.print_exc()
                sys.exit(1)
    print(
        f"{options.tables:,} tables in {time.monotonic() - began:.0f} s: "
        + ", ".join(f"{n:,} {k}" for k, n in counts.items())
    )


if __name__ == "__main__":
    main()
