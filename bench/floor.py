"""The floor: a bare Textual app of eight panels with one line and a one-colour history each, once a second."""

import random

from textual.app import App, ComposeResult
from textual.widgets import Static

BARS = "▁▂▃▄▅▆▇█"


class Floor(App[None]):
    """Eight bordered panels in two columns."""

    CSS = """
    Screen { layout: grid; grid-size: 2 4; }
    Static { border: solid gray; height: 4; }
    Static:focus { border: solid green; }
    """
    BINDINGS = [("q", "quit", "Quit"), ("j", "app.focus_next", "Next"), ("k", "app.focus_previous", "Previous")]  # noqa: RUF012 - Textual's own form

    def compose(self) -> ComposeResult:
        """Make the panels."""
        for number in range(8):
            panel = Static(f"panel {number} value 000000", id=f"p{number}", markup=False)
            panel.can_focus = True
            yield panel

    def on_mount(self) -> None:
        """Begin."""
        self._random = random.Random(1)
        self._rows = [[0] * 60 for _ in range(8)]
        self._update()
        self.set_interval(1.0, self._update)

    def _update(self) -> None:
        with self.batch_update():
            for number, row in enumerate(self._rows):
                row.append(self._random.randrange(8))
                del row[0]
                text = f"panel {number} value {self._random.random():.4f}\n" + "".join(BARS[v] for v in row)
                self.query_one(f"#p{number}", Static).update(text, layout=False)


if __name__ == "__main__":
    Floor().run()
