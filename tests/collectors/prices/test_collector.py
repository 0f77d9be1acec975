"""The configured prices, told as facts; what is wrong with them is said and nothing else stops."""

import datetime
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.spend.prices import ANY_GPU, TokenPrice, managed_in, prices_in, token_rows
from aistack_top.store.facts import Facts
from collectors.config import examine
from collectors.doctor import checks as doctor
from collectors.prices import genai
from collectors.prices import settings as spend_settings
from collectors.prices.collector import SET_IT, PriceCollector, local_zone, managed_prices, own_rows, settings
from collectors.prices.settings import SpendSettings

OWN = '[[row]]\nprovider = "mine"\nmodel = "big"\ninput = 1.0\noutput = 2.0\ndate = 2026-01-01\nsource = "bill"\n'
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


async def told(config):
    batch = await PriceCollector(config, VirtualClock(1000.0)).collect()
    facts = Facts()
    facts.observe(batch.facts, batch.at, batch.seen, "spend", "prices")
    return batch.health, facts


async def test_nothing_set_says_what_to_set_and_prices_nothing():
    health, facts = await told(SpendSettings())
    assert health.status == "ok"
    assert health.reason == f"$/h not set: {SET_IT}; token prices as of 2026-11-24"
    assert not prices_in(facts).known
    assert managed_in(facts, LLAMA) == TokenPrice(0.18, 0.18)
    (check,) = doctor.sources([health], frozenset())
    assert (check.outcome, check.mend) == ("missing", SET_IT)


async def test_a_price_is_told_with_all_that_belongs_to_it():
    config = SpendSettings(
        gpu_hour=2.5, basis="spot", provider="ACME", date=datetime.date(2026, 11, 1), time_zone="Asia/Tokyo"
    )
    health, facts = await told(config)
    assert (
        health.reason
        == "$2.50/h a GPU, spot, as of 2026-11-01, ACME, days end in Asia/Tokyo; token prices as of 2026-11-24"
    )
    assert prices_in(facts).gpus == {ANY_GPU: {"spot": 2.5}}


def test_a_list_is_used_only_if_it_is_named_and_with_its_own_date():
    prices = settings(SpendSettings(prices="seed-2026-06"), "UTC")
    assert prices.gpu_hour("NVIDIA H200") == 4.88
    assert prices.date == "2026-06-10"
    by_name = settings(SpendSettings(gpu_hour={"NVIDIA H200": 4.0}, basis="owned"), "UTC")
    assert (by_name.gpu_hour("NVIDIA H200"), by_name.gpu_hour("NVIDIA H100 PCIe")) == (4.0, None)


async def test_a_file_of_prices_comes_after_the_configuration_and_before_the_table(tmp_path):
    own = tmp_path / "prices.toml"
    own.write_text(OWN + f'serves = ["{LLAMA}", "mine"]\n')
    config = SpendSettings(
        token_prices=str(own), managed={"tuned": "mine/big", "mine": TokenPrice(0.0, 0.5), "lost": "x/y"}
    )
    found, lost = managed_prices(config, (*token_rows(), *own_rows(str(own))))
    assert found[LLAMA] == found["tuned"] == TokenPrice(1.0, 2.0)
    assert found["mine"] == TokenPrice(0.0, 0.5)
    assert lost == {"lost": "x/y"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN.replace("1.0", "-1.0"), "row 1: Expected 'float' >= 0.0"),
        ("\x00\x01", "not valid TOML"),
        ("row = " + "[" * 5000, "not valid TOML"),
        (OWN, "no row 'mine/small' in the table of token prices"),
        (None, "cannot be read"),
        ("#" * 1_000_001, "larger than 1 MB; not read"),
    ],
)
async def test_a_file_with_nonsense_is_said_in_words_and_the_other_prices_stand(tmp_path, text, said):
    own = tmp_path / "prices.toml"
    if text is not None:
        own.write_text(text)
    config = SpendSettings(node_hour=6.0, token_prices=str(own), managed={"x": "mine/small"})
    health, facts = await told(config)
    assert health.status == "misconfigured"
    assert said in health.reason
    assert prices_in(facts).node_hour == 6.0
    assert managed_in(facts, LLAMA) == TokenPrice(0.18, 0.18)
    (check,) = doctor.sources([health], frozenset())
    assert (check.outcome, check.mend) == ("failed", "fix the [spend] entry named; the other prices still apply")


def genai_prices(monkeypatch):
    """A module of that name in the form of 0.2.3, which is an extra and may not be here."""

    def model(name, **prices):
        return SimpleNamespace(id=name, get_prices=lambda _: SimpleNamespace(**prices))

    models = [
        model("flat", input_mtok=Decimal("0.59"), output_mtok=Decimal("0.79")),
        model("tiers", input_mtok=SimpleNamespace(base=Decimal(3), tiers=[]), output_mtok=Decimal(15)),
        model("speech", input_mtok=None, output_mtok=None),
    ]
    data: Any = ModuleType("genai_prices.data")
    data.providers = [SimpleNamespace(id="groq", models=models)]
    monkeypatch.setitem(sys.modules, "genai_prices", ModuleType("genai_prices"))
    monkeypatch.setitem(sys.modules, "genai_prices.data", data)
    monkeypatch.setattr(genai, "installed", lambda: True)
    monkeypatch.setattr(genai, "title", lambda: "genai-prices 0.2.3")
    monkeypatch.setattr(spend_settings, "installed", lambda: True)


async def test_the_extra_prices_rows_that_the_table_has_not_and_says_which_it_has_not_either(monkeypatch):
    genai_prices(monkeypatch)
    rows: dict[str, str | TokenPrice] = {"a": "groq/flat", "b": "groq/tiers", "c": "groq/speech", "d": "groq/nobody"}
    health, facts = await told(SpendSettings(node_hour=6.0, managed=rows))
    assert [managed_in(facts, model) for model in "abcd"] == [TokenPrice(0.59, 0.79), TokenPrice(3, 15), None, None]
    assert health.status == "misconfigured"
    assert health.reason == (
        "genai-prices 0.2.3 has no price a token for 'groq/speech'; "
        "no row 'groq/nobody' in the table of token prices, nor in genai-prices 0.2.3"
    )


async def test_another_version_of_the_extra_costs_its_rows_only(monkeypatch):
    genai_prices(monkeypatch)
    monkeypatch.setattr(sys.modules["genai_prices.data"], "providers", None)
    health, facts = await told(SpendSettings(node_hour=6.0, managed={"a": "groq/flat"}))
    assert "genai-prices is unusable" in health.reason
    assert prices_in(facts).node_hour == 6.0


def test_the_real_extra_agrees_with_the_table():
    pytest.importorskip("genai_prices")
    flagship = "together/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
    assert genai.prices_of([flagship], 1_795_000_000.0) == ({flagship: TokenPrice(3.5, 3.5)}, [])


async def test_a_price_that_changes_with_the_hour_is_read_again_during_a_run(monkeypatch):
    genai_prices(monkeypatch)
    night = SimpleNamespace(input_mtok=Decimal("0.135"), output_mtok=Decimal("0.55"))
    day = SimpleNamespace(input_mtok=Decimal("0.27"), output_mtok=Decimal("1.10"))
    model = SimpleNamespace(id="chat", get_prices=lambda at: day if at.hour < 16 else night)
    monkeypatch.setattr(sys.modules["genai_prices.data"], "providers", [SimpleNamespace(id="deepseek", models=[model])])
    at = 15 * 3600 + 3590.0
    clock = SimpleNamespace(now=lambda: at, monotonic=lambda: at)
    collector = PriceCollector(
        SpendSettings(node_hour=6.0, managed={"a": "deepseek/chat", "b": "deepseek/none"}), clock
    )
    seen, reasons = [], []
    for _ in range(2):
        facts = Facts()
        batch = await collector.collect()
        facts.observe(batch.facts, batch.at, batch.seen, "spend", "prices")
        seen.append(managed_in(facts, "a"))
        reasons.append(batch.health.reason)
        at += 60.0
    assert seen == [TokenPrice(0.27, 1.1), TokenPrice(0.135, 0.55)]
    assert reasons[0] == reasons[1]  # a row that is missing is named once


def test_the_real_extra_asks_for_half_at_night():
    pytest.importorskip("genai_prices")
    day, night = 1_795_000_000.0 // 86_400 * 86_400 + 10 * 3600, 1_795_000_000.0 // 86_400 * 86_400 + 20 * 3600
    asked = [genai.prices_of(["deepseek/deepseek-chat"], at)[0]["deepseek/deepseek-chat"].input for at in (day, night)]
    assert asked == [0.27, 0.135]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu_hours = 2", "c:2: unknown key 'gpu_hours'; did you mean 'gpu_hour'?"),
        ("gpu_hour = -1", "c:2: gpu_hour: Expected 'float' > 0.0"),
        ("node_hour = nan", "c:2: node_hour: Expected 'float' > 0.0"),
        ("gpu_hour = 2\nnode_hour = 9", "c:1: [spend] says gpu_hour and node_hour; keep one of them"),
        ('prices = "seed"', "c:1: prices: no such list of prices: 'seed'; known: seed-2026-06"),
        (
            'prices = "seed-2026-06"\nbasis = "owned"',
            "c:1: basis: seed-2026-06 has no prices for 'owned'; choose one of those it has",
        ),
        ('time_zone = "Mars"', "c:1: time_zone: 'Mars' is not a known time zone; write it as 'Europe/Berlin'"),
        (
            'node_hour = 9\nallocated = "used"',
            "c:1: allocated = 'used' has no effect with node_hour; set gpu_hour, or leave allocated out",
        ),
        ('gpu_hour = { "" = 2 }', "c:1: gpu_hour: a GPU without a name; write gpu_hour = 2.5 for all of them"),
        (
            'managed = { m = "fireworks/gpt-oss-20" }',
            "c:1: managed: no such row for 'm': 'fireworks/gpt-oss-20'; did you mean 'fireworks/gpt-oss-20b'?",
        ),
    ],
)
def test_a_mistake_under_spend_is_said_with_its_line_and_the_rest_is_used(monkeypatch, text, said):
    monkeypatch.setattr(spend_settings, "installed", lambda: False)
    config, problems = examine(f'[spend]\n{text}\n[console]\nnode = "n"\n', "c")
    assert problems == [said]
    assert (config.spend, config.console.node) == (SpendSettings(), "n")


def test_the_zone_is_the_machines_and_utc_where_it_has_none(tmp_path):
    zoned = tmp_path / "localtime"
    zoned.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert local_zone({}, zoned) == "Europe/Berlin"
    assert local_zone({"TZ": ":Asia/Tokyo"}, zoned) == "Asia/Tokyo"
    assert local_zone({"TZ": "CET-1CEST"}, zoned) == "UTC"
    assert local_zone({}, Path(tmp_path / "none")) == "UTC"
