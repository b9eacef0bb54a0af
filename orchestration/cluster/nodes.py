"""Asks the machines that will do a job's work: this one, or each node of the cluster."""

from collections.abc import Callable
from typing import TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datasets.schema.errors import UsageError
from orchestration.cluster import session

Answer = TypeVar("Answer")


def require(problem: Callable[[bool], str | None], gpu: bool) -> None:
    """UsageError with the first problem that a machine has; None stands for none. gpu: as in `ask_nodes`."""
    for node, found in ask_nodes(problem, gpu).items():
        if found is not None:
            raise UsageError(f"{node}: {found}")


def ask_nodes(question: Callable[[bool], Answer], gpu: bool) -> dict[str, Answer]:
    """The answer of each machine to a function of `gpu`, by the machine's name.

    gpu: ask the nodes that have GPUs, in tasks that see one; else those that have CPUs. Where the cluster has no such
    node yet, one task waits until its autoscaler has started one.
    """
    if not session.on_cluster():
        return {"this machine": question(gpu)}
    session.start()
    needed = "GPU" if gpu else "CPU"
    nodes = [one for one in ray.nodes() if one["Alive"] and one["Resources"].get(needed)]
    # Of busy CPUs a question needs none; a GPU is visible to a task that reserves a share of it.
    task = ray.remote(num_cpus=0 if gpu or nodes else 1, num_gpus=0.01 if gpu else 0)(question)
    if not nodes:
        return {"the first node": ray.get(task.remote(gpu))}
    asked = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)).remote(gpu)
        for one in nodes
    ]
    names = [f"node {one['NodeManagerAddress']}" for one in nodes]
    return dict(zip(names, ray.get(asked), strict=True))
