"""A whole sequence to one embedding: all its frames in chunks, each body row pooled over all of them.

At test time nothing is sampled: every frame counts, up to the field's limit of 720. Chunks are as long as the clips of
pretraining; where the length is no multiple, neighbours overlap. As many chunks go through the encoder at once, of one
sequence or of several, as have a set number of tokens: walks differ in length, and outlines in size. The published P3D
encoder takes a sequence in one piece, as it is published. Knows nothing of storage or of protocols.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from model import parts
from model.network import GaitNetwork

MAX_FRAMES = 720
TOKENS_AT_ONCE = 8192  # bounds the memory of a forward pass; more is no faster on a CPU (benchmarks/embedding.py)

Walk = tuple[np.ndarray, np.ndarray]  # frames uint8 0/1 [T, 64, 44], and their numbers [T]


def chunk_places(num_frames: int, length: int) -> np.ndarray:
    """Frames of each chunk, int64 [chunks, length]: evenly spread, every frame in at least one; short ones wrap."""
    if num_frames < length:
        return (np.arange(length) % num_frames)[None]
    count = -(-num_frames // length)
    starts = np.rint(np.linspace(0, num_frames - length, count)).astype(np.int64)
    return starts[:, None] + np.arange(length)


@torch.inference_mode()
def embed(
    network: GaitNetwork,
    sequences: Sequence[Walk],
    chunk_frames: int,
    device: torch.device,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> np.ndarray:
    """Embeddings float32 [n, C, P], unit length a part."""
    training = network.training
    network.eval()  # an embedding must not depend on what else is in the batch
    rows = parts.nothing(len(sequences), network.encoder.width, device)
    batches = _whole(sequences) if network.encoder.whole_sequences else _chunks(sequences, chunk_frames)
    for clips, times, owners in batches:
        for some in _at_once(network, clips, tokens_at_once):
            given = (torch.from_numpy(array[some]).to(device) for array in (clips, times))
            pooled, _ = network.pool(*given)
            rows = parts.merge(pooled, torch.from_numpy(owners[some]).to(device), rows)
    embeddings = network.embed(rows)
    network.train(training)
    return embeddings.transpose(1, 2).cpu().numpy()


def _whole(sequences: Sequence[Walk]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each sequence as a batch of one clip, its times and whose it is."""
    for owner, (frames, numbers) in enumerate(sequences):
        yield frames[None, :MAX_FRAMES], numbers[None, :MAX_FRAMES] - numbers[0], np.array([owner])


def _chunks(sequences: Sequence[Walk], length: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The chunks of all sequences as one batch: clips, times and whose each is."""
    chunks, times, owners = [], [], []
    for owner, (frames, numbers) in enumerate(sequences):
        places = chunk_places(min(len(frames), MAX_FRAMES), length)
        chunks.append(frames[places])
        times.append(numbers[places] - numbers[places[:, :1]])
        owners.append(np.full(len(places), owner))
    yield np.concatenate(chunks), np.concatenate(times), np.concatenate(owners)


def _at_once(network: GaitNetwork, clips: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Which clips go through the encoder together: neighbours in length, since they are padded to one another."""
    if network.encoder.whole_sequences:
        yield np.arange(len(clips))
        return
    counts = network.encoder.count_tokens(torch.from_numpy(clips)).numpy()
    order = np.argsort(-counts, kind="stable")
    ends = np.cumsum(counts[order])
    while len(order):
        most = max(int(np.searchsorted(ends, tokens, side="right")), 1)
        yield order[:most]
        ends, order = ends[most:] - ends[most - 1], order[most:]
