"""``aistack-top doctor``: what was looked for, found and missing, with the line that would put each right."""

import asyncio
import json
import os
import sys

from msgspec.structs import replace

from aistack_top.clock import WallClock
from aistack_top.state import State
from aistack_top.tick import Tick
from collectors import assemble, doctor
from collectors.capabilities import Place
from collectors.config import ConfigError, default_path
from collectors.discovery import DiscoveryCollector
from collectors.identity import LinkCollector
from collectors.place import node_name, state_folder
from collectors.registry import source_of
from collectors.scheduler import LiveFeed
from tui.commands.common import Options, fail
from tui.commands.snapshot import collect

SETTLE_S = 4.0
"""Long enough for a first answer from every source, and for a server that was found to be read."""


def run(options: Options, as_json: bool, permissions: bool) -> int:
    """Look at everything, print what was found, and return the exit code."""
    path = options.config or default_path()
    config, checks = doctor.configuration(path, named=options.config is not None or "AISTACK_TOP_CONFIG" in os.environ)
    # a source whose key cannot be had is told above; the others are tried
    usable = replace(config, source=tuple(one for one in config.source if not doctor.unreadable_secrets(one)))
    clock, node = WallClock(), node_name(config)
    place = Place(state=state_folder())
    try:
        wanted = assemble.sources(usable, options.endpoints, os.environ, options.prometheus)
        feed = assemble.feed(usable, options.endpoints, clock, place.state, node, options.prometheus)
    except ConfigError as error:
        fail("\n".join(error.problems))
    state = asyncio.run(look(feed))
    frame = state.frame()
    records = [health for _, health in frame.health]
    asked = frozenset(source_of(one).name for one in wanted if one in usable.source or options.endpoints)
    found = next((one for one in feed.collectors if isinstance(one, DiscoveryCollector)), None)
    if not options.endpoints:
        checks += doctor.environment(os.environ)
    checks += doctor.sources(records, asked)
    checks += [] if options.endpoints else doctor.discovered(found)
    checks += links(feed, state)
    checks += doctor.calls_to_engines(wanted, engines(state))
    checks += doctor.permissions(place)
    code = doctor.exit_code(checks, records, asked)
    if as_json:
        told = json.dumps(doctor.document(checks, code, clock.now(), node), allow_nan=False, ensure_ascii=False) + "\n"
    else:
        told = doctor.text(checks, capabilities=permissions)
    sys.stdout.write(told)
    return code


async def look(feed: LiveFeed) -> State:
    """Return the state after a while, with a second look at who works on which GPU: an engine may be found by then."""
    state = await collect(feed, SETTLE_S)
    linking = link_collector(feed)
    if linking is not None:
        batch = await linking.collect()
        await linking.aclose()
        state.take(Tick(batch.seen, batch.seen, (batch,)))
    return state


def links(feed: LiveFeed, state: State) -> list[doctor.Check]:
    """Return which engine is linked to which GPU; nothing where no GPU is read, which is told by its source."""
    linking = link_collector(feed)
    read = any(health.kind == "nvml" and health.status in ("ok", "slow") for _, health in state.frame().health)
    if linking is None or not read:
        return []
    by_name = {one.source.name: one.source for one in feed.collectors if one.source.layer == "serving"}
    return doctor.engines_to_gpus(state.facts, linking.unknown, by_name)


def link_collector(feed: LiveFeed) -> LinkCollector | None:
    """Return what links engines and GPUs, if there is one."""
    return next((one for one in feed.collectors if isinstance(one, LinkCollector)), None)


def engines(state: State) -> list[str]:
    """Return the names of the engines that are read."""
    return sorted({health.source for _, health in state.frame().health if health.layer == "serving"} - {"discovery"})
