"""Whether a run whose rank is killed goes on to its last step, by the real job."""

import subprocess
import sys
import time
from contextlib import suppress

import psutil

from benchmarks.gpu.report import Line, NotRun
from benchmarks.gpu.training import Workplace
from benchmarks.kills import WORKER
from datasets.storage import open_place
from jobs.recipes import RECIPES
from orchestration.run import checkpoint

CHECK = "kill and resume"


def kill_and_resume(place: Workplace, steps: int, limit: float) -> Line:
    """Start `jobs.pretrain`, kill one of its ranks after the first checkpoint, and wait for its last step."""
    run, machine = RECIPES["tiny"](place.shards, str(place.folder / "killed")), place.machine
    job = [sys.executable, "-m", "jobs.pretrain", "tiny", "--shards", place.shards, "--out", run.out]
    job += ["--tracking", place.uri, "--cluster.workers", str(machine.workers), "--cluster.device", machine.device]
    job += ["--schedule.steps", str(steps), "--schedule.batch", str(8 * machine.workers), "--schedule.log-every", "1"]
    job += ["--schedule.guard-every", "0", "--keep.every", str(steps // 10), "--score.every", "0"]
    until = time.monotonic() + limit
    log = place.folder / "killed.log"
    with log.open("w") as file, subprocess.Popen(job, stdout=file, stderr=subprocess.STDOUT) as driver:
        try:
            killed_after = _kill_a_rank(driver, run.out, steps, until)
            driver.wait(max(until - time.monotonic(), 1))
        finally:
            driver.terminate()
    if driver.returncode:
        return Line(CHECK, "FAIL", f"status {driver.returncode}: {log.read_text().strip()[-300:]}")
    last = checkpoint.newest_step(open_place(run.out))
    recorded = {step for step, _ in place.history(run, "loss")}
    missing = set(range(1, steps + 1)) - recorded
    found = f"killed after the checkpoint of step {killed_after}, ended at step {last}, {len(missing)} losses missing"
    return Line(CHECK, "PASS" if last == steps and not missing else "FAIL", found, {"killed_after": killed_after})


def _kill_a_rank(driver: "subprocess.Popen[bytes]", out: str, steps: int, until: float) -> int:
    """Kill a rank once there is a checkpoint, and return its step."""
    folder = open_place(out)
    while (newest := checkpoint.newest_step(folder)) <= 0:
        if driver.poll() is not None:
            raise RuntimeError(f"the job ended with status {driver.returncode} before its first checkpoint")
        if time.monotonic() > until:
            raise RuntimeError("no checkpoint within the time")
        time.sleep(0.02)
    if newest >= steps:
        raise NotRun("the run ended before it could be killed")
    for process in psutil.Process(driver.pid).children(recursive=True):
        with suppress(psutil.Error):  # gone already
            if WORKER in " ".join(process.cmdline()):
                process.kill()
                return newest
    raise RuntimeError("no rank was found among the processes of the job")
