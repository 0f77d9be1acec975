"""Writes the JSON Schemas of the configuration and of layouts, and the reference: ``make schemas``."""

import json
from pathlib import Path

import configuration

from collectors import config
from layouts import load

FOLDER = Path(__file__).parents[1] / "docs/schema"

if __name__ == "__main__":
    for name, schema in (("config", config.schema()), ("layout", load.schema())):
        (FOLDER / f"{name}.json").write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    configuration.write()
