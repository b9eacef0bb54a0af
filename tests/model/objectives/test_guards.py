"""Guards: what they say of planted collapses, and that training goes on as if they had not looked."""

import pytest
import torch

from datasets.schema.rows import HEIGHT, WIDTH
from model.network import NetworkSettings
from model.objectives import guards
from model.objectives.part_contrast import ContrastSettings, PartContrast
from model.parts import PARTS


def test_effective_rank_counts_the_dimensions_that_are_filled() -> None:
    assert guards.effective_rank(torch.eye(6)) == pytest.approx(6)
    assert guards.effective_rank(torch.ones(6, 9)) == pytest.approx(1, abs=1e-3)
    two = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]])
    assert guards.effective_rank(torch.stack([two, two])) == pytest.approx(2)
    noisy = torch.ones(64, 64) + 0.001 * torch.randn(64, 64)
    assert guards.effective_rank(noisy) < 2


def test_part_cosine_is_that_of_parts_that_have_something() -> None:
    alike = torch.randn(3, 1, 8).expand(3, PARTS, 8).clone()
    assert guards.part_cosine(alike) == pytest.approx(1)
    alike[:, 4:9] = 0  # empty parts say nothing
    assert guards.part_cosine(alike) == pytest.approx(1)
    apart = torch.eye(PARTS).expand(3, -1, -1)
    assert guards.part_cosine(apart) == pytest.approx(0)


def test_a_match_is_a_key_of_the_same_walk() -> None:
    keys = torch.eye(4)[:, None].expand(-1, PARTS, -1)
    queries = keys[[0, 2, 1, 3]]
    assert guards.match_rate(queries, keys, torch.arange(4)) == 0.5
    assert guards.match_rate(queries, keys, torch.tensor([0, 5, 5, 1])) == 1


def test_shuffling_keeps_every_frame() -> None:
    clips = torch.arange(16).expand(2, -1)
    order = guards.shuffle_frames(clips, seed=3)
    assert (order != clips).any()
    assert order.sort(dim=1).values.equal(clips)


def walks(step: int, size: int = 8) -> list[torch.Tensor]:
    """Bodies, each of a width of its own that swings over the frames at a rate of its own: query, times, key, times."""
    generator = torch.Generator().manual_seed(step)
    width = torch.rand(size, 1, 1, 1, generator=generator) * 8 + 6
    swing = torch.sin(torch.arange(8).view(1, -1, 1, 1) * torch.linspace(0.3, 2, size).view(-1, 1, 1, 1)) * 5
    body = ((torch.arange(WIDTH) - 21).abs() < width + swing * torch.linspace(0, 1, HEIGHT).view(1, 1, -1, 1)).to(
        torch.uint8
    )
    times = torch.arange(8).float().expand(size, -1)
    return [body, times, body.flip(3), times]


def train(size: str, guarded: bool) -> tuple[list[float], dict[str, float]]:
    """Losses of a few steps, and the last guards."""
    torch.manual_seed(0)
    module = PartContrast(NetworkSettings(size=size, channels=16), ContrastSettings(momentum=0.5, smoothing=0))
    optimizer = torch.optim.AdamW(module.student.parameters(), lr=3e-3)
    losses, found = [], {}
    for step in range(6):
        pairs = walks(0)
        loss = module(*pairs, step=step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.update_teacher()
        if guarded:
            found = {
                name: float(value) for name, value in guards.pair_guards(module.teacher, *pairs, seed=step).items()
            }
            assert module.teacher.training
        losses.append(float(loss.detach()))
    return losses, found


@pytest.mark.parametrize("size", ["xxs", "p3d-tiny"])
def test_training_does_not_notice_the_guards(size: str) -> None:
    plain, _ = train(size, guarded=False)
    watched, found = train(size, guarded=True)
    assert watched == plain
    assert 1 <= found["guard/effective_rank"] <= 8
    assert -1 <= found["guard/part_cosine"] <= 1
    assert found["guard/blank_gap"] == pytest.approx(found["guard/matched"] - 1 / 8)
    assert found["guard/shuffle_gap"] <= found["guard/matched"]


def test_a_network_that_says_the_same_of_all_is_seen_through() -> None:
    torch.manual_seed(0)
    network = PartContrast(NetworkSettings(channels=16), ContrastSettings()).teacher
    healthy = guards.pair_guards(network, *walks(0), seed=0)
    with torch.no_grad():
        for weight in network.encoder.parameters():
            weight.zero_()
        network.encoder.norm.weight.fill_(1)
        network.encoder.registers.fill_(1)
    collapsed = guards.pair_guards(network, *walks(0), seed=0)
    assert healthy["guard/effective_rank"] > 1.5
    assert collapsed["guard/effective_rank"] < 1.01
    assert collapsed["guard/blank_gap"] <= 0.01 < healthy["guard/blank_gap"]
