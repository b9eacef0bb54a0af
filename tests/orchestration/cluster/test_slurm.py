"""docs/slurm.sbatch, with stand-ins for Slurm's programs that start its two nodes on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.cluster.session import ROOT

SCRIPT = ROOT / "docs/slurm.sbatch"
STAND_INS = {
    "scontrol": '#!/bin/sh\ntest "$1 $2 $3" = "show hostnames node[1-2]" && printf "node1\\nnode2\\n"\n',
    "hostname": "#!/bin/sh\necho 127.0.0.1 172.17.0.1\n",
    # Runs the command here; the port of a node's agent, which is the same on all machines, differs between these two.
    "srun": """#!/bin/bash
echo "$*" >> "$ASKED"
while [[ $1 == --* ]]; do shift; done
exec "$@" --dashboard-agent-listen-port=0 --object-store-memory=100000000
""",
}


def submit(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as Slurm would on the first of two nodes of one core each."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in STAND_INS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    environment |= {"PATH": f"{programs}:{environment['PATH']}", "ASKED": str(tmp_path / "asked")}
    environment |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "1"}
    environment |= {"SLURM_TMPDIR": str(tmp_path), "GAIT_ENVIRONMENT": sys.prefix}
    command = ["bash", SCRIPT, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_slurm_reads_what_to_allocate() -> None:
    """Options must come before the first command, else Slurm ignores them."""
    lines = SCRIPT.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line.split()[1] for line in lines[:first] if line.startswith("#SBATCH ")]
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
    assert {one.partition("=")[0] for one in options} >= {"--nodes", "--cpus-per-task", "--gpus-per-node", "--no-kill"}
    assert "--ntasks-per-node=1" in options  # one Ray a node


@pytest.mark.slow
def test_a_job_runs_on_the_nodes_of_slurm(walks: Path, tmp_path: Path) -> None:
    done = submit(tmp_path, "ingest", "--root", f"CASIA-B={walks / 'CASIA-B'}", "--out", str(tmp_path / "shards"))
    assert done.returncode == 0, done.stderr
    assert "Ray has 2 nodes with 2 CPUs and 0 GPUs" in done.stderr
    worker, head = sorted((tmp_path / "asked").read_text().splitlines(), key=lambda line: "--head" in line)
    assert "--nodelist=node1" in head and "--head" in head and "--dashboard-host=127.0.0.1" in head
    assert "--nodelist=node2" in worker and f"--address=127.0.0.1:{20000 + os.getpid() % 10000}" in worker
    assert not Path(f"/tmp/gait-{os.getpid()}").exists()
    refused = submit(tmp_path, "pretrain", "tiny", "--shards", str(tmp_path / "none"), "--out", str(tmp_path / "run"))
    assert refused.returncode == 2, refused.stderr  # the exit status of the job
