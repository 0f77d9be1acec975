"""One number: its history as a chart, and beside it that of its peers."""

from collections.abc import Sequence
from dataclasses import replace

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.store.labels import label
from aistack_top.text import numbers
from layouts.load import PanelRow as Number
from tui.model.console import Console
from tui.model.targets import NumberTarget
from tui.screens.row_list import RowListScreen
from tui.sections.context import BLANK, RenderContext, heading, note_line
from tui.sections.section_rows import figure_row
from tui.widgets.axis import track_width
from tui.widgets.cells import wrapped
from tui.widgets.chart import chart, median_of, samples
from tui.widgets.row_list import Row, static_row
from tui.widgets.values import figures

MAX_PEERS = 200


class NumberScreen(RowListScreen):
    """A chart on the shared axis, the peers below it, and what the number means."""

    def __init__(self, console: Console, target: NumberTarget) -> None:
        super().__init__(console)
        self.target = target

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        target = self.target
        part = f" {target.stat}" if target.stat != "value" else ""
        whose = f" {label(target.entity, self.console.state.facts, 20)}" if target.entity.pairs else ""
        return f"{signals()[target.signal].title}{part}{whose}"

    def numbers(self) -> Sequence[str]:
        """Return the signals that the help of this screen explains."""
        return (self.target.signal,)

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        target, view = self.target, scene.view
        signal = signals()[target.signal]
        values = samples(view, signal, [target.entity], target.stat, view.fit(track_width(scene.width)))
        height = max(min(scene.height // 3, 12), 4)
        lines = chart(values, signal, view, scene.width, height, scene.glyphs)
        middle = median_of(values)
        said = "no samples in the time shown" if middle is None else f"median {numbers.of_signal(middle, signal)}"
        peers = [
            figure for figure in figures(Number(target.signal, stat=target.stat, over="each"), view) if figure.about
        ]
        kin = [one for one in peers if _kin(one.about[0], target.entity)]
        kin = [replace(one, notes=tuple(said for said in one.notes if said != signal.title)) for one in kin]
        told = view.frame.source_of(target.signal, target.entity)
        found: list[Row] = [heading(self.breadcrumb, scene, said), *map(static_row, lines), BLANK]
        if len(kin) > 1:
            found += [
                heading("compared with its peers", scene),
                *(figure_row(one, scene) for one in kin[:MAX_PEERS]),
                BLANK,
            ]
        words = f"{signal.help} {target.signal}, reported by {told}."
        meaning = [note_line(part, "text") for part in wrapped(words, max(scene.width - 4, 20))]
        return [*found, heading("what it means", scene), *meaning]


def _kin(one: Entity, other: Entity) -> bool:
    """Whether two entities are of a kind, and about the same reason where they have one."""
    return {key for key, _ in one.pairs} == {key for key, _ in other.pairs} and one.get("reason") == other.get("reason")
