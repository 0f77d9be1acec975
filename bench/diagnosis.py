"""How often diagnosis is right, on simulator runs that were never used for tuning.

    python bench/diagnosis.py [--cache FILE] [--seeds 101,102] [--days 7] [--only TEXT] [--report]
    python bench/diagnosis.py --model second [--seeds 501] [--each 7] [--hours 12] [--arrivals poisson,code]

Each run is one line of the cache (JSON); a run that is there is not played again, so that it can be stopped and go on
another day. A cache belongs to one version of the program: its first line says which. ``--model second`` plays a model
by another hand (`bench/enginemodel`), on which no rule may be tuned; ``--model both --report`` puts both side by side,
a row for each process of arrivals. With fse-baro installed
(`pip install -e '.[bench]'`) its own code ranks beside ours, else N-sigma and the robust scorer as the paper has them.
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

from diagcases import BANDS, TUNING_SEEDS, Case, cases, clean
from diagrun import play
from diagscore import report
from enginemodel import play as second
from enginemodel import tables
from enginemodel.arrivals import PROCESSES
from enginemodel.trials import Trial, quiet, trials

ROOT = Path(__file__).parent.parent
JUDGED = {
    "first": ("aistack_top/diagnosis", "aistack_top/simulator"),
    "second": ("aistack_top/diagnosis", "bench/enginemodel"),
}


def version(model: str) -> str:
    """Return a name of the code that is judged, and of the model it is judged on."""
    total = hashlib.sha256()
    for folder in JUDGED[model]:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                total.update(path.read_bytes())
    return total.hexdigest()[:12]


def load(cache: Path) -> dict[str, dict[str, Any]]:
    """Return the records of this version that a cache holds."""
    found: dict[str, dict[str, Any]] = {}
    now = {model: version(model) for model in JUDGED}
    if cache.exists():
        for line in cache.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["version"] == now[row.get("model", "first")]:
                found[row["id"]] = row
    return found


def wanted_of(options: argparse.Namespace) -> list[Case | Trial]:
    """Return the runs that are asked for."""
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    found: list[Case | Trial] = []
    if options.model != "second":
        if set(seeds) & set(TUNING_SEEDS):
            print("these seeds were used for tuning: the numbers say nothing about other runs", file=sys.stderr)
        bands = tuple(float(band) for band in options.bands.split(","))
        found += [*cases(seeds, bands), *clean(seeds[0], options.days)]
    if options.model != "first":
        processes = tuple(options.arrivals.split(","))
        found += [*trials(seeds, processes, options.each), *quiet(seeds[0], options.hours, processes)]
    return found


def played(case: Case | Trial) -> dict[str, Any]:
    """Return the record of a run of either model."""
    if isinstance(case, Trial):
        return second.play(case) | {"version": version("second")}
    return play(case) | {"version": version("first")}


def main() -> None:
    """Play what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("first", "second", "both"), default="first")
    parser.add_argument("--cache", type=Path, default=Path("diagnosis.jsonl"))
    parser.add_argument("--seeds", default="101")
    parser.add_argument("--bands", default=",".join(map(str, BANDS)), help="load as a share of saturation")
    parser.add_argument("--days", type=int, default=0, help="clean days, once as they are and once with gaps")
    parser.add_argument("--arrivals", default=",".join(PROCESSES), help="second model: processes of arrivals")
    parser.add_argument("--each", type=int, default=2, help="second model: processes each fault is played under")
    parser.add_argument("--hours", type=int, default=2, help="second model: quiet hours under each process")
    parser.add_argument("--only", default="", help="only runs whose name has this")
    parser.add_argument("--report", action="store_true", help="play nothing")
    options = parser.parse_args()
    wanted = wanted_of(options)
    known = load(options.cache)
    for case in wanted:
        if case.id in known or options.only not in case.id or options.report:
            continue
        began = time.process_time()
        record = played(case)
        known[case.id] = record
        with options.cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        told = [f"{one['said'][-1][1]}/{one['said'][-1][2]}" for one in record["incidents"]]
        print(
            f"{case.id:40} {time.process_time() - began:5.1f} s  {', '.join(told) or '-'}", file=sys.stderr, flush=True
        )
    ours = {case.id for case in wanted}
    records = [row for name, row in known.items() if options.only in name and name in ours]
    if options.model == "first":
        print(report(records))
    else:
        print(tables.report(records))


if __name__ == "__main__":
    main()
