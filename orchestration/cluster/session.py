"""Connects to Ray: to a cluster where there is one, to which it ships this working tree, else to a local Ray."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import PlacementGroupID
from ray.exceptions import AuthenticationError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from datasets.schema.errors import UsageError
from orchestration.cluster import address, interrupts, local_ray, logs, worker

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]

# Never shipped with the code: data, results, environments, and anything that could hold a secret.
EXCLUDES = ["/.git", "/.venv*", "/.pytest_cache/", "/.ruff_cache/", "/demo/", "/runs/", "/shards/", "/mlartifacts/"]
EXCLUDES += ["/.mypy_cache/", "/docs/pictures/", "/tests/golden/", "**/__pycache__"]
EXCLUDES += ["*.parquet", "*.safetensors", "*.pt", "*.pkl", "*.db", "*.db-*", "*.tar*", "*.zip"]
EXCLUDES += [".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pypirc"]
EXCLUDES += [".aws/", ".config/", ".kube/", ".ray/", ".ssh/", "secrets/", "auth_token", "credentials*", "kubeconfig*"]

# Of drivers and of what Ray starts for them. Ray reads most of them when it starts a process, not later.
VARIABLES = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # to notice ends and deaths sooner than after 2 s
    # What reserves no GPU sees none: else a task beside training would take memory of the first rank's.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start(num_cpus: int | None = None, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Connect this process to Ray, once: to the cluster of RAY_ADDRESS or of the submitted job, else to a local Ray.

    A local Ray listens on the loopback interface alone and requires a token that only it knows. What tasks and workers
    print goes to Ray's log files and not to the terminal: drivers print what users need (for training,
    orchestration/training/monitor.py). UsageError where the cluster does not answer.

    num_cpus: of a local Ray, all cores where None. meanwhile: what a job needs beside Ray, done in another thread while
    Ray's processes start, for which this one waits a second or two.
    """
    if ray.is_initialized():
        meanwhile()
        return
    for library in ("ray", "ray.data"):
        logging.getLogger(library).setLevel(logging.ERROR)
    of_job = set(os.environ) if _inside_job() else set()  # its workers have the variables that it was submitted with
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(meanwhile)
        with interrupts.deferred(), _own_signal_handlers():
            if on_cluster():
                _join_cluster({name: os.environ[name] for name in VARIABLES if name not in of_job})
            else:
                local_ray.start(ROOT, num_cpus or max(os.cpu_count() or 1, 2))  # the default of two ranks needs two
        done.result()


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Keep the handler of SIGTERM (orchestration/cluster/interrupts.py), which Ray replaces by one that exits."""
    before, asked = signal.getsignal(signal.SIGTERM), False
    try:
        yield
    except SystemExit as end:
        if end.code != signal.SIGTERM:
            raise
        asked = True
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    if asked:
        signal.raise_signal(signal.SIGTERM)


def _join_cluster(variables: dict[str, str]) -> None:
    """variables: of the workers, beside those of the job, which must not be repeated: Ray takes that for a conflict."""
    verbose = {logs.VERBOSE: os.environ[logs.VERBOSE]} if logs.VERBOSE in os.environ else {}
    runtime_env: dict[str, Any] = {"worker_process_setup_hook": worker.HOOK, "env_vars": variables | verbose}
    if not _inside_job():
        runtime_env |= {"working_dir": str(ROOT), "excludes": EXCLUDES}
    if where := os.environ.get("RAY_ADDRESS"):
        address.check(where)
    # RAY_AUTH_MODE is left to the user: a cluster without tokens does not answer a driver that sends one.
    try:
        ray.init(runtime_env=runtime_env, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, AuthenticationError) as error:
        raise UsageError(
            f"no Ray cluster answers at {where or 'the address of the job'}, or it requires a token: start it, "
            "unset RAY_ADDRESS, or put its token into ~/.ray/auth_token and set RAY_AUTH_MODE=token"
        ) from error
    except (RuntimeError, ValueError) as error:  # as for another version of Ray, or a machine that is no node of it
        words = " ".join(str(error).split())[:300]
        raise UsageError(f"the Ray at {where or 'the address of the job'} cannot be used: {words}") from error


def count_gpus() -> int:
    """The GPUs of the Ray that this process is connected to. A cluster may start more on request."""
    return int(ray.cluster_resources().get("GPU", 0))


def require_gpus(needed: int) -> None:
    """UsageError where a local Ray has fewer GPUs than workers need: they would wait for one forever.

    A cluster may start machines with GPUs on request; `ray status` shows whether it does.
    """
    found = count_gpus()
    if found >= needed:
        return
    if on_cluster():
        logger.info(f"the cluster has {found} of {needed} GPUs yet: training starts once its autoscaler has added some")
    elif found:
        raise UsageError(
            f"each worker needs a GPU, and this Ray has {found} for {needed}: "
            f"give --cluster.workers {found}, or --cluster.device cpu"
        )
    else:
        raise UsageError("this Ray has no GPU: give --cluster.device cpu, or set RAY_ADDRESS to a cluster with GPUs")


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
    return _inside_job() or os.environ.get("RAY_ADDRESS", "local") not in ("", "local")
