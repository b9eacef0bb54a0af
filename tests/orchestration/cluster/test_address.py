"""The address of a cluster: what is none is one line, and so is one where no Ray answers, within seconds."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import ray

from datasets.schema.errors import UsageError
from orchestration.cluster import address, session
from orchestration.cluster.wait_for_nodes import wait_for_nodes


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never says a word, as behind some firewalls."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def web() -> Iterator[str]:
    """A web server, as a proxy that accepts connections to any host."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("head", r"RAY_ADDRESS=head names no host and port: set it to <head>:6379"),
        ("10.0.0.1", "names no host and port"),
        (
            "http://head:8265",
            r"is that of a job server: run `python -m jobs.submit --address http://head:8265 -- <job>`",
        ),
        ("127.0.0.1:1", r"no Ray cluster answers at 127.0.0.1:1 within"),
        ("ray://127.0.0.1:1", r"no Ray cluster answers at ray://127.0.0.1:1 within"),
        ("no-such-host.invalid:6379", "no Ray cluster answers at no-such-host"),
    ],
)
def test_an_address_without_a_ray_is_one_line(monkeypatch, given: str, message: str) -> None:
    monkeypatch.setattr(address, "PATIENCE", 0.5)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", given)
    with pytest.raises(UsageError, match=message):
        session.start()


@pytest.mark.parametrize("server", ["silent", "web"])
@pytest.mark.parametrize("tls", ["0", "1"])
def test_whatever_else_listens_there_is_no_ray(request, monkeypatch, server: str, tls: str) -> None:
    monkeypatch.setenv("RAY_USE_TLS", tls)  # then a connection is all that can be tried without its certificates
    assert address.answers(request.getfixturevalue(server), patience=1) == (tls == "1")


def test_a_head_answers_although_it_requires_a_token(local_ray) -> None:
    assert address.answers(local_ray.get_runtime_context().gcs_address, patience=20)


def test_nodes_are_waited_for_until_a_head_answers_or_time_is_up(monkeypatch, silent: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", silent)
    with pytest.raises(UsageError, match="0 of 2 nodes joined Ray in 1 s"):
        wait_for_nodes(2, patience=1)
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(UsageError, match="RAY_ADDRESS is not set"):
        wait_for_nodes(2, patience=1)


def test_the_word_for_a_local_ray_is_no_cluster(monkeypatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    for given, there in (("local", False), ("", False), ("auto", True), ("head:6379", True)):
        monkeypatch.setenv("RAY_ADDRESS", given)
        assert session.on_cluster() == there
