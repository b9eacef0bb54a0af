"""How the ranks of a run find each other: torch's process group, at addresses of their nodes and at no others.

As Ray Train sets it up, but for what listens: torch's store, at which ranks meet, listens on every interface of its
machine, and gloo on that of the machine's name. Here both keep to the address that the node has in Ray, which is the
loopback on a Ray of one machine. Knows nothing of what ranks say to each other.
"""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta

import psutil
import ray
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend
from ray.train.v2._internal.execution.worker_group import WorkerGroup

_meeting: list[dist.TCPStore] = []  # of this process: the store of rank 0, from its start until the others have come


@dataclass
class Meeting(TorchConfig):
    """Ray Train's configuration of torch, with a backend of our own."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray's controller calls."""
        return _Backend


class _Backend(_TorchBackend):
    def on_start(self, worker_group: WorkerGroup, backend_config: Meeting) -> None:
        """Bring the ranks together; they are in order of their places in the group."""
        ranks = len(worker_group)
        where = worker_group.execute_single(0, _open, ranks, backend_config.timeout_s)
        worker_group.execute(_set_torch_distributed_env_vars)
        given = (ranks, where, backend_config.backend, backend_config.timeout_s)
        ray.get([worker_group.execute_single_async(rank, _join, rank, *given) for rank in range(ranks)])


def _open(ranks: int, seconds: int) -> tuple[str, int]:
    """Open the store, on rank 0; where it is."""
    address = ray.util.get_node_ip_address()
    listening = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    port = listening.getsockname()[1]
    store = dist.TCPStore(
        address,
        port,
        ranks,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=seconds),
        master_listen_fd=listening.detach(),
    )
    _meeting.append(store)
    return address, port


def _join(rank: int, ranks: int, where: tuple[str, int], backend: str, seconds: int) -> None:
    """Make the process group, on every rank."""
    mine = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == mine for one in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = name
    store = _meeting.pop() if rank == 0 else dist.TCPStore(*where, ranks, timeout=timedelta(seconds=seconds))
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=seconds))
