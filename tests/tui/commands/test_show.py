"""What puts a feed on the screen: where the text of one call comes from."""

import pytest

from collectors.config import Config, ConfigError, LangfuseSource, Secret
from tests.fakes.trouble import trace
from tui.commands.common import Options
from tui.commands.show import text_reader

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
