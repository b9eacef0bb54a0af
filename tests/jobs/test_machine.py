"""Jobs on machines with faults: full and read-only disks, odd paths, closed outputs, Python without docstrings.

Each ends in one line that names the cause and the fix, exit status 2, or in silence where nobody reads the output.
"""

import errno
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import ray

from datasets.schema.errors import UsageError
from datasets.storage import LocalPlace
from jobs import cli, demo, embed, evaluate, finetune, ingest, pretrain, release, scaling
from orchestration.cluster.session import ROOT
from tests.fixtures.mistakes import mistake

VERBS = ["ingest", "pretrain", "finetune", "evaluate", "embed", "release", "scaling", "submit", "demo"]
PYTHON = [sys.executable, "-c"]


def at(out: str, walks: Path, store: Path) -> dict[str, tuple[ModuleType, list[str]]]:
    """Every job that writes, into a place that it cannot write, or that reads from one."""
    return {
        "ingest": (ingest, ["--root", f"CASIA-B={walks / 'CASIA-B'}", "--out", out]),
        "pretrain": (pretrain, ["tiny", "--shards", str(store), "--out", out, "--schedule.batch", "16"]),
        "scaling": (scaling, ["miniature", "--shards", str(store), "--out", out]),
        "evaluate": (evaluate, ["--run", out, "--shards", str(store)]),
        "embed": (embed, ["--run", out, "--shards", str(store), "--out", out]),
        "release": (release, ["--run", out, "--out", out]),
        "finetune": (finetune, ["scoliosis", "--run", out, "--shards", str(store), "--out", out]),
        "demo": (demo, ["--out", out]),
    }


WRITERS = ["ingest", "pretrain", "scaling", "evaluate", "embed", "release", "finetune", "demo"]


@pytest.mark.parametrize("verb", WRITERS)
@pytest.mark.parametrize(("name", "said"), [("x" * 300, "File name too long"), ("file/below", "")])
def test_a_path_that_cannot_be_is_one_line(
    verb: str, name: str, said: str, walks: Path, store: Path, tmp_path: Path, capsys, uri: str, monkeypatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (tmp_path / "file").write_text("")
    job, argv = at(str(tmp_path / name), walks, store)[verb]
    line = mistake(capsys, job.main, *argv)
    assert said in line and len(line) < 500


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EROFS, "Read-only file system: /data/x: give a place on a file system that takes it"),
        (errno.ENAMETOOLONG, "File name too long: /data/x: give a shorter path"),
        (errno.ENOSPC, "No space left on device: /data/x: make room there, and run the same command again"),
        (errno.EDQUOT, "Disk quota exceeded: /data/x: make room there"),
        (errno.EIO, "Input/output error: /data/x: the disk fails, or the server behind it"),
        (errno.ESTALE, "Stale file handle: /data/x: the disk fails"),
        (errno.EMFILE, "Too many open files: /data/x: raise the limit of open files (ulimit -n)"),
        (errno.EFBIG, "File too large: /data/x: raise the limit of a file's size (ulimit -f)"),
        (errno.EACCES, "Permission denied: /data/x: give a place that you can read and write"),
    ],
)
def test_errors_of_the_machine_are_one_line(number: int, fix: str, capsys) -> None:
    def job(_argv: list[str]) -> None:
        cli.run(partial(fail_with, number))

    assert mistake(capsys, job).startswith(f"error: {fix}")


def fail_with(number: int) -> None:
    raise OSError(number, os.strerror(number), "/data/x")


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL, errno.ENOENT, errno.EEXIST])
def test_mistakes_of_ours_keep_their_traceback(number: int) -> None:
    with pytest.raises(OSError, match="/data/x"):
        cli.run(partial(fail_with, number))


def test_errors_of_tasks_are_as_short_as_those_of_the_driver(local_ray, capsys) -> None:
    @ray.remote
    def task(kind: str) -> None:
        if kind == "disk":
            raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
        raise UsageError("this is wrong: do that")

    for kind, said in (("disk", "error: No space left on device: /data/x"), ("usage", "error: this is wrong: do that")):
        failing = partial(ray.get, task.remote(kind))
        assert mistake(capsys, lambda _argv, failing=failing: cli.run(failing)).startswith(said)


def test_a_disk_that_takes_no_more_is_named(tmp_path: Path) -> None:
    """A limit of the size of files, as a disk that is full: the first byte that ingest writes is refused."""
    root, out = tmp_path / "walks/anna/nm/000", tmp_path / "out"
    root.mkdir(parents=True)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    argv = [sys.executable, "-m", "jobs.ingest", "--root", f"mine={tmp_path / 'walks'}", "--out", str(out)]
    (root / "000.png").write_bytes(b"")
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, preexec_fn=limit, stderr=subprocess.PIPE, text=True)
    *_, last = done.stderr.splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert last.startswith(f"error: File too large: {out}/collections/mine.json: raise the limit")


def test_a_failed_write_leaves_nothing_and_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/table.json'"):
        LocalPlace(f"{tmp_path}/table.json").write(b"content")
    assert list(tmp_path.iterdir()) == []


def test_help_that_nobody_reads_ends_in_silence() -> None:
    running = []
    for verb in VERBS:
        reading, writing = os.pipe()
        os.close(reading)
        argv = [sys.executable, "-m", f"jobs.{verb}", "--help"]
        running.append(subprocess.Popen(argv, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True))
        os.close(writing)
    for verb, one in zip(VERBS, running, strict=True):
        _, err = one.communicate()
        assert (one.returncode, err) == (cli.CLOSED, ""), verb


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_nobody_reads_ends_a_job_in_silence(stream: str) -> None:
    """Also where the line that cannot be written is in a buffer until the end, or is that of an error."""
    works = "print('line')" if stream == "stdout" else "cli.fail('wrong')"
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: writing}
    done = subprocess.run(
        [*PYTHON, f"from jobs import cli; cli.start(lambda: cli.run(lambda: {works}))"], cwd=ROOT, **streams
    )
    os.close(writing)
    assert (done.returncode, done.stdout or b"", done.stderr or b"") == (cli.CLOSED, b"", b"")


def test_another_broken_pipe_is_no_closed_output() -> None:
    broken = "import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')"
    program = f"from jobs import cli\ndef main():\n    {broken}\ncli.start(main)"
    done = subprocess.run([*PYTHON, program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("BrokenPipeError: [Errno 32] Broken pipe\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_on_a_full_disk_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        program = "from jobs import cli; cli.start(lambda: print('line'))"
        done = subprocess.run([*PYTHON, program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: No space left on device: make room")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_help_works_without_outputs(closed: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m jobs.release --help {closed}", cwd=ROOT, shell=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_that_the_terminal_has_no_letters_for_are_printed() -> None:
    """A name that is no UTF-8, and a letter in a terminal that has ASCII alone."""
    program = "from jobs import cli; cli.start(lambda: print('a\\udcff', '\\u00e9'))"
    for encoding, expected in (("utf-8", "a\\udcff é\n"), ("ascii", "a\\udcff \\xe9\n")):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run([*PYTHON, program], cwd=ROOT, env=environment, capture_output=True)
        assert (done.returncode, done.stdout.decode(encoding), done.stderr) == (0, expected, b"")


@pytest.mark.parametrize("how", [{"option": "-OO"}, {"PYTHONOPTIMIZE": "2"}])
def test_without_docstrings_jobs_say_that_they_need_them(how: dict[str, str]) -> None:
    """Ray's and MLflow's own modules do not import without them."""
    option = [how.pop("option")] if "option" in how else []
    argv = [sys.executable, *option, "-m", "jobs.pretrain", "tiny", "--help"]
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | how, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: Ray and MLflow need the docstrings that -OO and PYTHONOPTIMIZE=2 leave out")
