import re

import pytest

from collectors.discovery.candidates import LOOKS, WHOLE_S, LocalServers, ProcessPattern, parse_routes
from collectors.registry import kind
from tests.collectors.procfs.proc_tree import ProcTree

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)
VLLM, RAY = kind("vllm").local, kind("ray").local
TRAITS = [ProcessPattern("vllm", re.compile(VLLM.process), VLLM.ports), ProcessPattern("dcgm", None, (9400,))]
SERVE = ["/usr/bin/python3", "/usr/local/bin/vllm", "serve", "m", "--port", "8123"]


class Node:
    """A made-up machine, and the looks at it."""

    def __init__(self, folder):
        self.proc = ProcTree(folder / "proc")
        self.proc.write("self/net/route", ROUTES)
        self.proc.namespace(1, "net:[1]", "127.0.0.1", "10.0.0.5")
        (folder / "sys/class/net/docker0").mkdir(parents=True)
        (folder / "sys/class/net/eth0/device").mkdir(parents=True)
        self.now = 0.0
        self.servers = LocalServers(folder / "proc", folder / "sys", TRAITS, lambda: self.now)

    def urls(self):
        return [one.url for one in self.servers.scan().candidates]

    def server(self, pid=50, argv=SERVE, namespace="net:[1]", addresses=("127.0.0.1", "10.0.0.5"), **more):
        self.proc.process(pid, 1, argv, **more)
        self.proc.namespace(pid, namespace, *addresses)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_server_is_found_by_the_socket_that_its_process_holds_whatever_the_port(node):
    node.server(argv=[*SERVE[:4]])
    node.proc.listen(50, 700, 41234)
    (found,) = node.servers.scan().candidates
    assert (found.url, found.kind, found.process.pid) == ("http://127.0.0.1:41234", "vllm", 50)


def test_another_users_server_is_found_by_the_port_in_its_command_line(node):
    node.server(uid=0)
    node.proc.listen(50, 700, 8123, uid=0)
    node.proc.listen(1, 701, 8124, uid=0)
    node.proc.close(50)
    assert node.urls() == ["http://127.0.0.1:8123"]


def test_a_port_that_another_user_holds_is_not_the_servers(node):
    node.server(uid=0)
    node.proc.listen(1, 700, 8123, uid=1001)
    node.proc.close(50)
    sight = node.servers.scan()
    assert sight.candidates == ()
    assert "it does not listen yet" in sight.unreached[0].why


def test_a_server_in_a_container_is_found_at_the_containers_address(node):
    node.server(namespace="net:[2]", addresses=("127.0.0.1", "172.17.0.2"), uid=0, container="a" * 64)
    node.proc.listen(50, 700, 8123, namespace="net:[2]", uid=0)
    node.proc.close(50)
    assert node.urls() == ["http://172.17.0.2:8123"]


@pytest.mark.parametrize("address", ["10.0.0.77", "192.168.7.7"])
def test_an_address_that_may_be_somebody_elses_machine_is_never_asked(node, address):
    node.server(namespace="net:[2]", addresses=("127.0.0.1", address))
    node.proc.listen(50, 700, 8123, namespace="net:[2]")
    sight = node.servers.scan()
    assert sight.candidates == ()
    assert "does not reach directly" in sight.unreached[0].why


def test_a_containers_loopback_cannot_be_reached_and_the_mend_is_said(node):
    node.server(namespace="net:[2]", addresses=("127.0.0.1", "172.17.0.2"))
    node.proc.listen(50, 700, 8123, namespace="net:[2]", address="127.0.0.1")
    sight = node.servers.scan()
    assert sight.candidates == ()
    assert "--host 0.0.0.0" in sight.unreached[0].why


def test_a_usual_port_is_worth_asking_although_nobody_is_seen_behind_it(node):
    node.proc.listen(1, 700, 9400)
    node.proc.listen(1, 701, 5432)
    (found,) = node.servers.scan().candidates
    assert (found.url, found.kind, found.process) == ("http://127.0.0.1:9400", "", None)


def test_a_port_forwarded_to_a_server_that_is_found_is_not_a_second_one(node):
    node.server(namespace="net:[2]", addresses=("127.0.0.1", "172.17.0.2"))
    node.proc.listen(50, 700, 8123, namespace="net:[2]")
    proxy = "docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8000 -container-ip 172.17.0.2 -container-port 8123"
    node.proc.process(60, 1, proxy.split())
    node.proc.listen(60, 702, 8000)
    assert node.urls() == ["http://172.17.0.2:8123"]


def test_a_socket_of_ipv6_may_take_ipv6_only_and_both_loopbacks_are_worth_asking(node):
    node.server()
    node.proc.listen(50, 700, 8123, address="::")
    node.proc.listen(1, 701, 9400)
    found = [(one.url, one.otherwise) for one in node.servers.scan().candidates]
    assert found == [("http://127.0.0.1:8123", "http://[::1]:8123"), ("http://127.0.0.1:9400", "")]


@pytest.mark.parametrize(
    "line",
    ["python\0/x/site-packages/ray/dashboard/agent.py\0--node-ip", "ray::DashboardAgent", "ray::DashboardAgent\0"],
)
def test_rays_agent_is_known_before_and_after_it_has_renamed_itself(line):
    assert re.search(RAY.process, line)
    assert not re.search(RAY.process, "grep\0ray::DashboardAgent\0")


def test_text_that_speaks_of_a_server_is_none(node):
    node.proc.process(60, 1, ["bash", "-c", "vllm serve m --port 8123"])
    node.proc.process(61, 1, ["vim", "vllm serve"])
    sight = node.servers.scan()
    assert (sight.candidates, sight.unreached) == ((), ())


def test_the_wrapper_of_a_server_is_not_reported_beside_it(node):
    node.proc.process(49, 1, ["uv", "run", "vllm", "serve", "m"])
    node.proc.namespace(49, "net:[1]", "127.0.0.1")
    node.server()
    node.proc.process(50, 49, SERVE)
    node.proc.listen(50, 700, 8123)
    sight = node.servers.scan()
    assert [one.process.pid for one in sight.candidates] == [50]
    assert sight.unreached == ()


def test_a_server_that_comes_later_is_found_and_one_that_ends_is_not_told_any_more(node):
    assert node.urls() == []
    node.server()
    node.proc.listen(50, 700, 8123)
    assert node.urls() == ["http://127.0.0.1:8123"]
    (node.proc.root / "50/stat").unlink()
    node.proc.tables["net:[1]"] = []
    assert node.urls() == []


def test_a_process_that_takes_a_freed_number_is_looked_at_anew(node):
    node.proc.process(50, 1, ["sleep", "9"])
    for _ in range(LOOKS):
        assert node.urls() == []
    node.server(start=60)
    node.proc.listen(50, 700, 8123)
    node.now = WHOLE_S
    assert node.urls() == []  # the number never went away: only a look that found a server watches its start
    (node.proc.root / "50").rename(node.proc.root.parent / "away")
    assert node.urls() == []
    (node.proc.root.parent / "away").rename(node.proc.root / "50")
    assert node.urls() == ["http://127.0.0.1:8123"]


def test_tables_are_not_read_again_while_nobody_comes_or_goes(node):
    node.server()
    node.proc.listen(50, 700, 8123)
    assert node.urls() == ["http://127.0.0.1:8123"]
    node.proc.listen(1, 701, 9400)
    assert node.urls() == ["http://127.0.0.1:8123"]
    node.now = WHOLE_S
    assert node.urls() == ["http://127.0.0.1:8123", "http://127.0.0.1:9400"]


def test_hostile_files_find_nothing_and_raise_nothing(node):
    node.server()
    node.proc.write("50/net/tcp", b"\xff\n 0: zz:1 00:0 0A\n" * 9)
    node.proc.write("self/net/route", b"\x00\xff\nx y z\neth0 G G G G G G G\n")
    node.proc.write("self/net/tcp", b"\xfe" * 5000)
    assert node.urls() == []


def test_the_narrowest_route_decides_and_a_router_or_a_real_interface_is_not_direct():
    routes = parse_routes(ROUTES.encode(), ["docker0"])
    assert [(str(one.network), one.direct) for one in routes] == [
        ("10.0.0.0/24", False),
        ("172.17.0.0/16", True),
        ("0.0.0.0/0", False),
    ]
