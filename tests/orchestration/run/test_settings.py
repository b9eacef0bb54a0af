"""Settings: one JSON form that reads back strictly, and mistakes that name the setting and the fix."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from datasets.schema.errors import UsageError
from datasets.storage import open_place
from jobs.recipes import RECIPES
from model.network import NetworkSettings
from model.objectives.part_contrast import ContrastSettings
from orchestration.rank.engine import deepspeed_config
from orchestration.run import folder
from orchestration.run.serialise import build, to_json
from orchestration.run.settings import Cluster, Keep, PretrainRun, Schedule


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_survives_its_json(name: str) -> None:
    run = RECIPES[name]("shards", "out")
    assert run.recipe == name
    assert build(PretrainRun, json.loads(json.dumps(to_json(run)))) == run


@pytest.mark.parametrize("name", RECIPES)
def test_deepspeed_is_told_the_batch_of_the_schedule(name: str) -> None:
    run = RECIPES[name]("shards", "out")
    config = deepspeed_config(folder.with_precision(run, "bf16"), run.cluster.workers)
    assert config["train_batch_size"] == run.schedule.batch
    assert config["train_micro_batch_size_per_gpu"] * run.cluster.workers == run.schedule.batch
    assert config["zero_optimization"]["stage"] == run.cluster.zero_stage


def test_unknown_and_missing_settings_are_errors() -> None:
    data = to_json(RECIPES["tiny"]("shards", "out"))
    data["schedule"]["stepz"] = 3
    with pytest.raises(UsageError, match=r"""^settings: schedule\.stepz is not a known key: did you mean "steps"\?"""):
        build(PretrainRun, data)
    with pytest.raises(UsageError, match=r"shards is missing \(written by another version of this program"):
        build(PretrainRun, {"recipe": "tiny", "out": "x"})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schedule": {"rate": 0.1}}, "schedule.rate is not a known key: the known keys are steps, batch, lr, warmup"),
        ({"schedule": {"steps": "3"}}, 'schedule.steps is "3": it must be a valid integer'),
        ({"schedule": {"steps": 3.0}}, "schedule.steps is 3.0: it must be a valid integer"),
        ({"schedule": {"lr": float("nan")}}, "schedule.lr is NaN: it must be a finite number"),
        ({"schedule": {"steps": -3}}, "--schedule.steps -3 must not be negative"),
        ({"objective": {"name": "part-contrast", "strips": 1}}, "objective.strips is 1: it must be true or false"),
        ({"cluster": {"zero_stage": 7}}, "cluster.zero_stage is 7: it must be 0, 1, 2 or 3"),
        ({"cluster": {"precision": "fp16"}}, 'cluster.precision is "fp16": did you mean "bf16"?'),
        ({"data": {"holdout": "001"}}, 'data.holdout is "001": it must be a list [...]'),
        ({"data": {"modalities": ["lidr"]}}, 'data.modalities[0] is "lidr": did you mean "lidar"?'),
        ({"contrast": {"strips": True}}, "contrast is not a known key: the known keys are recipe, shards, out, start"),
        ({"objective": {"name": "magic"}}, "objective.name is \"magic\": it must be 'part-contrast', 'part-regr"),
        (
            {"objective": {"name": "part-regression", "joint": 1.0}},
            "objective.joint is not a known key: the known keys are name, strips, momentum (",
        ),
        ({"data": []}, "data is []: it must be an object {...}"),
        ({"objective": {"name": "part-contras"}}, 'objective.name is "part-contras": did you mean "part-contrast"?'),
        ({"objective": {"strips": True}}, "objective.name is missing"),
        ({"objective": {"name": "part-contrast", "stripes": 1}}, 'stripes is not a known key: did you mean "strips"?'),
    ],
    ids=str,
)
def test_settings_of_another_type_are_errors_that_name_file_and_key(
    tmp_path: Path, changed: dict, message: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": "tiny", "shards": "s", "out": "x", **changed}))
    with pytest.raises(UsageError) as caught:
        folder.read_run(open_place(tmp_path))
    said = str(caught.value)
    assert said.startswith("--schedule" if "--" in message else f"{tmp_path}/run.json") and message in said
    assert "\n" not in said


def test_a_run_of_an_earlier_program_is_read_as_it_was(tmp_path: Path) -> None:
    """Whole numbers stand for floats, and a setting that came later has its default."""
    run = RECIPES["casia-b-walks"]("shards", str(tmp_path))
    data = to_json(run)
    assert data["clips"]["affine"] == 0 and isinstance(data["clips"]["affine"], int)
    del data["score"], data["clips"]["coat"]
    (tmp_path / "run.json").write_text(json.dumps(data, indent=1))
    found = folder.read_run(open_place(tmp_path))
    assert found == replace(run, clips=replace(run.clips, coat=0.0))
    folder.check_folder(found)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Schedule(steps=-1), "--schedule.steps -1 must not be negative"),
        (lambda: Schedule(warmup=-1), "--schedule.warmup -1 must lie within --schedule.steps 1000"),
        (
            lambda: PretrainRun(recipe="x", shards="s", out="o", schedule=Schedule(steps=0)),
            "--schedule.steps 0 trains nothing: give at least 1, or a published checkpoint as --start",
        ),
        (
            lambda: PretrainRun(recipe="x", shards="s", out="o", start="p3d.pt"),
            "of which 'xxs' is not a size: take the recipe p3d-0.03b or p3d-0.13b",
        ),
        (lambda: Schedule(steps=10, warmup=20), "--schedule.warmup 20 must lie within --schedule.steps 10"),
        (lambda: Schedule(lr=-1.0), r"--schedule.lr -1.0 must be positive"),
        (lambda: Schedule(cooldown=2.0), "--schedule.cooldown 2.0 is a fraction"),
        (lambda: Cluster(workers=0), "--cluster.workers 0 must be at least 1"),
        (
            lambda: PretrainRun(
                recipe="x", shards="s", out="o", schedule=Schedule(batch=10), cluster=Cluster(workers=4)
            ),
            "--schedule.batch 10 does not divide among --cluster.workers 4",
        ),
    ],
)
def test_contradictory_settings_are_errors(wrong, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()


def _shared(batch: int, strips: bool = True, **cluster: int) -> PretrainRun:
    contrast = ContrastSettings(strips=strips)
    return PretrainRun(
        recipe="x", shards="s", out="o", objective=contrast, schedule=Schedule(batch=batch), cluster=Cluster(**cluster)
    )


def test_micro_batches_follow_from_the_workers() -> None:
    run = _shared(192, workers=4, micro_batch=20)
    assert [run.micro_batch(workers) for workers in (1, 2, 4)] == [16, 16, 16]  # strips come in eights, and divide
    for workers in (1, 2, 4):
        config = deepspeed_config(folder.with_precision(run, "fp32"), workers)
        one, count = config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]
        assert one * count * workers == config["train_batch_size"] == 192
    assert _shared(60, strips=False, workers=2, micro_batch=7).micro_batch(2) == 6
    assert _shared(64, workers=2).micro_batch(2) == 32


def test_an_elastic_run_has_the_numbers_of_workers_that_its_batch_divides_among() -> None:
    assert _shared(192, workers=8, at_least=2).worker_counts() == [2, 3, 4, 6, 8]
    assert _shared(192, workers=8).worker_counts() == [8]
    with pytest.raises(UsageError, match=r"--cluster\.at-least 3 must lie within 1 and --cluster\.workers 2"):
        Cluster(workers=2, at_least=3)


def test_what_cannot_be_shared_out_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"--cluster\.micro-batch 4 must be at least 8, which strips take"):
        _shared(64, workers=2, micro_batch=4)
    with pytest.raises(UsageError, match=r"no multiple of 8 clips, which strips take"):
        _shared(36, workers=3)
    p3d = replace(_shared(64, workers=2), network=NetworkSettings(size="p3d-tiny"))
    with pytest.raises(UsageError, match=r"the norms of p3d-tiny need a worker's whole share of 32 pairs at once"):
        replace(p3d, cluster=Cluster(workers=2, micro_batch=8))
    with pytest.raises(UsageError, match=r"--cluster\.compile is for the contour encoder, which p3d-tiny is not"):
        replace(p3d, cluster=Cluster(workers=2, compile=True))


def test_what_is_kept_and_where_it_runs_may_change_and_what_is_learned_may_not(tmp_path: Path) -> None:
    run = RECIPES["tiny"]("shards", str(tmp_path / "run"))
    folder.claim_folder(run)
    folder.check_folder(replace(run, keep=Keep(every=7), cluster=replace(run.cluster, workers=1, zero_stage=3)))


def test_a_run_keeps_the_precision_that_its_ranks_resolved(tmp_path: Path) -> None:
    run = RECIPES["tiny"]("shards", str(tmp_path / "run"))
    place = folder.folder_of(run)
    assert run.cluster.precision == "auto"
    folder.claim_folder(run)
    for precision in ("auto", "fp32", "bf16"):  # its ranks have not resolved it yet
        folder.check_folder(replace(run, cluster=replace(run.cluster, precision=precision)))
    folder.record_precision(place, "fp32")
    assert folder.recorded_precision(place) == "fp32"
    assert folder.read_run(place) == folder.with_precision(run, "fp32")
    folder.check_folder(run)
    with pytest.raises(UsageError, match=r"cluster\.precision fp32, not bf16"):
        folder.check_folder(folder.with_precision(run, "bf16"))


@pytest.mark.parametrize("name", ["p3d-0.03b", "p3d-0.13b"])
def test_the_published_sizes_have_recipes_that_can_start_from_published_weights(name: str) -> None:
    run = RECIPES[name]("shards", "out")
    zero_shot = replace(run, start="p3d.pt", schedule=replace(run.schedule, steps=0))  # whatever its warm-up
    assert (zero_shot.network.size, zero_shot.network.channels) == (name, 512)
    assert build(PretrainRun, json.loads(json.dumps(to_json(zero_shot)))) == zero_shot


def test_the_rate_warms_up_stays_and_cools_down() -> None:
    schedule = Schedule(steps=100, warmup=10, cooldown=0.2, lr=1.0)
    rates = [schedule.lr_at(step) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[9:80] == [1.0] * 71
    assert all(later < earlier for earlier, later in pairwise(rates[80:]))
    assert 0 < rates[-1] < 0.15


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    run = RECIPES["tiny"]("shards", str(tmp_path / "run"))
    folder.check_folder(run)
    folder.claim_folder(run)
    folder.check_folder(replace(run, shards="elsewhere", cluster=replace(run.cluster, workers=4)))
    assert folder.read_run(open_place(tmp_path / "run")) == run
    with pytest.raises(UsageError, match=r"holds a run with seed 0, not 1: give another --out"):
        folder.check_folder(replace(run, seed=1))
    other = RECIPES["casia-b"]("shards", run.out)
    with pytest.raises(UsageError, match=r"holds a run with .* and .* more"):
        folder.check_folder(other)


def test_a_folder_with_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="is not the folder of a run"):
        folder.check_folder(RECIPES["tiny"]("shards", str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match=r"no run\.json"):
        folder.read_run(open_place(tmp_path))


@pytest.mark.parametrize("written", [b'{"recipe": "tiny"', b"[]", b""])
def test_damaged_settings_are_one_line(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "run.json").write_bytes(written)
    for read in (lambda: folder.read_run(open_place(tmp_path)), lambda: folder.is_finetuned(open_place(tmp_path))):
        with pytest.raises(
            UsageError, match=rf"^{tmp_path}/run\.json (is damaged \(it is (no JSON|empty)|is \[\]: it must be)"
        ):
            read()
