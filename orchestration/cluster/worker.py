"""What Ray calls in each worker before its first task."""

import ctypes
import os
import signal
import sys

from orchestration.cluster import garbage, logs

HOOK = f"{__name__}.set_up"
_PR_SET_PDEATHSIG = 1  # of Linux' prctl


def set_up() -> None:
    """Log as drivers do, and end with Ray's process on this node, which has started this one.

    Ray's workers end themselves when that process is gone; but one that is ending already at that moment may wait for
    it forever. On other systems than Linux this is left to Ray.
    """
    logs.configure()
    garbage.collect_less_often()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it ended before that call
            os.kill(os.getpid(), signal.SIGKILL)
