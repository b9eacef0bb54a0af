"""Connects to Ray: to a cluster where there is one, else to a local Ray; and ships this working tree to every task."""

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import PlacementGroupID
from ray._private import ray_constants
from ray._private.node import Node
from ray.exceptions import AuthenticationError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from datasets.schema.errors import Unfinished, UsageError
from orchestration.cluster import logs

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]

# Never shipped with the code: data, results, environments, and anything that could hold a secret.
EXCLUDES = ["/.git", "/.venv*", "/.pytest_cache/", "/.ruff_cache/", "/demo/", "/runs/", "/shards/", "/mlartifacts/"]
EXCLUDES += ["/.mypy_cache/", "/docs/pictures/", "/tests/golden/", "**/__pycache__"]
EXCLUDES += ["*.parquet", "*.safetensors", "*.pt", "*.pkl", "*.db", "*.db-*", "*.tar*", "*.zip"]
EXCLUDES += [".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pypirc"]
EXCLUDES += [".aws/", ".config/", ".kube/", ".ray/", ".ssh/", "secrets/", "auth_token", "credentials*", "kubeconfig*"]

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# Records that nobody reads on a local Ray, which shares its cores with the work: together they cost 3% of two cores.
_NO_RECORDS = {
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_ray_events_report_interval_ms": "0",
    "RAY_event_stats": "0",
    "RAY_event_stats_print_interval_ms": "0",
    "RAY_metrics_report_interval_ms": "60000",
    "RAY_io_context_monitor_probe_interval_ms": "10000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "10000",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # no cloud takes this machine back
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_raylet_report_resources_period_milliseconds": "500",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
}


def start(num_cpus: int | None = None) -> None:
    """Connect this process to Ray, once: to the cluster of RAY_ADDRESS or of the submitted job, else to a local Ray.

    A local Ray listens on the loopback interface alone and requires a token that only it knows. What tasks and workers
    print goes to Ray's log files and not to the terminal: drivers print what users need (for training,
    orchestration/training/monitor.py). UsageError where the cluster does not answer.

    num_cpus: of a local Ray, all cores where None.
    """
    if ray.is_initialized():
        return
    for library in ("ray", "ray.data"):
        logging.getLogger(library).setLevel(logging.ERROR)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    runtime_env: dict[str, Any] = {"worker_process_setup_hook": f"{logs.__name__}.configure"}
    if logs.VERBOSE in os.environ:
        runtime_env["env_vars"] = {logs.VERBOSE: os.environ[logs.VERBOSE]}
    if not _inside_job():
        runtime_env |= {"working_dir": str(ROOT), "excludes": EXCLUDES}
    if on_cluster():
        # RAY_AUTH_MODE is left to the user: a cluster without tokens does not answer a driver that sends one.
        try:
            ray.init(runtime_env=runtime_env, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, AuthenticationError) as error:
            where = os.environ.get("RAY_ADDRESS", "the job's address")
            raise UsageError(
                f"no Ray cluster answers at {where}, or it requires a token: start it, unset RAY_ADDRESS, "
                "or put its token into ~/.ray/auth_token and set RAY_AUTH_MODE=token"
            ) from error
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # tasks raise their errors in the driver
    for name, value in _NO_RECORDS.items():
        os.environ.setdefault(name, value)
    # Ray's switch for a node that listens on the loopback interface alone. It is read when ray is imported, before this
    # function can set the variable, and again by the processes that Ray starts.
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    # The log monitor sends workers' output to drivers with log_to_driver, which is off; Ray has no switch for it.
    Node.start_log_monitor = lambda _node: None  # type: ignore[method-assign]
    # A token of its own: Ray would use the one in the home folder, or write one there, where others may read it.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with _silent_stderr():
        _init_local(
            address="local",
            num_cpus=num_cpus or max(os.cpu_count() or 1, 2),  # the default of two ranks needs two
            include_dashboard=False,
            runtime_env=runtime_env,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def _init_local(**settings: Any) -> None:  # noqa: ANN401 those of ray.init
    """Start a local Ray. Unfinished where its processes do not come up, as on a machine that is far too busy."""
    try:
        ray.init(**settings)
    except Exception as error:  # Ray raises plain ones
        reason = str(error).partition("\n")[0]
        raise Unfinished(f"Ray did not start ({reason}): run the same command again when less else runs") from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what is written to the file descriptor of stderr.

    Ray's core reports there which level RAY_BACKEND_LOG_LEVEL has set, at any level. Exceptions are raised as usual.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def require_gpus() -> None:
    """UsageError where a local Ray has no GPU: workers would wait for one forever.

    A cluster may start machines with GPUs on request; `ray status` shows whether it does.
    """
    if ray.cluster_resources().get("GPU"):
        return
    if not on_cluster():
        raise UsageError("--cluster.gpu: this Ray has no GPU; leave it out, or set RAY_ADDRESS to a cluster with GPUs")
    logger.info("no GPU in the cluster yet: training starts once its autoscaler has added some")


def free_placement_groups(memory: int) -> None:
    """Remove the placement groups of a local Ray whose bundles reserve so many bytes of memory.

    Ray keeps a placement group until the driver ends where the actor that made it was killed, and its resources stay
    reserved. On a cluster, Ray Train's cleaner removes them.
    """
    if on_cluster():
        return
    for name, group in placement_group_table().items():
        if group["state"] != "REMOVED" and any(one.get("memory") == memory for one in group["bundles"].values()):
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


def _inside_job() -> bool:
    """Whether this is a submitted job, whose working directory Ray has shipped already."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def on_cluster() -> bool:
    """Whether this process uses a Ray that it does not start itself."""
    return _inside_job() or bool(os.environ.get("RAY_ADDRESS"))
