"""A whole sequence to one embedding: all its frames in chunks, each body row pooled over all of them.

At test time nothing is sampled: every frame counts, up to the field's limit of 720. Chunks are as long as the clips of
pretraining; where the length is no multiple, neighbours overlap. A forward pass takes chunks of one sequence or of
several up to a number of tokens, not of chunks: outlines differ in size, and memory grows with the tokens. The
published P3D encoder takes a sequence in one piece, as it is published.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from model import parts
from model.encoder import ContourEncoder
from model.network import GaitNetwork

MAX_FRAMES = 720
MAX_TOKENS = 8192  # of a forward pass, to bound its memory; more is no faster on a CPU (benchmarks/embedding.py)

Walk = tuple[np.ndarray, np.ndarray]  # frames uint8 0/1 [T, 64, 44], and their numbers [T]
Clips = tuple[np.ndarray, np.ndarray, np.ndarray]  # clips [n, T, 64, 44], times [n, T], and the sequence of each [n]


def chunk_frames(num_frames: int, length: int) -> np.ndarray:
    """The frames of each chunk, int64 [chunks, length]: evenly spread, every frame in at least one.

    A sequence that is shorter than a chunk is repeated.
    """
    if num_frames < length:
        return (np.arange(length) % num_frames)[None]
    count = -(-num_frames // length)
    starts = np.rint(np.linspace(0, num_frames - length, count)).astype(np.int64)
    return starts[:, None] + np.arange(length)


@torch.inference_mode()
def embed(
    network: GaitNetwork,
    sequences: Sequence[Walk],
    chunk_length: int,
    device: torch.device,
    max_tokens: int = MAX_TOKENS,
) -> np.ndarray:
    """Embeddings float32 [n, C, P] of n sequences, each part of unit length."""
    training = network.training
    network.eval()  # an embedding must not depend on what else is in the batch
    rows = parts.empty_statistics(len(sequences), network.encoder.width, device)
    batches = _whole(sequences) if network.encoder.whole_sequences else _chunks(sequences, chunk_length)
    for clips, times, owners in batches:
        for index in _forward_passes(network, clips, max_tokens):
            pooled, _ = network.pool(torch.from_numpy(clips[index]), torch.from_numpy(times[index]))
            rows = parts.merge(pooled, torch.from_numpy(owners[index]).to(device), rows)
    embeddings = network.embed(rows)
    network.train(training)
    return embeddings.transpose(1, 2).cpu().numpy()


def _whole(sequences: Sequence[Walk]) -> Iterator[Clips]:
    """Each sequence as a batch of one clip."""
    for owner, (frames, numbers) in enumerate(sequences):
        yield frames[None, :MAX_FRAMES], numbers[None, :MAX_FRAMES] - numbers[0], np.array([owner])


def _chunks(sequences: Sequence[Walk], length: int) -> Iterator[Clips]:
    """The chunks of all sequences as one batch."""
    chunks, times, owners = [], [], []
    for owner, (frames, numbers) in enumerate(sequences):
        index = chunk_frames(min(len(frames), MAX_FRAMES), length)
        chunks.append(frames[index])
        times.append(numbers[index] - numbers[index[:, :1]])
        owners.append(np.full(len(index), owner))
    yield np.concatenate(chunks), np.concatenate(times), np.concatenate(owners)


def _forward_passes(network: GaitNetwork, clips: np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
    """The clips of each forward pass, sorted by their number of tokens, since they are padded to one another."""
    if not isinstance(network.encoder, ContourEncoder):
        yield np.arange(len(clips))
        return
    counts = network.encoder.count_tokens(torch.from_numpy(clips)).numpy()
    order = np.argsort(-counts, kind="stable")
    ends = np.cumsum(counts[order])
    while len(order):
        most = max(int(np.searchsorted(ends, max_tokens, side="right")), 1)
        yield order[:most]
        ends, order = ends[most:] - ends[most - 1], order[most:]
