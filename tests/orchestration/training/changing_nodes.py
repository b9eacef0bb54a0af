"""Pretraining on a Ray of several nodes on this machine, of which one is removed and another added; see test_nodes.py.

A program of its own, because the tests' process has a Ray already. Its arguments: the run's settings as JSON, and the
URI of MLflow.
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

# Ray waits so long for the workers of a node that is gone before it starts fewer.
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
LOOPBACK = {"node_ip_address": "127.0.0.1", "include_dashboard": False}


def main(settings: str, uri: str) -> None:
    """Two nodes of one CPU, a third for the driver; removes one after step 10, and adds one after step 20."""
    run = build(PretrainRun, json.loads(settings))
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **LOOPBACK})
    nodes.add_node(num_cpus=1, **LOOPBACK)
    second = nodes.add_node(num_cpus=1, **LOOPBACK)
    os.environ["RAY_ADDRESS"] = nodes.address

    with ThreadPoolExecutor(1) as pool:  # only the main thread can add nodes
        trained = pool.submit(pretrain, run, uri)
        _wait_for(run, 10, trained)
        nodes.remove_node(second, allow_graceful=False)
        _wait_for(run, 20, trained)
        nodes.add_node(num_cpus=1, **LOOPBACK)
        trained.result()
    ray.shutdown()
    nodes.shutdown()


def _wait_for(run: PretrainRun, step: int, trained: Future[object]) -> None:
    """Wait for the checkpoint of a step, or for the end of training."""
    while not Path(run.out, f"checkpoints/step-{step:08d}/state.json").exists() and not trained.done():
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
