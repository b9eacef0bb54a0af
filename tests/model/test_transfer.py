"""What is found at the smallest size carries over: the rule's shares, and updates that stay as large as they were."""

import pytest
import torch
from torch.nn import functional

from datasets.schema.rows import HEIGHT, WIDTH
from model.network import GaitNetwork, NetworkSettings
from model.objectives.part_contrast import ContrastSettings, PartContrast
from model.transfer import parameter_groups

MATRICES = ("qkv", "out", "up", "down")
WATCHED = ("qkv", "up", "out")


def test_each_weight_gets_its_share_by_its_role() -> None:
    with torch.device("meta"):
        network = GaitNetwork(NetworkSettings(size="m", channels=8))
    groups = parameter_groups(network, "m", weight_decay=0.1)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    m, n = 512 / 128, 8 / 2
    expected = {
        "encoder.embed.weight": (1, 0.1, 1e-8 / m),
        "encoder.registers": (1, 0.1, 1e-8 / m),
        "encoder.blocks.3.qkv.weight": (1 / m, 0.1 * m, 1e-8 / (m * n)),
        "encoder.blocks.7.down.weight": (1 / m, 0.1 * m, 1e-8 / (m * n)),
        "encoder.blocks.0.key_norm.weight": (1, 0, 1e-8 / (m * n)),
        "encoder.norm.weight": (1, 0, 1e-8 / m),
        "projector.weight": (1 / m, 0.1 * m, 1e-8),
        "predictor.weight": (1, 0.1, 1e-8),
    }
    got = {names[id(p)]: (g["lr_scale"], g["weight_decay"], g["eps"]) for g in groups for p in g["params"]}
    assert set(got) == set(names.values())
    for name, share in expected.items():
        assert got[name] == pytest.approx(share), name


def test_the_smallest_size_and_the_published_encoder_are_left_as_they_are() -> None:
    for size in ("xxs", "p3d-tiny"):
        with torch.device("meta"):
            network = GaitNetwork(NetworkSettings(size=size, channels=8))
        groups = parameter_groups(network, size, weight_decay=0.1)
        assert all((group["lr_scale"], group["eps"]) == (1, 1e-8) for group in groups)
        assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
        for group in groups:
            assert all(group["weight_decay"] == (0.1 if p.ndim > 1 else 0) for p in group["params"])


def test_outputs_begin_as_large_as_inputs_whatever_the_width() -> None:
    for size in ("xxs", "s"):
        network = GaitNetwork(NetworkSettings(size=size, channels=8))
        width = network.encoder.width
        for name in MATRICES:
            weight = getattr(network.encoder.blocks[1], name).weight.detach()
            assert weight.std() * weight.shape[1] ** 0.5 == pytest.approx(1, abs=0.02)
        assert network.projector.weight.detach().std() == pytest.approx(128**0.5 / width, rel=0.02)


def moved(size: str, ruled: bool) -> dict[str, float]:
    """By how much a few steps on random masks move what the last block and the encoder say, root mean square."""
    torch.manual_seed(0)
    module = PartContrast(NetworkSettings(size=size, channels=16), ContrastSettings(teacher_from=10))
    groups = parameter_groups(module.student, size, weight_decay=0.05)
    optimizer = torch.optim.AdamW(
        [{**group, "lr": 2e-3 * (group["lr_scale"] if ruled else 1)} for group in groups], betas=(0.9, 0.95)
    )
    generator = torch.Generator().manual_seed(0)
    clips = (torch.rand(8, 2, HEIGHT, WIDTH, generator=generator) < 0.5).to(torch.uint8)
    clips[..., :16] = clips[..., 28:] = 0
    times = torch.arange(2.0).expand(8, -1)
    before = outputs_of(module, clips, times)
    for step in range(5):
        optimizer.zero_grad()
        module(clips, times, clips.flip(3), times, step=step)["loss"].backward()
        optimizer.step()
    after = outputs_of(module, clips, times)
    return {name: float((after[name] - before[name]).square().mean().sqrt()) for name in before}


def outputs_of(objective: PartContrast, clips: torch.Tensor, times: torch.Tensor) -> dict[str, torch.Tensor]:
    """What some matrices of the last block give, before branches are scaled, and the features of the encoder."""
    encoder, products = objective.student.encoder, []
    linear, features = functional.linear, {}
    hook = encoder.register_forward_hook(lambda _module, _given, output: features.update({"features": output}))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "linear", lambda *given: products.append(linear(*given)) or products[-1])
        objective.student.pool(clips, times)
    hook.remove()
    last = products[-len(products) // len(encoder.blocks) :]  # four of each chunk: qkv, out, up, down
    found = {name: torch.cat(last[number::4]) for number, name in enumerate(MATRICES)}
    found["out"] = found["out"] * len(encoder.blocks)
    return features | {name: found[name] for name in WATCHED}


@pytest.mark.slow
def test_steps_move_every_size_alike_by_the_rule_and_large_ones_more_without_it() -> None:
    by_rule = {size: moved(size, ruled=True) for size in ("xxs", "xs", "s")}
    for name, smallest in by_rule["xxs"].items():
        assert 0.02 < smallest < 2
        for size in ("xs", "s"):
            assert 0.75 < by_rule[size][name] / smallest < 1.35, f"{name} of {size}"
    without = moved("s", ruled=False)
    assert min(without[name] / by_rule["xxs"][name] for name in without) > 1.5
