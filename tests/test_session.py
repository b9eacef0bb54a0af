"""Where Ray is found, and what it must have."""

import psutil
import pytest
import ray

from datasets.schema import UsageError
from orchestration import session


def test_a_local_ray_listens_to_its_own_machine_alone(local_ray) -> None:
    local_ray.get(local_ray.remote(lambda: 1).remote())  # a worker is up
    mine = psutil.Process()
    listening = [
        socket.laddr.ip
        for process in [mine, *mine.children(recursive=True)]
        for socket in process.net_connections(kind="inet")
        if socket.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


def test_a_second_start_is_the_first(local_ray) -> None:
    before = local_ray.get_runtime_context().get_node_id()
    session.start()
    assert ray.get_runtime_context().get_node_id() == before


def test_gpus_that_are_not_there_are_said_so(local_ray) -> None:
    if local_ray.cluster_resources().get("GPU"):
        session.require_gpus()
    else:
        with pytest.raises(UsageError, match=r"--cluster\.gpu: this Ray has no GPU"):
            session.require_gpus()


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch) -> None:
    def refused(**_settings) -> None:
        raise ConnectionError("no GCS")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refused)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(UsageError, match=r"no Ray cluster answers at 10\.0\.0\.1:6379"):
        session.start()
