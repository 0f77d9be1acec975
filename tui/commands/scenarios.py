"""The scenarios of the simulator by their names, for every command that takes one."""

from tui.commands import output
from tui.commands.common import fail

NODE = "simulated"
"""What a simulated node is called."""


def known(name: str | None) -> None:
    """Leave with a sentence when there is no such scenario."""
    if name is not None:
        import difflib

        from aistack_top.simulator.scenario import scenarios

        if name not in scenarios():
            near = difflib.get_close_matches(name, scenarios(), 1)
            hint = f" did you mean {near[0]}?" if near else ""
            fail(f"no scenario {name!r}:{hint} 'aistack-top demo --list' has all")


def show_list(as_json: bool) -> int:
    """Print the scenarios; returns the exit code."""
    from aistack_top.simulator.scenario import scenarios

    rows = list(scenarios().values())
    if as_json:
        told = [{"name": row.name, "layer": row.layer, "cause": str(row.cause), "says": row.says} for row in rows]
        output.write_json({"schema": "aistack-top/demo-list/1", "scenarios": told}, indent=1)
    else:
        width = max(len(row.name) for row in rows)
        output.write("".join(f"{row.name:{width}}  {row.layer or '-':10}  {row.says}\n" for row in rows))
    return 0
