"""Every recorded session computed anew, beside its answer.

python bench/diagsessions.py [fixtures/sessions]
"""

import asyncio
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from aistack_top.feeds.rediagnose import rediagnose
from aistack_top.session.reader import Session


def main() -> None:
    """Print a line a session: whether its cause is told, and all that is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/sessions"
    right = known = 0
    for path in sorted(folder.glob("*.aistack")):
        answer = tomllib.loads((path / "answer.toml").read_text(encoding="utf-8"))
        session = Session.open(path)
        found = asyncio.run(rediagnose(session, session.end))
        causes = [one.cause.value for one in found]
        good = answer["cause"] in causes if answer["cause"] != "none" else not causes
        right, known = right + good, known + 1
        told = ", ".join(f"{one.cause}/{one.confidence} at {one.onset - session.start:.0f} s" for one in found)
        print(f"{'ok ' if good else 'BAD'} {path.stem:22} {answer['cause']:18} {told or '-'}", flush=True)
    print(f"{right} of {known}")


if __name__ == "__main__":
    main()
