"""A local Ray that starts in a second or two: closed to others, without processes and records that nobody needs."""

import atexit
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._private import ray_constants
from ray._private.node import Node

from datasets.schema.errors import Unfinished, UsageError
from orchestration.cluster import bookkeeping, worker

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
_OF_WORKERS = {
    "RAY_worker_niceness": "0",  # Ray's 15 leaves them next to nothing beside another busy program
    # Processes that wait for work stay, so that the next actor starts at once; Ray ends those beyond a core each.
    "RAY_num_workers_soft_limit": "8",
}

# Bytes of the folder for temporary files: the longest path of a socket that Linux takes, less Ray's part of it.
_LONGEST_TMPDIR = 107 - len("/ray/session_2026-11-29_10-43-46_623832_4194304/sockets/plasma_store")
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")

_START = Node.start_ray_processes
_LOOPBACK_TIMEOUT = 5.0  # seconds
_PATIENCE = 30.0  # seconds until Ray finds out itself that the node did not start


def start(root: Path, num_cpus: int) -> None:
    """Start a local Ray whose workers import our code from `root`.

    It listens on the loopback interface alone, and requires a token that only this process and its children know.
    UsageError on a machine that does not reach itself there. Unfinished where Ray's processes do not come up, as on a
    machine that is far too busy.

    Workers have no runtime environment, which Ray would set up anew for each process, and for which the processes that
    it starts in advance would be of no use: what they need is in the environment variables of the driver.
    """
    _require_loopback()
    _shorten_tmpdir()
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # tasks raise their errors in the driver
    for name, value in (_NO_RECORDS | _OF_WORKERS).items():
        os.environ.setdefault(name, value)
    os.environ[ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR] = worker.HOOK
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(root)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *known])
    # Ray's switch for a node that listens on the loopback interface alone. It is read when ray is imported, before this
    # function can set the variable, and again by the processes that Ray starts.
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    # A token of its own: Ray would use the one in the home folder, or write one there, where others may read it.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    _leave_out_processes()
    bookkeeping.keep_in_driver()
    try:
        with _silent_stderr():
            ray.init(
                "local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
    except Exception as error:  # Ray raises plain ones
        reason = str(error).partition("\n")[0]
        raise Unfinished(f"Ray did not start ({reason}): run the same command again when less else runs") from error
    atexit.register(ray.shutdown)  # before Ray's own call, which sleeps half a second for the output of workers


def _shorten_tmpdir() -> None:
    """Have Ray's sockets in a folder of a short name, where the one for temporary files is too long for them.

    What Ray spills to the disk stays there: another disk may be too small. UsageError where there is no other folder.
    """
    given = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or _SHORT[0]
    if len(os.fsencode(given)) <= _LONGEST_TMPDIR:
        return
    short = next((one for one in _SHORT if os.access(one, os.W_OK | os.X_OK)), None)
    if short is None:
        raise UsageError(
            f"{given} is too long for Ray's sockets ({_LONGEST_TMPDIR} bytes at most), and none of "
            f"{', '.join(_SHORT)} can be written: set RAY_TMPDIR to a folder with a shorter path"
        )
    os.environ["RAY_TMPDIR"] = short
    os.environ.setdefault("RAY_object_spilling_directory", given)


def _require_loopback() -> None:
    """UsageError where this process cannot connect to itself: Ray's processes would wait for each other forever."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=_LOOPBACK_TIMEOUT).close()
    except OSError as error:
        raise UsageError(
            f"this machine does not reach itself at 127.0.0.1 ({error.strerror or error}), where a local Ray lives: "
            "start its loopback interface (ip link set lo up), or let the firewall pass it"
        ) from error


def _leave_out_processes() -> None:
    """Start none of Ray's processes that have nothing to do here. Ray has no switch for them, and waits for the second.

    The log monitor sends workers' output to drivers that ask for it; the server of the dashboard, without a dashboard,
    sends statistics of usage to Ray's makers; the monitor of the autoscaler starts machines.
    """

    def no_process(node: Node, **_settings: object) -> None:
        node._webui_url = None  # which start_api_server sets

    Node.start_log_monitor = Node.start_monitor = no_process  # type: ignore[method-assign, assignment]
    Node.start_api_server = no_process  # type: ignore[method-assign, assignment]
    Node.start_ray_processes = _start_and_wait  # type: ignore[method-assign]


def _start_and_wait(node: Node) -> None:
    """Start the processes of the node, and wait until Ray knows it; Ray itself looks for it once a second."""
    _START(node)
    end = time.monotonic() + _PATIENCE
    while not node.get_gcs_client().get_all_node_info() and time.monotonic() < end:
        time.sleep(0.02)


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
