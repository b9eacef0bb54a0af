"""The command lines, each run as `python -m jobs.<job>` from the root of the repository."""

import os
import sys

from orchestration.cluster.garbage import collect_less_often
from orchestration.cluster.interrupts import watch_program

if sys.flags.optimize > 1:  # here, before a job's own imports, which fail
    sys.stderr.write(
        "error: Ray and MLflow need the docstrings that -OO and PYTHONOPTIMIZE=2 leave out: give -O, or unset it\n"
    )
    raise SystemExit(2)

# Here, before a job's own imports.
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"  # some set it to 0 for older programs; Ray reads it when it is imported
collect_less_often()
if sys.argv[0] == "-m":  # Python is looking for the program to run
    watch_program()
