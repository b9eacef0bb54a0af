"""Connect to Ray: a cluster where there is one, this machine otherwise; and ship this working tree to every task.

The one place that knows about the runtime environment. It knows nothing of what runs on the cluster.
"""

import logging
import os
import secrets
from pathlib import Path

import ray
from ray import PlacementGroupID
from ray._private import ray_constants
from ray._private.node import Node
from ray.exceptions import AuthenticationError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from datasets.schema.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]

# Data, results and environments never travel with the code; neither does anything that could hold a secret.
EXCLUDES = ["/.git", "/.venv*", "/.pytest_cache/", "/.ruff_cache/", "/demo/", "/runs/", "/shards/", "/mlartifacts/"]
EXCLUDES += ["**/__pycache__", "*.parquet", "*.safetensors", "*.pt", "*.pkl", "*.db", "*.db-*", "*.tar*", "*.zip"]
EXCLUDES += [".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pypirc"]
EXCLUDES += [".aws/", ".config/", ".kube/", ".ray/", ".ssh/", "secrets/", "auth_token", "credentials*", "kubeconfig*"]

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# A local Ray shares its cores with what runs on it, and nobody reads these; together they take 3% of a core of two.
_UNREAD = {
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_ray_events_report_interval_ms": "0",
    "RAY_event_stats": "0",
    "RAY_event_stats_print_interval_ms": "0",
    "RAY_metrics_report_interval_ms": "60000",
    "RAY_io_context_monitor_probe_interval_ms": "10000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "10000",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody takes this machine away
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_raylet_report_resources_period_milliseconds": "500",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
}


def start(num_cpus: int | None = None) -> None:
    """Connect this process to Ray, once: the cluster of RAY_ADDRESS or of the submitted job, else a local one.

    num_cpus: of the local one, all cores where None; it listens on the loopback interface alone, and takes nothing from
    who has not its token. What tasks and workers print goes to Ray's own logs; the drivers show the progress
    (orchestration/progress.py).
    """
    if ray.is_initialized():
        return
    for library in ("ray", "ray.data"):
        logging.getLogger(library).setLevel(logging.ERROR)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    runtime_env = None if _inside_job() else {"working_dir": str(ROOT), "excludes": EXCLUDES}
    if on_cluster():
        # RAY_AUTH_MODE stays as it is: a driver that wants tokens is taken for dead by a cluster that has none.
        try:
            ray.init(runtime_env=runtime_env, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, AuthenticationError) as error:
            where = os.environ.get("RAY_ADDRESS", "the job's address")
            raise UsageError(
                f"no Ray cluster answers at {where}, or not without its token: start it, unset RAY_ADDRESS, "
                "or put its token into ~/.ray/auth_token and set RAY_AUTH_MODE=token"
            ) from error
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a single process reports its own failures
    for name, value in _UNREAD.items():
        os.environ.setdefault(name, value)
    # Ray's own switch for a node that listens to this machine alone; it is read when ray is imported, and by the
    # processes that ray starts.
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    Node.start_log_monitor = _nothing  # log_to_driver is off: nobody takes what it reads
    # A token for this one alone; else Ray would write one into the home folder, where other users may read it.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(
        address="local",
        num_cpus=num_cpus or max(os.cpu_count() or 1, 2),  # two workers are the least that shows what is distributed
        include_dashboard=False,
        runtime_env=runtime_env,
        log_to_driver=False,
        logging_level="ERROR",
    )


def _nothing(_node: Node) -> None:
    """In the place of what a local Ray need not do."""


def require_gpus() -> None:
    """UsageError where this Ray has no GPU, and workers that ask for one would wait for ever.

    A cluster may start machines that have some when they are asked for, and how far that is shows in `ray status`.
    """
    if ray.cluster_resources().get("GPU"):
        return
    if not on_cluster():
        raise UsageError("--cluster.gpu: this Ray has no GPU; leave it out, or set RAY_ADDRESS to a cluster that has")
    print("no GPU in the cluster yet: training starts when its autoscaler has brought them", flush=True)


def _inside_job() -> bool:
    """Whether this is a submitted job, whose working directory is shipped already."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def on_cluster() -> bool:
    """Whether Ray runs elsewhere, or was started by somebody else."""
    return _inside_job() or bool(os.environ.get("RAY_ADDRESS"))


def environment_of_drivers() -> dict[str, str]:
    """What a task must find in its environment to be the driver of a run as this process would be."""
    return {"RAY_ADDRESS": os.environ.get("RAY_ADDRESS", "auto")} if on_cluster() else {}


def free_places(run: str) -> None:
    """Take back what a Ray of this process's own has set aside for a run's workers whose controller is gone.

    run: with which the names of the places begin. On a cluster Ray does that itself, by way of its dashboard, which a
    local Ray has none of.
    """
    if on_cluster():
        return
    for name, place in placement_group_table().items():
        if place["state"] != "REMOVED" and place["name"].startswith(run):
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
