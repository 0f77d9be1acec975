"""Writes ``docs/configuration.md`` and the list of kinds in ``docs/prometheus.md``: ``make schemas``."""

import re
from pathlib import Path
from typing import Any

import msgspec

from aistack_top.model.signals import LAYERS
from collectors.config import whole
from collectors.prometheus.queries import readable
from collectors.registry import Kind, bundled_kinds

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- kinds: written by scripts/configuration.py -->", "<!-- end of kinds -->"

NAMES = {"string": "text", "boolean": "true or false", "integer": "whole number", "array": "list", "object": "table"}
"""What JSON Schema calls a type, and what an operator does."""

HEAD = """# Configuration

`~/.config/aistack-top/config.toml`, or the file given by `AISTACK_TOP_CONFIG` or `--config`. It is strict TOML: all
errors are reported at once, each with its line and the nearest known key. Without a file, defaults apply.

This page is written by `scripts/configuration.py` from the structs and tables that read the file; editors can complete
and check it with [config.json](schema/config.json). Secrets are never written here: a key of type *secret* takes
`{ env = "NAME" }` or `{ file = "PATH" }`. User-defined sources, signals and screen sections go into separate files
next to it: [add a source](add-a-source.md).
"""


def reference() -> str:
    """Return the page about the configuration file."""
    parts = [HEAD]
    fields = {field.name: field for field in msgspec.structs.fields(whole())}
    for name in ("console", "recording", "spend"):
        kind = fields[name].type
        parts.append(f"## [{name}]\n\n{_about(kind)}\n\n{_keys(msgspec.json.schema(kind))}\n")
    parts.append("## [[source]]\n\nOne per system to read; the other keys depend on `kind`.\n")
    parts += [_kind(one) for layer in LAYERS for one in bundled_kinds() if one.layer == layer]
    return "\n".join(parts)


def _kind(kind: Kind) -> str:
    return (
        f'### {kind.title}: `kind = "{kind.name}"`\n\nLayer {kind.layer}. {_about(kind.config)}\n\n'
        f"{_keys(msgspec.json.schema(kind.config))}\n\nNeeds {kind.needs}. Sends {kind.sends}.\n"
    )


def prometheus(text: str) -> str:
    """Return the page about Prometheus with the kinds that are read through it."""
    titles = ", ".join(read.title for _, read in readable())
    return re.sub(f"{BEGIN}.*?{END}", f"{BEGIN}\n{titles}\n{END}", text, flags=re.DOTALL)


def _about(kind: type[msgspec.Struct]) -> str:
    text = re.sub(r"\s+", " ", (kind.__doc__ or "").replace("``", "`")).strip()
    return text if text.endswith(".") else f"{text}."


def _keys(schema: dict[str, Any]) -> str:
    """Return the keys of a table, with type and what holds unless set."""
    definitions = schema["$defs"]
    table = definitions[schema["$ref"].rpartition("/")[2]]
    rows = ["| key | type | default |", "|---|---|---|"]
    for key, value in table["properties"].items():
        if key == "kind":
            continue
        default = "must be set" if key in table.get("required", ()) else _default(value.get("default"))
        rows.append(f"| `{key}` | {_type(value)} | {default} |")
    return "\n".join(rows)


def _type(value: dict[str, Any]) -> str:
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(one) for one in value["anyOf"] if one.get("type") != "null"))
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return "secret" if name == "Secret" else "table"
    if "enum" in value:
        return ", ".join(f'`"{one}"`' for one in value["enum"])
    name = NAMES.get(value.get("type", ""), value.get("type", "any"))
    if value.get("format") == "date":
        return "date"
    return f"{name}, more than {value['exclusiveMinimum']:g}" if "exclusiveMinimum" in value else name


def _default(value: object) -> str:
    if isinstance(value, dict) and (filled := {key: one for key, one in value.items() if one}):
        return "`{ " + ", ".join(f'{key} = "{one}"' for key, one in filled.items()) + " }`"
    if value in (None, "", [], (), {}):
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def write() -> None:
    """Write both pages."""
    (DOCS / "configuration.md").write_text(reference(), encoding="utf-8")
    page = DOCS / "prometheus.md"
    page.write_text(prometheus(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
