"""Tokens, encoder, parts, objective: shapes, exact arithmetic, and what must not depend on the batch."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from datasets.schema.errors import UsageError
from datasets.schema.rows import HEIGHT, WIDTH
from model import embedding, parts, sizes
from model.encoder import Block, ContourEncoder
from model.network import GaitNetwork, NetworkSettings
from model.objectives.pairs import assign_strips
from model.p3d import encoder as reference
from model.packing import pack
from model.parts import PARTS, Strips
from model.tokens import Tokens, tokenise


def walking_clips(count: int, frames: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ellipses that sway: clips uint8 [count, frames, 64, 44] and their times."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    clips = np.zeros((count, frames, HEIGHT, WIDTH), np.uint8)
    for clip in clips:
        width, phase = rng.uniform(6, 12), rng.uniform(0, 6)
        for t, frame in enumerate(clip):
            sway = 22 + 4 * np.sin(phase + t) * (y - 32) / 32
            frame[:] = ((x - sway) / (width * (0.6 + y / 128))) ** 2 + ((y - 32) / 30) ** 2 < 1
    return torch.from_numpy(clips), torch.arange(frames).float().expand(count, -1)


def test_only_tubelets_that_a_contour_crosses_become_tokens() -> None:
    clips = torch.zeros(2, 4, HEIGHT, WIDTH, dtype=torch.uint8)
    clips[0, :, 0:8, 0:8] = 1  # whole tubelets: all body or all background
    clips[1, 2, 9, 6] = 1  # one pixel in tubelet (time 1, row 2, column 1)
    taken, share = tokenise(clips, torch.tensor([[0.0, 1, 5, 6]]).expand(2, -1))
    assert [taken.clip.tolist(), taken.time.tolist(), taken.row.tolist(), taken.column.tolist()] == [[1], [5], [2], [1]]
    assert taken.bits[0].sum() == 1 - 31
    assert taken.bits[0].argmax() == 0 * 16 + 1 * 4 + 2  # frame 0, row 1, column 2 of the tubelet
    assert share == pytest.approx(1 / (2 * 2 * 16 * 11))


def test_tokens_keep_every_mixed_tubelet_in_order() -> None:
    clips, times = walking_clips(3)
    taken, _ = tokenise(clips, times)
    cubes = clips.view(3, 4, 2, 16, 4, 11, 4).permute(0, 1, 3, 5, 2, 4, 6).reshape(3, -1, 32).float()
    mixed = (cubes.mean(2) > 0) & (cubes.mean(2) < 1)
    torch.testing.assert_close(taken.bits, cubes[mixed] * 2 - 1)
    index = taken.clip * 704 + taken.time / 2 * 176 + taken.row * 11 + taken.column
    torch.testing.assert_close(index, mixed.flatten().nonzero().squeeze(1).float())


def test_a_clip_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(0)
    network = GaitNetwork(NetworkSettings(channels=8))
    clips, times = walking_clips(4)
    clips[2, :, 20:40:3, 10:30:2] = 0  # a ragged clip with many more tokens: the others are padded
    together = network.project(network.pool(clips, times)[0])
    for one in range(4):
        alone = network.project(network.pool(clips[one : one + 1], times[one : one + 1])[0])
        torch.testing.assert_close(alone[0], together[one], rtol=1e-4, atol=1e-5)


CUTS = [Strips(count, shifted) for count in (8, 4, 2) for shifted in (False, True)]


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_pixels_of_one_strip_change_nothing_in_another(cut: Strips) -> None:
    torch.manual_seed(0)
    encoder = ContourEncoder(2)
    clips, times = walking_clips(1)
    before, _ = encoder.pool(clips, times, [cut])
    height = HEIGHT // cut.number
    for top in range(-height // 2 if cut.shifted else 0, HEIGHT, height):
        rows = slice(max(top, 0), top + height)
        changed = clips.clone()
        changed[:, :, rows, 10:34] = 1 - changed[:, :, rows, 10:34]
        after, _ = encoder.pool(changed, times, [cut])
        moved = ~torch.isclose(before.total, after.total, rtol=1e-4, atol=1e-4).all(dim=2)[0]
        assert moved.nonzero().flatten().tolist() == list(range(rows.start // 4, min(rows.stop, HEIGHT) // 4))


def test_clips_cut_in_company_are_cut_as_alone() -> None:
    torch.manual_seed(0)
    encoder = ContourEncoder(2)
    clips, times = walking_clips(9)
    together, _ = encoder.pool(clips, times, assign_strips(9))
    for one, cut in enumerate(assign_strips(9)):
        alone, _ = encoder.pool(clips[one : one + 1], times[:1], [cut])
        torch.testing.assert_close(together.total[one], alone.total[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.count[one], alone.count[0])
    whole, _ = encoder.pool(clips, times)
    torch.testing.assert_close(together.total[3], whole.total[3], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together.total[0], whole.total[0], rtol=1e-2, atol=1e-2)


def test_the_layouts_of_the_encoder_agree() -> None:
    """Padded and jagged attention: equal statistics and gradients of clips in strips."""
    clips, times = walking_clips(4)
    clips[1] = 0
    results = []
    for layout in ("padded", "jagged"):
        torch.manual_seed(0)
        encoder = ContourEncoder(2, layout)
        rows, _ = encoder.pool(clips, times, assign_strips(4))
        rows.total.square().sum().backward()
        results.append([rows.total.detach(), *(weight.grad for weight in encoder.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_an_empty_clip_gives_numbers_and_gradients() -> None:
    network = GaitNetwork(NetworkSettings(channels=8))
    clips, times = walking_clips(2)
    clips[1] = 0
    embedded = network.embed(network.pool(clips, times)[0])
    embedded.sum().backward()
    assert torch.isfinite(embedded).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_every_tubelet_can_become_a_token_and_those_in_between_are_what_is_added() -> None:
    clips, times = walking_clips(2)
    some, share = ContourEncoder(2).tokens(clips, times)
    every, whole = ContourEncoder(2, every_tubelet=True).tokens(clips, times)
    assert len(every.bits) == clips[0].numel() // 32 * 2 and float(whole) == 1
    mixed = every.bits.abs().sum(dim=1) != every.bits.sum(dim=1).abs()
    assert torch.equal(every.take(mixed).bits, some.bits) and torch.equal(every.take(mixed).column, some.column)
    assert len(some.bits) == round(float(share) * len(every.bits))
    with pytest.raises(UsageError, match="every-tubelet"):
        NetworkSettings(size="p3d-tiny", every_tubelet=True)


def test_time_and_place_matter() -> None:
    torch.manual_seed(0)
    network = GaitNetwork(NetworkSettings(channels=8))
    clips, times = walking_clips(1)
    base = network.embed(network.pool(clips, times)[0])
    assert not torch.allclose(base, network.embed(network.pool(clips, 2 * times)[0]), atol=1e-4)
    assert not torch.allclose(base, network.embed(network.pool(clips.flip(3), times)[0]), atol=1e-4)


@pytest.mark.parametrize("size", [*sizes.DEPTHS, *sizes.P3D])
def test_sizes_cost_what_the_built_network_costs(size: str) -> None:
    with torch.device("meta"):
        network = GaitNetwork(NetworkSettings(size=size, channels=48))
    said = sizes.cost(size, channels=48)
    built = [sum(p.numel() for p in one.parameters()) for one in (network.encoder, network)]
    assert [said.encoder, said.teacher] == built
    if said.blocks is not None:
        assert said.blocks == sum(p.numel() for p in network.encoder.blocks.parameters()) == sizes.parameters_of(size)
    assert said.depth == sum(isinstance(one, Block | reference.Block) for one in network.encoder.modules())
    assert said.width == network.encoder.width


@pytest.mark.parametrize(("size", "device"), [("xxs", "cpu"), ("xs", "cpu"), ("s", "meta"), ("xl", "meta")])
def test_work_is_what_torch_counts(size: str, device: str) -> None:
    count, on = 64 - sizes.REGISTERS, torch.device(device)  # a chunk without empty slots
    packing = pack([count], sizes.REGISTERS, on)
    # Attention as plain matrix products: the counter does not know the fused kernel of the CPU.
    with on, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        zero = torch.zeros(count, dtype=torch.int64)
        tokens = Tokens(torch.zeros(count, 32), zero.float(), zero, zero, zero)
        ContourEncoder(sizes.DEPTHS[size])(tokens, packing)
    assert counter.get_total_flops() == sizes.contour_flops(sizes.DEPTHS[size], count)


def test_the_largest_size_has_the_parameters_of_the_published_one_and_a_seventh_of_its_work() -> None:
    largest, published = sizes.cost("xl", 256), sizes.cost("p3d-0.13b", 512)
    assert largest.blocks == pytest.approx(134.9e6, rel=1e-3)
    assert largest.flops <= 110e9 < published.flops / 7
    assert [row[0] for row in sizes.table()] == ["size", *sizes.DEPTHS, *sizes.P3D]
    with pytest.raises(UsageError, match="the sizes are xxs, xs, s, m, l, xl, d1, d4, p3d-tiny"):
        NetworkSettings(size="huge")


def test_the_pyramid_pools_by_body_row() -> None:
    features = torch.tensor([[1.0], [3.0], [10.0], [99.0]])
    count = torch.zeros(2, 16, dtype=torch.int64)
    count[[0, 0, 1], [0, 15, 4]] = torch.tensor([2, 1, 1])
    pooled = parts.pyramid(parts.row_statistics(features, count))[0, :, 0]
    assert pooled.shape == (31,)
    assert pooled[0] == 3 + 2  # the first of 16 rows: maximum + mean
    assert pooled[15] == 20
    assert pooled[1:15].abs().sum() == 0
    assert pooled[-3:].tolist() == [5, 20, pytest.approx(10 + 14 / 3)]  # halves, and the whole body


def test_pooling_in_chunks_is_pooling_at_once() -> None:
    torch.manual_seed(0)
    features, bins = torch.randn(50, 4), torch.randint(0, 48, (50,)).sort().values
    clip, row, owner = bins // 16, bins % 16, torch.tensor([1, 0, 1])
    bin_at_once = owner[clip] * 16 + row
    count, count_at_once = bins.bincount(minlength=48).view(3, 16), bin_at_once.bincount(minlength=32).view(2, 16)
    once = parts.pyramid(parts.row_statistics(features[bin_at_once.argsort(stable=True)], count_at_once))
    chunks, taken = (
        parts.row_statistics(features, count),
        parts.empty_statistics(2, 4, torch.device("cpu")),
    )
    for some in (torch.tensor([2]), torch.tensor([0, 1])):  # in any order, some at a time
        statistics = parts.RowStatistics(chunks.maximum[some], chunks.total[some], chunks.count[some])
        taken = parts.merge(statistics, owner[some], taken)
    torch.testing.assert_close(parts.pyramid(taken), once)


def test_each_part_has_a_head_of_its_own() -> None:
    head = parts.PartHead(3, 2)
    given = torch.randn(5, PARTS, 3)
    expected = torch.stack([given[:, part] @ head.weight[part] for part in range(PARTS)], dim=1)
    torch.testing.assert_close(head(given), expected)


@pytest.mark.parametrize("num_frames", [1, 5, 8, 9, 16, 83])
def test_chunks_cover_every_frame(num_frames: int) -> None:
    chunks = embedding.chunk_frames(num_frames, 8)
    assert chunks.shape == (-(-num_frames // 8), 8)
    assert set(chunks.flatten().tolist()) == set(range(num_frames))


def test_embeddings_are_of_unit_length_and_independent_of_company() -> None:
    network = GaitNetwork(NetworkSettings(channels=8))
    clips, _ = walking_clips(3, frames=20)
    sequences = [(clip[:length].numpy(), np.arange(length)) for clip, length in zip(clips, (20, 7, 13), strict=True)]
    together = embedding.embed(network, sequences, 8, torch.device("cpu"))
    assert together.shape == (3, 8, 31)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    few = embedding.embed(network, sequences, 8, torch.device("cpu"), max_tokens=1)  # a chunk at a time
    np.testing.assert_allclose(few, together, atol=1e-5)
    for one in range(3):
        alone = embedding.embed(network, sequences[one : one + 1], 8, torch.device("cpu"))
        np.testing.assert_allclose(alone[0], together[one], atol=1e-5)
