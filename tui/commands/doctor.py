"""``aistack-top doctor``: what was looked for, found and missing, with the line that would put each right."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from aistack_top.measure.clock import WallClock
from aistack_top.model.tick import Tick
from aistack_top.state import State
from collectors import assemble
from collectors.cloud.providers import found as found_cloud
from collectors.config import ConfigError, default_path
from collectors.discovery.collector import DiscoveryCollector
from collectors.doctor import checks as doctor
from collectors.doctor.permissions import ProbeRoots
from collectors.gpu_owners.links import GpuLinkCollector
from collectors.registry import source_of
from collectors.runtime.environment import node_name, state_folder
from collectors.runtime.proxies import Proxies
from collectors.runtime.scheduler import LiveFeed
from layouts import load as layout
from tui.commands import output, own_files
from tui.commands.common import Options, fail
from tui.commands.printing import collect
from tui.commands.show import layout_folder

SETTLE_S = 4.0
"""Long enough for a first answer from every source, and for a server that was found to be read."""


def run(options: Options, as_json: bool, permissions: bool) -> int:
    """Look at everything, print what was found, and return the exit code."""
    path = options.config or default_path()
    config, checks = doctor.configuration(path, named=options.config is not None or "AISTACK_TOP_CONFIG" in os.environ)
    # a source whose key cannot be had is told above; the others are tried
    usable = assemble.addressed(config)
    usable = replace(usable, source=tuple(one for one in usable.source if not doctor.unreadable_secrets(one)))
    checks += layouts(config.console.layout, layout_folder(options)) + keys(config.console.keys)
    checks += colours(config.console.theme)
    checks += doctor.user_files(own_files.problems(), own_files.count())
    clock, node = WallClock(), node_name(config)
    place = ProbeRoots(state=state_folder())
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
    checks += proxies(Proxies())
    checks += doctor.sources(records, asked)
    checks += [] if options.endpoints else doctor.cloud(records, found_cloud())
    checks += [] if options.endpoints else doctor.discovered(found)
    checks += links(feed, state)
    checks += doctor.calls_to_engines(wanted, engines(state))
    checks += doctor.permissions(place)
    code = doctor.exit_code(checks, records, asked)
    if as_json:
        output.write_json(doctor.document(checks, code, clock.now(), node))
    else:
        output.write(doctor.text(checks, permissions=permissions))
    return code


def proxies(found: Proxies) -> list[doctor.Check]:
    """Return a check for each proxy of the environment that cannot be used."""
    return [
        doctor.Check("environment", one.variable, "missing", f"{one.problem}: servers behind it are not read", one.mend)
        for one in found.problems
    ]


def layouts(wanted: str, folder: Path) -> list[doctor.Check]:
    """Return a check for each layout of the user's folder, and for the one that the configuration asks for."""
    bundled = layout.bundled()
    own = [name for name in layout.names(folder) if name not in bundled or (folder / f"{name}.toml").is_file()]
    checks = []
    for name in dict.fromkeys([*own, *([] if wanted in bundled else [wanted])]):
        try:
            layout.load(name, folder)
        except layout.LayoutError as error:
            for problem in error.problems:
                said, _, hint = problem.partition("; ")
                mend = hint or "fix the line named; until then the overview is shown"
                checks.append(doctor.Check("configuration", "layout", "failed", said, mend))
        else:
            checks.append(doctor.Check("configuration", "layout", "ok", f"{name} (user file)"))
    return checks


def keys(wished: Mapping[str, str]) -> list[doctor.Check]:
    """Return a check for each key of the configuration that cannot be bound."""
    if not wished:
        return []
    from tui.keymap import keymap

    mend = "see the list of actions in docs/layouts.md; until then the key is unchanged"
    return [
        doctor.Check("configuration", "keys", "failed", said, hint or mend)
        for said, _, hint in (problem.partition("; ") for problem in keymap(wished)[1])
    ]


def colours(wished: str) -> list[doctor.Check]:
    """Return a check for a theme that there is none of."""
    if not wished:
        return []
    from tui.theme import problem

    said, _, hint = problem(wished).partition("; ")
    return [doctor.Check("configuration", "theme", "failed", said, hint)] if said else []


async def look(feed: LiveFeed) -> State:
    """Return the state after a while, with a second look at who works on which GPU: an engine may be found by then."""
    state = await collect(feed, SETTLE_S)
    linking = link_collector(feed)
    if linking is not None:
        batch = await linking.collect()
        await linking.aclose()
        state.apply(Tick(batch.seen, batch.seen, (batch,)))
    return state


def links(feed: LiveFeed, state: State) -> list[doctor.Check]:
    """Return which engine is linked to which GPU; nothing where no GPU is read, which is told by its source."""
    linking = link_collector(feed)
    read = any(health.kind == "nvml" and health.status in ("ok", "slow") for _, health in state.frame().health)
    if linking is None or not read:
        return []
    by_name = {one.source.name: one.source for one in feed.collectors if one.source.layer == "serving"}
    return doctor.engines_to_gpus(state.facts, linking.unknown, by_name)


def link_collector(feed: LiveFeed) -> GpuLinkCollector | None:
    """Return what links engines and GPUs, if there is one."""
    return next((one for one in feed.collectors if isinstance(one, GpuLinkCollector)), None)


def engines(state: State) -> list[str]:
    """Return the names of the engines that are read."""
    return sorted({health.source for _, health in state.frame().health if health.layer == "serving"} - {"discovery"})
