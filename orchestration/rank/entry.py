"""The entry of a rank's process, which keeps its imports few.

When a rank dies it is started again, and most of the time for which the others wait is imports. So this wing must not
import what drivers alone need, MLflow and matplotlib (tests/test_architecture.py checks it).
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from orchestration.rank.work import Work


def enter(work: Work, config: Mapping[str, Any]) -> None:
    """Train as a rank. config: `status` (the actor) and `profile`, from the driver."""
    import_loop(work.run.cluster.gpu)(work, config["status"], config["profile"])


def import_loop(gpu: bool) -> Callable[..., None]:
    """Import the training loop, which takes seconds; returns its `train_rank`. gpu: whether it is to train on one.

    DeepSpeed inspects the machine when it is imported, so ranks alone import it; and it imports its autotuner, which
    nobody uses and which would import MLflow.
    """
    os.environ["DS_ACCELERATOR"] = "cuda" if gpu else "cpu"  # else DeepSpeed runs programs to find out
    # Steps have ever new numbers of tokens, which leave gaps in memory that is reserved in blocks of fixed sizes.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    sys.modules.setdefault("mlflow", None)  # type: ignore[arg-type]  # None makes an import fail, as if it was missing
    from orchestration.rank.loop import train_rank

    return train_rank
