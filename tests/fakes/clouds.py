"""Metadata services of three clouds as their documentation describes them: no real one has answered these."""

from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from tests.fakes.pages import page

FOLDER = "cloud-metadata-documented"
SESSION = "aws-session-that-must-not-be-seen"


def told(name: str) -> bytes:
    """Return a made-up answer by its file's name."""
    return page(f"{FOLDER}/{name}")


class Metadata:
    """One cloud. ``paths`` holds what stands where now; a path that is not there is 404; ``asked`` are its requests."""

    def __init__(self, cloud: str) -> None:
        self.cloud = cloud
        self.asked: list[httpx.Request] = []
        self.wants_session = False
        self.gives_session: Callable[[], httpx.Response] = lambda: httpx.Response(200, text=SESSION)
        self.paths: dict[str, bytes | httpx.Response] = {"aws": aws(), "gcp": gcp(), "azure": azure()}[cloud]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = urlsplit(str(request.url)).path
        if self.cloud == "aws":
            if (request.method, path) == ("PUT", "/latest/api/token"):
                return self.gives_session()
            if self.wants_session and request.headers.get("x-aws-ec2-metadata-token") != SESSION:
                return httpx.Response(401)
        marks = {"gcp": ("metadata-flavor", "Google", 403), "azure": ("metadata", "true", 400)}
        name, value, refusal = marks.get(self.cloud, ("", "", 0))
        if request.method != "GET" or (name and request.headers.get(name) != value):
            return httpx.Response(refusal or 405)
        found = self.paths.get(path)
        if found is None:
            return httpx.Response(404)
        if isinstance(found, httpx.Response):
            return found
        return httpx.Response(
            200, content=found, headers={"metadata-flavor": "Google"} if name[:8] == "metadata" else {}
        )


def aws() -> dict[str, bytes | httpx.Response]:
    """Return what EC2 tells of a spot instance that is left in peace."""
    base = "/latest/meta-data"
    return {
        f"{base}/instance-type": told("aws-instance-type.txt"),
        f"{base}/instance-life-cycle": told("aws-instance-life-cycle.txt"),
        f"{base}/events/maintenance/scheduled": b"[]",
    }


def gcp() -> dict[str, bytes | httpx.Response]:
    """Return what Compute Engine tells of a spot VM that is left in peace."""
    base = "/computeMetadata/v1/instance"
    return {
        f"{base}/machine-type": told("gcp-machine-type.txt"),
        f"{base}/scheduling/preemptible": told("gcp-preemptible.txt"),
        f"{base}/preempted": b"FALSE",
        f"{base}/maintenance-event": b"NONE",
    }


def azure() -> dict[str, bytes | httpx.Response]:
    """Return what Azure tells of a spot VM that is left in peace."""
    return {
        "/metadata/instance/compute": told("azure-compute.json"),
        "/metadata/scheduledevents": b'{"DocumentIncarnation":1,"Events":[]}',
    }
