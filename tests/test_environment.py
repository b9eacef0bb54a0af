"""What the environment of the lock file needs of a machine: no window system, which servers and containers lack."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from orchestration.cluster.session import ROOT

IMPORTED = """
import cv2, deepspeed, torch
print(open("/proc/self/maps").read())
"""


def test_opencv_is_the_one_without_windows() -> None:
    """Both packages install a cv2; the one named opencv-python needs libGL, which Ray's images do not have."""
    assert set(packages_distributions()["cv2"]) == {"opencv-python-headless"}
    locked = re.findall(r"^opencv\S*(?===)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked == ["opencv-python-headless"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_what_a_rank_imports_loads_no_library_of_a_window_system() -> None:
    asked = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert "cv2" in asked.stdout
    assert re.findall(r"lib(?:GL|gthread|xcb|X11|Qt)[^/\s]*", asked.stdout) == []
