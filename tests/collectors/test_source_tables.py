"""Tables as files: the bundled ones are sound by the strict checks too, and a damaged one is a sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.strict_toml import StrictError
from aistack_top.user_files import use_folder
from collectors.config import CODED, own_tables
from collectors.openmetrics.identity import has_one, recognised
from collectors.registry import kind as kind_named
from collectors.registry import table_of
from collectors.source_head import head_of
from collectors.source_tables import Text, bundled, checked

MILVUS = next(one for one in bundled() if one.kind == "milvus").text()


@pytest.mark.parametrize("one", bundled(), ids=lambda one: one.kind)
def test_a_bundled_table_is_sound_and_its_kind_is_written_once(one):
    assert checked(one.file, own=False).known == one.known
    assert one.text().count(f'"{one.kind}"') == 1
    assert (one.kind in CODED) == (one.kind == "vllm")


def test_a_file_without_a_source_is_no_table():
    assert head_of('title = "x"\n[[metric]]\nsignal = "gpu.utilization"\n') is None
    with pytest.raises(StrictError, match=r"no \[source\]"):
        checked(Text('title = "x"\nidentity = ["x_"]\nentity = {}\nmetric = []\n'))


def test_names_that_stand_in_a_list_have_to_be_on_the_page_together_and_whole():
    both = (("a_total", "b_total"), "own_")
    assert has_one(b'a_total 1\nb_total{x="y"} 1\n', both)
    assert has_one(b"# TYPE a_total counter\nb_total 1\n", both)
    assert not has_one(b"a_total 1\n", both)
    assert not has_one(b"a_total_more 1\nb_total 1\n", both)
    assert not has_one(b"say 1 a_total \nb_total 1\n", both)
    assert has_one(b"own_thing 1\n", both)
    assert not has_one(b"x 1\n", ((),))


def test_a_page_that_repeats_an_engines_names_is_not_the_engines():
    vllm = table_of(kind_named("vllm"))
    assert vllm is not None
    assert recognised(b"vllm:num_requests_running 1\n", vllm)
    assert not recognised(b'vllm:num_requests_running{server="a"} 1\n', vllm)
    assert recognised(b'vllm:num_requests_running 1\nother{server="a"} 1\n', vllm)


def test_two_files_of_one_kind_are_told_and_the_first_counts(tmp_path):
    (tmp_path / "sources").mkdir()
    mine = MILVUS.replace('kind = "milvus"', 'kind = "mine"')
    for name in ("a", "b"):
        (tmp_path / f"sources/{name}.toml").write_text(mine)
    (tmp_path / "sources/c.toml").write_bytes(b"\xff")
    use_folder(tmp_path)
    try:
        good, problems = own_tables()
    finally:
        use_folder(None)
    assert [one.file.name for one in good] == ["a.toml"]
    assert any("b.toml:" in said and "already has the kind 'mine'" in said for said in problems)
    assert any("c.toml: cannot be read" in said for said in problems)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, len(MILVUS)), st.text(max_size=8))
def test_a_damaged_table_is_a_table_or_a_strict_error(place, noise):
    try:
        assert checked(Text(MILVUS[:place] + noise + MILVUS[place + len(noise) :]), own=False).kind
    except StrictError as error:
        assert error.problems  # noqa: PT017  either outcome is fine, a third is not
