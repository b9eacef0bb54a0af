"""The process group of a rank: the interface that it binds to, and the group of a process that trains alone."""

import os

import psutil
import ray
import torch.distributed as dist


def bind_to_node_address() -> None:
    """Let gloo and NCCL bind to the interface with the address that this node has in Ray, and to no other."""
    mine = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == mine for one in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = name


def form_group_of_one(backend: str) -> None:
    """Make this process the only rank of a process group, with the environment variables of torchrun."""
    bind_to_node_address()
    os.environ |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "NODE_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
