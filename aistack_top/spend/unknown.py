"""Why a number about dollars is not known, in a few words that stand in its place."""

from aistack_top.spend.money import GAP_S
from aistack_top.spend.node import HOST, NAME_FACT, PRESENCE
from aistack_top.spend.prices import NOT_SET, prices_in
from aistack_top.store.frame import Frame

NO_GPU = "unknown: no GPU source answers"
NO_NODE = "unknown: nothing tells of this node"


def why_unknown(frame: Frame) -> str:
    """Return why what the node costs is not known at a frame's moment."""
    prices = prices_in(frame.facts)
    if not prices.known:
        return NOT_SET
    if prices.node_hour is not None:
        seen = any(_sampled(frame, signal) for signal in (HOST, *PRESENCE))
        return "unknown" if seen else NO_NODE
    if not any(_sampled(frame, signal) for signal in PRESENCE):
        return NO_GPU
    gpus = {entity for signal in PRESENCE for entity in frame.entities(signal) if len(entity.pairs) == 1}
    names = sorted({frame.facts.get(gpu, NAME_FACT) or "a GPU without a name" for gpu in gpus if gpu.get("gpu")})
    without = [name for name in names if prices.gpu_hour(name) is None]
    if without:
        return f"unknown: no price for {without[0]}"
    return "unknown: which GPUs are in use" if prices.allocated == "used" else "unknown"


def _sampled(frame: Frame, signal: str) -> bool:
    return any(frame.timeline.sample((signal, one, "value"), frame.at, GAP_S) for one in frame.entities(signal))
