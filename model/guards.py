"""Guards against collapse: numbers that say, while a network trains, whether its embedding still tells anything.

Losses fall although an embedding fills few dimensions, parts become alike, or frames and their order go unread; each of
these has been seen in gait models. All are of the network that is evaluated, as it is evaluated, on clips of one rank.
They draw no random numbers from the training's, and change nothing. Knows nothing of losses or of how it is trained.

Shapes: B clips, P = 31 parts, C channels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from model import parts
from model.network import GaitNetwork


def effective_rank(vectors: Tensor) -> Tensor:
    """How many dimensions n vectors [..., n, C] fill, 1 to min(n, C); the mean over leading axes, a scalar.

    The exponential of the entropy of the singular values (Roy and Vetterli, EUSIPCO 2007), uncentred: vectors that are
    all alike fill one dimension, whatever the noise on them.
    """
    values = torch.linalg.svdvals(vectors.float())
    shares = values / values.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    return torch.special.entr(shares).sum(dim=-1).exp().mean()


def part_cosine(features: Tensor) -> Tensor:
    """Mean cosine between two of the 16 finest parts of a clip, over those that are not empty; features: [B, P, D].

    To be taken before the heads: there all parts lie in one space, of which each head makes one of its own.
    """
    finest = features[:, : parts.ROWS].float()
    filled = finest.norm(dim=2) > 0
    pairs = filled[:, :, None] & filled[:, None, :] & ~torch.eye(parts.ROWS, dtype=torch.bool, device=features.device)
    unit = functional.normalize(finest, dim=2)
    return (unit @ unit.transpose(1, 2))[pairs].mean()


def matched(queries: Tensor, keys: Tensor, walks: Tensor) -> Tensor:
    """Share of query parts whose nearest key is of their own walk; unit embeddings [B, P, C], walks [B]."""
    nearest = torch.einsum("bpc,gpc->bpg", queries, keys).argmax(dim=2)
    return (walks[nearest] == walks[:, None]).float().mean()


def shuffled(clips: Tensor, seed: int) -> Tensor:
    """Clips [B, T, ...] with their frames in another order, the same for all."""
    order = torch.randperm(clips.shape[1], generator=torch.Generator().manual_seed(seed))
    return clips[:, order.to(clips.device)]


def spread(rows: parts.RowStatistics, embeddings: Tensor) -> dict[str, Tensor]:
    """How far clips are spread out: by their pooled rows, and by their embeddings [B, P, C]."""
    return {
        "guard/effective_rank": effective_rank(embeddings.transpose(0, 1)),
        "guard/part_cosine": part_cosine(parts.pyramid(rows)),
    }


@torch.no_grad()
def watch_clips(network: GaitNetwork, clips: Tensor, times: Tensor) -> dict[str, Tensor]:
    """The guards that need no second clip of a walk."""
    training = network.training
    network.eval()
    rows = network.pool(clips, times)[0]
    embeddings = network.embed(rows)
    network.train(training)
    return spread(rows, embeddings)


@torch.no_grad()
def watch(
    network: GaitNetwork,
    query: Tensor,
    query_times: Tensor,
    key: Tensor,
    key_times: Tensor,
    walks: Tensor | None = None,
    *,
    seed: int,
) -> dict[str, Tensor]:
    """All guards of a network on the pairs of a step, whole clips; walks as for the contrast.

    The gaps: by how much fewer queries are matched when they are blank, and when their frames are shuffled.
    """
    training = network.training
    network.eval()
    if walks is None:
        walks = torch.arange(len(query), device=query.device)
    rows = network.pool(key, key_times)[0]
    keys = network.embed(rows)
    found = {}
    for name, clips in (("as it is", query), ("blank", query * 0), ("shuffled", shuffled(query, seed))):
        found[name] = matched(network.embed(network.pool(clips, query_times)[0]), keys, walks)
    network.train(training)
    return spread(rows, keys) | {
        "guard/matched": found["as it is"],
        "guard/blank_gap": found["as it is"] - found["blank"],
        "guard/shuffle_gap": found["as it is"] - found["shuffled"],
    }
