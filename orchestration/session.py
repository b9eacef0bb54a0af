"""Connect to Ray: a cluster where there is one, this machine otherwise; and ship this working tree to every task.

The one place that knows about the runtime environment. It knows nothing of what runs on the cluster.
"""

import logging
import os
from pathlib import Path

import ray
from ray._private import ray_constants

from datasets.schema import UsageError

ROOT = Path(__file__).resolve().parent.parent

# Data, results and environments never travel with the code; neither does anything that could hold a secret.
EXCLUDES = ["/.venv/", "/.pytest_cache/", "/.ruff_cache/", "/demo/", "/runs/", "/shards/", "/mlartifacts/"]
EXCLUDES += ["**/__pycache__", "*.parquet", "*.safetensors", "*.pkl", "*.db", ".env*", "*.pem", "*.key"]

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start(num_cpus: int | None = None) -> None:
    """Connect this process to Ray, once: the cluster of RAY_ADDRESS or of the submitted job, else a local one.

    num_cpus: of the local one, all cores where None; it listens on the loopback interface alone. What tasks and
    workers print goes to Ray's own logs; the drivers show the progress (orchestration/progress.py).
    """
    if ray.is_initialized():
        return
    for library in ("ray", "ray.data"):
        logging.getLogger(library).setLevel(logging.ERROR)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    inside_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # the job's working directory is shipped already
    runtime_env = None if inside_job else {"working_dir": str(ROOT), "excludes": EXCLUDES}
    if inside_job or os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(runtime_env=runtime_env, log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:
            where = os.environ.get("RAY_ADDRESS", "the job's address")
            raise UsageError(f"no Ray cluster answers at {where}: start it, or unset RAY_ADDRESS") from error
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a single process reports its own failures
    # Ray's own switch for a node that listens to this machine alone; it is read when ray is imported, and by the
    # processes that ray starts.
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray.init(
        address="local",
        num_cpus=num_cpus or max(os.cpu_count() or 1, 2),  # two workers are the least that shows what is distributed
        include_dashboard=False,
        runtime_env=runtime_env,
        log_to_driver=False,
        logging_level="ERROR",
    )


def require_gpus() -> None:
    """UsageError where this Ray has no GPU: workers that ask for one would wait for ever."""
    if not ray.cluster_resources().get("GPU"):
        raise UsageError("--cluster.gpu: this Ray has no GPU; leave it out, or set RAY_ADDRESS to a cluster that has")
