"""A local Ray where the folder for temporary files has a name too long for the path of a socket, as on clusters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.schema.errors import UsageError
from orchestration.cluster import local_ray
from orchestration.cluster.session import ROOT

STARTED = """
import os, ray
from orchestration.cluster import session
session.start(2)
answer = ray.get(ray.remote(lambda: 42).remote())
node = ray._private.worker._global_node
print(answer, node.get_session_dir_path(), os.environ.get("RAY_object_spilling_directory"))
"""


@pytest.mark.parametrize(("variable", "beyond"), [("TMPDIR", 0), ("TMPDIR", 1), ("RAY_TMPDIR", 60)])
def test_ray_starts_whatever_the_length(variable: str, beyond: int, tmp_path: Path) -> None:
    length = local_ray._LONGEST_TMPDIR + beyond - (len(os.fsencode("/tmp/")))
    folder = Path("/tmp") / f"{os.getpid()}".ljust(length, "x")
    folder.mkdir()
    try:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        done = subprocess.run(
            [sys.executable, "-c", STARTED],
            cwd=ROOT,
            env=environment | {variable: str(folder)},
            capture_output=True,
            text=True,
        )
        answer, session_dir, spilled = done.stdout.split()
        assert (answer, done.stderr) == ("42", "")
        assert session_dir.startswith(f"{folder}/ray/") == (beyond == 0)
        assert spilled == (str(folder) if beyond else "None")
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_without_any_short_folder_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/x" * 60)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(UsageError, match="set RAY_TMPDIR to a folder with a shorter path"):
        local_ray._shorten_tmpdir()
