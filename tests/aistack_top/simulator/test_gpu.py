"""Heat, clocks and power of one GPU, and what they do to an engine's iterations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack_top.simulator.gpu import Gpu, Load, SimulatedProcess, ThrottleBit
from aistack_top.simulator.hardware import GIB, H100, LANGUAGE_MODELS
from aistack_top.simulator.steptime import FaultFactors, pace

BUSY = Load(busy=1.0, tensor=0.6, dram=0.6)
LLAMA = LANGUAGE_MODELS["meta-llama/Llama-3.3-70B-Instruct"]
share = st.floats(0.0, 1.0)


def warmed(load=BUSY, seconds=300):
    gpu = Gpu(0, H100, "test")
    for _ in range(seconds):
        gpu.advance(1.0, load)
    return gpu


def test_heat_lags_behind_power_and_the_throttle_behind_heat():
    gpu = warmed()
    assert ThrottleBit.SW_THERMAL not in gpu.reasons
    before = gpu.temperature
    gpu.cooling = 4.0
    rose = throttled = None
    for second in range(1, 300):
        gpu.advance(1.0, BUSY)
        rose = rose or (second if gpu.temperature > before + 5.0 else None)
        throttled = throttled or (second if gpu.reasons & (ThrottleBit.SW_THERMAL | ThrottleBit.HW_THERMAL) else None)
    assert rose is not None
    assert throttled is not None
    assert rose + 5 < throttled
    assert gpu.clock < 0.9 * H100.clock_max
    assert gpu.violation_s[ThrottleBit.SW_THERMAL] > 30.0


def test_temperature_is_a_first_order_lag():
    gpu = warmed()
    start, goal = gpu.temperature, gpu.inlet + 20.0 + (gpu.temperature - gpu.inlet)
    gpu.inlet += 20.0
    for _ in range(40):  # one time constant
        gpu.advance(1.0, BUSY)
    assert gpu.temperature == pytest.approx(goal - (goal - start) / 2.71828, abs=0.5)


def test_a_brake_lowers_clock_and_power_at_once():
    gpu = warmed()
    power = gpu.power
    gpu.brake = True
    gpu.advance(1.0, BUSY)
    assert gpu.reasons & ThrottleBit.HW_POWER_BRAKE
    assert gpu.clock == pytest.approx(0.4 * H100.clock_max)
    assert gpu.power < 0.75 * power


def test_a_power_limit_is_kept_by_the_clock():
    gpu = warmed()
    gpu.power_limit = 0.8 * gpu.power
    gpu.advance(1.0, BUSY)
    assert gpu.reasons == ThrottleBit.SW_POWER_CAP
    assert gpu.power <= gpu.power_limit
    assert gpu.power == pytest.approx(gpu.power_limit, rel=0.01)


def test_an_idle_gpu_says_so():
    gpu = warmed(Load(), 30)
    assert gpu.reasons == ThrottleBit.IDLE
    assert gpu.power == H100.power_idle


@given(busy=share, tensor=share, dram=share, cooling=st.floats(0.5, 6.0))
def test_power_and_heat_stay_within_what_can_be(busy, tensor, dram, cooling):
    gpu = Gpu(0, H100, "test")
    gpu.cooling = cooling
    energy = 0.0
    for _ in range(60):
        gpu.advance(5.0, Load(busy, tensor * busy, dram * busy))
        assert H100.power_idle <= gpu.power <= 1.001 * gpu.power_limit
        assert gpu.temperature >= gpu.inlet
        assert gpu.clock <= H100.clock_max
        assert gpu.energy >= energy
        energy = gpu.energy


def test_a_process_takes_memory():
    gpu = Gpu(0, H100, "test")
    before = gpu.memory_used
    gpu.processes[5] = SimulatedProcess(5, "notebook", 2 * GIB)
    assert gpu.memory_used - before == 2 * GIB


def test_the_slowest_gpu_of_a_group_sets_the_pace():
    pair = [Gpu(0, H100, "test"), Gpu(1, H100, "test")]
    whole = pace(LLAMA, pair, FaultFactors())
    pair[1].brake = True
    for gpu in pair:
        gpu.advance(1.0, BUSY)
    one = pace(LLAMA, pair, FaultFactors())
    pair[0].brake = True
    for gpu in pair:
        gpu.advance(1.0, BUSY)
    both = pace(LLAMA, pair, FaultFactors())
    assert one == both
    assert one.compute(1000.0) == pytest.approx(whole.compute(1000.0) / 0.4)
    # decoding waits for memory, which feels a low clock less
    assert whole.step(32, 32, 64000) < one.step(32, 32, 64000) < 2.0 * whole.step(32, 32, 64000)


def test_a_failed_link_slows_only_groups():
    pair = [Gpu(0, H100, "test"), Gpu(1, H100, "test")]
    whole, alone = pace(LLAMA, pair, FaultFactors()), pace(LLAMA, pair[:1], FaultFactors())
    pair[0].link_share = 0.1
    assert pace(LLAMA, pair, FaultFactors()).overhead(8, 2000) > 3 * whole.overhead(8, 2000)
    assert pace(LLAMA, pair[:1], FaultFactors()) == alone


def test_errors_on_links_are_counted_while_it_lasts():
    gpu = Gpu(0, H100, "test")
    gpu.nvlink_error_rate = 40.0
    gpu.advance(2.0, BUSY)
    assert gpu.nvlink_errors == 80.0
    gpu.nvlink_error_rate = 0.0
    gpu.advance(2.0, BUSY)
    assert gpu.nvlink_errors == 80.0


def test_the_parts_of_an_iteration_by_hand():
    """70.6e9 one-byte weights over two GPUs of 3.35e12 x 0.8 bytes a second take 13.2 ms to read."""
    rates = pace(LLAMA, [Gpu(0, H100, "test"), Gpu(1, H100, "test")], FaultFactors())
    assert rates.memory(0.0) == pytest.approx(70.6e9 / (2 * 3.35e12 * 0.8))
    assert rates.compute(1000.0) == pytest.approx(2 * 70.6e9 * 1000 / (2 * 1979e12 * 0.55))
    assert rates.collective == pytest.approx(160 * 12e-6)
    assert rates.kv_token == pytest.approx(2 * 80 * 8 * 128 * 2 / (2 * 3.35e12 * 0.8))
