"""Ranks the raw metrics of a recorded exposition series (``series.jsonl.gz``), as a table of every plain series in it.

python bench/series.py fixtures/captures/vllm-0.32.0/run1/series.jsonl.gz --onset 65 [--shown 6]
"""

import argparse
import gzip
import json
import math
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mesh import Case
from prometheus_client.parser import text_string_to_metric_families
from rank import methods


def table(path: Path, onset: float) -> Case:
    """Return the series as a case: a row a scrape, a column a series, without buckets and creation times."""
    rows: list[tuple[float, dict[str, float]]] = []
    with gzip.open(path, "rt") as file:
        for line in file:
            scrape = json.loads(line)
            if scrape.get("status") != 200 or not str(scrape["url"]).endswith("/metrics"):
                continue
            found = {}
            for family in text_string_to_metric_families(scrape["body"]):
                for sample in family.samples:
                    if not sample.name.endswith(("_bucket", "_created", "_info")):
                        labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k != "model_name")
                        found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
            rows.append((float(scrape["t"]), found))
    names = dict.fromkeys(name for _, found in rows for name in found)
    columns = {name: [found.get(name, math.nan) for _, found in rows] for name in names}
    return Case([at for at, _ in rows], columns, onset, "", "", "", "")


def main() -> None:
    """Print the first columns of each method, with the right time, a late one and none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("--onset", type=float, required=True)
    parser.add_argument("--shown", type=int, default=6)
    options = parser.parse_args()
    random.seed(0)
    case = table(options.series, options.onset)
    print(f"{len(case.columns)} columns, {len(case.times)} rows")
    for name, method in methods(ablate=False).items():
        for late in (0.0, 20.0, None):
            if name in ("chance", "aistack-top, SLI given") or (late is None and not name.startswith("aistack")):
                continue
            said = "unknown" if late is None else f"{late:+.0f} s"
            print(f"{name}, time {said}")
            for column in method(case, None if late is None else options.onset + late)[: options.shown]:
                print(f"    {column[:110]}")


if __name__ == "__main__":
    main()
