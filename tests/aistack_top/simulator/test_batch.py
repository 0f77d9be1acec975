"""The scheduler and its blocks: what vLLM would do with few blocks, and what holds for any sequence of requests."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.simulator.batch import BatchLimits, EngineBatch
from aistack_top.simulator.enginemetrics import EngineMetrics
from aistack_top.simulator.kvcache import KvCache
from aistack_top.simulator.request import Request


def made(blocks=24, size=16, seqs=8, budget=256, **limits):
    metrics = EngineMetrics(4096)
    return EngineBatch(KvCache(blocks, size), BatchLimits(seqs, budget, **limits), metrics)


def asked(number, prompt, output, **more):
    return Request(number, "m", prompt, output, 0.0, **more)


def step(batch, now):
    """One iteration; return those that ended in it."""
    chunks = batch.compose(1, now)
    ended, _ = batch.decode(1)
    done, _ = batch.prefilled(chunks, now)
    return ended + done


def test_a_prompt_longer_than_the_budget_is_computed_in_chunks():
    batch = made(budget=100, blocks=64)
    batch.waiting.append(asked(1, 250, 3))
    sizes = []
    for now in range(3):
        chunks = batch.compose(1, float(now))
        sizes.append([chunk.tokens for chunk in chunks])
        batch.prefilled(chunks, float(now))
    assert sizes == [[100], [100], [50]]
    assert batch.decoding == 1


def test_decoding_goes_on_beside_a_chunk_and_takes_its_token_from_the_budget():
    batch = made(budget=100, blocks=64)
    batch.waiting.append(asked(1, 50, 30))
    step(batch, 0.0)
    batch.waiting.append(asked(2, 150, 3))
    chunks = batch.compose(1, 1.0)
    assert batch.decoding == 1
    assert [chunk.tokens for chunk in chunks] == [99]


def test_a_prompt_is_admitted_only_if_all_of_it_fits():
    batch = made(blocks=11, size=16)  # ten of them hold something
    batch.waiting.extend([asked(1, 100, 5), asked(2, 100, 5), asked(3, 16, 5)])
    batch.compose(1, 0.0)
    assert [request.number for request in batch.running.values()] == [1]
    assert [request.number for request in batch.waiting] == [2, 3]


def test_the_last_one_admitted_is_preempted_and_computed_again():
    batch = made(blocks=9, size=16)
    first, last = asked(1, 60, 40), asked(2, 60, 40)
    batch.waiting.extend([first, last])
    now = 0.0
    while not last.preemptions:
        step(batch, now)
        now += 1.0
    assert batch.metrics.preemptions == 1
    assert first.preemptions == 0
    assert batch.waiting[0] is last
    assert (last.blocks, last.generated) == (4, 4) or last.generated > 0
    had = last.generated
    while last.number not in batch.running:
        step(batch, now)
        now += 1.0
    # its prompt and what it had said are computed again, and it goes on where it was
    assert batch.metrics.recomputed_tokens == 60 + had
    while last.generated < 40:
        step(batch, now)
        now += 1.0
    assert batch.kv.usage == 0.0
    assert batch.metrics.ttft.count == 2  # a first token is a first token once


def test_max_num_seqs_leaves_requests_waiting_beside_free_blocks():
    batch = made(seqs=2, blocks=200)
    batch.waiting.extend(asked(number, 20, 9) for number in range(5))
    step(batch, 0.0)
    assert (len(batch.running), len(batch.waiting)) == (2, 3)
    assert batch.kv.usage < 0.05


def test_a_shared_prefix_is_computed_once():
    batch = made(blocks=64)
    batch.waiting.extend(asked(number, 100, 9, prefix_key="system", prefix_tokens=64) for number in range(2))
    step(batch, 0.0)
    assert batch.metrics.prefix_hits == 64
    assert batch.kv.shared == 4


def test_an_adapter_without_a_slot_waits_and_others_pass_it():
    batch = made(blocks=64, max_loras=1)
    batch.waiting.extend([asked(1, 20, 9, lora="a"), asked(2, 20, 9, lora="b"), asked(3, 20, 9, lora="a")])
    step(batch, 0.0)
    assert sorted(batch.running) == [1, 3]
    assert batch.loras == {"a": 2}


def test_two_turns_of_one_conversation_at_once_give_back_what_they_took():
    batch = made(seqs=2)
    batch.waiting.extend([asked(1, 17, 3, session_key="c1"), asked(2, 31, 2, session_key="c1")])
    batch.waiting.append(asked(3, 40, 16, session_key="c1"))
    for now in range(40):
        step(batch, float(now))
        assert min(batch.kv.private, batch.kv.shared, batch.kv.idle) >= 0
    assert batch.kv.private == batch.kv.shared == 0


requests = st.lists(
    st.tuples(
        st.integers(1, 300),
        st.integers(1, 60),
        st.sampled_from(["", "s", "t"]),
        st.sampled_from(["", "c1", "c2"]),
        st.integers(0, 20),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(rows=requests, blocks=st.integers(24, 60), seqs=st.integers(1, 8), budget=st.integers(16, 256))
def test_any_sequence_of_requests_conserves_blocks_and_ends(rows, blocks, seqs, budget):
    batch = made(blocks=blocks, seqs=seqs, budget=max(budget, 2 * seqs))
    asked_for = [
        asked(number, prompt, output, prefix_key=key, prefix_tokens=min(48, prompt) if key else 0, session_key=session)
        for number, (prompt, output, key, session, _, _) in enumerate(rows)
    ]
    arrivals = {number: row[4] for number, row in enumerate(rows)}
    drops = {number: row[5] for number, row in enumerate(rows) if row[5] > 35}
    dropped, ended = set(), []
    for now in range(6000):
        for request in asked_for:
            if arrivals[request.number] == now:
                batch.waiting.append(request)
            if drops.get(request.number) == now and batch.drop(request):
                dropped.add(request.number)
        ended += step(batch, float(now))
        kv = batch.kv
        assert kv.balance() >= 0
        assert min(kv.private, kv.shared, kv.idle) >= 0
        assert len(batch.running) <= seqs
        if now > 40 and not batch.running and not batch.waiting:
            break
    numbers = [request.number for request in ended]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) | dropped == set(range(len(rows)))
    assert all(request.generated == request.output_tokens for request in ended)
    assert batch.kv.private == batch.kv.shared == 0
    assert batch.kv_tokens == 0
