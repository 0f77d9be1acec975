"""``aistack-top sources``: every system that can be read, by layer, with its configuration keys."""

import msgspec

from aistack_top.model.signals import LAYERS
from collectors.prices.settings import SpendSettings
from collectors.registry import KINDS
from tui.commands import output


def run() -> int:
    """Print the list and return the exit code."""
    lines = []
    for number, layer in enumerate(LAYERS, 1):
        kinds = [kind for kind in KINDS if kind.layer == layer]
        lines.append(f"{number} {layer}" + ("" if kinds or layer == "spend" else ": nothing yet"))
        for kind in kinds:
            lines += [f"  {kind.name:10} {kind.reads}", f"  {'':10} keys: {', '.join(_keys(kind.config))}"]
        if layer == "spend":
            lines.append(f"  {'prices':10} what this node costs, as the table [spend] of the configuration says")
            lines.append(f"  {'':10} keys: {', '.join(_keys(SpendSettings))}")
    output.write("\n".join(lines) + "\n")
    return 0


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
    if default == ():
        return "[]"
    return f'"{default}"' if isinstance(default, str) else str(default)
