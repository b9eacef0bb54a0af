"""Whether a Ray answers at an address, found out within seconds: Ray itself tries for minutes, and says nothing."""

import os
import re
import socket
from contextlib import suppress

import grpc

from datasets.schema.errors import UsageError

PATIENCE = 15.0  # seconds
# A method of each kind of server that takes no arguments.
_HEAD, _CLIENT = "/ray.rpc.NodeInfoGcsService/CheckAlive", "/ray.rpc.RayletDriver/ClusterInfo"
_NO_RAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)
_WITH_PORT = re.compile(r"(ray://)?(?P<target>\[[^\]]+\]:\d+|[^/:\s]+:\d+)")


def check(address: str) -> None:
    """UsageError for an address of RAY_ADDRESS that has the wrong form, or where no Ray answers within PATIENCE."""
    if address == "auto":  # Ray looks for one on this machine
        return
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"RAY_ADDRESS={address} is that of a job server: run `python -m jobs.submit --address {address} -- <job>`, "
            "or set RAY_ADDRESS to <head>:6379"
        )
    match = _WITH_PORT.fullmatch(address)
    if match is None:
        raise UsageError(f"RAY_ADDRESS={address} names no host and port: set it to <head>:6379, or unset it")
    if not answers(match["target"], PATIENCE, client=address.startswith("ray://")):
        raise UsageError(
            f"no Ray cluster answers at {address} within {PATIENCE:.0f} s: start it, correct RAY_ADDRESS, or unset it"
        )


def answers(target: str, patience: float, client: bool = False) -> bool:
    """Whether Ray answers at `host:port` within some seconds: the head, or the server of Ray's client (`ray://`)."""
    if os.environ.get("RAY_USE_TLS", "0") in ("1", "true", "True"):  # its certificates are Ray's to read
        host, _, port = target.rpartition(":")
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=patience):
            return True
        return False
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:  # Ray uses no proxy
        try:
            channel.unary_unary(_CLIENT if client else _HEAD)(b"", timeout=patience, wait_for_ready=True)
        except grpc.RpcError as error:  # without a token, Ray refuses the call; whatever else is there does not know it
            return error.code() not in _NO_RAY
        return True
