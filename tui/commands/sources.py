"""``aistack-top sources``: every system that can be read, by layer, with its configuration keys.

With a saved metrics page: which kind knows it for its own, and which signals come out of it.
"""

from pathlib import Path

import msgspec

from aistack_top.model.signals import LAYERS
from aistack_top.text.sanitize import sanitize
from collectors import plugins
from collectors.prices.settings import SpendSettings
from collectors.registry import kinds
from tui.commands import output
from tui.commands.common import fail, warn
from tui.commands.own_files import problems

MAX_PASSED_OVER = 12
"""Names of a page that are listed as not read; a page may have a thousand."""


def run(page: Path | None = None, kind: str = "") -> int:
    """Print the list, or what a page holds, and return the exit code."""
    warn(problems())
    if page is not None:
        return show_page(page, kind)
    found, lines = kinds(), []
    for number, layer in enumerate(LAYERS, 1):
        here = [kind for kind in found if kind.layer == layer]
        lines.append(f"{number} {layer}" + ("" if here or layer == "spend" else ": nothing yet"))
        for one in here:
            lines += [f"  {one.name:10} {sanitize(one.reads, 200)}", f"  {'':10} keys: {', '.join(_keys(one.config))}"]
            if one.table is not None and one.own:
                lines.append(f"  {'':10} user table: {one.table.file}")
        if layer == "spend":
            lines.append(f"  {'prices':10} what this node costs, from [spend] in the configuration")
            lines.append(f"  {'':10} keys: {', '.join(_keys(SpendSettings))}")
    if plugins.names():
        lines.append("plug-ins, imported only when a [[source]] of their kind is configured")
        lines += [f"  {sanitize(name, 40):10} {plugins.package(name)}" for name in plugins.names()]
    output.write("\n".join(lines) + "\n")
    return 0


def show_page(page: Path, name: str = "") -> int:
    """Print which kind knows a saved page, or what the kind called ``name`` makes of it. Exits 1 when none knows it."""
    from collectors.page_check import page_kinds, recognised_by, report

    try:
        body = page.read_bytes()
    except OSError as error:
        fail(f"{page} cannot be read: {error.strerror or error}")
    known = recognised_by(body)
    told = [one for one in page_kinds() if one.name == name] if name else known[:1]
    if name and not told:
        fail(f"no kind {name!r} that reads a metrics page; known: {', '.join(one.name for one in page_kinds())}")
    lines = [f"recognised as: {', '.join(one.name for one in known) or 'nothing'}"]
    if not told:
        output.write(f"{lines[0]}\nname the kind whose table you write with --kind, to see what is missing\n")
        return 1
    made = report(body, told[0])
    lines.append(f"read as {made.kind.name}, layer {made.kind.layer}:")
    for row in made.rows:
        series = f"{row.series} series" if row.series else f"not on this page: {', '.join(row.names)}"
        lines.append(f"  {row.signal:28} {sanitize(series, 200)}")
    if made.bad_lines:
        lines.append(f"unreadable lines: {made.bad_lines}")
    if made.passed_over:
        more = len(made.passed_over) - MAX_PASSED_OVER
        names = sanitize(", ".join(made.passed_over[:MAX_PASSED_OVER]), 2000)
        lines.append(f"metrics not read: {names}" + (f" and {more} more" if more > 0 else ""))
    output.write("\n".join(lines) + "\n")
    return 0 if known and known[0].name == made.kind.name else 1


def _keys(table: type[msgspec.Struct]) -> list[str]:
    return [
        field.name if field.required else f"{field.name} = {_shown(_default(field))}"
        for field in msgspec.structs.fields(table)
    ]


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _shown(default: object) -> str:
    if isinstance(default, msgspec.Struct):
        held = {key: value for key, value in msgspec.to_builtins(default).items() if value}
        return "{ " + ", ".join(f'{key} = "{value}"' for key, value in held.items()) + " }"
    if isinstance(default, tuple):
        return f"[{', '.join(map(_shown, default))}]"
    return f'"{default}"' if isinstance(default, str) else str(default)
