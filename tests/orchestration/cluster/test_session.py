"""The connection to Ray: a local one is closed to others, and errors are one line."""

import logging
import os
import subprocess
import sys
from contextlib import nullcontext

import grpc
import psutil
import pytest
import ray
import ray.data
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray.exceptions import AuthenticationError
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from datasets.schema.errors import UsageError
from orchestration.cluster import address, session


def test_a_local_ray_listens_on_the_loopback_interface_alone(local_ray, listening) -> None:
    local_ray.get(local_ray.remote(lambda: 1).remote())  # a worker is up
    where = listening(psutil.Process())
    assert len(where) >= 3
    assert set(where) <= {"127.0.0.1", "::1"}


def test_a_local_ray_refuses_requests_without_its_token(local_ray) -> None:
    address = local_ray.get_runtime_context().gcs_address
    nodes = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(grpc.insecure_channel(address))
    token = os.environ["RAY_AUTH_TOKEN"]
    for stranger in ((), (("authorization", f"Bearer {token[::-1]}"),)):
        with pytest.raises(grpc.RpcError) as refused:
            nodes.GetAllNodeInfo(gcs_service_pb2.GetAllNodeInfoRequest(), metadata=stranger, timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    known = (("authorization", f"Bearer {token}"),)
    assert nodes.GetAllNodeInfo(gcs_service_pb2.GetAllNodeInfoRequest(), metadata=known, timeout=30).node_info_list


def test_a_second_start_is_the_first(local_ray) -> None:
    before = local_ray.get_runtime_context().get_node_id()
    session.start()
    assert ray.get_runtime_context().get_node_id() == before


def test_workers_of_a_local_ray_have_our_code_and_the_priority_of_the_driver(local_ray) -> None:
    def asked() -> tuple[str, str, int]:
        from orchestration.cluster import session as theirs

        return str(theirs.ROOT), logging.getLevelName(logging.getLogger("orchestration").level), os.nice(0)

    assert local_ray.get(local_ray.remote(asked).remote()) == (str(session.ROOT), "INFO", os.nice(0))


def test_workers_of_a_local_ray_have_the_variables_that_drivers_set(local_ray) -> None:
    there = local_ray.get(local_ray.remote(lambda: dict(os.environ)).remote())
    assert {name: there.get(name) for name in session.VARIABLES} == {
        name: os.environ[name] for name in session.VARIABLES
    }


def test_ray_data_starts_no_actors_for_its_bookkeeping(local_ray) -> None:
    class AddOne:
        def __call__(self, batch: dict) -> dict:
            return {"id": batch["id"] + 1}

    pool = ray.data.ActorPoolStrategy(size=1)
    rows = ray.data.range(8, override_num_blocks=4).map_batches(AddOne, compute=pool)
    assert sorted(row["id"] for row in rows.take_all()) == list(range(1, 9))
    names = {one["name"] for one in ray.util.list_named_actors(all_namespaces=True)}
    assert not {name for name in names if "Stats" in name or "Coordinator" in name}


LEFT = """
import os, time
import psutil
import ray
from orchestration.cluster import address, session

session.start(num_cpus=1)
worker = ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote())
(raylet,) = [one for one in psutil.Process().children() if one.name() == "raylet"]
os.kill(worker, 19)  # SIGSTOP: it cannot notice that its node is gone
raylet.kill()
psutil.wait_procs([psutil.Process(worker)], timeout=20) if psutil.pid_exists(worker) else None
left = psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE
print("left" if left else "ended", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a process with the one that started it")
def test_no_worker_outlives_its_node() -> None:
    asked = subprocess.run([sys.executable, "-c", LEFT], cwd=session.ROOT, capture_output=True, text=True, check=False)
    assert asked.stdout.splitlines()[-1:] == ["ended"], asked.stderr[-2000:]  # Ray reports the death before


ALONE = "from orchestration.cluster import session; session.start(num_cpus=1)"


def test_a_machine_that_does_not_reach_itself_is_one_line() -> None:
    """In a network namespace of its own, where the loopback interface is down."""
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespaces")
    command = ["unshare", "-rn", sys.executable, "-c", ALONE]
    asked = subprocess.run(command, cwd=session.ROOT, capture_output=True, text=True, check=False)
    assert "UsageError: this machine does not reach itself at 127.0.0.1 (" in asked.stderr.splitlines()[-1]


def test_what_a_job_needs_beside_ray_is_done_in_any_case(local_ray) -> None:
    done: list[str] = []
    session.start(meanwhile=lambda: done.append("again"))
    assert done == ["again"]


def test_placement_groups_are_freed_by_the_memory_that_marks_them(local_ray) -> None:
    """One that a dead actor has left, and one that it still waited for; those of others stay."""

    @local_ray.remote(num_cpus=0)
    class Controller:
        def reserve(self, bundles: list[dict[str, float]]) -> list[PlacementGroup]:
            return [placement_group([bundle]) for bundle in bundles]

    controller = Controller.remote()
    marked, waiting = {"CPU": 1, "memory": 12_345}, {"CPU": 1000, "memory": 12_345}
    other = {"CPU": 1, "memory": 54_321}
    groups = local_ray.get(controller.reserve.remote([marked, waiting, other]))
    assert groups[0].wait(30) and groups[2].wait(30)
    local_ray.kill(controller)
    session.free_placement_groups(12_345)
    assert [placement_group_table(group)["state"] for group in groups] == ["REMOVED", "REMOVED", "CREATED"]
    remove_placement_group(groups[2])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (0, r"this Ray has no GPU: give --cluster\.device cpu"),
        (2, r"this Ray has 2 for 4: give --cluster\.workers 2"),
        (4, None),
    ],
)
def test_missing_gpus_are_an_error(local_ray, monkeypatch, found: int, message: str | None) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": float(found)})
    with pytest.raises(UsageError, match=message) if message else nullcontext():
        session.require_gpus(4)


def test_a_cluster_may_start_gpus_on_request(local_ray, monkeypatch, caplog) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0})
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    session.require_gpus(4)
    assert "the cluster has 0 of 4 GPUs yet" in caplog.text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no GCS"), r"no Ray cluster answers at 10\.0\.0\.1:6379"),
        (AuthenticationError("no token"), r"no Ray cluster answers at 10\.0\.0\.1:6379"),
        (RuntimeError("Version mismatch:\n ours, theirs"), r"10\.0\.0\.1:6379 cannot be used: Version mismatch: ours"),
    ],
)
def test_a_cluster_that_refuses_us_is_one_line(monkeypatch, error: Exception, message: str) -> None:
    def refused(**_settings) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refused)
    monkeypatch.setattr(address, "check", lambda _: None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(UsageError, match=message):
        session.start()
