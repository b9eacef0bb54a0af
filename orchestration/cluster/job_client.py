"""Client of a cluster's job server: sends this tree and a command, follows the log, returns the exit status.

Settings of a job are checked by the job itself, on the cluster. This process starts no Ray: it sends HTTP requests to
one address, with a token only where the cluster requires one.
"""

import asyncio
import logging
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from datasets.schema.errors import UsageError
from orchestration.cluster.code_package import describe, pack
from orchestration.cluster.session import ROOT

logger = logging.getLogger(__name__)

TOKEN_FILE = "~/.ray/auth_token"  # where Ray keeps it
TRACKING = "MLFLOW_TRACKING_URI"
STOPPED = 130  # exit status of an interrupted program
_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")  # in a URL
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_RETRIES = 5  # in a row, of a lost connection
_POLL_INTERVAL = 1.0  # seconds
_TICK = 1.0  # seconds


def verbs() -> list[str]:
    """The jobs that a cluster can run: the modules of jobs/ that are programs, less the one that submits."""
    programs = [one for one in (ROOT / "jobs").glob("*.py") if '__name__ == "__main__"' in one.read_text()]
    return sorted(one.stem for one in programs if one.stem != "submit")


def entrypoint(words: Sequence[str], python: str) -> str:
    """The command line of a job, from its verb and arguments; UsageError for arguments that cannot work there."""
    if not words or words[0] not in verbs():
        said = f"unknown job {words[0]!r}" if words else "nothing to submit"
        raise UsageError(f"{said}: give -- <job> <arguments>; the jobs are {', '.join(verbs())}")
    if any(_PASSWORD.search(word) for word in words):
        raise UsageError(
            "the arguments hold a password, and every user of the cluster can read a job's command: "
            "give credentials in the environment of the cluster"
        )
    for option, value in zip(words, [*words[1:], ""], strict=True):
        out = value if option == "--out" else option.removeprefix("--out=") if option.startswith("--out=") else "/"
        if not (out.startswith("/") or "://" in out):
            raise UsageError(
                f"--out {out} would lie in the job's own folder on the cluster, which is removed after it: "
                "give an absolute path on storage that all its machines see, or object storage"
            )
    return shlex.join([python, "-m", f"jobs.{words[0]}", *words[1:]])


def environment(words: Sequence[str]) -> dict[str, str]:
    """Environment variables to send with a job: only MLflow's server, as every user of the cluster can read them."""
    uri = os.environ.get(TRACKING, "")
    if _PASSWORD.search(uri):
        raise UsageError(
            f"{TRACKING} holds a password, and every user of the cluster can read a job's environment: set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of the cluster instead"
        )
    if urlsplit(uri).scheme in ("http", "https"):
        return {TRACKING: uri}
    if not any(word.startswith("--tracking") for word in words):
        said = f"{TRACKING} names no server ({uri})" if uri else f"{TRACKING} is not set"
        logger.warning(
            f"{said}: unless the cluster sets it, MLflow writes to the job's folder there, which is removed after it"
        )
    return {}


def connect(address: str) -> JobSubmissionClient:
    """A client of the job server (Ray's dashboard) at an address; UsageError where it does not answer or refuses us."""
    address = (address if "://" in address else f"http://{address}").rstrip("/")
    if urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(f"--address {address} is not a job server: give that of Ray's dashboard, http://<host>:8265")
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):  # Ray would use either in place of the argument
        os.environ.pop(name, None)
    token, where = _token() if _requires_token(address) else ("", "")
    if token and address.startswith("http://") and urlsplit(address).hostname not in _LOOPBACK:
        logger.warning(
            f"the token goes to {address} unencrypted: a tunnel to the head's loopback is safer (docs/cluster.md)"
        )
    try:
        return JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"} if token else None)
    except AuthenticationError as error:
        said = f"refuses the token of {where}" if token else "requires a token, and there is none here"
        raise UsageError(
            f"the cluster at {address} {said}: put the cluster's token into {TOKEN_FILE}, "
            "or set RAY_AUTH_TOKEN_PATH to its file"
        ) from error
    except (RuntimeError, OSError) as error:
        raise UsageError(f"the job server at {address}: {_last_line(error)}") from error


def submit(client: JobSubmissionClient, command: str, variables: dict[str, str]) -> str:
    """Send this tree and a command; returns the job's id."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "foundationgait.zip"
        logger.info(describe(pack(ROOT, target)))
        with _one_line_errors(client):
            return client.submit_job(
                entrypoint=command, runtime_env={"working_dir": str(target), "env_vars": variables}
            )


def follow(client: JobSubmissionClient, job: str, show: Callable[[str], None]) -> int:
    """Show a job's log until the job ends; returns its exit status: 1 where it has none, 130 where it was stopped.

    After a lost connection, the log continues where it was.
    """
    _details(client, job)  # UsageError where there is no such job
    shown = failed = 0
    while True:
        shown, whole = asyncio.run(_tail(client, job, shown, show))
        failed = 0 if whole else failed + 1
        info = _details(client, job)
        if info.status.is_terminal() and (whole or failed > _RETRIES):
            # A stream ends when it has no new line and the job has ended: it misses lines between these two looks.
            show(_whole_log(client, job)[shown:])
            return _exit_status(info)
        time.sleep(_POLL_INTERVAL)


def stop(client: JobSubmissionClient, job: str) -> JobStatus:
    """Stop a job and wait until it has ended; returns its status, which is not STOPPED where it ended before."""
    with _one_line_errors(client):
        client.stop_job(job)
    while not (info := _details(client, job)).status.is_terminal():
        time.sleep(_POLL_INTERVAL)
    return info.status


async def _tail(client: JobSubmissionClient, job: str, shown: int, show: Callable[[str], None]) -> tuple[int, bool]:
    """Show the log from character `shown` on; returns how many are shown now, and whether the log was complete."""
    position = 0
    clock = asyncio.ensure_future(_tick())
    try:
        async for text in client.tail_job_logs(job):
            show(text[max(shown - position, 0) :])
            position += len(text)
            shown = max(shown, position)
    except (aiohttp.ClientError, OSError, RuntimeError):
        return shown, False
    finally:
        clock.cancel()
    return shown, True


async def _tick() -> None:
    """Let Python look for signals while no text comes: one that arrives just before the event loop waits is not seen
    until it wakes up."""
    while True:
        await asyncio.sleep(_TICK)


def _whole_log(client: JobSubmissionClient, job: str) -> str:
    """The log of a job that has ended; empty where its node is gone, and with it the log."""
    for _ in range(_RETRIES):
        with suppress(OSError, RuntimeError):  # a busy node answers later
            return client.get_job_logs(job)
        time.sleep(_POLL_INTERVAL)
    return ""


def _details(client: JobSubmissionClient, job: str) -> JobDetails:
    """The details of a job; UsageError where there is no such job, or the cluster stays unreachable."""
    for _ in range(_RETRIES):
        try:
            return client.get_job_info(job)
        except OSError:
            time.sleep(_POLL_INTERVAL)
        except RuntimeError:
            break
    with _one_line_errors(client):
        return client.get_job_info(job)


def _exit_status(info: JobDetails) -> int:
    """The exit status of a job that has ended, as a shell has it; prints the reason where the log has none."""
    if info.status is JobStatus.SUCCEEDED:
        return 0
    if info.driver_exit_code:
        return info.driver_exit_code if info.driver_exit_code > 0 else 128 - info.driver_exit_code
    logger.error(f"{info.submission_id} {info.status.value.lower()}: {info.message or 'no reason is known'}")
    return STOPPED if info.status is JobStatus.STOPPED else 1


def _requires_token(address: str) -> bool:
    """Whether the cluster requires a token; UsageError where no cluster answers."""
    try:
        mode = requests.get(f"{address}/api/authentication_mode", timeout=10).json()["authentication_mode"]
    except (requests.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"what answers at {address} is not Ray's dashboard: check --address") from error
    except requests.RequestException as error:
        raise UsageError(
            f"no Ray answers at {address}: start a cluster, or the tunnel to it (ray dashboard ray_cluster.yaml)"
        ) from error
    if mode == "disabled":
        logger.warning(
            f"the cluster at {address} accepts jobs from anyone who reaches it: start it with RAY_AUTH_MODE=token"
        )
    return mode != "disabled"


def _token() -> tuple[str, str]:
    """The token for the cluster and its source, in Ray's order of precedence; empty where there is none."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token, "RAY_AUTH_TOKEN"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN_FILE
    try:
        return Path(path).expanduser().read_text().strip(), path
    except OSError:
        return "", path


@contextmanager
def _one_line_errors(client: JobSubmissionClient) -> Iterator[None]:
    """Raises refusals of the job server, and a lost connection, as UsageError."""
    address = client.get_address()
    try:
        yield
    except OSError as error:
        raise UsageError(f"{address} does not answer any more: a job there goes on; fix the connection") from error
    except RuntimeError as error:
        raise UsageError(f"the job server at {address}: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    """The last line of an error of the job server, which sends tracebacks."""
    return str(error).strip().splitlines()[-1][:300]
