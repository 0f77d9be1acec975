import asyncio

from aistack_top.measure.clock import PacedClock, VirtualClock, WallClock


async def test_virtual_time_moves_only_when_everybody_waits():
    clock = VirtualClock(100.0)
    log = []

    async def work(name, pause, times):
        with clock.participant():
            for _ in range(times):
                await clock.sleep_until(clock.now() + pause)
                for _ in range(5):
                    await asyncio.sleep(0)
                log.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        with clock.participant():
            group.create_task(work("fast", 1.0, 4))
            group.create_task(work("slow", 2.0, 2))
            await asyncio.sleep(0)
    assert log == [
        ("fast", 101.0),
        ("slow", 102.0),
        ("fast", 102.0),
        ("fast", 103.0),
        ("slow", 104.0),
        ("fast", 104.0),
    ]


async def test_a_past_appointment_does_not_turn_virtual_time_back():
    clock = VirtualClock(10.0)
    with clock.participant():
        await clock.sleep_until(3.0)
    assert clock.now() == 10.0


async def test_a_cancelled_sleeper_is_not_waited_for():
    clock = VirtualClock(0.0)

    async def sleeper():
        with clock.participant():
            await clock.sleep_until(1000.0)

    with clock.participant():
        task = asyncio.create_task(sleeper())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await clock.sleep_until(5.0)
    assert clock.now() == 5.0


def test_the_wall_clock_goes_on_when_the_system_clock_is_set(monkeypatch):
    clock = WallClock()
    before = clock.now()
    import time

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
    assert abs(clock.now() - before) < 60.0
    assert abs(clock.stepped_s() - 3600.0) < 1.0


async def test_a_paced_clock_jumps_to_its_live_moment_and_goes_with_real_time_from_there():
    clock = PacedClock(100.0, 1000.0, speed=1000.0)
    seen = []

    async def work(step):
        with clock.participant():
            for _ in range(1000):
                await clock.sleep_until(clock.now() + step)
                seen.append(clock.now())
                if seen[-1] > 1010.0:
                    return

    async with asyncio.TaskGroup() as group:
        with clock.participant():
            group.create_task(work(5.0))
            group.create_task(work(7.0))
            await asyncio.sleep(0)
    past = [at for at in seen if at <= 1000.0]
    assert len(past) == 900 // 5 + 900 // 7
    assert past == sorted(past)
    assert all(at in (100.0 + 5.0 * n for n in range(181)) or (at - 100.0) % 7.0 == 0.0 for at in past)
    live = [at for at in seen if at > 1000.0]
    assert live == sorted(live)
    assert any(at % 1.0 for at in live)  # which no jump to an appointment gives
