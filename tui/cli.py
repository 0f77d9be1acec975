"""The command line: what there is to type, and nothing of what it does.

stdout is data and stderr is talk. ``snapshot`` and ``doctor`` exit 0 when all is well, 1 when something is wrong, 2
when used or configured wrongly or when the output cannot be written, 3 when no source could be reached;
``record`` exits 3 when nothing was recorded; interactive commands exit 0.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aistack_top import __version__

if TYPE_CHECKING:
    from tui.commands.common import Options
    from tui.commands.window import WindowOptions

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)

Command = TypeVar("Command", bound=Callable[..., None])


def windowed(command: Command) -> Command:
    """Give a command the options of a window that was not recorded."""
    for option in (
        click.option("--to", "ends", metavar="TIME", help="End of the window. Default: now."),
        click.option(
            "--from", "begins", metavar="TIME", help="Start of the window: -2h (default), 14:02, or a date and time."
        ),
        click.option(
            "--prometheus", metavar="URL", default="", help="Instead of a SESSION: the history of this server."
        ),
    ):
        command = option(command)
    return command


def sourced(command: Command) -> Command:
    """Give a command the options that name servers, which may also stand before it."""
    prometheus = click.option(
        "--prometheus", metavar="URL", default="", help="Also read what this Prometheus server scrapes."
    )
    endpoint = click.option(
        "--endpoint", multiple=True, metavar="URL", help="Read this server only (repeatable); its type is detected."
    )
    return endpoint(prometheus(command))


def with_servers(options: "Options", endpoint: tuple[str, ...], prometheus: str) -> "Options":
    """Return the options with the servers that were named behind the command."""
    return replace(options, endpoints=(*options.endpoints, *endpoint), prometheus=prometheus or options.prometheus)


class CommandGroup(click.Group):
    """The commands, with output that cannot be written said in a sentence, whoever wrote it."""

    def main(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command line; report errors in one sentence."""
        from tui.commands import output

        output.prepare()
        try:
            return super().main(*args, **more)
        except OSError as error:
            if error.errno not in output.UNWRITABLE or error.filename is not None:
                raise
            output.refuse(error)


def asked_window(session: Path | None, url: str, begins: str | None, ends: str | None) -> "WindowOptions":
    """Return the window that was asked for; refuses what says two things, or nothing."""
    from tui.commands.window import WindowOptions

    if session is not None and (url or begins or ends):
        raise click.UsageError("a SESSION and a window (--prometheus, --from, --to) exclude each other")
    if session is None and not url:
        raise click.UsageError("name a SESSION, or --prometheus URL with --from and --to")
    return WindowOptions(url, begins or "-2h", ends)


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="aistack-top")
@sourced
@click.option(
    "--config", type=FILE, metavar="FILE", help="Configuration file; default: the user's configuration folder."
)
@click.option("--layout", metavar="NAME", help="Layout by name, or a TOML file of your own.")
@click.option(
    "--low-bandwidth", is_flag=True, help="For slow links: no graphs; redraw every 12 s and on each key press."
)
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
@click.option("--no-ring", is_flag=True, help="Do not record the last hours to disk.")
@click.pass_context
def main(
    context: click.Context,
    endpoint: tuple[str, ...],
    prometheus: str,
    config: Path | None,
    layout: str | None,
    low_bandwidth: bool,
    ascii_only: bool,
    no_ring: bool,
) -> None:
    """One terminal, seven layers and spend: GPUs, engines, calls and guardrails on one time axis.

    Without a command: live on this node. Read-only.
    """
    from tui.commands import own_files
    from tui.commands.common import Options

    own_files.use(config)
    context.obj = Options(config, endpoint, layout, low_bandwidth, ascii_only, not no_ring, prometheus)
    if context.invoked_subcommand is None:
        import tui.commands.live as live

        sys.exit(live.run(context.obj))


@main.command()
@click.argument("scenario", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the scenarios and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print aistack-top/demo-list/1 as JSON.")
@click.option("--seed", type=int, help="Random seed. Default: the scenario's.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0.1, max=10),
    default=1.0,
    show_default=True,
    help="Speed factor; 1 is real time.",
)
@click.option(
    "--serve",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="No screen; serve on this loopback port (0: any).",
)
@click.pass_obj
def demo(
    options: "Options",
    scenario: str | None,
    as_list: bool,
    as_json: bool,
    seed: int | None,
    speed: float,
    serve: int | None,
) -> None:
    """Look around without a GPU, a server or an account; drill on trouble before it comes.

    A simulated node behind the real collectors. Without a SCENARIO: a calm half hour, then an incident.
    """
    import tui.commands.demo as command
    from tui.commands.scenarios import show_list

    if as_json and not as_list:
        raise click.UsageError("--json goes with --list")
    if as_list:
        sys.exit(show_list(as_json))
    if serve is not None:
        sys.exit(command.serve(scenario, seed, serve))
    sys.exit(command.run(options, scenario, seed, speed))


@main.command()
@click.argument("session", type=FOLDER, required=False)
@windowed
@click.option("--at", metavar="TIME", help="Start here: 14:02, 2026-11-23T14:02:10Z, or -3m before the end.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Speed factor; 1 is real time, 0 is paused.",
)
@click.pass_obj
def replay(
    options: "Options",
    session: Path | None,
    prometheus: str,
    begins: str | None,
    ends: str | None,
    at: str | None,
    speed: float,
) -> None:
    """Play a recorded SESSION on the same screen as live, or a window that a Prometheus server still knows."""
    import tui.commands.replay as command

    window = asked_window(session, prometheus or ("" if session else options.prometheus), begins, ends)
    if session is not None:
        sys.exit(command.run(options, session, at, speed))
    sys.exit(command.run_window(options, window, at, speed))


@main.command()
@click.option(
    "-o", "--output", type=FOLDER, metavar="SESSION", help="Folder to record into; default: NODE-TIME.aistack."
)
@click.option("--for", "duration", metavar="TIME", help="Stop after this time: 90s, 10m, 2h.")
@click.option("--keep", metavar="TIME", help="Keep only the last hours: 24h.")
@sourced
@click.option("--demo", metavar="SCENARIO", help="Record a simulated scenario, as fast as possible.")
@click.pass_obj
def record(
    options: "Options",
    output: Path | None,
    duration: str | None,
    keep: str | None,
    endpoint: tuple[str, ...],
    prometheus: str,
    demo: str | None,
) -> None:
    """Record without a screen, for a service unit or a second terminal.

    Exits 3 when no source answered and the recording is empty.
    """
    import tui.commands.record as command

    sys.exit(command.run(with_servers(options, endpoint, prometheus), output, duration, keep, demo))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print aistack-top/snapshot/2 as JSON.")
@click.option(
    "--settle",
    type=click.FloatRange(min=0.5),
    default=3.0,
    show_default=True,
    metavar="S",
    help="Collect for this long.",
)
@sourced
@click.option(
    "--demo", metavar="SCENARIO", help="From a simulated scenario, --settle seconds after 'demo' would open it."
)
@click.pass_obj
def snapshot(
    options: "Options", as_json: bool, settle: float, endpoint: tuple[str, ...], prometheus: str, demo: str | None
) -> None:
    """Collect for a few seconds and print everything."""
    import tui.commands.snapshot as command

    sys.exit(command.run(with_servers(options, endpoint, prometheus), as_json, settle, demo))


@main.command()
@click.argument("session", type=FOLDER)
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="FILE.parquet, FILE.csv or FILE.ndjson.")
def export(session: Path, output: Path) -> None:
    """Write a session's readings as a table: time, layer, signal, entity, stat, value, unit."""
    import tui.commands.export as command

    sys.exit(command.run(session, output))


@main.command()
@click.argument("session", type=FOLDER, required=False)
@windowed
@click.option("--at", metavar="TIME", help="As known then: 14:02, 2026-11-23T14:02:10Z, or -3m before the end.")
@click.option("--json", "as_json", is_flag=True, help="Print aistack-top/diagnosis/2 as JSON.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for an incident channel.")
@click.option("--html", type=FILE, metavar="FILE", help="Write one page with charts, for a post-mortem.")
@click.pass_obj
def diagnose(
    options: "Options",
    session: Path | None,
    prometheus: str,
    begins: str | None,
    ends: str | None,
    at: str | None,
    as_json: bool,
    markdown: bool,
    html: Path | None,
) -> None:
    """List incidents in a recorded SESSION or in a Prometheus server's history, with evidence for and against.

    Exit code: 0 when none is open at that time, 1 when one is, 2 on error.
    """
    import tui.commands.diagnose as command

    if as_json + markdown + (html is not None) > 1:
        raise click.UsageError("--json, --markdown and --html exclude each other")
    window = asked_window(session, prometheus or ("" if session else options.prometheus), begins, ends)
    form = command.ReportFormat(as_json, markdown, html)
    if session is not None:
        sys.exit(command.run(session, at, form))
    sys.exit(command.run_window(options, window, at, form))


@main.command()
@click.option(
    "--data", type=FILE, required=True, metavar="FILE", help="CSV, CSV.gz or Parquet: time, then one column a metric."
)
@click.option(
    "--incident-time",
    required=True,
    metavar="T|none",
    help="1700000000 (also ms, ns), 2026-11-23T14:02:10Z, -5m before the end; none detects it. May be late.",
)
@click.option(
    "--sli",
    metavar="COLUMN",
    help="The column that shows the problem: the time is taken from it, and it is ranked last.",
)
@click.option("--graph", type=click.Path(path_type=Path), help="Service graph: JSON {caller: [callee]}, or CSV.")
def rank(data: Path, incident_time: str, sli: str | None, graph: Path | None) -> None:
    """Rank the columns of any metrics table by how well they explain an incident.

    The last line is a JSON list of all numeric columns, best first.
    """
    import tui.commands.rank as command

    sys.exit(command.run(data, incident_time, sli, graph))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print aistack-top/doctor/1 as JSON.")
@click.option("--permissions", is_flag=True, help="Also print what each source needs, and what it sends where.")
@sourced
@click.pass_obj
def doctor(options: "Options", as_json: bool, permissions: bool, endpoint: tuple[str, ...], prometheus: str) -> None:
    """Check sources and permissions, and print a fix for each problem."""
    import tui.commands.doctor as command

    sys.exit(command.run(with_servers(options, endpoint, prometheus), as_json, permissions))


@main.command()
@click.option(
    "--page", type=FILE, metavar="FILE", help="A saved metrics page: show which kind reads it, and what is read."
)
@click.option("--kind", default="", metavar="KIND", help="With --page: read it as this kind.")
def sources(page: Path | None, kind: str) -> None:
    """List all supported sources by layer, with their configuration keys."""
    import tui.commands.sources as command

    if kind and page is None:
        raise click.UsageError("--kind goes with --page")
    sys.exit(command.run(page, kind))
