"""What is typed after the slash."""

import pytest

from tui.model.filtering import EVERYTHING, FilterError, field_name, read

ROW: dict[str, str | float | None] = {
    "name": "vllm-0",
    "model": "Llama-3.1-70B",
    "ttft": 2.5,
    "kv": 0.91,
    "clock": 1.2e9,
    "cost": None,
    "status": "ok",
}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("llama", True),
        ("LLAMA vllm", True),
        ("qwen", False),
        ("model:llama", True),
        ("name:llama", False),
        ("ttft>2s", True),
        ("ttft>2500ms", False),
        ("ttft>=2500ms", True),
        ("ttft<3", True),
        ("kv>90%", True),
        ("kv>0.95", False),
        ("clock<1300MHz", True),
        ("clock>1.1GHz", True),
        ("cost>0", False),
        ("!cost>0", True),
        ("!qwen", True),
        ("!model:llama", False),
        ("status=ok", True),
        ("ttft=2.5", True),
        ("nothing:here", False),
        ("model:llama ttft>2s !status:failed", True),
        ("model:llama ttft>3s", False),
        ("", True),
    ],
)
def test_terms(text, passes):
    assert read(text).passes(ROW) is passes


@pytest.mark.parametrize("text", ["ttft>", "ttft>soon", "ttft>2parsecs", "!"])
def test_what_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(FilterError, match="write "):
        read(text)


def test_an_unknown_field_is_named_with_the_nearest_known():
    assert read("modle:x").unknown(ROW) == "no field 'modle'; did you mean 'model'?"
    assert read("model:x free").unknown(ROW) == ""
    assert not EVERYTHING


def test_titles_become_fields():
    assert field_name("TTFT p95") == "ttft_p95"
    assert field_name("PCI address") == "pci_address"
