"""Ray Data's bookkeeping in the driver of a local Ray, where it starts no processes.

Ray Data keeps its statistics, and what each dataset may use of the cluster, in two actors that all drivers share. A
local Ray has one driver, and each of these processes takes a second of processor time to start.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import ray
from ray.data._internal import stats
from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as coordinator


def keep_in_driver() -> None:
    """Replace both actors of this process.

    Relies on: Ray Data gets its actors by these two functions each time, and calls them by `.remote` alone.
    """
    statistics: Any = stats._StatsActor  # Ray's wrapper of the class, which has the class itself
    for module, function, made in (
        (stats, "get_or_create_stats_actor", statistics.__ray_metadata__.modified_class),
        (coordinator, "get_or_create_autoscaling_coordinator", coordinator._AutoscalingCoordinatorActor),
    ):
        assert callable(getattr(module, function))
        setattr(module, function, cache(partial(_InDriver, made)))


class _InDriver:
    """An object of this process that is called as an actor."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._real = make()

    def __getattr__(self, name: str) -> "_Method":
        return _Method(getattr(self._real, name))


class _Method:
    def __init__(self, method: Callable[..., object]) -> None:
        self._method = method

    def remote(self, *args: Any, **named: Any) -> ray.ObjectRef:  # noqa: ANN401 any method's
        return ray.put(self._method(*args, **named))
