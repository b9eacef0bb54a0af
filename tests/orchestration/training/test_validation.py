"""Scoring beside training, with a scorer that is slower than the checkpoints come."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from jobs.recipes import RECIPES
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of, with_device
from orchestration.run.settings import Keep, PretrainRun, Schedule
from orchestration.training import validation
from orchestration.training.validation import Scorer

STEPS = 70


@dataclass
class Logged:
    """A tracker that keeps what it is given."""

    steps: list[int] = field(default_factory=list)

    def log(self, step: int, _metrics: dict[str, float]) -> None:
        self.steps.append(step)


@pytest.fixture
def run(local_ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretrainRun:
    """A run with a checkpoint every ten steps, and a scorer that waits until a file is there."""

    def wait(address: str, _names: list[str], _gpu: bool) -> dict[str, float]:
        while not Path(f"{address}/go").exists():
            time.sleep(0.02)
        return {"mean": 50.0}

    monkeypatch.setattr(validation, "_score_in_task", wait)
    tiny = with_device(RECIPES["tiny"]("shards", str(tmp_path)), "cpu")
    return replace(tiny, schedule=Schedule(steps=STEPS, warmup=1), keep=Keep(every=10))


def finish(run: PretrainRun, step: int) -> None:
    (checkpoint.at_step(folder_of(run), step) / "go").write(b"")


def wait_for(scorer: Scorer, step: int) -> None:
    """Until the score of a step is there."""
    while step in scorer.pending():
        scorer.update(timeout=0.1)


def test_a_slow_scorer_leaves_out_what_waits_longest_and_scores_the_last(run: PretrainRun, caplog) -> None:
    logged = Logged()
    scorer = Scorer(run, logged, ["CASIA-B"], every=1)
    scorer.add(10)
    scorer.update()
    for step in (20, 30, 40, 50):
        scorer.add(step)
        scorer.update()
        assert len(scorer.pending()) <= 3  # whose files the run keeps
    assert scorer.pending() == {10, 40, 50} and caplog.text == ""
    finish(run, 10)
    wait_for(scorer, 10)
    assert "checkpoints come faster than their scores: left out those of steps 20, 30; --score.every" in caplog.text
    for step in (60, STEPS):
        scorer.add(step)
    assert scorer.pending() == {40, 60, STEPS}
    for step in (40, 60, STEPS):
        finish(run, step)
        wait_for(scorer, step)
    assert logged.steps == [10, 40, 60, STEPS] and scorer.pending() == set()
    assert caplog.text.count("left out those of steps") == 2 and "left out those of steps 50;" in caplog.text
    assert checkpoint.score_of(checkpoint.at_step(folder_of(run), STEPS)) == {"mean": 50.0}
    assert checkpoint.score_of(checkpoint.at_step(folder_of(run), 20)) is None


def test_a_scorer_that_keeps_up_leaves_nothing_out(run: PretrainRun, caplog) -> None:
    logged = Logged()
    scorer = Scorer(run, logged, ["CASIA-B"], every=2)
    for step in range(10, STEPS + 1, 10):
        finish(run, step)
        scorer.add(step)
        while scorer.pending():
            scorer.update(timeout=0.1)
    assert logged.steps == [20, 40, 60, STEPS] and "left out" not in caplog.text
