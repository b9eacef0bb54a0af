"""The process group of a rank: its environment, the interface that it binds to, and the group of a lone process."""

import os

import psutil
import ray
import torch.distributed as dist

# Launchers give each process that they start a rank among the others, which torch and DeepSpeed read: Open MPI,
# MVAPICH, MPICH and Intel MPI (PMI_*), PMIx, Slurm, Flux, PALS, torchrun, and the clouds that DeepSpeed knows.
_LAUNCHERS = (
    *("OMPI_", "MV2_", "PMI_", "PMIX_", "I_MPI_", "HYDRA_", "SLURM_", "FLUX_", "PALS_", "TORCHELASTIC_"),
    *("AZUREML_", "AZ_BATCH", "DLTS_", "SM_TRAINING_ENV", "MPI_LOCAL"),
)
_OF_RANKS = {"RANK", "NODE_RANK", "CROSS_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "LOCAL_SIZE"}
_OF_RANKS |= {f"{group}_{what}" for group in ("LOCAL", "GROUP", "ROLE") for what in ("RANK", "WORLD_SIZE", "NAME")}


def set_rank_variables(rank: int, ranks: int, local_rank: int, local_ranks: int, node: int) -> None:
    """Set the environment variables of torchrun, which DeepSpeed reads, and delete what other launchers have set.

    A driver that mpirun or srun has started passes its own rank on to Ray's processes, and DeepSpeed refuses one that
    contradicts ours. For processes of ranks alone: srun itself needs its variables.
    """
    for name in [*os.environ]:
        if name.startswith(_LAUNCHERS) or name in _OF_RANKS:
            del os.environ[name]
    values = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_ranks}
    os.environ |= {name: str(value) for name, value in (values | {"NODE_RANK": node}).items()}


def interface_problem() -> str | None:
    """Why gloo and NCCL could not bind to the address that this node has in Ray; None where they can."""
    if _interface() is not None:
        return None
    return (
        f"no network interface that is up has {ray.util.get_node_ip_address()}, the node's address in Ray: "
        "start Ray there with --node-ip-address and the address of one that is"
    )


def bind_to_node_address() -> None:
    """Let gloo and NCCL bind to the interface with the address that this node has in Ray, and to no other."""
    name = _interface()
    if name is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = name


def _interface() -> str | None:
    """The interface that has the address of this node in Ray, and is up."""
    mine, state = ray.util.get_node_ip_address(), psutil.net_if_stats()
    names = [name for name, those in psutil.net_if_addrs().items() if any(one.address == mine for one in those)]
    return next((name for name in names if name not in state or state[name].isup), None)


def form_group_of_one(backend: str) -> None:
    """Make this process the only rank of a process group, with the environment variables of torchrun."""
    bind_to_node_address()
    set_rank_variables(0, 1, local_rank=0, local_ranks=1, node=0)
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
