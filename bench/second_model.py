"""How often diagnosis is right on the second engine model, which is by another hand (`bench/enginemodel`).

    python bench/second_model.py [--seeds 501] [--each 7] [--hours 12] [--arrivals poisson,code] [--report]

No rule may be tuned on it. Each run is one line of the cache (JSON); a run that is there is not played again,
so that it can be stopped and go on another day. A cache belongs to one version of the program: its first line
says which.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from enginemodel import tables
from enginemodel.arrivals import PROCESSES
from enginemodel.play import play
from enginemodel.trials import quiet, trials

ROOT = Path(__file__).parent.parent
JUDGED = ("aistack_top/diagnosis", "bench/enginemodel")


def version() -> str:
    """Return a name of the code that is judged, and of the model it is judged on."""
    total = hashlib.sha256()
    for folder in JUDGED:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                total.update(path.read_bytes())
    return total.hexdigest()[:12]


def load(cache: Path) -> dict[str, dict[str, Any]]:
    """Return the records of this version that a cache holds."""
    if not cache.exists():
        return {}
    rows = [json.loads(line) for line in cache.read_text(encoding="utf-8").splitlines()]
    return {row["id"]: row for row in rows if row["version"] == version()}


def main() -> None:
    """Play what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("second-model.jsonl"))
    parser.add_argument("--seeds", default="501")
    parser.add_argument("--arrivals", default=",".join(PROCESSES), help="processes of arrivals")
    parser.add_argument("--each", type=int, default=2, help="processes that each fault is played under")
    parser.add_argument("--hours", type=int, default=2, help="quiet hours under each process")
    parser.add_argument("--only", default="", help="only runs whose name has this")
    parser.add_argument("--every", type=int, default=1, help="only every so many runs")
    parser.add_argument("--report", action="store_true", help="play nothing")
    options = parser.parse_args()
    seeds, processes = tuple(int(seed) for seed in options.seeds.split(",")), tuple(options.arrivals.split(","))
    wanted = [*trials(seeds, processes, options.each), *quiet(seeds[0], options.hours, processes)][:: options.every]
    known = load(options.cache)
    for trial in wanted:
        if trial.id in known or options.only not in trial.id or options.report:
            continue
        began = time.process_time()
        known[trial.id] = record = play(trial) | {"version": version()}
        with options.cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        said = [f"{one['said'][-1][1]}/{one['said'][-1][2]}" for one in record["incidents"]]
        took = time.process_time() - began
        print(f"{trial.id:40} {took:5.1f} s  {', '.join(said) or '-'}", file=sys.stderr, flush=True)
    ours = {trial.id for trial in wanted}
    print(tables.report([row for name, row in known.items() if options.only in name and name in ours]))


if __name__ == "__main__":
    main()
