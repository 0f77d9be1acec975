"""``aistack-top sources``: the list, and what a saved page holds."""

import pytest

from collectors.registry import kinds
from tests.fakes.pages import CAPTURES
from tui.commands import sources

RAY = CAPTURES / "ray-2.60.0/during__metrics_target2.prom"


def test_every_kind_is_listed_with_its_keys(capsys):
    assert sources.run() == 0
    out = capsys.readouterr().out
    assert all(f"\n  {one.name:10} " in out and one.reads in out for one in kinds())
    assert 'keys: url, name = "", interval = 30.0, timeout = 20.0, token = None' in out
    assert "your own" not in out


def test_a_saved_page_is_read_by_the_kind_that_knows_it(capsys):
    assert sources.run(RAY) == 0
    out = capsys.readouterr().out
    assert out.startswith("recognised as: ray\nread as ray, layer training:\n")
    assert "not on this page" in out


def test_a_page_may_be_read_as_another_kind_to_see_what_is_missing(capsys):
    assert sources.run(RAY, "milvus") == 1
    assert "read as milvus, layer data:" in capsys.readouterr().out


def test_what_cannot_be_done_is_a_sentence(capsys, tmp_path):
    with pytest.raises(SystemExit):
        sources.run(tmp_path / "nowhere.prom")
    with pytest.raises(SystemExit):
        sources.run(RAY, "nvml")
    said = capsys.readouterr().err
    assert "nowhere.prom cannot be read" in said
    assert "no kind 'nvml' that reads a metrics page; known: dcgm, vllm" in said
