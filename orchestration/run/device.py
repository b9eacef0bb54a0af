"""The device that a run trains on: the GPUs of its Ray where there are enough of them, else the CPU.

Settings have `auto`, which is resolved once, when a run begins, from what Ray has. What computes asks `Cluster.gpu`,
which knows no `auto`.
"""

from typing import Literal

Device = Literal["cpu", "gpu"]
RequestedDevice = Literal["auto", "cpu", "gpu"]


def resolve_device(
    requested: RequestedDevice, recorded: RequestedDevice | None, gpus: int, needed: int
) -> tuple[Device, str]:
    """The device of a run, and the reason for it in words.

    recorded: what an earlier start of the run resolved; auto or None where there was none. gpus: of Ray, or of the
    cluster. needed: the fewest that the run can start with, one for each worker.
    """
    if requested != "auto":
        return requested, "as requested"
    if recorded is not None and recorded != "auto":
        return recorded, "as it was begun"
    if not gpus:
        return "cpu", "this Ray has no GPU"
    if gpus < needed:
        return "cpu", f"this Ray has {gpus} of the {needed} GPUs that {needed} workers need"
    return "gpu", f"this Ray has {gpus} GPU{'s' if gpus > 1 else ''}"


def unused_gpus(device: Device, workers: int, gpus: int) -> str | None:
    """One line on the GPUs that training leaves unused, and the settings that use them; None where it uses all."""
    unused = gpus - (workers if device == "gpu" else 0)
    if unused <= 0:
        return None
    fix = f"--cluster.workers {gpus}" if device == "gpu" else f"--cluster.device gpu --cluster.workers {gpus}"
    return f"training leaves {unused} of {gpus} GPU{'s' if gpus > 1 else ''} unused: {fix} uses all"
