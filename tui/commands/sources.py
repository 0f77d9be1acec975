"""``aistack-top sources``: every system that can be read, by layer, with its configuration keys."""

import msgspec

from aistack_top.signals import LAYERS
from collectors.registry import KINDS, Kind


def run() -> int:
    """Print the list and return the exit code."""
    for number, layer in enumerate(LAYERS, 1):
        kinds = [kind for kind in KINDS if kind.layer == layer]
        print(f"{number} {layer}" + ("" if kinds else ": nothing yet"))
        for kind in kinds:
            print(f"  {kind.name:10} {kind.reads}")
            print(f"  {'':10} keys: {', '.join(_keys(kind))}")
    return 0


def _keys(kind: Kind) -> list[str]:
    return [
        field.name if field.required else f"{field.name} = {_shown(field.default)}"
        for field in msgspec.structs.fields(kind.config)
    ]


def _shown(default: object) -> str:
    if isinstance(default, msgspec.Struct):
        held = {key: value for key, value in msgspec.to_builtins(default).items() if value}
        return "{ " + ", ".join(f'{key} = "{value}"' for key, value in held.items()) + " }"
    if default == ():
        return "[]"
    return f'"{default}"' if isinstance(default, str) else str(default)
