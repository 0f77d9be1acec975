"""How bursty each arrival process of the simulator is, beside traces of real arrivals.

    python bench/arrivals.py [--seconds 14400] [--rate 3] [--trace FILE.csv.gz ...]

The Fano factor is the variance of the counts in windows of a length over their mean: 1 for independent requests, more
for bursts. The autocorrelation is that of counts in 10 s windows, one window and half a minute apart. A trace is a CSV
file, gzipped or not: a header, then seconds, prompt tokens and output tokens in its first three columns.
"""

import argparse
import csv
import gzip
import statistics
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from aistack_top.simulator.arrival_processes import LARGEST_PROMPT, ArrivalProcess, processes
from aistack_top.simulator.arrivals import Arrival

WINDOWS_S = (1.0, 10.0, 60.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=14400.0)
    parser.add_argument("--rate", type=float, default=3.0, help="requests a second")
    parser.add_argument("--trace", type=Path, action="append", default=[])
    options = parser.parse_args()
    head = ("process", "requests/s", "Fano 1 s", "10 s", "60 s", "autocorrelation 10 s", "30 s", "prompt mean", "p95")
    print("| " + " | ".join([*head, "output mean"]) + " |")
    print("|" + "---|" * 10)
    for name, process in processes().items():
        print(row(name, sample(process, options.rate, options.seconds)))
    for path in options.trace:
        print(row(path.name, list(read(path).trace)))


def sample(process: ArrivalProcess, rate: float, seconds: float) -> list[Arrival]:
    """Return what comes in so many seconds; of several tenants everything together, in equal shares."""
    parts = [process.of_tenant(place) for place in range(max(len(process.parts), 1))]
    found: list[Arrival] = []
    for place, part in enumerate(parts):
        for arrival in part.stream(Random(f"{process.name}/{place}"), lambda _: rate / len(parts), rate):
            if arrival.at >= seconds:
                break
            found.append(arrival)
    return sorted(found)


def read(path: Path) -> ArrivalProcess:
    """Return a file of arrivals as a process, with prompts cut as the gateway cuts them."""
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = list(csv.reader(body.decode().splitlines()))[1:]
    found = (Arrival(float(row[0]), min(int(row[1]), LARGEST_PROMPT), max(int(row[2]), 1)) for row in rows)
    name = path.name.partition(".")[0]
    return ArrivalProcess(name, f"arrivals of {path.name}", trace=tuple(sorted(found)), closed=False)


def counts(arrivals: list[Arrival], width: float) -> list[int]:
    """Return how many came in each whole window."""
    start = arrivals[0].at
    found = [0] * int((arrivals[-1].at - start) // width)
    for one in arrivals:
        place = int((one.at - start) // width)
        if place < len(found):
            found[place] += 1
    return found


def fano(values: list[int]) -> float:
    """Return the variance over the mean."""
    return statistics.pvariance(values) / statistics.fmean(values)


def autocorrelation(values: list[int], lag: int) -> float:
    """Return the correlation of a series with itself so many windows later."""
    mean = statistics.fmean(values)
    own = sum((one - mean) ** 2 for one in values)
    return sum((a - mean) * (b - mean) for a, b in zip(values, values[lag:], strict=False)) / own if own else 0.0


def row(name: str, arrivals: list[Arrival]) -> str:
    """Return a line of the table."""
    rate = len(arrivals) / (arrivals[-1].at - arrivals[0].at)
    tens = counts(arrivals, 10.0)
    prompts = sorted(one.prompt for one in arrivals)
    cells = [
        f"{rate:.2f}", *(f"{fano(counts(arrivals, width)):.1f}" for width in WINDOWS_S),
        f"{autocorrelation(tens, 1):.2f}", f"{autocorrelation(tens, 3):.2f}",
        f"{statistics.fmean(prompts):.0f}", f"{prompts[int(0.95 * len(prompts))]}",
        f"{statistics.fmean(one.output for one in arrivals):.0f}",
    ]  # fmt: skip
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
