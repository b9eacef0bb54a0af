"""Embedding of walks on a device: how fast, and whether it gives what the CPU gives in fp32."""

import time

import numpy as np
import torch

from benchmarks.gpu.machine import wait_for
from benchmarks.gpu.report import Line
from benchmarks.gpu.training import Workplace
from datasets.store.reader import Store
from model.network import GaitNetwork, NetworkSettings
from orchestration.embedding.sequences import decode_walk, embed_walks

CHUNK = 16  # frames


def embed_on(place: Workplace, size: str, walks: int) -> Line:
    """Embed walks of the store twice, the first time to warm up, and compare two of them with the CPU."""
    device, precision = place.machine.torch_device, place.machine.precision
    rows = Store.open(place.shards).rows().slice(0, walks).to_pylist()
    decoded = [decode_walk(row) for row in rows]
    torch.manual_seed(0)
    network = GaitNetwork(NetworkSettings(size=size))
    expected = embed_walks(network, decoded[:2], CHUNK, torch.device("cpu"), "fp32")
    network.to(device)
    for _ in range(2):
        wait_for(device)
        began = time.perf_counter()
        found = embed_walks(network, decoded, CHUNK, device, precision)
        wait_for(device)
        seconds = time.perf_counter() - began
    cosine = float(np.einsum("ncp,ncp->np", found[:2], expected).min())
    frames = sum(len(masks) for masks, _ in decoded)
    rates = f"{len(decoded) / seconds:,.1f} walks/s, {frames / seconds:,.0f} frames/s"
    text = f"{rates}; cosine with the CPU at least {cosine:.4f}"
    values = {"walks_per_second": len(decoded) / seconds, "cosine": cosine}
    return Line(f"embed by {size}", "PASS" if cosine > 0.995 else "FAIL", text, values)
