"""Sets up torch's process group among the ranks of a run, at the addresses of their nodes and at no others.

Ray Train's own set-up would listen on every interface of a machine: torch's store, through which ranks find each other,
binds to all of them, and gloo binds to the one that the host name resolves to. Here both bind to the address that the
node has in Ray, which is the loopback interface on a Ray of one machine.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import ray
import torch.distributed as dist
from ray.exceptions import GetTimeoutError
from ray.train import BackendConfig
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

from datasets.schema.errors import UsageError
from orchestration.rank.group import bind_to_node_address, interface_problem, set_rank_variables
from orchestration.run.hardware import gpu_problem

_SHUTDOWN_TIMEOUT = 30.0  # seconds
_opened: list[dist.TCPStore] = []  # of rank 0's process: the store, from _open_store until _join


class WorkerGroup(Protocol):
    """What Ray Train passes to a backend: the workers of a run, by rank."""

    def __len__(self) -> int: ...

    def execute(self, fn: Callable[..., Any], /, *args: object) -> list[Any]:
        """Run a function on every worker."""
        ...

    def execute_async(self, fn: Callable[..., Any], /, *args: object) -> list[Any]:
        """The same, without waiting."""
        ...

    def execute_single(self, rank: int, fn: Callable[..., Any], /, *args: object) -> Any:  # noqa: ANN401
        """Run a function on one worker."""
        ...

    def execute_single_async(self, rank: int, fn: Callable[..., Any], /, *args: object) -> Any:  # noqa: ANN401
        """The same, without waiting."""
        ...


@dataclass
class ProcessGroupConfig(TorchConfig):
    """Ray Train's configuration of torch, with our backend."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The class that Ray Train's controller calls when workers have started and when they stop."""
        return ProcessGroupBackend


class ProcessGroupBackend(Backend):
    """Runs in Ray Train's controller. Rank 0 opens a store at its node's address, and all ranks join there."""

    share_cuda_visible_devices = True  # as Ray's own backend for torch: NCCL needs to see the node's other GPUs

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Set up the process group; the order of workers in their group is their rank.

        UsageError where a rank's GPU is none that this build of torch runs on, or its node has no network interface.
        """
        assert isinstance(backend_config, ProcessGroupConfig)
        if backend_config.backend == "nccl":
            _check(worker_group, gpu_problem)
        _check(worker_group, interface_problem)
        ranks, timeout = len(worker_group), backend_config.timeout_s
        address = worker_group.execute_single(0, _open_store, ranks, timeout)
        worker_group.execute(_set_rank_variables)
        settings = (ranks, address, backend_config.backend, timeout)
        ray.get([worker_group.execute_single_async(rank, _join, rank, *settings) for rank in range(ranks)])

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Leave the process group; ranks that hang are killed by Ray Train after this."""
        del backend_config
        try:
            ray.get(worker_group.execute_async(_leave), timeout=_SHUTDOWN_TIMEOUT)
        except GetTimeoutError:
            return


def _check(worker_group: WorkerGroup, problem: Callable[[], str | None]) -> None:
    """UsageError for the first rank that has a problem; Ray Train does not start ranks again after it."""
    for rank, (node, found) in enumerate(worker_group.execute(_ask_rank, problem)):
        if found is not None:
            raise UsageError(f"rank {rank} on node {node}: {found}")


def _ask_rank(problem: Callable[[], str | None]) -> tuple[str, str | None]:
    return ray.util.get_node_ip_address(), problem()


def _open_store(ranks: int, timeout: int) -> tuple[str, int]:
    """Open torch's store on rank 0; returns its address and port."""
    address = ray.util.get_node_ip_address()
    # TCPStore listens on all interfaces, unless it is given a socket that listens already.
    listening = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    port = listening.getsockname()[1]
    store = dist.TCPStore(
        address,
        port,
        ranks,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=timeout),
        master_listen_fd=listening.detach(),
    )
    _opened.append(store)
    return address, port


def _set_rank_variables() -> None:
    context = ray.train.get_context()
    rank, local_rank, node = context.get_world_rank(), context.get_local_rank(), context.get_node_rank()
    set_rank_variables(rank, context.get_world_size(), local_rank, context.get_local_world_size(), node)


def _join(rank: int, ranks: int, address: tuple[str, int], backend: str, timeout: int) -> None:
    """Join the process group."""
    bind_to_node_address()
    store = _opened.pop() if rank == 0 else dist.TCPStore(*address, ranks, timeout=timedelta(seconds=timeout))
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=timeout))


def _leave() -> None:
    """Leave the process group, if this rank ever joined it."""
    if dist.is_initialized():
        dist.destroy_process_group()
