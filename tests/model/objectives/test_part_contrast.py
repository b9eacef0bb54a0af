"""The contrast: its arithmetic, its negatives, its two ways of getting keys, and ranks that are as good as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from datasets.schema.errors import UsageError
from datasets.schema.rows import WIDTH
from model import sizes
from model.network import NetworkSettings
from model.objectives.pairs import assign_strips
from model.objectives.part_contrast import ContrastSettings, PartContrast
from model.parts import PARTS
from orchestration.rank import collectives

LATER = 10**9  # a step that never comes


def contrast(size: str = "xxs", **settings: float) -> PartContrast:
    torch.manual_seed(1)
    return PartContrast(NetworkSettings(size=size, channels=8), ContrastSettings(**settings))


def views(count: int, frames: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries uint8 [count, frames, 64, 44] with a width of their own at each height, keys that are mirrored; times."""
    generator = torch.Generator().manual_seed(seed)
    width = torch.randint(4, 20, (count, frames, 16, 1), generator=generator).repeat_interleave(4, dim=2)
    query = ((torch.arange(WIDTH) - 20).abs() < width).to(torch.uint8)
    times = torch.arange(frames).float().expand(count, -1)
    return query, times, query.flip(3), times


def test_the_loss_is_infonce_with_smoothed_labels() -> None:
    module = contrast(temperature=0.1, smoothing=0.2)
    queries, keys = torch.randn(4, PARTS, 8), torch.randn(6, PARTS, 8)
    same = torch.zeros(4, 6, dtype=torch.bool)
    same[1, 0] = same[1, 5] = same[3, 2] = True
    expected, right = [], []
    for part in range(PARTS):
        for query in range(4):
            kept = [key for key in range(6) if not same[query, key]]
            cosines = functional.cosine_similarity(queries[query, part][None], keys[kept, part])
            logs, own = (10 * cosines).log_softmax(0), kept.index(2 + query)
            expected.append(-(0.8 * logs[own] + 0.2 * logs.mean()))
            right.append(float(logs.argmax() == own))
    got = module.contrast(queries, keys, 2, same)
    torch.testing.assert_close(got["loss"], torch.stack(expected).mean())
    assert got["accuracy"] == pytest.approx(sum(right) / len(right))


def test_the_joint_contrast_is_that_of_the_mean_over_parts() -> None:
    queries, keys = torch.randn(4, PARTS, 8), torch.randn(6, PARTS, 8)
    same = torch.zeros(4, 6, dtype=torch.bool)
    same[1, 0] = True
    parts = contrast(smoothing=0.0).contrast(queries, keys, 2, same)
    both = contrast(smoothing=0.0, joint=0.5, joint_temperature=0.05).contrast(queries, keys, 2, same)
    cosines = functional.cosine_similarity(queries[:, None], keys[None], dim=3).mean(dim=2)
    logits = (20 * cosines).masked_fill(same, -torch.inf)
    expected = functional.cross_entropy(logits, torch.arange(2, 6))
    torch.testing.assert_close(both["loss"], parts["loss"] + 0.5 * expected)
    assert both["accuracy"] == parts["accuracy"] and "joint_accuracy" not in parts
    assert both["joint_accuracy"] == (logits.argmax(dim=1) == torch.arange(2, 6)).float().mean()
    with pytest.raises(UsageError, match=r"--objective\.joint-temperature"):
        ContrastSettings(joint=1, joint_temperature=0)


def test_heldout_losses_are_those_of_training_without_smoothing() -> None:
    rng = np.random.default_rng(0)
    predictions, keys = rng.normal(size=(2, 12, PARTS, 8)).astype(np.float32)
    walks = np.array([0, 0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8])
    module = contrast(temperature=0.2, joint=0.7, joint_temperature=0.09, smoothing=0.0)
    same = torch.from_numpy((walks[:, None] == walks) & ~np.eye(12, dtype=bool))
    expected = module.contrast(torch.from_numpy(predictions), torch.from_numpy(keys), 0, same)["loss"].item()
    smoothed = replace(module.settings, smoothing=0.3)
    found = smoothed.heldout_losses(predictions, keys, walks)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        ("loss", "loss/parts", "loss/joint"), (12,)
    )
    assert found["loss"].mean() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(found["loss"], found["loss/parts"] + 0.7 * found["loss/joint"])


def test_work_is_that_of_both_clips_until_the_teacher_takes_over() -> None:
    settings = ContrastSettings(teacher_from=5)
    assert settings.passes(0, 5) == 5 * 6
    assert settings.passes(3, 7) == settings.passes(3, 5) + settings.passes(5, 7) == 2 * 6 + 2 * 4
    assert settings.passes(8, 10) == 2 * 4
    module = contrast(teacher_from=5)
    assert module.flops(4, 16, 0.26) == 1.5 * module.flops(5, 16, 0.26) == 6 * sizes.clip_flops("xxs", 16, 0.26)


def test_clips_of_one_walk_do_not_push_each_other_away() -> None:
    module = contrast(strips=False, smoothing=0.3)
    query, keys = torch.randn(1, PARTS, 8), torch.randn(3, PARTS, 8, requires_grad=True)
    loss = module.contrast(query, keys, 0, torch.tensor([[False, False, True]]))["loss"]
    (gradient,) = torch.autograd.grad(loss, keys)
    assert gradient[2].abs().max() == 0 < gradient[1].abs().max()


@pytest.mark.parametrize("teacher_from", [0, LATER])
def test_walks_are_negatives_of_other_walks_alone(teacher_from: int) -> None:
    module = contrast(strips=False, teacher_from=teacher_from, smoothing=0.0)
    given = views(4)
    assert module(*given, torch.tensor([3, 3, 3, 3]))["loss"].abs() < 1e-6  # nothing left to be told apart from
    own = module(*given)["loss"]
    torch.testing.assert_close(module(*given, torch.tensor([9, 4, 5, 6]))["loss"], own)
    assert module(*given, torch.tensor([9, 4, 5, 9]))["loss"] < own


def test_before_its_step_the_teacher_gives_no_keys_and_the_student_learns_from_both_clips() -> None:
    module = contrast(teacher_from=5, strips=False)
    with torch.no_grad():
        for weight in module.teacher.parameters():
            weight.normal_()
    query, times, key, _ = views(8)
    before, after = (module(query, times, key, times, step=step)["loss"] for step in (4, 5))
    student = module.student
    rows = [student.pool(clips, times)[0] for clips in (query, key)]
    predicted, projected = student.embed(rows[0]), student.project(rows[1])
    both = [module.contrast(predicted, projected, 0)["loss"], module.contrast(projected, predicted, 0)["loss"]]
    torch.testing.assert_close(before, sum(both) / 2)
    taught = module.teacher.project(module.teacher.pool(key, times)[0])
    torch.testing.assert_close(after, module.contrast(predicted, taught, 0)["loss"])
    with pytest.raises(UsageError, match=r"--objective\.teacher-from -1"):
        ContrastSettings(teacher_from=-1)


def test_queries_are_cut_into_strips_and_keys_are_whole() -> None:
    query, times, key, _ = views(8)
    for teacher_from in (0, LATER):
        module = contrast(teacher_from=teacher_from)
        predicted = module.student.embed(module.student.pool(query, times, assign_strips(8))[0])
        keys = module.student.project(module.student.pool(key, times)[0])  # the teacher is a copy still
        losses = [module.contrast(predicted, keys, 0)["loss"]]
        losses += [module.contrast(keys, predicted, 0)["loss"]] if teacher_from else []
        torch.testing.assert_close(module(query, times, key, times)["loss"], sum(losses) / len(losses))


def test_the_teacher_follows_and_takes_no_gradient() -> None:
    module = contrast(momentum=0.9)
    module(*views(8))["loss"].backward()
    assert all(p.grad is None for p in module.teacher.parameters())
    before = module.teacher.projector.weight.clone()
    with torch.no_grad():
        module.student.projector.weight += 1
    module.update_teacher()
    torch.testing.assert_close(module.teacher.projector.weight, before + 0.1)


@pytest.mark.parametrize("teacher_from", [0, LATER])
def test_the_norms_of_the_teacher_remember_what_it_is_shown(teacher_from: int) -> None:
    module = contrast("p3d-tiny", teacher_from=teacher_from)
    before = {name: value.clone() for name, value in module.teacher.state_dict().items() if "running" in name}
    module(*views(8))
    assert len(before) > 20
    assert all((module.teacher.state_dict()[name] != value).any() for name, value in before.items())


@pytest.mark.parametrize("teacher_from", [0, 8, LATER])
def test_training_on_a_batch_learns_it(teacher_from: int) -> None:
    module = contrast(smoothing=0.0, teacher_from=teacher_from, momentum=0.9)
    optimizer = torch.optim.AdamW(module.student.parameters(), lr=2e-3)
    losses = []
    for step in range(16):
        result = module(*views(8), step=step)
        optimizer.zero_grad()
        result["loss"].backward()
        optimizer.step()
        module.update_teacher()
        losses.append(float(result["loss"].detach()))
    assert losses[-1] < 0.7 * losses[0]


def _one_rank(rank: int, ranks: int, folder: str) -> None:
    """One rank of the test below: its losses and its gradients, to a file."""
    dist.init_process_group("gloo", f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks)
    torch.set_num_threads(1)
    mine = slice(rank * 16 // ranks, (rank + 1) * 16 // ranks)
    given = [one[mine] for one in (*views(16), torch.arange(16) // 3 % 5)]
    found: dict[str, Tensor] = {}
    for name, teacher_from in (("teacher", 0), ("both", LATER)):
        module = contrast(teacher_from=teacher_from)
        result = module(*given, gather=collectives.gather)
        result["loss"].backward()
        found |= {f"{name} {key}": value.detach() for key, value in result.items()}
        found |= {f"{name} {key}": weight.grad for key, weight in module.student.named_parameters()}
    torch.save(found, f"{folder}/{ranks}-{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_are_one_process_with_the_whole_batch(tmp_path: Path) -> None:
    """Loss and gradient, averaged over two gloo ranks, equal those of one, whoever gives the keys."""
    for ranks in (1, 2):
        torch.multiprocessing.spawn(_one_rank, (ranks, str(tmp_path)), nprocs=ranks)
    whole, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name, value in whole.items():
        mean = (first[name] + second[name]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-3, atol=1e-3 * float(value.abs().max()), msg=name)
    assert (first["both loss"] - second["both loss"]).abs() > 1e-3  # each has a share of its own
