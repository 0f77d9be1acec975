"""Which requests go through a proxy: what the shell's settings say, and what never does.

``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` are read as curl reads them, in small letters first. The
HTTP clients do not read them themselves: they would hand this machine's own servers to the proxy, and end the program
over a setting that they do not understand. A setting that cannot be used costs the servers behind it, and no other.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError

SCHEMES = ("http", "https", "all")
SOCKS = ("socks5", "socks5h")
SOCKS_MODULES = ("socksio", "socks")
"""What httpx and requests need for SOCKS: both, as one program uses both."""

_SEPARATOR = re.compile(r"[\s,]+")
_BRACKETS = re.compile(r"\[([^\]]+)\](/\d+)?(?::(\d+))?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProxySetting:
    """A variable that names a proxy. ``problem`` says why it cannot be used and ``mend`` what to do, or nothing."""

    variable: str
    url: str
    problem: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class ProxyException:
    """An entry of ``no_proxy``: a network or a name (with all below it), with a port or for all."""

    network: Network | None
    name: str
    port: int | None

    def holds(self, host: str, port: int) -> bool:
        """Whether a server goes without a proxy by this entry."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            address = as_address(host)
            return address is not None and address.version == self.network.version and address in self.network
        return self.name == "*" or (bool(self.name) and (host == self.name or host.endswith(f".{self.name}")))


class Proxies:
    """The proxies of an environment. ``direct`` are hosts that are asked without one, whatever it says."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        direct: Collection[str] = (),
        *,
        has_module: Callable[[str], bool] = lambda name: find_spec(name) is not None,
        is_local: Callable[[str], bool] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._direct = frozenset(direct)
        self._is_local = is_local or ThisNode().has
        self.settings = {
            scheme: _setting(variable, environ[variable].strip(), has_module)
            for scheme in SCHEMES
            if (variable := _variable(environ, f"{scheme}_proxy"))
        }
        excepted = _variable(environ, "no_proxy")
        entries = _SEPARATOR.split(environ[excepted].lower()) if excepted else []
        self._exceptions = [exception(entry) for entry in entries if entry]

    @property
    def problems(self) -> list[ProxySetting]:
        """The settings that cannot be used."""
        return [one for one in self.settings.values() if one.problem]

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy through which an address is asked, or None where it is asked directly.

        Raises:
            SourceError: it should go through a proxy that cannot be used; the reason says which setting that is.

        """
        parts = urlsplit(url)
        setting = self.settings.get(parts.scheme) or self.settings.get("all")
        host = (parts.hostname or "").rstrip(".")
        if setting is None or host in self._direct or self._is_local(host):
            return None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if any(one.holds(host, port) for one in self._exceptions):
            return None
        if setting.problem:
            raise SourceError("misconfigured", f"{setting.problem}; {setting.mend}, or name the host in no_proxy")
        return setting.url


class ThisNode:
    """Names and addresses of this machine, without asking a name server."""

    def __init__(self, hosts: Path = Path("/etc/hosts"), name: str | None = None) -> None:
        self._hosts = hosts
        self._name = (socket.gethostname() if name is None else name).lower()

    def has(self, host: str) -> bool:
        """Whether a host is this machine: loopback, an address of one of its interfaces, or its own name."""
        address = as_address(host)
        if address is not None:
            return is_own(address)
        return host == "localhost" or host.endswith(".localhost") or host in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        own = {self._name, self._name.partition(".")[0]} - {""}
        try:
            lines = self._hosts.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            words = line.partition("#")[0].lower().split()
            address = as_address(words[0]) if words else None
            if address is not None and is_own(address):
                own.update(words[1:])
        return frozenset(own)


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is written as, or None for a name. IPv4 within IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is this machine's. The kernel binds a socket to its own addresses only; nothing is sent."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            info = socket.getaddrinfo(str(address), 0, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
            probe.bind(info[0][4])
    except OSError:
        return False
    return True


def exception(entry: str) -> ProxyException:
    """Return what an entry of ``no_proxy`` means: a name, an address or a network, each with a port or without."""
    port = ""
    if match := _BRACKETS.fullmatch(entry):
        entry, port = match[1] + (match[2] or ""), match[3] or ""
    elif entry.count(":") == 1:
        entry, _, port = entry.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else None
    try:
        return ProxyException(ipaddress.ip_network(entry, strict=False), "", number)
    except ValueError:
        return ProxyException(None, entry if entry == "*" else entry.removeprefix("*").strip("."), number)


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return the name under which a variable is set; one that is set and empty switches the setting off."""
    # a web server hands the header "Proxy" of any request on as HTTP_PROXY
    usable = [name] if name == "http_proxy" and "REQUEST_METHOD" in environ else [name, name.upper()]
    found = next((one for one in usable if one in environ), "")
    return found if found and environ[found].strip() else ""


def _setting(variable: str, value: str, has_module: Callable[[str], bool]) -> ProxySetting:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        place = sanitize(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", 80)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        place, usable, parts = "no address", False, urlsplit("")
    if not usable:
        said, mend = f"{variable} is not a valid proxy ({place})", "write it as http://HOST:PORT"
    elif parts.scheme in SOCKS and not all(has_module(name) for name in SOCKS_MODULES):
        said = f"{variable} is a SOCKS proxy ({place}), which needs a missing package"
        mend = "pip install 'httpx[socks]' 'requests[socks]'"
    elif parts.scheme not in ("http", "https", *SOCKS):
        said, mend = f"{variable} is a proxy of an unknown type ({place})", "write http://, https:// or socks5://"
    else:
        said = mend = ""
    return ProxySetting(variable, url, said, mend)
