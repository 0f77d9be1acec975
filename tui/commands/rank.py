"""``aistack-top rank``: which column of a metrics table explains an incident."""

import json
import math
import sys
from pathlib import Path

from aistack_top.rank.rank import Ranking, Scored, rank
from aistack_top.rank.service_graph import read_graph
from aistack_top.rank.table import LAST_DATE_S, MetricsTableError, moment_of, read_table
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import rfc3339
from tui.commands import output
from tui.commands.common import fail

SHOWN = 10
_EPOCH_FROM = 1e8
"""Times below are seconds of an experiment, not dates (1973)."""


def run(path: Path, incident_time: str, sli: str | None, graph: Path | None = None) -> int:
    """Print the ranking, its last line a JSON list of all columns, and return the exit code."""
    try:
        table = read_table(path)
        given = None if incident_time.strip().lower() == "none" else moment_of(incident_time, table.times)
        calls = None if graph is None else read_graph(graph)
        ranking = rank(table, given, None if sli is None else table.named(sli), graph=calls)
    except MetricsTableError as error:
        fail(str(error))
    if table.left_out:
        names = ", ".join(sanitize(name, 40) for name in table.left_out[:SHOWN])
        print(f"aistack-top: skipped, not numeric: {names}", file=sys.stderr)
    if table.repeated:
        names = ", ".join(sanitize(name, 40) for name in table.repeated[:SHOWN])
        print(f"aistack-top: skipped, duplicates of another column: {names}", file=sys.stderr)
    columns = json.dumps([column.name for column in ranking.columns])
    output.write("\n".join([*_lines(ranking), columns]) + "\n")
    return 0


def _lines(ranking: Ranking) -> list[str]:
    onset = f"began at {_moment(ranking.onset)}"
    if ranking.given is None:
        onset += ", detected from the table"
    elif ranking.onset < ranking.given:
        onset += f", {ranking.given - ranking.onset:g} s before the given time"
    best = ranking.columns[:SHOWN]
    width = max(len(sanitize(column.name, 60)) for column in best)
    return [onset, *(f"{n:3}  {sanitize(column.name, 60):{width}}  {_why(column)}" for n, column in enumerate(best, 1))]


def _why(column: Scored) -> str:
    if math.isnan(column.usual) or math.isnan(column.during):
        return f"score {column.score:.2f}, " + ("appeared" if math.isnan(column.usual) else "gone")
    if column.inferred:
        return f"score {column.score:.2f}, inferred from its callers: their latency rose, its own columns did not"
    novel = f"{column.novelty:.0%} of its values never seen before"
    return f"score {column.score:.2f}, {column.usual:.4g} -> {column.during:.4g}, {novel}"


def _moment(at: float) -> str:
    return rfc3339(at) if _EPOCH_FROM <= at < LAST_DATE_S else f"{at:g} s"
