"""How many processes load the clips of a rank."""

import pytest

from datasets.schema.errors import UsageError
from orchestration.rank.data import cores_left, loader_processes
from orchestration.run.settings import Cluster


@pytest.mark.parametrize(
    ("cores", "gpus", "left"), [(1, 1, 0), (2, 4, 0), (8, 1, 7), (16, 1, 15), (48, 4, 11), (192, 8, 16), (7, 2, 2)]
)
def test_a_rank_takes_the_cores_that_its_share_of_the_machine_leaves(cores: float, gpus: float, left: int) -> None:
    assert cores_left(cores, gpus) == left


def test_a_rank_with_one_core_has_a_thread_and_a_given_number_holds(local_ray) -> None:
    assert loader_processes(Cluster(device="cpu")) == 0
    assert loader_processes(Cluster(device="gpu")) == cores_left(local_ray.cluster_resources()["CPU"], 1)
    assert [loader_processes(Cluster(device=one, loaders=3)) for one in ("cpu", "gpu")] == [3, 3]
    with pytest.raises(UsageError, match=r"--cluster\.loaders -1 must not be negative"):
        Cluster(loaders=-1)
