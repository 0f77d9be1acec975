"""Valid inputs as installations give them, from the page to the snapshot's JSON. `docs/variants.md` lists them."""

import pytest

from aistack_top.model.tick import Tick
from aistack_top.snapshot import document
from aistack_top.state import State
from tests.fakes.pages import collected
from tests.fakes.variants import Variant
from tests.fakes.variants_others import OTHERS
from tests.fakes.variants_vllm import VLLM

VARIANTS = (*VLLM, *OTHERS)


async def shown(one: Variant) -> tuple[dict[tuple[str, str], object], str, str]:
    """Return the readings of the snapshot after the last page, what the health record says, and all events' texts."""
    pages = [page.encode() for page in one.pages]
    batches = await collected(one.kind, pages, one.step, content_type=one.content_type, **one.config)
    state = State(span_s=600.0)
    for batch in batches:
        state.apply(Tick(batch.at, batch.at, (batch,)))
    made = document(state.frame(), "node")
    found: dict[tuple[str, str], object] = {}
    for row in made["readings"]:
        if row["time"] != made["time"]:
            continue  # what the last page does not tell is shown with its own, older time
        entity = {key: text for key, text in row["entity"].items() if text != "s"}
        whose = " ".join(f"{key}={text}" for key, text in sorted(entity.items()))
        if isinstance(row["value"], dict):
            found[row["signal"], whose] = row["value"]
            found |= {(f"{row['signal']}.{part}", whose): value for part, value in row["value"].items()}
        else:
            found[row["signal"], whose] = row["value"]
    (source,) = made["sources"]
    return found, f"{source['status']}: {source['detail']}", "; ".join(e.text for b in batches for e in b.events)


@pytest.mark.parametrize("one", VARIANTS, ids=lambda one: f"{one.kind}: {one.title}")
async def test_a_valid_input_is_read_right(one):
    found, said, events = await shown(one)
    for (name, whose), value in one.wanted.items():
        seen = found.get((name, whose))
        assert seen == (None if value is None else pytest.approx(value, rel=1e-5, abs=1e-12)), (name, whose, said)
        assert str(seen) != "-0.0", name
    if one.only:
        assert {key for key in found if key[0].startswith(one.only)} <= set(one.wanted)
    for part in one.says:
        assert part in said
    for part in one.silent:
        assert part not in said
    for part in one.events:
        assert part in events
    for part in one.no_event:
        assert part not in events


def test_each_variant_has_a_title_of_its_own():
    titles = [(one.kind, one.title) for one in VARIANTS]
    assert len(set(titles)) == len(titles) >= 40
