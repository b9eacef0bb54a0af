"""python -m jobs.submit [--address http://127.0.0.1:8265] [--detach] -- <job> <arguments>

Run a job on a Ray cluster with the code of this working tree: pack and send it, follow its log, and exit with its
status. --follow <id> and --stop <id> are for a job that was submitted before.
"""

import sys
from dataclasses import dataclass

from datasets.schema.errors import UsageError
from jobs import cli
from orchestration.cluster import interrupts, job_client


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Run a job on a Ray cluster: [settings] -- <job> <arguments>, as in -- pretrain xl --shards <shards> ..."""

    address: str = "http://127.0.0.1:8265"
    """URL of the cluster's dashboard; `ray dashboard` and `kubectl port-forward` tunnel it to the default."""
    detach: bool = False
    """Submit the job without following it, and print how to follow or stop it later."""
    python: str = "python"
    """Python interpreter on the cluster; on one made by ray_cluster.yaml, `python` has the locked dependencies."""
    follow: str | None = None
    """Id of a job submitted before: print its log until it ends."""
    stop: str | None = None
    """Id of a job submitted before: stop it."""


def parse(argv: list[str]) -> tuple[Arguments, list[str]]:
    """The settings before `--`, and the words after it."""
    split = argv.index("--") if "--" in argv else len(argv)
    if jobs := [index for index, word in enumerate(argv[:split]) if word in job_client.verbs()]:
        cli.fail(f"put -- before the job: -- {' '.join(argv[jobs[0] :])}")
    return cli.parse(Arguments, argv[:split], "submit"), argv[split + 1 :]


def main(argv: list[str] | None = None) -> None:
    """Parse, submit, follow or stop a job, and exit with its status."""
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
        print(_commands(job, arguments.address))
        return 0
    return _follow(client, job, arguments.address)


def _follow(client: job_client.JobSubmissionClient, job: str, address: str) -> int:
    """Follow a job; an interruption (Ctrl-C) leaves it running."""
    try:
        return job_client.follow(client, job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"\n{job} continues to run\n{_commands(job, address)}")
        return interrupts.status()


def _commands(job: str, address: str) -> str:
    command = f"python -m jobs.submit --address {address}"
    return f"follow it: {command} --follow {job}\nstop it: {command} --stop {job}"


if __name__ == "__main__":
    cli.start(main)
