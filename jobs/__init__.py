"""The command lines, each run as `python -m jobs.<job>` from the root of the repository."""

from orchestration.cluster.garbage import collect_less_often

collect_less_often()  # here, before a job's own imports
