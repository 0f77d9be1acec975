"""A made-up ``/proc``: processes with parents, command lines, sockets and network namespaces."""

import ipaddress
import os
import sys
from pathlib import Path

HOST = "pid:[4026531836]"
"""The name of the machine's own process namespace, the same on every Linux (proc_ns.h)."""

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def hexed(address: str, port: int) -> str:
    packed = ipaddress.ip_address(address).packed
    words = [packed[i : i + 4] for i in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"


class ProcTree:
    """Writes a tree a kernel could have written."""

    def __init__(self, root: Path, *, certain: bool = True) -> None:
        self.root = root
        self.tables: dict[str, list[str]] = {}
        self.process(1, 0, ["/sbin/init"], start=1)
        self.link("1/ns/pid", HOST)
        self.link("self/ns/pid", HOST if certain else "pid:[4026539999]")
        self.namespace("self", "net:[1]", "127.0.0.1", "10.0.0.5")

    def write(self, path: str, text: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def link(self, path: str, target: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def process(self, pid: int, parent: int, argv: list[str], *, start: int = 0, uid: int = 1000, container: str = ""):
        name = os.path.basename(argv[0])[:15]  # noqa: PTH119 - a name in a made-up command line, no file
        self.write(f"{pid}/stat", f"{pid} ({name}) S {parent} " + "0 " * 17 + f"{start or pid} " + "0 " * 30)
        self.write(f"{pid}/status", f"Name:\t{name}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        self.write(f"{pid}/cmdline", "\0".join(argv) + "\0")
        group = f"/system.slice/docker-{container}.scope" if container else "/user.slice"
        self.write(f"{pid}/cgroup", f"0::{group}\n")
        (self.root / f"{pid}/fd").mkdir(parents=True, exist_ok=True)

    def namespace(self, pid: int | str, name: str, *addresses: str) -> None:
        """Give a process the network namespace of a name, with its addresses."""
        self.link(f"{pid}/ns/net", name)
        leaves = "".join(f"           |-- {one}\n              /32 host LOCAL\n" for one in addresses)
        self.write(f"{pid}/net/fib_trie", f"Local:\n  +-- 0.0.0.0/0 3 0 5\n{leaves}")
        self.write(f"{pid}/net/tcp6", HEAD)
        self._write_table(pid, name)

    def listen(
        self, owner: int, inode: int, port: int, *, namespace: str = "net:[1]", address: str = "0.0.0.0", uid=1000
    ):
        """Let a process listen in a namespace; every process there sees the socket in its table."""
        rows = self.tables.setdefault(namespace, [])
        rest = f"00000000:0000 0A 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} 1 0000 100 0 0 10 0"
        rows.append(f"   {len(rows)}: {hexed(address, port)} {rest}\n")
        self.link(f"{owner}/fd/{inode % 100}", f"socket:[{inode}]")
        for folder in self.root.iterdir():
            ns = folder / "ns/net"
            if ns.is_symlink() and str(ns.readlink()) == namespace:
                self._write_table(folder.name, namespace)

    def close(self, pid: int) -> None:
        """Close the open files and namespaces of a process to us, as those of another user are."""
        for name in ("fd", "ns"):
            folder = self.root / f"{pid}/{name}"
            if folder.is_dir():
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()

    def _write_table(self, pid: int | str, namespace: str) -> None:
        self.write(f"{pid}/net/tcp", HEAD + "".join(self.tables.get(namespace, [])))
