"""Two Prometheus servers that tell of one address tell of two machines, whoever answers first."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.runtime import engine_names
from collectors.runtime.engine_names import EngineNames

ADDRESS = "10.0.0.5:8000"
CLAIMS = st.tuples(
    st.sampled_from(("east", "west")),
    st.sampled_from(("vllm", "ray")),
    st.sampled_from("ab"),
    st.sampled_from(("", "x")),
)


async def claimed(*servers):
    names = EngineNames({}, servers)

    async def look(server):
        await names.looked(server, [ADDRESS])
        return names.claim(server, "vllm", ADDRESS)

    return await asyncio.gather(*map(look, servers))


async def test_both_are_named_by_their_server_in_any_order():
    assert await claimed("east", "west") == [f"{ADDRESS}@east", f"{ADDRESS}@west"]
    assert await claimed("west", "east") == [f"{ADDRESS}@west", f"{ADDRESS}@east"]
    assert await claimed("prometheus@9090", "prometheus@9091") == [f"{ADDRESS}@9090", f"{ADDRESS}@9091"]


async def test_an_address_that_one_server_tells_of_keeps_its_name():
    assert await claimed("east") == [ADDRESS]


async def test_a_server_that_does_not_answer_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(engine_names, "MAX_WAIT_S", 0.01)
    names = EngineNames({}, ["east", "west"])
    await names.looked("east", [ADDRESS])
    assert names.claim("east", "vllm", ADDRESS) == ADDRESS
    await names.looked("west", [ADDRESS])
    assert names.claim("west", "vllm", ADDRESS) == f"{ADDRESS}@west"
    assert names.others("east", ADDRESS) == ["west"]


def test_a_name_that_is_free_again_is_given_again():
    names = EngineNames()
    assert [names.claim("p", "vllm", ADDRESS) for _ in range(2)] == [ADDRESS, f"{ADDRESS}@2"]
    names.release("vllm", ADDRESS)
    assert names.claim("p", "vllm", ADDRESS) == ADDRESS
    assert names.claim("p", "ray", ADDRESS) == ADDRESS, "an engine and a store of one page"


@settings(derandomize=True, deadline=None)
@given(st.lists(CLAIMS, max_size=12))
def test_no_name_is_given_twice_within_a_kind_or_to_two_servers(claims):
    names = EngineNames()
    given_to: dict[str, list[tuple[str, str]]] = {}
    for server, kind, base, qualifier in claims:
        name = names.claim(server, kind, base, qualifier)
        held = given_to.setdefault(name, [])
        assert (server, kind) not in held
        assert all(other == server for other, _ in held)
        held.append((server, kind))
