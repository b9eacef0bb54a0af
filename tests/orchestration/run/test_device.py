"""Which device a run gets: from what was asked for, what it was begun on, and the GPUs of its Ray."""

import pytest

from orchestration.run.device import RequestedDevice, resolve_device, unused_gpus
from orchestration.run.settings import Cluster


@pytest.mark.parametrize(
    ("requested", "recorded", "gpus", "expected", "reason"),
    [
        ("auto", None, 4, "gpu", "this Ray has 4 GPUs"),
        ("auto", None, 0, "cpu", "this Ray has no GPU"),
        ("auto", "auto", 2, "gpu", "this Ray has 2 GPUs"),
        ("auto", None, 1, "cpu", "this Ray has 1 of the 2 GPUs that 2 workers need"),
        ("auto", "cpu", 4, "cpu", "as it was begun"),
        ("auto", "gpu", 0, "gpu", "as it was begun"),
        ("cpu", "gpu", 4, "cpu", "as requested"),
        ("gpu", "cpu", 0, "gpu", "as requested"),
    ],
)
def test_the_device_of_a_run_of_two_workers(
    requested: RequestedDevice, recorded: RequestedDevice | None, gpus: int, expected: str, reason: str
) -> None:
    assert resolve_device(requested, recorded, gpus, needed=2) == (expected, reason)


def test_gpus_that_training_leaves_unused_are_said_with_what_uses_them() -> None:
    assert unused_gpus("gpu", 4, 4) is None and unused_gpus("cpu", 2, 0) is None and unused_gpus("gpu", 8, 4) is None
    assert unused_gpus("gpu", 2, 4) == "training leaves 2 of 4 GPUs unused: --cluster.workers 4 uses all"
    assert unused_gpus("cpu", 2, 1) == (
        "training leaves 1 of 1 GPU unused: --cluster.device gpu --cluster.workers 1 uses all"
    )


def test_settings_in_which_auto_is_left_say_nothing_of_a_gpu() -> None:
    assert Cluster(device="gpu").gpu and not Cluster(device="cpu").gpu
    with pytest.raises(AssertionError, match="auto is resolved before"):
        assert Cluster().gpu
