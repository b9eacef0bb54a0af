"""python -m orchestration.cluster.wait_for_nodes <number>: waits until the Ray of RAY_ADDRESS has so many nodes.

For scripts that start Ray on several machines at once (docs/slurm.sbatch): a job that begins earlier would see few of
them, and choose its device and its number of tasks by those.
"""

import logging
import os
import sys
import time

import ray

from datasets.schema.errors import UsageError
from orchestration.cluster import address, logs

logger = logging.getLogger("orchestration.cluster.wait_for_nodes")  # run as a program, its name is another
_PATIENCE = 300.0  # seconds
_POLL = 5.0  # seconds for which the head has time to answer, each time


def wait_for_nodes(number: int, patience: float = _PATIENCE) -> str:
    """Wait for nodes; returns one line on what they have. UsageError where they are not there in time (seconds)."""
    if not os.environ.get("RAY_ADDRESS"):
        raise UsageError("RAY_ADDRESS is not set: set it to <head>:<port>")
    end, alive = time.monotonic() + patience, 0
    while time.monotonic() < end:
        try:
            if not address.answers(os.environ["RAY_ADDRESS"], patience=min(_POLL, patience)):
                continue
            ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.CRITICAL)
            alive = sum(one["Alive"] for one in ray.nodes())
        except ConnectionError:  # the head has gone again
            alive = 0
        if alive >= number:
            has = ray.cluster_resources()
            return f"Ray has {alive} nodes with {has.get('CPU', 0):.0f} CPUs and {has.get('GPU', 0):.0f} GPUs"
        time.sleep(0.5)
    raise UsageError(
        f"{alive} of {number} nodes joined Ray in {patience:.0f} s: see what `ray start` said in the logs of the "
        "nodes, and whether they reach each other at RAY_ADDRESS"
    )


if __name__ == "__main__":
    logs.configure()
    try:
        logger.info(wait_for_nodes(int(sys.argv[1])))
    except UsageError as error:
        sys.exit(f"error: {error}")
