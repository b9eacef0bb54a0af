"""Part-wise regression: its arithmetic, who learns from it, and that its settings choose it."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from datasets.schema.errors import UsageError
from datasets.schema.rows import WIDTH
from model import sizes
from model.network import NetworkSettings
from model.objectives.interface import no_gather
from model.objectives.part_regression import PartRegression, RegressionSettings
from model.parts import PARTS
from orchestration.run.serialise import build, to_json
from orchestration.run.settings import OBJECTIVES, PretrainRun, Schedule


def regression(**settings: float) -> PartRegression:
    torch.manual_seed(1)
    return RegressionSettings(**settings).build(NetworkSettings(size="xxs", channels=8))


def views(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries with a width of their own at each height, keys that are mirrored; times."""
    generator = torch.Generator().manual_seed(0)
    width = torch.randint(4, 20, (count, 4, 16, 1), generator=generator).repeat_interleave(4, dim=2)
    query = ((torch.arange(WIDTH) - 20).abs() < width).to(torch.uint8)
    times = torch.arange(4).float().expand(count, -1)
    return query, times, query.flip(3), times


def test_the_loss_is_one_minus_the_cosine_of_each_part() -> None:
    predictions, keys = torch.randn(3, PARTS, 8), torch.randn(3, PARTS, 8)
    found = regression().compare((predictions, keys), (), step=0, gather=no_gather)
    cosines = torch.stack(
        [functional.cosine_similarity(predictions[i, p], keys[i, p], dim=0) for i in range(3) for p in range(PARTS)]
    ).view(3, PARTS)
    torch.testing.assert_close(found["loss"], 1 - cosines.mean())
    torch.testing.assert_close(found["cosine/of_1"], cosines[:, 30].mean())
    heldout = RegressionSettings().heldout_losses(predictions.numpy(), 3 * keys.numpy(), np.arange(3))
    np.testing.assert_allclose(heldout["loss"], 1 - cosines.mean(dim=1).numpy(), rtol=1e-5)


def test_the_student_learns_to_predict_the_teacher_which_takes_no_gradient() -> None:
    module = regression(momentum=0.9)
    optimizer = torch.optim.AdamW(module.student.parameters(), lr=1e-3)
    losses = []
    for step in range(12):
        loss = module(*views(8), step=step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is None for weight in module.teacher.parameters())
        assert all(weight.grad.isfinite().all() for weight in module.student.parameters())
        optimizer.step()
        module.update_teacher()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_empty_parts_and_a_single_pair_are_no_obstacle() -> None:
    query, times, key, _ = views(1)
    query[:, :, :32] = key[:, :, :32] = 0
    module = regression(strips=False)
    module(query, times, key, times)["loss"].backward()
    assert all(weight.grad.isfinite().all() for weight in module.student.parameters())


def test_a_run_chooses_it_by_name_and_its_json_reads_back() -> None:
    assert OBJECTIVES["part-regression"] is RegressionSettings
    run = PretrainRun(
        recipe="x", shards="s", out="o", objective=RegressionSettings(momentum=0.9), schedule=Schedule(batch=16)
    )
    data = json.loads(json.dumps(to_json(run)))
    assert data["objective"] == {"name": "part-regression", "strips": True, "momentum": 0.9}
    assert build(PretrainRun, data) == run
    assert isinstance(run.objective.build(run.network), PartRegression)
    with pytest.raises(UsageError, match=r"--objective\.momentum 1\.0 must be at least 0 and below 1"):
        RegressionSettings(momentum=1.0)


@pytest.mark.parametrize("name", ["part-contrastt", None])
def test_an_unknown_objective_is_refused(name: str | None) -> None:
    data = to_json(PretrainRun(recipe="x", shards="s", out="o")) | {"objective": {"name": name}}
    with pytest.raises(UsageError, match=r"objective.*part-contrast"):
        build(PretrainRun, data)


def test_its_work_is_that_of_a_student_and_a_teacher_at_every_step() -> None:
    assert RegressionSettings().passes(3, 10) == 7 * 4
    assert regression().flops(0, 16, 0.26) == 4 * sizes.clip_flops("xxs", 16, 0.26)
