"""The metadata service of the simulated node's cloud, in the shape of AWS's IMDSv2: without a token it answers 401.

The node is a spot instance that has never heard of maintenance; a notice stands from the moment capacity is called back
until it is replaced.
"""

from datetime import UTC, datetime

from aistack_top.simulator.node import SimulatedNode

SESSION = "simulated-session"
SESSION_HEADER = "X-aws-ec2-metadata-token"
BASE = "/latest/meta-data/"


def instance_type(node: SimulatedNode) -> str:
    """Return what the machine is called: nothing that AWS sells, so that nobody looks for its price."""
    return f"simulated.{len(node.gpus)}x{node.config.gpu.split()[1].lower()}"


def answer(node: SimulatedNode, path: str) -> object:
    """Return what stands at a path below `BASE`: text, or JSON-ready data; None for what there is not (404)."""
    if path == "instance-type":
        return instance_type(node)
    if path == "instance-life-cycle":
        return "spot"
    if path == "events/maintenance/scheduled":
        return []
    if path == "spot/instance-action" and node.gone_at is not None:
        gone = datetime.fromtimestamp(node.epoch + node.gone_at, UTC)
        return {"action": "terminate", "time": gone.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return None
