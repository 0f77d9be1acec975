#!/usr/bin/env bash
# Textual's DataTable cuts a number that is wider than its column and leaves no mark: 12345 reads 123.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check textual==8.2.8 rich==15.0.0

cat >"$work/program.py" <<'EOF'
"""The same table of one column, three cells wide, by Textual and by Rich that it is built upon."""

import asyncio
import io

from rich.console import Console
from rich.table import Table
from rich.text import Text
from textual.app import App
from textual.widgets import DataTable

ROWS = [123, 12345, Text("12345", overflow="ellipsis"), "-12345"]


class Screen(App):
    def compose(self):
        yield DataTable(show_header=False, cell_padding=0)

    def on_mount(self):
        table = self.query_one(DataTable)
        table.add_column("tokens", width=3)
        for row in ROWS:
            table.add_row(row)


async def by_textual():
    app = Screen()
    async with app.run_test(size=(20, 8)) as pilot:
        await pilot.pause()
        table = app.query_one(DataTable)
        return [table.render_line(line).text[:5].rstrip() for line in range(len(ROWS))]


def by_rich():
    table = Table(box=None, show_header=False, padding=0)
    table.add_column("tokens", width=3, no_wrap=True)
    for row in ROWS:
        table.add_row(str(row))
    console = Console(width=20, file=io.StringIO())
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


print("given:  ", [str(row) for row in ROWS])
print("textual:", asyncio.run(by_textual()))
print("rich:   ", by_rich())
EOF

recorded='given:   ['"'"'123'"'"', '"'"'12345'"'"', '"'"'12345'"'"', '"'"'-12345'"'"']
textual: ['"'"'123'"'"', '"'"'123'"'"', '"'"'12…'"'"', '"'"'-12'"'"']
rich:    ['"'"'123'"'"', '"'"'12…'"'"', '"'"'12…'"'"', '"'"'-1…'"'"']'
seen=$("$work/venv/bin/python" "$work/program.py")

echo "software: textual 8.2.8, rich 15.0.0"
echo "an expert expects: a number that does not fit ends in an ellipsis, as in Rich's tables, or fills the cell with signs"
echo "behaviour: DataTable crops numbers and strings at the column's edge; only a Text that asks for an ellipsis gets one"
echo "consequence: a narrow column shows another valid number, smaller by orders of magnitude"
echo "seen:"
echo "$seen"
if [ "$seen" != "$recorded" ]; then
    echo "CHANGED; recorded was:"
    echo "$recorded"
    exit 1
fi
