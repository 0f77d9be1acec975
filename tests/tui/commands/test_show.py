"""What puts a feed on the screen: where the text of one call comes from."""

import pytest

from collectors.config import Config, ConfigError, ConsoleSettings, LangfuseSource, Secret
from layouts.load import load
from tests.fakes.incident import trace
from tui.commands.common import Options
from tui.commands.show import layout_of, text_reader

CALL = trace(1, 1_764_000_000.0)[-1]


async def test_without_a_langfuse_server_nobody_can_have_the_text(monkeypatch):
    monkeypatch.delenv("LANGFUSE_PUBLIC_KEY", raising=False)
    monkeypatch.delenv("LANGFUSE_SECRET_KEY", raising=False)
    with pytest.raises(LookupError, match="no Langfuse server"):
        await text_reader(Options(), Config())(CALL)


async def test_the_keys_are_read_when_a_text_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("LANGFUSE_PUBLIC_KEY", raising=False)
    source = LangfuseSource(secret_key=Secret(file=str(tmp_path / "missing")))
    read = text_reader(Options(), Config(source=(source,)))
    with pytest.raises(ConfigError, match="public_key: the environment variable LANGFUSE_PUBLIC_KEY is not set"):
        await read(CALL)


def test_a_layout_with_a_mistake_is_told_and_the_overview_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("AISTACK_TOP_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "layouts").mkdir()
    file = tmp_path / "layouts" / "mine.toml"
    file.write_text('title = "mine"\nbase = "overview"\npannel = []\n', encoding="utf-8")
    notes: list[str] = []
    assert layout_of(Options(), Config(console=ConsoleSettings(layout="mine")), notes) == load("overview")
    assert notes == [f"{file}:3: unknown key 'pannel'; did you mean 'panel'?; the overview is shown instead"]
    file.write_text('title = "mine"\nbase = "wall"\n', encoding="utf-8")
    assert layout_of(Options(layout="mine"), Config(), notes).title == "mine"


def test_a_layout_that_was_typed_and_that_nobody_has_is_a_usage_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AISTACK_TOP_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(SystemExit):
        layout_of(Options(layout="wal"), Config(), [])
    assert "did you mean 'wall'?" in capsys.readouterr().err
