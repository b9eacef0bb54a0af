"""The GPUs that embed: those that Ray has, or as many as were asked for, of which a cluster may start some."""

import logging
from typing import Literal

from datasets.schema.errors import UsageError
from orchestration.cluster import session

logger = logging.getLogger(__name__)

Gpus = int | Literal["auto"]


def check_gpus(requested: Gpus) -> None:
    """UsageError for a number that is none of GPUs."""
    if requested != "auto" and requested < 0:
        raise UsageError(f"--gpus {requested} must not be negative: give 0 for the CPU, or auto for all GPUs of Ray")


def resolve_gpus(requested: Gpus) -> int:
    """The number of GPUs to embed on; 0 for the CPU. UsageError where a local Ray has fewer than were asked for.

    A cluster that starts its machines on request has none at first, so that only a number gets its GPUs.
    """
    session.start()
    found = session.count_gpus()
    if requested == "auto":
        return found
    if requested > found and not session.on_cluster():
        raise UsageError(
            f"--gpus {requested}: this Ray has {found}; give --gpus {found}, or set RAY_ADDRESS to a cluster"
        )
    if requested > found:
        logger.info(f"the cluster has {found} of {requested} GPUs yet: it is asked to start the others")
    return requested
