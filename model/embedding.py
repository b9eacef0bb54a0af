"""A whole sequence to one embedding: all its frames in chunks, each body row pooled over all of them.

At test time nothing is sampled: every frame counts, up to the field's limit of 720. Chunks are as long as the clips of
pretraining; where the length is no multiple, neighbours overlap. The published P3D encoder takes a sequence in one
piece, as it is published. Knows nothing of storage or of protocols.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model import parts
from model.network import GaitNetwork

MAX_FRAMES = 720
_CHUNKS_AT_ONCE = 64  # bounds the memory of a forward pass


def chunk_places(num_frames: int, length: int) -> np.ndarray:
    """Frames of each chunk, int64 [chunks, length]: evenly spread, every frame in at least one; short ones wrap."""
    if num_frames < length:
        return (np.arange(length) % num_frames)[None]
    count = -(-num_frames // length)
    starts = np.rint(np.linspace(0, num_frames - length, count)).astype(np.int64)
    return starts[:, None] + np.arange(length)


@torch.inference_mode()
def embed(
    network: GaitNetwork, sequences: Sequence[tuple[np.ndarray, np.ndarray]], chunk_frames: int, device: torch.device
) -> np.ndarray:
    """Embeddings float32 [n, C, P], unit length a part. sequences: (frames uint8 0/1 [T, 64, 44], numbers [T])."""
    training = network.training
    network.eval()  # an embedding must not depend on what else is in the batch
    if network.encoder.whole_sequences:
        whole = [_embed(network, [one], min(len(one[0]), MAX_FRAMES), device) for one in sequences]
        embeddings = torch.cat(whole)
    else:
        embeddings = _embed(network, sequences, chunk_frames, device)
    network.train(training)
    return embeddings.transpose(1, 2).cpu().numpy()


def _embed(
    network: GaitNetwork, sequences: Sequence[tuple[np.ndarray, np.ndarray]], chunk_frames: int, device: torch.device
) -> Tensor:
    """Embeddings [n, P, C], each from all chunks of its sequence."""
    chunks, times, owners = [], [], []
    for owner, (frames, numbers) in enumerate(sequences):
        places = chunk_places(min(len(frames), MAX_FRAMES), chunk_frames)
        chunks.append(frames[places])
        times.append(numbers[places] - numbers[places[:, :1]])
        owners += [owner] * len(places)
    rows = _pool(network, np.concatenate(chunks), np.concatenate(times), device)
    owner = torch.tensor(owners, device=device)
    return torch.cat([network.embed(parts.merge(_select(rows, owner == n))) for n in range(len(sequences))])


def _pool(network: GaitNetwork, chunks: np.ndarray, times: np.ndarray, device: torch.device) -> parts.RowStatistics:
    """Row statistics of every chunk."""
    pooled = []
    for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
        clips, when = (torch.from_numpy(array[start : start + _CHUNKS_AT_ONCE]).to(device) for array in (chunks, times))
        pooled.append(network.pool(clips, when)[0])
    return parts.RowStatistics(*(torch.cat([getattr(one, name) for one in pooled]) for name in parts.STATISTICS))


def _select(rows: parts.RowStatistics, mine: Tensor) -> parts.RowStatistics:
    return parts.RowStatistics(*(getattr(rows, name)[mine] for name in parts.STATISTICS))
