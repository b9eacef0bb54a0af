"""The environment of a rank: what mpirun, srun and torchrun set for the driver does not reach DeepSpeed."""

import os
from types import SimpleNamespace

import psutil
import pytest
import ray

from orchestration.rank import group

# As mpirun, srun or torchrun leave it for the fourth process that they started.
STRAY = {
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "MV2_COMM_WORLD_LOCAL_RANK": "3",
    "PMI_RANK": "3",
    "PMIX_RANK": "3",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
    "SLURM_NTASKS": "4",
    "RANK": "3",
    "LOCAL_RANK": "3",
    "GROUP_RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_SIZE": "4",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "none",
    "AZUREML_EXPERIMENT_ID": "none",
}
KEPT = {"LOCAL_DATA": "/data", "RANKING": "on", "NCCL_DEBUG": "WARN"}


def test_a_rank_keeps_none_of_the_ranks_that_launchers_gave_its_driver(monkeypatch) -> None:
    for name, value in (STRAY | KEPT).items():
        monkeypatch.setenv(name, value)
    group.set_rank_variables(1, 2, local_rank=0, local_ranks=1, node=1)
    ours = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "NODE_RANK": "1"}
    assert {name: os.environ[name] for name in (*STRAY, *KEPT, *ours) if name in os.environ} == ours | KEPT


def test_an_engine_starts_in_the_environment_of_mpirun(local_ray) -> None:
    def steps() -> float:
        import torch

        from orchestration.rank.entry import import_loop

        os.environ.update(STRAY)
        group.form_group_of_one("gloo")
        import_loop(gpu=False)
        from orchestration.rank import engine
        from tests.orchestration.rank.outlines import outline_pairs
        from tests.orchestration.rank.test_engine import RUN, replace

        run = replace(RUN, cluster=replace(RUN.cluster, workers=1), schedule=replace(RUN.schedule, batch=8, steps=8))
        torch.manual_seed(0)
        trained = engine.start_engine(run, run.objective.build(run.network))
        return float(engine.train_step(trained, outline_pairs(8, frames=2, seed=0), 0)["loss"])

    task = local_ray.remote(num_cpus=0, max_calls=1)(steps)  # in a process that nothing else uses afterwards
    assert local_ray.get(task.remote()) > 0


@pytest.mark.parametrize(
    ("address", "up", "problem"),
    [("127.0.0.1", True, None), ("127.0.0.1", False, "that is up has 127.0.0.1"), ("192.0.2.9", True, "192.0.2.9")],
)
def test_an_address_without_an_interface_that_is_up_is_a_problem(monkeypatch, address, up, problem) -> None:
    states = {name: SimpleNamespace(isup=up) for name in psutil.net_if_stats()}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: states)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: address)
    said = group.interface_problem()
    assert said is None if problem is None else problem in said and "--node-ip-address" in said
