"""Segments end to end: slots, attention that stays within them, and two layouts that agree."""

import pytest
import torch
from torch.nn import functional

from model.packing import Layout, Packing, layout_of, pack

CPU = torch.device("cpu")
LENGTHS = [30, 0, 7, 28, 31, 1, 12]


def attend(packing: Packing, slots: torch.Tensor) -> torch.Tensor:
    """Attention of slots [M, 3, K, 64] (query, key, value), chunk by chunk."""
    split = zip(packing.chunks, packing.split(slots), strict=True)
    return torch.cat([chunk.attend(*of_chunk.unbind(1)) for chunk, of_chunk in split])


def attended(layout: Layout, given: torch.Tensor, registers: int) -> torch.Tensor:
    """What the tokens [N, 3, K, 64] (query, key, value) make of each other."""
    packing = pack(LENGTHS, registers, CPU, layout)
    leads = torch.randn(registers * len(LENGTHS), *given.shape[1:], generator=torch.Generator().manual_seed(1))
    return attend(packing, packing.scatter(given, leads))[packing.tokens]


@pytest.mark.parametrize("layout", ["padded", "jagged"])
def test_each_segment_attends_to_itself_alone(layout: Layout) -> None:
    given = torch.randn(sum(LENGTHS), 3, 2, 64)
    result = attended(layout, given, registers=1)
    leads = torch.randn(len(LENGTHS), 3, 2, 64, generator=torch.Generator().manual_seed(1))
    for mine, lead, got in zip(given.split(LENGTHS), leads, result.split(LENGTHS), strict=True):
        query, key, value = torch.cat([lead[None], mine]).transpose(0, 2).unbind(1)
        expected = functional.softmax(query @ key.transpose(1, 2) / 8, dim=2) @ value
        torch.testing.assert_close(got, expected.transpose(0, 1)[1:], rtol=1e-4, atol=1e-5)


def test_the_layouts_agree_in_value_and_gradient() -> None:
    given = torch.randn(sum(LENGTHS), 3, 2, 64)
    weights = torch.randn(sum(LENGTHS), 2, 64)
    results = []
    for layout in ("padded", "jagged"):
        leaf = given.clone().requires_grad_()
        result = attended(layout, leaf, registers=4)
        (result * weights).sum().backward()
        results.append((result.detach(), leaf.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_attention_in_bf16_is_that_in_fp32_but_for_rounding() -> None:
    given = torch.randn(sum(LENGTHS), 3, 2, 64, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(sum(LENGTHS), 2, 64, generator=torch.Generator().manual_seed(3))
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = given.clone().requires_grad_()
        result = attended("padded", leaf.to(dtype), registers=4).float()
        (result * weights).sum().backward()
        results.append((result.detach(), leaf.grad))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() < 0.02 * one.norm()


@pytest.mark.parametrize("layout", ["padded", "jagged"])
def test_every_token_has_a_slot_of_its_own_and_few_are_empty(layout: Layout) -> None:
    lengths = torch.randint(200, 460, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    packing = pack(lengths, 4, CPU, layout)
    taken = torch.cat([packing.tokens, packing.registers])
    assert taken.unique().numel() == len(taken) == sum(lengths) + 4 * 64
    assert packing.size <= 1.1 * len(taken) if layout == "padded" else packing.size == len(taken)
    placed = packing.scatter(torch.arange(1, sum(lengths) + 1))
    assert placed[packing.tokens].tolist() == list(range(1, sum(lengths) + 1))
    assert not placed[packing.registers].any()


def test_chunks_hold_whole_segments_up_to_a_number_of_slots() -> None:
    lengths = torch.randint(10, 700, (100,), generator=torch.Generator().manual_seed(0)).tolist() + [3000]
    packing = pack(lengths, 4, CPU, "padded")
    sizes = [chunk.size for chunk in packing.chunks]
    assert sizes[0] == 3008 >= 3000 + 4  # a segment is never divided
    assert all(size % 64 == 0 for size in sizes)  # few shapes, so that memory and compiled products are reused
    assert max(sizes[1:]) <= 1024
    assert sum(sizes) == packing.size <= 1.1 * (sum(lengths) + 4 * len(lengths))


@pytest.mark.parametrize(("capability", "layout"), [((7, 5), "padded"), ((8, 0), "jagged"), ((10, 0), "jagged")])
def test_cards_without_a_kernel_for_segments_take_padded_ones(
    capability: tuple[int, int], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert layout_of(torch.device("cuda", 1)) == layout
    assert layout_of(torch.device("cpu")) == "padded"
