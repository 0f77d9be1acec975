"""Processes by the kernel's text files: who is whose child, what listens where, and with which command line.

| file of ``/proc`` | read for | readable of others without root |
|---|---|---|
| ``PID/stat``, ``PID/status`` | parent, start, user | yes |
| ``PID/cmdline`` | the command line | yes |
| ``PID/cgroup`` | the container | yes |
| ``PID/net/tcp``, ``tcp6`` | what listens in its network namespace | yes |
| ``PID/net/fib_trie``, ``if_inet6`` | addresses of its network namespace | yes |
| ``PID/fd``, ``PID/ns`` | which socket is its own, which namespace it is in | no |

Parsers never raise, whatever the bytes are: a line that is not understood is left out. A file that cannot be read
is None or empty, since any process may end while it is looked at.
"""

import ipaddress
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collectors.procfs.cgroup import in_host_pid_namespace, read_file
from collectors.procfs.files import parse_container, parse_start

MAX_DEPTH = 32
"""Generations of parents that are followed: a worker is about four below its server."""

_PART = 64 * 1024
_MAX_TABLE_BYTES = 16 * 1024 * 1024
_LISTENING = b"0A"
"""TCP_LISTEN of include/net/tcp_states.h, as proc_net_tcp prints it."""

_SOCKET = re.compile(r"socket:\[(\d{1,20})\]")


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket that waits for connections; a wildcard ``address`` is ``0.0.0.0`` or ``::``.

    ``inode`` names the socket in the whole kernel, over all network namespaces. ``uid`` is its maker's.
    """

    address: str
    port: int
    inode: int
    uid: int

    @property
    def wildcard(self) -> bool:
        """Whether it takes connections to every address of its namespace."""
        return ipaddress.ip_address(self.address).is_unspecified


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was read once. ``start`` is in clock ticks after boot: with ``pid`` it names one process."""

    pid: int
    parent: int
    start: int
    uid: int
    argv: tuple[str, ...]
    container: str | None

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from a later process with the same number."""
        return self.pid, self.start


def parse_listening(body: bytes) -> list[Listener]:
    """Return the listening sockets of a ``/proc/PID/net/tcp`` or ``tcp6`` (networking/proc_net_tcp.rst)."""
    found = []
    for line in body.split(b"\n"):
        words = line.split()
        if len(words) < 10 or words[3] != _LISTENING:
            continue
        place, _, port = words[1].partition(b":")
        address = _address(place)
        try:
            one = Listener(address, int(port, 16), int(words[9]), int(words[7])) if address else None
        except ValueError:
            continue
        if one is not None and 0 < one.port < 65536:
            found.append(one)
    return found


def _address(digits: bytes) -> str:
    """Return an address from the kernel's digits: words of 32 bits, each as this machine stores a number."""
    if len(digits) not in (8, 32):
        return ""
    try:
        words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    except ValueError:
        return ""
    return canonical(b"".join((word & 0xFFFFFFFF).to_bytes(4, sys.byteorder) for word in words))


def canonical(address: str | bytes) -> str:
    """Return an address as Python writes it, an IPv4 one inside IPv6 as IPv4; nothing where it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    inner = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(inner or parsed).partition("%")[0]


def parse_fib_trie(body: bytes) -> set[str]:
    """Return the IPv4 addresses of a network namespace from its ``fib_trie``: the leaves marked ``host LOCAL``."""
    found, leaf = set(), ""
    for line in body.split(b"\n"):
        words = line.split()
        if words[:1] == [b"|--"] and len(words) == 2:
            leaf = canonical(words[1].decode("ascii", "replace"))
        elif words[:1] == [b"/32"] and words[1:] == [b"host", b"LOCAL"] and leaf:
            found.add(leaf)
    return found


def parse_if_inet6(body: bytes) -> set[str]:
    """Return the IPv6 addresses of a network namespace from its ``if_inet6``: 32 digits in network order."""
    found = set()
    for line in body.split(b"\n"):
        words = line.split()
        if len(words) == 6 and len(words[0]) == 32:
            try:
                found.add(canonical(bytes.fromhex(words[0].decode("ascii", "replace"))))
            except ValueError:
                continue
    return found


def parse_cmdline(body: bytes) -> tuple[str, ...]:
    """Return the arguments of a ``/proc/PID/cmdline``. A process that gave itself a title has one argument."""
    if not body.strip(b"\0"):
        return ()
    # a title is written over the arguments, and what it does not cover is filled with zeros or blanks
    return tuple(word.decode("utf-8", "replace").rstrip(" ") for word in body.rstrip(b"\0 ").split(b"\0"))


def parse_parent(body: bytes) -> int | None:
    """Return the parent's id from a ``/proc/PID/stat``; the command before it may hold blanks and parentheses."""
    words = body.rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() and len(words[1]) < 12 else None


def parse_uid(body: bytes) -> int | None:
    """Return the effective user id from a ``/proc/PID/status``: the one that a new socket gets."""
    for line in body.split(b"\n"):
        if line.startswith(b"Uid:"):
            words = line.split()
            return int(words[2]) if len(words) > 2 and words[2].isdigit() and len(words[2]) < 12 else None
    return None


class ProcTree:
    """A look at a ``/proc`` tree. What was read of namespaces is remembered: make a new one for every look."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._processes: dict[int, Process | None] = {}
        self._listening: dict[str, list[Listener]] = {}
        self._addresses: dict[str, set[str]] = {}
        self._sockets: dict[int, frozenset[int] | None] = {}

    def process(self, pid: int) -> Process | None:
        """Return a process, or None where there is none or it is hidden."""
        if pid not in self._processes:
            self._processes[pid] = self._read(pid)
        return self._processes[pid]

    def start(self, pid: int) -> int | None:
        """Return the start of whoever has a process id at this moment, read anew."""
        return parse_start(read_file(self.root / str(pid) / "stat") or b"")

    def chain(self, pid: int) -> list[Process]:
        """Return a process, its parent, its parent's parent and so on; empty where it is gone.

        A parent that began after its child is somebody else who was given the number in between.
        """
        found: list[Process] = []
        while len(found) < MAX_DEPTH and pid > 0:
            process = self.process(pid)
            if process is None or (found and process.start > found[-1].start):
                break
            found.append(process)
            pid = process.parent
        return found

    def pids(self) -> Iterator[int]:
        """Yield every process id there is."""
        for name in _names(str(self.root)):
            if name.isascii() and name.isdigit():
                yield int(name)

    def cmdline(self, pid: int) -> bytes:
        """Return the raw command line of a process, its first 64 KiB."""
        return _head(self.root / str(pid) / "cmdline")

    def listening(self, pid: int | str) -> list[Listener]:
        """Return what listens in the network namespace of a process; ``"self"`` is ours."""
        key = self.namespace(pid) or str(pid)
        if key not in self._listening:
            folder = self.root / str(pid) / "net"
            self._listening[key] = [one for name in ("tcp", "tcp6") for one in parse_listening(_table(folder / name))]
        return self._listening[key]

    def addresses(self, pid: int | str) -> set[str]:
        """Return the addresses of the network namespace of a process."""
        key = self.namespace(pid) or str(pid)
        if key not in self._addresses:
            folder = self.root / str(pid) / "net"
            four = parse_fib_trie(read_file(folder / "fib_trie") or b"")
            self._addresses[key] = four | parse_if_inet6(read_file(folder / "if_inet6") or b"")
        return self._addresses[key]

    def namespace(self, pid: int | str) -> str | None:
        """Return the name of the network namespace of a process, or None where we may not know."""
        try:
            return str((self.root / str(pid) / "ns/net").readlink())
        except OSError:
            return None

    def sockets(self, pid: int) -> frozenset[int] | None:
        """Return the inodes of the sockets that a process holds open, or None where we may not know."""
        if pid not in self._sockets:
            self._sockets[pid] = self._open_sockets(pid)
        return self._sockets[pid]

    def holds_a_gpu(self, pid: int) -> bool:
        """Whether a process is known to have a GPU's device file open."""
        return any(target.startswith("/dev/nvidia") for target in self._open_files(pid) or ())

    def sees_every_process(self) -> bool:
        """Whether process ids mean here what they mean to the GPU's driver: the machine's own namespace."""
        return in_host_pid_namespace(self.root) is True

    def _read(self, pid: int) -> Process | None:
        folder = self.root / str(pid)
        stat = read_file(folder / "stat") or b""
        parent, start = parse_parent(stat), parse_start(stat)
        uid = parse_uid(read_file(folder / "status") or b"")
        if parent is None or start is None or uid is None:
            return None
        container = parse_container(read_file(folder / "cgroup") or b"")
        return Process(pid, parent, start, uid, parse_cmdline(self.cmdline(pid)), container)

    def _open_sockets(self, pid: int) -> frozenset[int] | None:
        targets = self._open_files(pid)
        if targets is None:
            return None
        return frozenset(int(found[1]) for target in targets if (found := _SOCKET.fullmatch(target)))

    def _open_files(self, pid: int) -> list[str] | None:
        folder = f"{self.root}/{pid}/fd"
        if not os.access(folder, os.R_OK | os.X_OK):
            return None
        targets = []
        for name in _names(folder):
            try:
                targets.append(str(Path(folder, name).readlink()))
            except OSError:
                continue
        return targets


def _names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


def _head(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(handle, _PART)
    except OSError:
        return b""
    finally:
        os.close(handle)


def _table(path: Path) -> bytes:
    """Return the front of a socket table: the kernel writes those that listen first, then every connection."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    body, seen = bytearray(), 0
    try:
        while len(body) < _MAX_TABLE_BYTES and (part := os.read(handle, _PART)):
            body += part
            if len(body) - seen >= _PART:
                if not parse_listening(bytes(body[seen:])):
                    break
                seen = len(body)
    except OSError:
        pass
    finally:
        os.close(handle)
    return bytes(body)


def option(argv: Sequence[str], *names: str) -> str | None:
    """Return what an option is set to, written ``--name value`` or ``--name=value``; the last one counts."""
    found = None
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else (argv[index + 1] if index + 1 < len(argv) else None)
    return found


_SECRET = re.compile(
    r"key|token(?!iz)|secret|passw|passphrase|pwd|credential|auth|bearer|cookie|jwt|dsn|signature"
    r"|(?<![a-z])pass(?![a-z])",
    re.IGNORECASE,
)
"""What stands in the name of a setting that holds a secret; rather a harmless value hidden than a secret shown."""

_COUNT = re.compile(r"[\d._]{1,12}[kKmMgG]?i?")
_OPTION = re.compile(r"(?:--[A-Za-z]|-(?=[A-Za-z]{1,3}(?:=|$)))[\w.\-]*(?:=.*)?", re.DOTALL)
_SETTING = re.compile(r"(-{0,2}[A-Za-z_][\w.\-]*)(=|:\s)(.*)", re.DOTALL)
_FIELD = re.compile(r"(?<![\w.\-])([\w.\-]+)([\"']?\s*[=:]\s*)")
_VALUE = re.compile(
    r"[\[{(].*|\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|(?:(?:Bearer|Basic|Token)\s+)?[^\s,;&\"'}\]]+",
    re.DOTALL | re.IGNORECASE,
)
_SPOKEN = re.compile(r"(?<!\S)(--?[A-Za-z][\w.\-]*)(\s+)((?!-)\S+(?:\s+(?!-)\S+)*)")
_KNOWN_FORMS = re.compile(
    r"(?<=://)[^/\s]*(?=@)|(?<=Bearer )\S+|(?<=Basic )\S+"
    r"|\b(?:sk|pk|rk|hf|ghp|gho|ghs|glpat|nvapi|xox[abps]|gsk|github_pat)[-_][\w\-]{8,}"
    r"|\beyJ[\w\-]{8,}[\w.\-]*|\b(?:AKIA|ASIA|AIza)[\w\-]{12,}"
)
"""Logins in addresses, and the forms that well-known issuers give their keys; hidden wherever they stand."""

HIDDEN = "***"
MAX_COMMAND = 1000
"""Characters of a command line that are kept as a fact."""


def redacted(argv: Sequence[str]) -> str:
    """Return a command line with every value that may be a secret replaced by ``***``.

    Hidden are values of options, variables, JSON fields, headers and URL parameters whose names speak of keys,
    tokens, passwords and the like, logins in URLs, and what has the form of a well-known issuer's key.
    """
    words: list[str] = []
    name = ""
    for word in argv:
        option = _OPTION.fullmatch(word)
        if name and not option:
            words.append(HIDDEN if _is_secret(name, word) else word)
            continue
        name = word if option and "=" not in word and _SECRET.search(word) else ""
        words.append(word if name else _without_secrets(word))
    return " ".join(shlex.quote(word) if not word or any(map(str.isspace, word)) else word for word in words)


def _is_secret(name: str, value: str) -> bool:
    # --max-num-batched-tokens 8192 is a number that one wants to see
    counted = name.lower().endswith("tokens") and _COUNT.fullmatch(value)
    return bool(_SECRET.search(name)) and not counted


def _without_secrets(word: str) -> str:
    setting = _SETTING.fullmatch(word)
    if setting and _is_secret(setting[1], setting[3]):
        return setting[1] + setting[2] + HIDDEN
    word = _SPOKEN.sub(lambda m: m[1] + m[2] + (HIDDEN if _is_secret(m[1], m[3]) else m[3]), word)
    parts, done = [], 0
    while field := _FIELD.search(word, done):
        value = _VALUE.match(word, field.end())
        parts.append(word[done : field.end()])
        done = field.end()
        if value and _is_secret(field[1], value[0]):
            parts.append(HIDDEN)
            done = value.end()
    return _KNOWN_FORMS.sub(HIDDEN, "".join(parts) + word[done:])
