"""Pretraining over a Ray of several nodes on this machine, of which one goes and another comes; see test_nodes.py.

A program of its own, because the tests' process has a Ray already. Its arguments: the run's settings as JSON, and where
MLflow keeps its records.
"""

import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import ray
from ray.cluster_utils import Cluster as Nodes

from orchestration.run.serialise import build
from orchestration.run.settings import PretrainRun
from orchestration.training.pretrain import pretrain

# The place of a node that is gone stays wanted for as long.
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
LOOPBACK = {"node_ip_address": "127.0.0.1", "include_dashboard": False}


def main(settings: str, uri: str) -> None:
    """Two nodes of a core each, a third for the driver; the second goes after step 10, a new one comes after 20."""
    run = build(PretrainRun, json.loads(settings))
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **LOOPBACK})
    nodes.add_node(num_cpus=1, **LOOPBACK)
    second = nodes.add_node(num_cpus=1, **LOOPBACK)
    os.environ["RAY_ADDRESS"] = nodes.address

    with ThreadPoolExecutor(1) as beside:  # nodes can be added from the main thread alone
        trained = beside.submit(pretrain, run, uri)
        _wait_for(run, 10, trained)
        nodes.remove_node(second, allow_graceful=False)
        _wait_for(run, 20, trained)
        nodes.add_node(num_cpus=1, **LOOPBACK)
        trained.result()
    ray.shutdown()
    nodes.shutdown()


def _wait_for(run: PretrainRun, step: int, trained: Future[object]) -> None:
    """Until there is a checkpoint of a step, or no more is to come."""
    while not Path(run.out, f"checkpoints/step-{step:08d}/state.json").exists() and not trained.done():
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
