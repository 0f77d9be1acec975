"""The metadata services of three clouds, from the first question to a notice and its end; strangers too."""

import asyncio

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from collectors.assemble import clouds, sources
from collectors.cloud.collector import NO_CLOUD, CloudCollector, cloud_of
from collectors.cloud.providers import ADDRESS, AZURE_TAG, found
from collectors.config import CloudSource, Config, ConsoleSettings, HostSource, NvmlSource, parse
from collectors.registry import CollectorContext, build
from tests.fakes.clouds import SESSION, Metadata, told

START = 1_600_000_000.0
NODE = Entity.of(node="n")
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
MAINTENANCE = "/latest/meta-data/events/maintenance/scheduled"


class Told:
    """A cloud's collector in front of a fake, asked as often as a test wants; the clock stands still in between."""

    def __init__(self, cloud, handler=None, **config):
        self.service = handler or Metadata(cloud)
        self.clock = VirtualClock(START)
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self.service), follow_redirects=True)
        source = CloudSource(provider=cloud, url="http://metadata", **config)
        self.collector = build(source, CollectorContext(self.clock, self.client, b"", "n"))

    async def asked(self):
        return await self.collector.collect()

    async def later(self, seconds):
        with self.clock.participant():
            await self.clock.sleep_until(self.clock.monotonic() + seconds)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.collector.aclose()
        await self.client.aclose()


def news(batch):
    return [(one.severity, dict(one.detail)["action"], dict(one.detail)["state"]) for one in batch.events]


async def test_aws_tells_what_the_instance_is_and_a_notice_once_and_its_end():
    async with Told("aws") as aws:
        first = await aws.asked()
        assert (first.health.status, first.health.reason, first.health.layer) == ("ok", "", "compute")
        assert {(one.entity, one.key): one.value for one in first.facts} == {
            (NODE, "cloud"): "AWS",
            (NODE, "instance_type"): "p5.48xlarge",
            (NODE, "instance_life_cycle"): "spot",
        }
        assert not first.events
        aws.service.paths[ACTION] = told("aws-instance-action.json")
        (event,) = (await aws.asked()).events
        assert (event.at, event.seen, event.layer, event.kind, event.entity) == (
            START,
            START,
            "compute",
            "notice",
            NODE,
        )
        assert event.text == "AWS is reclaiming this spot instance: terminated at 08:22:00 UTC"
        assert dict(event.detail) == {
            "action": "terminate",
            "due": "2017-09-18T08:22:00.000Z",
            "notice": "spot/instance-action",
            "state": "given",
        }
        assert not (await aws.asked()).events
        del aws.service.paths[ACTION]
        (end,) = (await aws.asked()).events
        assert (end.severity, end.text) == ("info", f"no longer: {event.text}")
        assert news(await aws.asked()) == []
    assert {request.method for request in aws.service.asked} == {"GET"}


async def test_a_recommendation_is_dated_by_the_cloud_but_never_in_our_future():
    async with Told("aws") as aws:
        aws.service.paths[REBALANCE] = b'{"noticeTime":"2020-09-13T12:26:00Z"}'
        aws.service.paths[MAINTENANCE] = told("aws-maintenance.json")
        batch = await aws.asked()
        assert news(batch) == [("warning", "rebalance", "given"), ("warning", "system-reboot", "given")]
        assert batch.events[0].at == START - 40.0
    async with Told("aws") as aws:
        aws.service.paths[REBALANCE] = told("aws-rebalance.json")
        assert (await aws.asked()).events[0].at == START


async def test_maintenance_that_is_moved_is_told_again_without_an_end():
    async with Told("aws") as aws:
        aws.service.paths[MAINTENANCE] = told("aws-maintenance.json")
        await aws.asked()
        aws.service.paths[MAINTENANCE] = told("aws-maintenance.json").replace(
            b"21 Jan 2019 09:00", b"28 Jan 2019 09:00"
        )
        batch = await aws.asked()
        assert news(batch) == [("warning", "system-reboot", "given")]
        assert "2019-01-28" in batch.events[0].text


async def test_a_session_is_asked_for_only_where_it_is_wanted_and_is_seen_nowhere():
    async with Told("aws") as aws:
        aws.service.wants_session = True
        batches = [await aws.asked() for _ in range(3)]
        await aws.later(3600.0)
        batches.append(await aws.asked())
        assert {batch.health.status for batch in batches} == {"ok"}
        puts = [request for request in aws.service.asked if request.method == "PUT"]
        assert [(str(one.url), one.content) for one in puts] == [("http://metadata/latest/api/token", b"")] * 2
        assert puts[0].headers["x-aws-ec2-metadata-token-ttl-seconds"] == "3600"
        assert SESSION not in repr(batches)


async def test_a_session_that_ended_early_is_fetched_anew():
    async with Told("aws") as aws:
        aws.service.wants_session = True
        await aws.asked()
        aws.collector._cloud._headers = {"X-aws-ec2-metadata-token": "older"}
        assert (await aws.asked()).health.status == "ok"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda: httpx.Response(403), "returns none: HTTP 403"),
        (lambda: httpx.Response(200, text="<html>"), "returns none: HTTP 200"),
        (lambda: httpx.Response(200, content=b"two\r\nX-Evil: lines"), "returns none: HTTP 200"),
        (lambda: httpx.Response(200, content=b"x" * 2000), "returns none: HTTP 200"),
        (
            lambda: httpx.Response(307, headers={"location": "http://elsewhere/latest/api/token"}),
            "returns none: HTTP 307",
        ),
    ],
)
async def test_a_session_that_is_none_is_said_and_never_sent(given, reason):
    async with Told("aws") as aws:
        aws.service.wants_session, aws.service.gives_session = True, given
        batch = await aws.asked()
        assert batch.health.status == "unauthorized"
        assert reason in batch.health.reason
        assert {request.url.host for request in aws.service.asked} == {"metadata"}


async def test_a_hop_limit_that_keeps_the_session_away_is_told():
    async with Told("aws") as aws:

        def lost():
            raise httpx.ReadTimeout("")

        aws.service.wants_session, aws.service.gives_session = True, lost
        batch = await aws.asked()
        assert (batch.health.status, "hop limit" in batch.health.reason) == ("unauthorized", True)


async def test_gcp_by_word():
    async with Told("gcp") as gcp:
        first = await gcp.asked()
        assert [one.value for one in first.facts] == ["GCP", "a3-highgpu-8g", "spot"]
        base = "/computeMetadata/v1/instance"
        gcp.service.paths[f"{base}/maintenance-event"] = told("gcp-maintenance-event.txt")
        assert news(await gcp.asked()) == [("warning", "migrate", "given")]
        gcp.service.paths[f"{base}/maintenance-event"] = b"TERMINATE_ON_HOST_MAINTENANCE"
        assert news(await gcp.asked()) == [("critical", "terminate", "given"), ("info", "migrate", "gone")]
        gcp.service.paths[f"{base}/preempted"] = told("gcp-preempted.txt")
        assert news(await gcp.asked()) == [("critical", "preempt", "given")]
    assert "123456789012" not in repr(first)


async def test_azure_only_reads_and_tells_of_this_machine_only():
    async with Told("azure") as azure:
        first = await azure.asked()
        assert [one.value for one in first.facts] == ["Azure", "Standard_ND96isr_H100_v5", "spot"]
        azure.service.paths["/metadata/scheduledevents"] = told("azure-freeze.json")
        assert not (await azure.asked()).events
        azure.service.paths["/metadata/scheduledevents"] = told("azure-preempt.json")
        assert news(await azure.asked()) == [("critical", "preempt", "given")]
        began = (
            told("azure-preempt.json").replace(b"Tue, 16 Mar 2021 00:58:46 GMT", b"").replace(b"Scheduled", b"Started")
        )
        azure.service.paths["/metadata/scheduledevents"] = began
        assert not (await azure.asked()).events, "it begins: that is no other notice"
    assert {request.method for request in azure.service.asked} == {"GET"}
    assert "myspotvm" not in repr(first)


async def test_azures_first_answer_is_waited_for_without_holding_anything_up():
    held = asyncio.Event()
    service = Metadata("azure")

    async def handler(request):
        if request.url.path == "/metadata/scheduledevents":
            await held.wait()
        return service(request)

    async with Told("azure", handler, timeout=0.01) as azure:
        waiting = await azure.asked()
        assert (waiting.health.status, "two minutes" in waiting.health.reason) == ("slow", True)
        held.set()
        assert (await azure.asked()).health.status == "ok"
        assert len([one for one in service.asked if one.url.path.endswith("scheduledevents")]) == 1


PORTAL = "<html><title>Sign in</title></html>"
STRANGERS = {
    "a portal": (lambda _: httpx.Response(200, html=PORTAL), "misconfigured"),
    "a redirect": (lambda _: httpx.Response(302, headers={"location": "http://portal/login"}), "misconfigured"),
    "nothing there": (lambda _: httpx.Response(404), "misconfigured"),
    "closed": (lambda _: httpx.Response(403), "unauthorized"),
    "failing": (lambda _: httpx.Response(503), "down"),
    "too often": (lambda _: httpx.Response(429), "slow"),
    "huge": (lambda _: httpx.Response(200, content=b"x" * 2**20), "misconfigured"),
    "no text": (lambda _: httpx.Response(200, content=b"\xff\xfe\x00p5.48xlarge"), "misconfigured"),
    "empty": (lambda _: httpx.Response(200), "misconfigured"),
}


class Stranger:
    def __init__(self, name):
        self.name, self.asked = name, []

    def __call__(self, request):
        self.asked.append(request)
        return STRANGERS[self.name][0](request)


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
@pytest.mark.parametrize("name", STRANGERS)
async def test_a_stranger_in_its_place_is_told_and_is_no_notice(cloud, name):
    handler = Stranger(name)
    async with Told(cloud, handler) as told_of:
        batch = await told_of.asked()
    assert (batch.health.status, batch.events, batch.facts) == (STRANGERS[name][1], (), ())
    assert batch.health.reason.isprintable()
    assert len(handler.asked) <= 2, "who is not that cloud is not asked on"
    assert {request.url.host for request in handler.asked} == {"metadata"}


@pytest.mark.parametrize("asked", ["aws", "gcp", "azure"])
@pytest.mark.parametrize("answers", ["aws", "gcp", "azure"])
async def test_another_cloud_at_the_same_address_is_not_believed(asked, answers):
    if asked == answers:
        return
    async with Told(asked, Metadata(answers)) as told_of:
        batch = await told_of.asked()
    assert batch.health.status in ("misconfigured", "unauthorized")
    assert not batch.events


async def test_a_question_that_fails_later_costs_only_itself_and_ends_no_notice():
    async with Told("aws") as aws:
        aws.service.paths[ACTION] = told("aws-instance-action.json")
        await aws.asked()
        aws.service.paths[ACTION] = b"<html>"
        aws.service.paths[REBALANCE] = told("aws-rebalance.json")
        batch = await aws.asked()
        assert news(batch) == [("warning", "rebalance", "given")]
        assert batch.health.status == "ok"
        assert batch.health.reason.startswith(
            "spot notices could not be read: spot/instance-action returned a web page"
        )
        aws.service.paths[ACTION] = told("aws-instance-action.json")
        assert not (await aws.asked()).events


async def test_an_address_that_swallows_everything_is_asked_once_a_run():
    asked = []

    def handler(request):
        asked.append(request)
        raise httpx.ConnectTimeout("")

    async with Told("aws", handler) as aws:
        batch = await aws.asked()
    assert (batch.health.status, batch.health.reason) == ("slow", "no complete response within 1 s")
    assert len(asked) == 1


DMI = {
    "aws": {"sys_vendor": "Amazon EC2", "product_name": "p5.48xlarge"},
    "gcp": {"sys_vendor": "Google", "product_name": "Google Compute Engine"},
    "azure": {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": AZURE_TAG},
    "": {"sys_vendor": "Google", "product_name": "Eve"},
}
DMI_MORE = [
    ("aws", {"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"}),
    ("", {"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine", "chassis_asset_tag": "None"}),
    ("", {"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"}),
    ("", {}),
]


@pytest.mark.parametrize(("cloud", "files"), [*DMI.items(), *DMI_MORE])
def test_the_firmware_says_which_cloud_this_is(tmp_path, cloud, files):
    folder = tmp_path / "class/dmi/id"
    folder.mkdir(parents=True)
    for name, said in files.items():
        (folder / name).write_text(f"{said}\n")
    assert found(tmp_path) == cloud


async def test_without_a_cloud_nothing_is_asked():
    def handler(request):
        raise AssertionError("asked")

    clock = VirtualClock(START)
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        cloud = cloud_of("", client, clock, ADDRESS, 1.0)
        source = build(CloudSource(), CollectorContext(clock, client, b"", "n")).source
        batch = await CloudCollector(source, clock, "n", cloud).collect()
    assert (batch.health.status, batch.health.reason) == ("misconfigured", NO_CLOUD)
    assert (source.address, source.interval_s) == (ADDRESS, 5.0)


def test_it_is_read_where_the_firmware_or_the_configuration_says_so_and_nowhere_else():
    here = [NvmlSource(), HostSource()]
    assert sources(Config(), [], {}) == here
    assert sources(Config(), [], {}, cloud="aws") == [*here, CloudSource()]
    assert sources(Config(console=ConsoleSettings(discovery=False)), [], {}, cloud="aws") == here
    named = CloudSource(provider="gcp")
    assert sources(Config(source=(named,)), [], {}, cloud="aws") == [*here, named]
    assert not any(isinstance(one, CloudSource) for one in sources(Config(), ["http://a:1"], {}, cloud="aws"))


def test_no_proxy_of_the_environment_stands_before_it():
    wanted = [CloudSource(), CloudSource(provider="aws", url="http://127.0.0.1:1338"), CloudSource("aws", "nonsense")]
    assert clouds([*wanted, HostSource()], ADDRESS) == {"169.254.169.254", "127.0.0.1"}


def test_an_address_needs_to_say_whose_it_is():
    with pytest.raises(Exception, match="set provider = 'aws', 'gcp' or 'azure'"):
        parse('[[source]]\nkind = "cloud"\nurl = "http://127.0.0.1:1"\n')
