"""``aistack-top demo``: look around without a GPU, a server or an account.

It plays a session recorded through the real collectors from captured answers of real servers: a vLLM engine on a CPU
whose KV cache fills in a burst, the calls of a Langfuse project, and NVIDIA's mock of its driver's library. It comes
with the program.
"""

from importlib.resources import as_file, files

from tui.commands.common import Options
from tui.commands.live import configuration
from tui.commands.replay import play

SESSION = "lab-burst.aistack"


def run(options: Options) -> int:
    """Play the session that comes with the program; returns the exit code."""
    with as_file(files("aistack_top.session").joinpath("examples", SESSION)) as path:
        return play(options, configuration(options), path, None, 1.0)
