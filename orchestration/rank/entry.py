"""The entry of a rank's process, which keeps its imports few.

When a rank dies it is started again, and most of the time for which the others wait is imports. So this wing must not
import what drivers alone need, MLflow and matplotlib (tests/test_architecture.py checks it).
"""

import sys
from collections.abc import Mapping
from typing import Any

from orchestration.rank.work import Work


def enter(work: Work, config: Mapping[str, Any]) -> None:
    """Train as a rank. config: `status` (the actor) and `profile`, from the driver.

    DeepSpeed inspects the machine when it is imported, so ranks alone import it; and it imports its autotuner, which
    nobody uses and which would import MLflow.
    """
    sys.modules.setdefault("mlflow", None)  # type: ignore[arg-type]  # None makes an import fail, as if it was missing
    from orchestration.rank.loop import train_rank

    train_rank(work, config["status"], config["profile"])
