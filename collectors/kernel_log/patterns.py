"""What is looked for in a log, and what a line of each kind says. Pure functions of bytes.

| pattern | line | where |
|---|---|---|
| ``xid`` | ``NVRM: Xid (PCI:0000:3b:00): 79, pid=...`` | the kernel's log |
| ``sxid`` | ``nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, ...`` | the kernel's log |
| ``oom`` | ``Out of memory: Killed process 4711 (python) total-vm:...`` | the kernel's log |
| ``hung`` | ``INFO: task NAME:PID blocked for more than 120 seconds.``, soft lockups | the kernel's log |
| ``pcie`` | ``AER: Uncorrectable ... error``, ``PCIe Bus Error: severity=Uncorrect...`` | the kernel's log |
| ``machine_check`` | ``mce: [Hardware Error]: ...`` | the kernel's log |
| ``nccl`` | ``HOST:PID:TID [RANK] NCCL WARN ...`` | any file that is named |
| ``fabric_manager`` | a line of nv-fabricmanager with ``ERROR`` or ``FATAL`` | any file |

Whoever may write a log file may write such lines into it: they are evidence, and alone never more than *likely*.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_LINE: Final = 2048
"""Bytes of a line that are looked at; a pattern stands near its beginning."""

_KERNEL = re.compile(
    rb"(?P<xid>NVRM: Xid \((?:PCI:)?(?P<pci>[0-9a-fA-F:.]{7,16})\): (?P<code>\d{1,4}))"
    rb"|(?P<sxid>SXid \((?:PCI:)?(?P<switch>[0-9a-fA-F:.]{7,16})\): (?P<scode>\d{1,6}), (?P<fatal>Fatal|Non-fatal))"
    rb"|(?P<oom>Killed process (?P<pid>\d{1,10}) \((?P<command>[^)\n]{0,40})\))"
    rb"|(?P<hung>INFO: task \S{1,40}:\d+ blocked for more than|BUG: soft lockup)"
    rb"|(?P<pcie>AER: (?:Multiple )?Uncorrect|PCIe Bus Error: severity=Uncorrect)"
    rb"|(?P<machine_check>mce: \[Hardware Error\])"
)
_ANY = re.compile(
    rb"(?P<nccl>\bNCCL WARN\b)"
    rb"|(?P<fabric_manager>^\[\w{3} \d\d \d{4} [\d:]{8}\] \[(?:ERROR|FATAL|CRITICAL)\] \[tid \d+\]"
    rb"|nv-fabricmanager(?:\[\d+\])?: .{0,200}?\b(?:error|fatal)\b)",
    re.IGNORECASE,
)

TITLES: Final = {
    "xid": "XID",
    "sxid": "NVSwitch SXid",
    "oom": "killed for lack of memory",
    "hung": "hung task",
    "pcie": "uncorrected PCIe error",
    "machine_check": "machine check",
    "nccl": "NCCL warning",
    "fabric_manager": "Fabric Manager error",
}
"""The patterns, in the order of the table, and what a person calls each."""


@dataclass(frozen=True, slots=True)
class LogHit:
    """A line that fits a pattern. ``code`` and ``where`` are an XID's, ``pid`` and ``command`` of what was killed."""

    pattern: str
    code: int | None = None
    where: str = ""
    fatal: bool = False
    pid: str = ""
    command: str = ""


def match(line: bytes, *, kernel: bool) -> LogHit | None:
    """Return what a line says; ``kernel``: it is the kernel's own, or of a file that the kernel's lines stand in."""
    line = line[:MAX_LINE]
    found = _KERNEL.search(line) if kernel else None
    found = found or _ANY.search(line)
    if found is None or found.lastgroup is None:
        return None
    told = {name: value for name, value in found.groupdict().items() if value is not None}
    pattern = next(name for name in TITLES if name in told)
    code = told.get("code") or told.get("scode")
    return LogHit(
        pattern,
        None if code is None else int(code),
        (told.get("pci") or told.get("switch") or b"").decode("ascii", "replace"),
        told.get("fatal") == b"Fatal",
        told.get("pid", b"").decode("ascii", "replace"),
        told.get("command", b"").decode("utf-8", "replace"),
    )


def kernel_text(record: bytes) -> bytes | None:
    """Return the text of a record of ``/dev/kmsg``; None where a program wrote it, and not the kernel."""
    head, _, text = record.partition(b";")
    priority = head.partition(b",")[0]
    if not priority.isdigit() or int(priority) >> 3:
        return None
    return text.partition(b"\n")[0]
