"""python -m jobs.submit [--address http://127.0.0.1:8265] [--detach] -- <job> <arguments>

Run a job of this tree on a Ray cluster: the code is packed and sent, the log is followed, and the exit status is the
job's. With --follow <id> or --stop <id> instead of a job, one that was submitted before.
"""

import sys
from dataclasses import dataclass

from datasets.schema.errors import UsageError
from jobs import cli
from orchestration.cluster import job_client


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Run a job on a Ray cluster: [settings] -- <job> <arguments>, as in -- pretrain xl --shards <shards> ..."""

    address: str = "http://127.0.0.1:8265"
    """The cluster's dashboard; `ray dashboard` and `kubectl port-forward` bring it to this one."""
    detach: bool = False
    """Leave the job to itself once it is submitted, and say how to come back to it."""
    python: str = "python"
    """The interpreter on the cluster; `python` is that of the lock file where ray_cluster.yaml started it."""
    follow: str | None = None
    """The id of a job submitted before: print its log until it ends."""
    stop: str | None = None
    """The id of a job submitted before: end it."""


def parse(argv: list[str]) -> tuple[Arguments, list[str]]:
    """The settings before `--`, and the words after it."""
    split = argv.index("--") if "--" in argv else len(argv)
    if jobs := [index for index, word in enumerate(argv[:split]) if word in job_client.verbs()]:
        cli.fail(f"put -- before the job: -- {' '.join(argv[jobs[0] :])}")
    return cli.parse(Arguments, argv[:split], "submit"), argv[split + 1 :]


def main(argv: list[str] | None = None) -> None:
    """Parse, submit or come back to a job, and exit as the job did."""
    arguments, words = parse(sys.argv[1:] if argv is None else argv)
    cli.run(lambda: sys.exit(_run(arguments, words)))


def _run(arguments: Arguments, words: list[str]) -> int:
    """The exit status."""
    if sum([bool(words), arguments.follow is not None, arguments.stop is not None]) > 1:
        raise UsageError("give one of -- <job> <arguments>, --follow <id> and --stop <id>")
    if arguments.stop is not None:
        ended = job_client.stop(job_client.connect(arguments.address), arguments.stop)
        print(f"{arguments.stop}: {ended.value.lower()}")
        return 0
    if arguments.follow is not None:
        return _follow(job_client.connect(arguments.address), arguments.follow, arguments.address)
    command, variables = job_client.entrypoint(words, arguments.python), job_client.environment(words)
    client = job_client.connect(arguments.address)
    job = job_client.submit(client, command, variables)
    print(f"submitted: {job}", flush=True)
    if arguments.detach:
        print(_come_back(job, arguments.address))
        return 0
    return _follow(client, job, arguments.address)


def _follow(client: job_client.JobSubmissionClient, job: str, address: str) -> int:
    """Follow a job; who interrupts that leaves it running."""
    try:
        return job_client.follow(client, job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"\n{job} goes on\n{_come_back(job, address)}")
        return job_client.STOPPED


def _come_back(job: str, address: str) -> str:
    command = f"python -m jobs.submit --address {address}"
    return f"its log: {command} --follow {job}\nend it: {command} --stop {job}"


if __name__ == "__main__":
    main()
