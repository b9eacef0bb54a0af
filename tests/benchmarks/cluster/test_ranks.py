from pathlib import Path

from benchmarks.cluster.ranks import Arguments, main


def test_ranks_meet_and_their_collectives_are_right(local_ray, tmp_path: Path, capsys) -> None:
    main(Arguments(ranks=(3,), repeats=1))
    assert "| 3 |" in capsys.readouterr().out
