"""The plan of a study: which cells it has, what each of them costs, and what is refused."""

import json
from dataclasses import replace

import pytest

from datasets.schema.errors import UsageError
from datasets.storage import open_place
from jobs.plans import PLANS
from orchestration.run.folder import check_folder, claim_folder
from orchestration.run.serialise import build, to_json
from orchestration.run.settings import DataSettings, Keep, Schedule
from orchestration.scaling.plan import STUDY_FILE, Cell, StudyPlan, begun_on, check_study


def plan(**given: object) -> StudyPlan:
    settings = {"sizes": ("xxs", "xs"), "steps": (50, 100), "data": DataSettings(holdout=("CASIA-B/004",))}
    settings |= {"shards": "s", "out": "o", "schedule": Schedule(steps=0, batch=16, warmup=10)}
    return StudyPlan(plan="test", **{**settings, **given})


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_builds_and_survives_its_json(name: str) -> None:
    made = PLANS[name]("shards", "out")
    assert made.plan == name
    assert build(StudyPlan, json.loads(json.dumps(to_json(made)))) == made


def test_the_grid_and_its_trunks() -> None:
    made = plan(unique=(None, 400), seeds=(3, 4), single=("xs",))
    assert len(made.cells()) == 2 * 2 * 2 + 2 * 1 * 2  # xs has the first seed alone
    short, long = (Cell(size="xxs", unique=400, seed=4, steps=steps) for steps in (50, 100))
    assert short.name == "xxs-u400-s4-b50" and short.trunk == long.trunk
    assert made.trunk_of(short) == made.trunk_of(long) == long
    assert made.run_of(long).keep == Keep(every=200, last=1, best=0, at=(40, 80))
    assert made.run_of(short).keep.at == ()
    run = made.run_of(short)
    assert (run.network.size, run.data.unique, run.seed, run.schedule.steps) == ("xxs", 400, 4, 50)


def test_rates_are_those_of_the_trunk_up_to_the_branch() -> None:
    made = plan()
    short, long = (made.run_of(Cell(size="xxs", unique=None, seed=0, steps=steps)).schedule for steps in (50, 100))
    assert [short.lr_at(step) for step in range(short.branch)] == [long.lr_at(step) for step in range(short.branch)]
    assert short.branch == 40 and short.lr_at(short.branch + 1) < long.lr_at(short.branch + 1)


@pytest.mark.parametrize("teacher_from", [0, 30, 10**9])
def test_budgets_in_flop_give_each_size_its_steps(teacher_from: int) -> None:
    contrast = replace(plan().objective, teacher_from=teacher_from)
    budgets = [plan(objective=contrast).flop_of(Cell(size="xs", unique=None, seed=0, steps=one)) for one in (8, 100)]
    made = plan(steps=(), flop=tuple(budgets), objective=contrast)
    assert [cell.steps for cell in made.cells() if cell.size == "xs"] == [100]
    assert list(made.left_out()) == ["xs-uall-s0-b8"] and "past their warm-up" in made.left_out()["xs-uall-s0-b8"]
    costs = [made.flop_of(cell) for cell in made.cells() if cell.size == "xxs"]
    assert costs == pytest.approx(budgets, rel=0.03)  # whole steps
    long = made.cells()[-1]
    rest = made.flop_of(long) - made.flop_of(replace(long, steps=40))
    assert made.flop_of(long, start=40) == pytest.approx(rest)
    assert made.flop_of(long, kept=0.5) > 1.5 * made.flop_of(long)


def test_cells_that_cost_too_much_are_left_out_with_the_reason() -> None:
    made = plan(most_flop=1.1 * plan().flop_of(plan().cells()[1]))
    assert [cell.name for cell in made.cells()] == ["xxs-uall-s0-b50", "xxs-uall-s0-b100"]
    assert set(made.left_out()) == {"xs-uall-s0-b50", "xs-uall-s0-b100"}
    assert all("more than --most-flop" in why for why in made.left_out().values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sizes": ()}, "--sizes is empty"),
        ({"sizes": ("giant",)}, "unknown encoder size 'giant'"),
        ({"steps": ()}, "no length of training: give --steps, --flop or both"),
        ({"steps": (10,)}, "--steps 10: the cool-down begins at 8, within the --schedule.warmup of 10 steps"),
        (
            {"schedule": Schedule(steps=5, warmup=1)},
            r"--schedule\.steps: the lengths of a study",
        ),
        ({"data": DataSettings(holdout=("a/b",), unique=3)}, r"--data\.unique: the numbers of sequences"),
        ({"data": DataSettings()}, "no subject is held out to measure on"),
        ({"most_flop": 1.0}, "no cell is left: raise --most-flop"),
        ({"schedule": Schedule(steps=0, batch=12, warmup=1)}, "no multiple of 8 clips, which strips take"),
    ],
)
def test_mistakes_name_the_fix(wrong: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**wrong)


def test_a_folder_belongs_to_one_study_which_may_grow(tmp_path) -> None:
    made = plan(out=str(tmp_path))
    check_study(made, open_place(tmp_path))
    (tmp_path / STUDY_FILE).write_text(json.dumps(to_json(made)))
    check_study(replace(made, sizes=("s",), steps=(100, 200), unique=(64,), keep_every=5), open_place(tmp_path))
    with pytest.raises(UsageError, match=r"holds a study with schedule\.batch 16, not 32: give another --out"):
        check_study(replace(made, schedule=replace(made.schedule, batch=32)), open_place(tmp_path))
    auto = replace(made, cluster=replace(made.cluster, precision="auto"))
    (tmp_path / STUDY_FILE).write_text(
        json.dumps(to_json(replace(made, cluster=replace(made.cluster, precision="fp32"))))
    )
    begun = begun_on(open_place(tmp_path))
    assert begun is not None and begun.precision == "fp32"
    check_study(auto, open_place(tmp_path))
    with pytest.raises(UsageError, match=r"holds a study with cluster\.precision fp32, not bf16"):
        check_study(replace(made, cluster=replace(made.cluster, precision="bf16")), open_place(tmp_path))
    older = to_json(made)
    del older["measure"]["probes"]  # begun before there was such a setting
    (tmp_path / STUDY_FILE).write_text(json.dumps(older))
    check_study(made, open_place(tmp_path))
    older["schedule"]["rate"] = older["schedule"].pop("lr")  # begun before it was renamed
    (tmp_path / STUDY_FILE).write_text(json.dumps(older))
    with pytest.raises(
        UsageError, match=r"study\.json: schedule\.rate is not a known key: .* give another --out"
    ) as error:
        check_study(made, open_place(tmp_path))
    assert "\n" not in str(error.value)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not the folder of a study"):
        check_study(made, open_place(tmp_path / "other"))


def test_what_a_run_keeps_may_change_when_it_goes_on(tmp_path) -> None:
    run = plan(out=str(tmp_path)).run_of(plan().cells()[0])
    claim_folder(run)
    check_folder(replace(run, keep=Keep(at=(7,))))
