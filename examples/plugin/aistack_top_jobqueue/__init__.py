"""What aistack-top is told of this kind of source. The collector is imported when it is built."""

import msgspec

from collectors.config import Positive
from collectors.registry import Kind


class JobQueueSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="jobqueue"):
    """A job queue, by its JSON API: the keys of a ``[[source]]`` with ``kind = "jobqueue"``."""

    url: str
    name: str = ""
    interval: Positive = 5.0


KIND = Kind(
    layer="pipelines",
    config=JobQueueSource,
    build="aistack_top_jobqueue.collector:build",
    reads="a job queue: what runs, by queue",
    title="job queue",
    needs="network access to its port",
    sends="GET /stats to the configured address",
    fixes={"down": "start the queue's server, or correct url of its [[source]]"},
)
