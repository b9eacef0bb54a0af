"""The demo: its page shows the commands that it runs, and it prints a line for each stage."""

import shlex
from pathlib import Path

from jobs import demo, evaluate, ingest, pretrain, scaling

TRACKED = ("--tracking", "sqlite:///a b/mlflow.db")


def test_the_commands_shown_are_those_that_run(tmp_path: Path) -> None:
    out = tmp_path / "de mo"
    commands = demo._commands(out, TRACKED)
    jobs = {"ingest": ingest, "pretrain": pretrain, "evaluate": evaluate, "scaling": scaling}
    assert [command.job for command in commands] == list(jobs)
    for command in commands:
        typed = shlex.split(" ".join(command.lines))
        assert typed[:3] == ["python", "-m", f"jobs.{command.job}"]
        assert jobs[command.job].parse(typed[3:]) == jobs[command.job].parse(command.argv)


def test_the_parts_of_the_walkers_do_not_overlap() -> None:
    """People to train on, people whom the study holds out, and people to test on are different ones."""
    held_out = {subject.partition("/")[2] for subject in scaling.PLANS["miniature"]("s", "o").data.holdout}
    assert held_out == set(demo.STUDIED)
    assert not set(demo.TEST) & {*demo.TRAIN, *demo.STUDIED}
    assert not set(demo.TRAIN) & set(demo.STUDIED)


def test_a_stage_is_a_line(capsys) -> None:
    stages = demo.Stages()
    assert stages.run("ingest", lambda: 104, "{:,} sequences".format, demo.Command("ingest", (("--out", "x"),))) == 104
    assert capsys.readouterr().out == "ingest       0 s  104 sequences\n"
    assert stages.done[0].command == ["python -m jobs.ingest", "--out x"]
