"""The reference of the configuration is what the structs and tables say, and a 0.1.0 configuration still holds."""

import json
import tomllib
from pathlib import Path

import configuration
import jsonschema
import msgspec

from collectors.config import parse, types
from collectors.kind import kind_name
from collectors.registry import kinds, source_of

DOCS = Path(__file__).parents[2] / "docs"
OLD = Path(__file__).parents[1] / "collectors" / "configuration-0.1.0.toml"


def test_the_written_pages_are_current():
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == configuration.reference(), "make schemas"
    page = (DOCS / "prometheus.md").read_text(encoding="utf-8")
    assert page == configuration.prometheus(page), "make schemas"
    assert configuration.END in page


def test_every_key_that_can_be_set_is_in_the_reference():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for name, kind in types().items():
        section = page.partition(f'`kind = "{name}"`')[2].partition("\n#")[0]
        assert all(f"| `{key}` |" in section for key in kind.__struct_fields__), name


def test_a_configuration_of_0_1_0_with_every_kind_is_read_as_it_was():
    text = OLD.read_text(encoding="utf-8")
    config = parse(text, "0.1.0")
    assert {kind_name(one) for one in config.source} == {one.name for one in kinds()} - {"kernel-log"}  # younger
    got = {source_of(one).kind: (source_of(one).interval_s, getattr(one, "timeout", None)) for one in config.source}
    assert got == {
        "nvml": (1.0, None),
        "host": (2.0, None),
        "cloud": (5.0, 1.0),
        "dcgm": (10.0, 5.0),
        "vllm": (2.0, None),
        "ray": (15.0, 5.0),
        "milvus": (5.0, 5.0),
        "mlflow": (10.0, None),
        "litellm": (30.0, 20.0),
        "nemo": (5.0, 5.0),
        "nemo-trace": (5.0, None),
        "prometheus": (5.0, 10.0),
        "langfuse": (5.0, None),
    }
    milvus = next(one for one in config.source if kind_name(one) == "milvus")
    assert msgspec.to_builtins(milvus) == {
        "kind": "milvus",
        "url": "http://milvus:9091",
        "name": "store",
        "interval": 5.0,
        "timeout": 5.0,
        "token": {"env": "MILVUS_TOKEN", "file": ""},
    }
    jsonschema.validate(tomllib.loads(text), json.loads((DOCS / "schema/config.json").read_text(encoding="utf-8")))
