"""All kinds of faults there are; a new kind is a class and a name here."""

from aistack_top.simulator.faults import (
    Acceptance,
    Cooling,
    Cores,
    Ecc,
    Freeze,
    Neighbour,
    NvLink,
    PowerBrake,
    PowerLimit,
    Reconfigure,
    SlowEngine,
    Training,
    Xid,
)
from aistack_top.simulator.servicefaults import (
    Guardrail,
    PromptVersion,
    Retrieval,
    Rollout,
    Routing,
    Salt,
    Sizes,
    SourceDown,
    Spot,
    Surge,
    Tide,
)

Fault = (
    Acceptance
    | Cooling
    | Cores
    | Ecc
    | Freeze
    | Guardrail
    | Neighbour
    | NvLink
    | PowerBrake
    | PowerLimit
    | PromptVersion
    | Reconfigure
    | Retrieval
    | Rollout
    | Routing
    | Salt
    | Sizes
    | SlowEngine
    | SourceDown
    | Spot
    | Surge
    | Tide
    | Training
    | Xid
)
"""A fault as it stands in a scenario; ``type`` in the file says which."""
