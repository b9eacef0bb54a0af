"""Guards against collapse: metrics of an embedding that a loss does not show, measured while a network trains.

Losses fall although an embedding fills few dimensions, parts become alike, or frames and their order are ignored; each
of these has been seen in gait models. All are of the teacher in evaluation mode, on clips of one rank. Guards must not
change the training: they draw from a generator of their own, and leave running statistics as they are.

Shapes: B clips, P = 31 parts, C channels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from model import parts
from model.network import GaitNetwork
from model.tokens import GRID_ROWS


def effective_rank(vectors: Tensor) -> Tensor:
    """How many dimensions n vectors [..., n, C] fill, 1 to min(n, C); the mean over leading axes, a scalar.

    The exponential of the entropy of the singular values (Roy and Vetterli, EUSIPCO 2007), uncentred: vectors that are
    all alike fill one dimension, whatever the noise on them.
    """
    values = torch.linalg.svdvals(vectors.float())
    shares = values / values.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    return torch.special.entr(shares).sum(dim=-1).exp().mean()


def part_cosine(features: Tensor) -> Tensor:
    """Mean cosine between two of the 16 finest parts of a clip, over those that are not empty.

    features: [B, P, D] before the heads, where all parts lie in one space; each head maps its part to a space of its
    own.
    """
    finest = features[:, :GRID_ROWS].float()
    filled = finest.norm(dim=2) > 0
    pairs = filled[:, :, None] & filled[:, None, :] & ~torch.eye(GRID_ROWS, dtype=torch.bool, device=features.device)
    unit = functional.normalize(finest, dim=2)
    return (unit @ unit.transpose(1, 2))[pairs].mean()


def match_rate(queries: Tensor, keys: Tensor, walks: Tensor) -> Tensor:
    """Share of query parts whose nearest key is of the same walk; unit embeddings [B, P, C], walks [B]."""
    nearest = torch.einsum("bpc,gpc->bpg", queries, keys).argmax(dim=2)
    return (walks[nearest] == walks[:, None]).float().mean()


def shuffle_frames(clips: Tensor, seed: int) -> Tensor:
    """Clips [B, T, ...] with their frames in another order, the same for all."""
    return clips[:, torch.randperm(clips.shape[1], generator=torch.Generator().manual_seed(seed))]


def spread(rows: parts.RowStatistics, embeddings: Tensor) -> dict[str, Tensor]:
    """The effective rank of embeddings [B, P, C], and how alike the parts of a clip are."""
    return {
        "guard/effective_rank": effective_rank(embeddings.transpose(0, 1)),
        "guard/part_cosine": part_cosine(parts.pyramid(rows)),
    }


@torch.no_grad()
def clip_guards(network: GaitNetwork, clips: Tensor, times: Tensor) -> dict[str, Tensor]:
    """The guards that need no second clip of a walk, on clips [B, T, 64, 44] on the host."""
    training = network.training
    network.eval()
    rows = network.pool(clips, times)[0]
    embeddings = network.embed(rows)
    network.train(training)
    return spread(rows, embeddings)


@torch.no_grad()
def pair_guards(
    network: GaitNetwork,
    query: Tensor,
    query_times: Tensor,
    key: Tensor,
    key_times: Tensor,
    walks: Tensor | None = None,
    *,
    seed: int,
) -> dict[str, Tensor]:
    """All guards, on pairs of whole clips [B, T, 64, 44] on the host.

    walks: int64 [B], the recorded walk of each pair; every pair one of its own where None. The gaps:
    by how much the match rate falls when the queries are blank, and when their frames are shuffled.
    """
    training = network.training
    network.eval()
    rows = network.pool(key, key_times)[0]
    keys = network.embed(rows)
    if walks is None:
        walks = torch.arange(len(query), device=keys.device)
    found = {}
    for name, clips in (("as it is", query), ("blank", query * 0), ("shuffled", shuffle_frames(query, seed))):
        found[name] = match_rate(network.embed(network.pool(clips, query_times)[0]), keys, walks)
    network.train(training)
    return spread(rows, keys) | {
        "guard/matched": found["as it is"],
        "guard/blank_gap": found["as it is"] - found["blank"],
        "guard/shuffle_gap": found["as it is"] - found["shuffled"],
    }
