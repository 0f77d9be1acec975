"""``aistack-top doctor``: what was looked for, found and missing, with the line that would put each right."""

import asyncio
import json
import os
import sys

from msgspec.structs import replace

from aistack_top.clock import WallClock
from aistack_top.state import State
from collectors import assemble, doctor
from collectors.capabilities import Place
from collectors.config import ConfigError, default_path
from collectors.discovery import DiscoveryCollector
from collectors.place import node_name, state_folder
from collectors.registry import source_of
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
        wanted = assemble.sources(usable, options.endpoints, os.environ)
        feed = assemble.feed(usable, options.endpoints, clock, place.state, node)
    except ConfigError as error:
        fail("\n".join(error.problems))
    state = asyncio.run(collect(feed, SETTLE_S))
    frame = state.frame()
    records = [health for _, health in frame.health]
    asked = frozenset(source_of(one).name for one in wanted if one in usable.source or options.endpoints)
    found = next((one for one in feed.collectors if isinstance(one, DiscoveryCollector)), None)
    if not options.endpoints:
        checks += doctor.environment(os.environ)
    checks += doctor.sources(records, asked)
    checks += [] if options.endpoints else doctor.discovered(found)
    checks += doctor.calls_to_engines(wanted, engines(state))
    checks += doctor.permissions(place)
    code = doctor.exit_code(checks, records, asked)
    if as_json:
        told = json.dumps(doctor.document(checks, code, clock.now(), node), allow_nan=False, ensure_ascii=False) + "\n"
    else:
        told = doctor.text(checks, capabilities=permissions)
    sys.stdout.write(told)
    return code


def engines(state: State) -> list[str]:
    """Return the names of the engines that are read."""
    return sorted({health.source for _, health in state.frame().health if health.layer == "serving"} - {"discovery"})
