"""Ray 2.60: the page of a node's metrics agent, in the families of a recorded one, for the training jobs.

The model knows jobs, a worker for each of their GPUs, and how busy those are; the object store is missing.
"""

from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers.text import PageWriter, labels

VERSION = "2.60.0"
START_BEFORE_S = 86_400.0
"""Ray was started a day before the simulation begins."""

_COMMON = {"NodeAddress": "127.0.0.1", "SessionName": "session_simulated", "Version": VERSION}


def metrics(node: SimulatedNode) -> bytes:
    """Return the page of a node's training jobs now."""
    jobs = [job for job in node.training if job.running]
    held = [index for job in jobs for index in job.gpus]
    whole = {index for job in node.training for index in job.gpus}
    page = PageWriter()
    start = {labels(): node.epoch - node.lived_s - START_BEFORE_S}
    page.samples("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", start)
    total = {labels(**_COMMON, IsHeadNode="true"): node.host.memory_total}
    page.samples("ray_node_mem_total", "gauge", "Total memory on a ray node", total)
    running = {labels(**_COMMON, Component="gcs_server"): float(len(jobs))}
    page.samples("ray_running_jobs", "gauge", "Number of jobs currently running.", running)
    resources = "Logical Ray resources broken per state {AVAILABLE, USED}"
    of = {**_COMMON, "Component": "raylet", "Name": "GPU"}
    states = {"USED": float(len(held)), "AVAILABLE": float(len(whole) - len(held))}
    told = {labels(**of, State=state): count for state, count in states.items()}
    page.samples("ray_resources", "gauge", resources, told)
    actors = {
        labels(**_COMMON, Component="gcs_server", Name=f"{job.name}-worker", Source="gcs", State="ALIVE"): float(
            len(job.gpus)
        )
        for job in jobs
    }
    page.samples("ray_actors", "gauge", "An actor can be in one of several states.", actors)
    tasks = {
        labels(
            **_COMMON,
            Component="core_worker",
            IsRetry="0",
            Name=f"{job.name}.train",
            Source="executor",
            State="RUNNING",
        ): float(len(job.gpus))
        for job in jobs
    }
    page.samples("ray_tasks", "gauge", "Current number of tasks currently in a particular state.", tasks)
    busy = {
        labels(**_COMMON, GpuIndex=str(index), GpuUuid=node.gpus[index].uuid): 100.0 * node.gpus[index].utilization
        for index in sorted(whole)
    }
    page.samples("ray_node_gpus_utilization", "gauge", "The GPU utilization on a ray node", busy)
    return page.encode()
