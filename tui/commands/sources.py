"""``aistack-top sources``: every system that can be read, by layer, with its configuration keys."""

import msgspec

from aistack_top.model.signals import LAYERS
from collectors.prices.settings import SpendSettings
from collectors.registry import KINDS


def run() -> int:
    """Print the list and return the exit code."""
    for number, layer in enumerate(LAYERS, 1):
        kinds = [kind for kind in KINDS if kind.layer == layer]
        print(f"{number} {layer}" + ("" if kinds or layer == "spend" else ": nothing yet"))
        for kind in kinds:
            print(f"  {kind.name:10} {kind.reads}")
            print(f"  {'':10} keys: {', '.join(_keys(kind.config))}")
        if layer == "spend":
            print(f"  {'prices':10} what this node costs, as the table [spend] of the configuration says")
            print(f"  {'':10} keys: {', '.join(_keys(SpendSettings))}")
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
    if isinstance(default, tuple):
        return f"[{', '.join(map(_shown, default))}]"
    return f'"{default}"' if isinstance(default, str) else str(default)
