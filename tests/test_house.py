"""The house stays a house: imports run down, nothing heavy comes first, the wheel holds its data."""

import ast
import re
import subprocess
import sys
import zipfile
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("aistack_top", "collectors", "layouts", "tui")


def modules(package):
    for file in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if not name.endswith("__main__"):
            yield name.removesuffix(".__init__")


def loaded_after(statement, *suspects):
    code = f"{statement}\nimport sys\nprint(*[m for m in {suspects!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return run.stdout.split()


@pytest.mark.parametrize("package", ["aistack_top", "collectors", "layouts"])
def test_nothing_below_the_terminal_imports_textual(package):
    names = ", ".join(modules(package))
    assert loaded_after(f"import {names}", "textual") == []


def test_the_ground_floor_imports_no_client_and_no_table_engine():
    names = ", ".join(name for name in modules("aistack_top"))
    heavy = ("httpx", "polars", "pynvml", "langfuse", "prometheus_client", "psutil", "pydantic")
    assert loaded_after(f"import {names}", *heavy) == []


def test_the_screen_paints_before_any_client_is_imported():
    heavy = ("httpx", "polars", "pynvml", "langfuse", "prometheus_client", "prometheus_api_client", "pydantic")
    assert loaded_after("import tui.cli, tui.commands.live, tui.app", *heavy) == []


def imports():
    """Return what each module imports of the house, wherever in its text: for type checkers and inside functions, too.

    A package counts as imported with each of its modules, but not by them.
    """
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
    }
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            said = []
            if isinstance(node, ast.Import):
                said = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} has a relative import"
                assert node.module is not None
                whole = [f"{node.module}.{one.name}" for one in node.names]
                said = [one if one in files else node.module for one in whole]
            for one in said:
                parts = one.split(".")
                above = {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & files.keys()
                found[name] |= {other for other in above if other != name and not name.startswith(f"{other}.")}
    return found


def circle(graph):
    """Return the modules of one circle of imports, the first of them again at its end; none where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_module_imports_itself_by_way_of_others():
    graph = imports()
    assert len(graph) > 250
    assert graph["aistack_top.store.frame"] >= {"aistack_top.store.calls", "aistack_top.model.incident"}
    assert graph["aistack_top.__main__"] == {"tui", "tui.cli"}  # python -m aistack_top alone points up
    del graph["aistack_top.__main__"]
    assert circle(graph) == []


def test_a_circle_of_imports_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) in (
        ["a", "b", "c", "a"],
        ["b", "c", "a", "b"],
        ["c", "a", "b", "c"],
        ["a", "c", "b", "a"],
        ["c", "b", "a", "c"],
        ["b", "a", "c", "b"],
    )


def test_screens_know_no_other_screen_by_way_of_navigation():
    graph = imports()
    knows = {name for name, others in graph.items() if "tui.navigation" in others}
    assert knows == {"tui.app", "tui.palette"}


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(tmp_path):
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    for package in PACKAGES:
        for kind in ("*.py", "*.toml", "*.tcss", "*.parquet", "session.json", "py.typed"):
            for file in (ROOT / package).rglob(kind):
                assert str(file.relative_to(ROOT)) in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_no_file_is_a_god():
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            lines = file.read_text(encoding="utf-8").count("\n")
            assert lines <= 500, f"{file.relative_to(ROOT)} has {lines} lines"


def test_only_the_transport_bar_and_the_command_line_know_what_a_replay_is():
    told = [
        file.relative_to(ROOT / "tui") for file in sorted((ROOT / "tui").rglob("*.py")) if "replay" in file.read_text()
    ]
    assert [str(file) for file in told if file.parts[0] not in ("cli.py", "commands")] in ([], ["widgets/transport.py"])


WRITING = re.compile(r"""\.(?:post|put|patch|delete)\(\s*(?:f?["']|\w*url)|["'](?:PUT|PATCH|DELETE)["']""")


def test_only_one_module_sends_anything_but_get():
    """A POST is built in `collectors.runtime.http` alone, whose lists say what may be sent; tables only name it."""
    senders, posts = set(), set()
    for package in ("collectors", "tui", "layouts"):
        for file in (ROOT / package).rglob("*.py"):
            text, name = file.read_text(encoding="utf-8"), str(file.relative_to(ROOT))
            if WRITING.search(text) or re.search(r"""stream\(\s*["']P|(?:request|stream)\(\s*method""", text):
                senders.add(name)
            if re.search(r"""["']POST["']""", text):
                posts.add(name)
    assert senders == {"collectors/runtime/http.py"}
    tables = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "collectors").rglob("*.py")
        if "RestRequest(" in file.read_text(encoding="utf-8")
    }
    rest = {"collectors/rest/requests.py", "collectors/rest/client.py"}
    assert posts <= {"collectors/runtime/http.py", *rest, *tables}, "a POST that is in no table of requests"
