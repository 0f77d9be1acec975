"""Bytes to the terminal and keys on every screen of the console, on the demo: the bars of docs/performance.md.

    python bench/screens.py [--seconds 20] [--size 120x40] [--low-bandwidth] [--only overview,call] [COMMAND ...]

One console is walked through all its screens; on each it is left alone for a while, then the keys of that screen are
pressed. A key is answered when the last byte of its repaint has come, not the first. One JSON line a screen.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from terminal import Terminal

ESCAPE, UP, DOWN = "\x1b", "\x1b[A", "\x1b[B"
LEFT = [ESCAPE] * 5
"""From anywhere back to the overview, filter and panel alone included."""

NEXT_TICK_MS = 250.0
"""What comes later is the next tick's own repaint: the key had nothing to change, as in a list that is seen whole."""

RAISED = ("sh", "-c", 'echo -15 > /proc/self/autogroup 2>/dev/null; exec "$0" "$@"')
"""The console is a session of its own, so that its share of a busy machine is not that of who measures it."""

DIGITS = ["1", "2", "6"]
IN_TIME = ["[", "]", ",", "."]
WALK: dict[str, list[str]] = {
    "overview": [],
    "panel alone": ["l", "M"],
    "1 compute": ["1"],
    "2 serving": ["2"],
    "3 training": ["3"],
    "4 data": ["4"],
    "5 pipelines": ["5"],
    "6 tracing": ["6"],
    "7 governance": ["7"],
    "8 spend": ["8"],
    "entity": ["2", "j", "\r"],
    "number": ["2", "j", "\r", "j", "\r"],
    "calls": ["T"],
    "call": ["T", "j", "j", "\r"],
    "incidents": ["A"],
    "incident": ["i"],
    "changes": ["c"],
    "sources": ["S"],
    "help": ["?"],
}
"""How each screen is reached from the overview."""


def keys_ms(terminal: Terminal, keys: list[str]) -> dict[str, float | None]:
    """Return the median of milliseconds to the first and last byte, and the worst last byte."""
    pressed = [terminal.press(key) for key in keys * 3]
    answered = [took for took in pressed if took is not None and took[0] < NEXT_TICK_MS]
    if not answered:
        return {"first_ms": None, "done_ms": None, "worst_ms": None}
    first, done = [one[0] for one in answered], [one[1] for one in answered]
    return {
        "first_ms": round(statistics.median(first), 1),
        "done_ms": round(statistics.median(done), 1),
        "worst_ms": round(max(done), 1),
    }


def seek_ms(terminal: Terminal, times: list[str]) -> dict[str, object]:
    """Return milliseconds from the enter after a typed time to the last byte of that time's screen."""
    took = []
    for at in times:
        terminal.press("t")
        for letter in at:
            terminal.press(letter)
        answered = terminal.press("\r")
        took += [answered[1]] if answered else []
        terminal.pump(0.5)
    return {"times": len(took), "median_ms": round(statistics.median(took), 1), "worst_ms": round(max(took), 1)}


def main() -> None:
    """Walk, wait, press, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--only", default=",".join(WALK))
    parser.add_argument("--low-bandwidth", action="store_true")
    parser.add_argument("--seek", help="times to go to, as they are typed: of a COMMAND that plays a session")
    parser.add_argument("--warmup", type=float, default=75.0, help="the trouble of the demo begins within a minute")
    parser.add_argument("command", nargs="*", default=[f"{Path(sys.executable).parent}/aistack-top", "demo"])
    options = parser.parse_args()
    columns, rows = (int(part) for part in options.size.split("x"))
    program, *rest = options.command
    thin = ["--low-bandwidth"] if options.low_bandwidth else []
    command = shlex.join([*RAISED, program, *thin, *rest])
    terminal = Terminal(command, rows, columns, {})
    terminal.pump(options.warmup)
    if options.seek:
        print(json.dumps({"seek": seek_ms(terminal, options.seek.split(","))}), flush=True)
    for name in options.only.split(",") if options.only else ():
        for key in [*LEFT, "n"]:
            terminal.press(key)
        way = [took for key in WALK[name] if (took := terminal.press(key)) is not None]
        terminal.pump(2.0)
        sent, began = terminal.total, terminal.cpu_s()
        terminal.pump(options.seconds)
        share = 60 / options.seconds
        found: dict[str, object] = {
            "screen": name,
            "mb_per_min": round((terminal.total - sent) * share / 1e6, 3),
            "cpu_s_per_min": round((terminal.cpu_s() - began) * share, 2),
            "opened_ms": round(way[-1][1], 1) if way else None,
            "keys": keys_ms(terminal, [DOWN, UP]),
            "time": keys_ms(terminal, IN_TIME),
            "digits": keys_ms(terminal, DIGITS),
            "load": round(os.getloadavg()[0], 2),
        }
        print(json.dumps(found), flush=True)
    terminal.leave("q")


if __name__ == "__main__":
    main()
