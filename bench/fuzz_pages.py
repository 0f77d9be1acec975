"""Play many pages that nobody has ever seen, over every table, and say what did not hold.

    python bench/fuzz_pages.py [PAGES] [SEED]

Ctrl+C ends it early, with the report of what was played. Exits 1 when anything raised or told a number that is none,
2 when a share was above 1 or a count below 0.
"""

import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fakes.fuzzcheck import play

PAGES = 100_000
A_SERVER = 20
"""Pages of one server, one after the other."""


def main() -> int:
    """Play and report; the seed of what went wrong plays it again."""
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    wrong: list[str] = []
    outside: Counter[str] = Counter()
    began, played = time.perf_counter(), 0
    for seed in range(first, first + -(-pages // A_SERVER)):
        try:
            found, bounds = play(seed, A_SERVER)
        except KeyboardInterrupt:
            break
        except Exception:  # what a page can raise is what is looked for
            found, bounds = [f"seed {seed}: {traceback.format_exc().splitlines()[-1]}"], Counter()
        wrong += found
        outside += bounds
        played += A_SERVER
    print(f"{played} pages of {played // A_SERVER} servers in {time.perf_counter() - began:.0f} s")
    print(f"raised, or told a number that is none: {len(wrong)}")
    for line in wrong[:20]:
        print("  ", line)
    print(f"shares above 1 or counts below 0: {sum(outside.values())} readings of {len(outside)} signals")
    for line, count in outside.most_common():
        print(f"   {count:7} {line}")
    return 1 if wrong else 2 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
