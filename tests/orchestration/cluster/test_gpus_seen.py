"""Which GPUs the processes of a Ray see, on a local Ray that takes this machine for one with two GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.cluster import session

# Prints what each process found in CUDA_VISIBLE_DEVICES. A GPU is only counted here: nothing uses CUDA.
ASKED = """
import json, os, sys
import ray
from ray._private.accelerators import NvidiaGPUAcceleratorManager
NvidiaGPUAcceleratorManager.get_current_node_num_accelerators = staticmethod(lambda: 2)
NvidiaGPUAcceleratorManager.get_current_node_accelerator_type = staticmethod(lambda: None)
from orchestration.cluster import session
session.start(num_cpus=2)
assert session.count_gpus() == 2

def seen():
    import os
    return os.environ.get("CUDA_VISIBLE_DEVICES")

class Actor:
    def seen(self):
        return seen()

def of_tasks(gpus, **options):
    return ray.get(ray.remote(num_cpus=0, num_gpus=gpus, **options)(seen).remote())

def of_actor(gpus):
    return ray.get(ray.remote(Actor).options(num_cpus=0, num_gpus=gpus).remote().seen.remote())

found = {
    "a task": of_tasks(0), "a task in a process of its own": of_tasks(0, max_calls=1), "an actor": of_actor(0),
    "a task with a GPU": of_tasks(1), "an actor with a GPU": of_actor(1), "a question to a GPU": of_tasks(0.01),
    "a task after one with a GPU": of_tasks(0),
}
print(json.dumps(found))
"""

TRAINED = """
import json, os, sys
from pathlib import Path
from ray._private.accelerators import NvidiaGPUAcceleratorManager
NvidiaGPUAcceleratorManager.get_current_node_num_accelerators = staticmethod(lambda: 2)
NvidiaGPUAcceleratorManager.get_current_node_accelerator_type = staticmethod(lambda: None)
from orchestration.cluster import session
from orchestration.training.process_group import ProcessGroupConfig
from orchestration.training.ray_internals import Trainer
from ray.train import RunConfig, ScalingConfig
session.start(num_cpus=2)
folder = sys.argv[1]

def rank():
    import os
    from pathlib import Path
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    assert "OMPI_COMM_WORLD_LOCAL_RANK" not in os.environ
    Path(folder, os.environ["RANK"]).write_text(f"{os.environ['LOCAL_RANK']} of {seen}")

gpu = sys.argv[2] == "gpu"
Trainer(
    worker_counts=(2,), on_controller=lambda _: None, train_loop_per_worker=rank,
    torch_config=ProcessGroupConfig(backend="gloo"), scaling_config=ScalingConfig(num_workers=2, use_gpu=gpu),
    run_config=RunConfig(name="run", storage_path=folder),
).fit()
"""


def run(program: str, *arguments: str) -> str:
    asked = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=session.ROOT, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    return asked.stdout


def test_what_reserves_no_gpu_sees_none() -> None:
    found = json.loads(run(ASKED).splitlines()[-1])
    with_gpu = {name: found.pop(name) for name in list(found) if "GPU" in name and "after" not in name}
    assert found == dict.fromkeys(found, "") and len(found) == 4
    assert set(with_gpu.values()) <= {"0", "1"} and len(with_gpu) == 3


@pytest.mark.parametrize(("device", "seen"), [("gpu", {"0 of 0,1", "1 of 0,1"}), ("cpu", {"0 of ", "1 of "})])
def test_a_rank_has_its_own_gpu_among_those_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, seen: set[str]
) -> None:
    """NCCL needs to see the GPUs of the machine's other ranks; LOCAL_RANK says which is the rank's own.

    It is not that of a driver which mpirun started.
    """
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "3")
    run(TRAINED, str(tmp_path), device)
    assert {(tmp_path / str(rank)).read_text() for rank in range(2)} == seen
