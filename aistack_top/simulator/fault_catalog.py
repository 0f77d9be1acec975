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
    XidFault,
)
from aistack_top.simulator.servicefaults import (
    Guardrail,
    PromptSalt,
    PromptVersion,
    Retrieval,
    Rollout,
    Routing,
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
    | PromptSalt
    | Sizes
    | SlowEngine
    | SourceDown
    | Spot
    | Surge
    | Tide
    | Training
    | XidFault
)
"""A fault as it stands in a scenario; ``type`` in the file says which."""
