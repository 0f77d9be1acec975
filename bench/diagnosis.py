"""How often diagnosis is right, on simulator runs that were never used for tuning.

    python bench/diagnosis.py [--cache FILE] [--seeds 101,102] [--days 7] [--only TEXT] [--report]
    python bench/diagnosis.py --arrivals all --pieces 6 --seeds 501 [--model package.module:function] [--ticks FOLDER]

Each run is one line of the cache (JSON); a run that is there is not played again, so that it can be stopped and go on
another day. A cache belongs to one version of the program: its first line says which. With fse-baro installed
(`pip install -e '.[bench]'`) its own code ranks beside ours, else N-sigma and the robust scorer as the paper has them.
"""

import argparse
import gc
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from diagcases import ARRIVALS, BANDS, TUNING_SEEDS, by_arrivals, cases, clean, clean_by_arrivals
from diagmodels import kept, model
from diagrun import play
from diagscore import report

ROOT = Path(__file__).parent.parent
JUDGED = ("aistack_top/diagnosis", "aistack_top/simulator")
PLAYED = ("aistack_top/simulator", "aistack_top/measure", "bench/simticks.py", "bench/diagcases.py")
"""What a kept run depends on."""


def version(folders: tuple[str, ...] = JUDGED) -> str:
    """Return a name of the code that is judged."""
    total = hashlib.sha256()
    for folder in folders:
        root = ROOT / folder
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if path.suffix in (".py", ".toml"):
                total.update(path.read_bytes())
    return total.hexdigest()[:12]


def load(cache: Path) -> dict[str, dict[str, Any]]:
    """Return the records of this version that a cache holds."""
    found: dict[str, dict[str, Any]] = {}
    now = version()
    if cache.exists():
        for line in cache.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["version"] == now:
                found[row["id"]] = row
    return found


def main() -> None:
    """Play what is missing, then print the tables."""
    options = _options()
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    if set(seeds) & set(TUNING_SEEDS):
        print("these seeds were used for tuning: the numbers say nothing about other runs", file=sys.stderr)
    bands = tuple(float(band) for band in options.bands.split(","))
    if options.arrivals:
        names = ARRIVALS if options.arrivals == "all" else tuple(options.arrivals.split(","))
        wanted = [*by_arrivals(seeds, names), *clean_by_arrivals(seeds[0], names, options.pieces)]
    else:
        wanted = [*cases(seeds, bands), *clean(seeds[0], options.days)]
    start = model(options.model)
    if options.ticks is not None:
        start = kept(options.ticks, f"{options.model.replace(':', '-')}-{version(PLAYED)}", start)
    wanted = wanted[:: options.every]
    known, judged = load(options.cache), version()
    gc.disable()
    for case in wanted:
        if case.id in known or options.only not in case.id or options.report:
            continue
        began = time.process_time()
        run = start(case)
        if run is None:
            continue
        record = play(case, run, given_too=not options.arrivals) | {"version": judged}
        known[case.id] = record
        with options.cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        del run
        gc.collect()
        told = [f"{one['said'][-1][1]}/{one['said'][-1][2]}" for one in record["incidents"]]
        print(
            f"{case.id:40} {time.process_time() - began:5.1f} s  {', '.join(told) or '-'}", file=sys.stderr, flush=True
        )
    ours = {case.id for case in wanted}
    print(report([row for name, row in known.items() if options.only in name and name in ours]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("diagnosis.jsonl"))
    parser.add_argument("--seeds", default="101")
    parser.add_argument("--bands", default=",".join(map(str, BANDS)), help="load as a share of saturation")
    parser.add_argument("--days", type=int, default=0, help="clean days, once as they are and once with gaps")
    parser.add_argument("--arrivals", default="", help="arrival processes by name or file, or 'all': a row for each")
    parser.add_argument("--pieces", type=int, default=0, help="with --arrivals: clean pieces of two hours for each")
    parser.add_argument("--model", default="simulator", help="package.module:function of another model")
    parser.add_argument("--ticks", type=Path, help="a folder that keeps what models played")
    parser.add_argument("--only", default="", help="only runs whose name has this")
    parser.add_argument("--every", type=int, default=1, help="only every so many runs")
    parser.add_argument("--report", action="store_true", help="play nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
