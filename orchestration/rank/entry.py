"""A rank's process, from its first line: what it imports, and what it must not.

Each rank that dies is started anew, and imports are most of what the others wait for then. So what a rank runs lies in
modules that know nothing of drivers: no MLflow, no figures (a test holds them to it). What the rank does is in
orchestration/rank/loop.py.
"""

import sys

from orchestration.rank.work import Work


def enter(work: Work, config: dict[str, object]) -> None:
    """Do the work of a rank. config: `status` (the actor), `profile`, as the driver passes them.

    DeepSpeed looks at the machine when it is imported, so the ranks alone import it; and its autotuner, which nobody
    uses, would import MLflow.
    """
    sys.modules.setdefault("mlflow", None)
    from orchestration.rank.loop import train_rank

    train_rank(work, config["status"], config["profile"])
