"""The cluster files: Ray's launcher and EC2 accept them; they request what jobs need, and open and send nothing more.

Without KubeRay's operator, only the structure of docs/kuberay.yaml is tested.
"""

import copy
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import boto3
import mlflow
import psutil
import pytest
import ray
import requests
import yaml
from moto import mock_aws
from ray._private.runtime_env.packaging import create_package
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.commands import warn_about_bad_start_command
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.train import ScalingConfig

from orchestration.cluster import session
from orchestration.cluster.session import ROOT
from orchestration.run.settings import Cluster
from orchestration.training.ray_train import resources_of_rank

LOCKED_RAY = re.search(r"^ray==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[1]


def launcher() -> dict:
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())


def kuberay() -> dict:
    return next(yaml.safe_load_all((ROOT / "docs/kuberay.yaml").read_text()))["spec"]


def pods() -> Iterator[tuple[str, dict]]:
    """Each kind of machine of docs/kuberay.yaml and its pod."""
    spec = kuberay()
    yield "head", spec["headGroupSpec"]["template"]["spec"]
    yield from ((group["groupName"], group["template"]["spec"]) for group in spec["workerGroupSpecs"])


def test_the_launcher_accepts_the_cluster_file() -> None:
    config = prepare_config(launcher())
    validate_config(config)
    assert config["head_node_type"] == "head"
    assert config["max_workers"] >= sum(kind["max_workers"] for kind in config["available_node_types"].values())


def test_the_launcher_accepts_ones_own_machines() -> None:
    """The part that docs/cluster.md gives in place of the cloud."""
    local = yaml.safe_load(re.search(r"```yaml\n(.*?)```", (ROOT / "docs/cluster.md").read_text(), re.DOTALL)[1])
    cloud = ("max_workers", "provider", "auth", "docker", "available_node_types", "head_node_type")
    cloud += ("idle_timeout_minutes", "initialization_commands")
    config = {name: value for name, value in launcher().items() if name not in cloud} | local
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_start_ray_commands"] == launcher()["head_start_ray_commands"]


@mock_aws
def test_ec2_starts_each_kind_of_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The launcher's step for AWS, then the call that starts a machine, whose arguments botocore checks."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("HOME", str(tmp_path))  # where the launcher writes the key that it makes
    (tmp_path / ".ssh").mkdir()
    ec2 = boto3.resource("ec2")
    vpc = next(iter(ec2.vpcs.all()))
    config = prepare_config(launcher())
    group = ec2.create_security_group(GroupName="gait", Description="gait", VpcId=vpc.id).id
    image = next(iter(ec2.images.all())).id
    for kind in config["available_node_types"].values():
        kind["node_config"] |= {"SecurityGroupIds": [group], "ImageId": image}
    started = bootstrap_aws(copy.deepcopy(config))
    boto3.client("iam").create_instance_profile(InstanceProfileName="foundationgait")
    for name, kind in started["available_node_types"].items():
        subnet, *_ = kind["node_config"].pop("SubnetIds")
        [machine] = ec2.create_instances(**kind["node_config"], SubnetId=subnet, MinCount=1, MaxCount=1)
        machine.reload()
        assert (machine.instance_lifecycle == "spot") is (name != "head")
        assert [one["GroupId"] for one in machine.security_groups] == [group]
        assert machine.subnet.availability_zone == launcher()["provider"]["availability_zone"]


def test_the_head_runs_no_tasks_and_workers_start_on_request() -> None:
    kinds = launcher()["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in kinds["head"]["node_config"]
    for name in ("cpu", "gpu"):
        assert kinds[name]["min_workers"] == 0 < kinds[name]["max_workers"]
        assert kinds[name]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    spec = kuberay()
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]


@pytest.mark.parametrize(("gpu", "kind"), [(False, "cpu"), (True, "gpu")])
def test_the_workers_have_what_a_training_run_requests(gpu: bool, kind: str) -> None:
    asked = ScalingConfig(num_workers=Cluster().workers, use_gpu=gpu, resources_per_worker=resources_of_rank(gpu))
    total = asked.total_resources
    has = launcher()["available_node_types"][kind]
    assert all(has["resources"].get(name, 0) * has["max_workers"] >= count for name, count in total.items())
    group = next(one for one in kuberay()["workerGroupSpecs"] if one["groupName"] == kind)
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    limits = {"CPU": int(limits["cpu"]), "GPU": int(limits.get("nvidia.com/gpu", 0))}
    assert all(limits.get(name, 0) * group["maxReplicas"] >= count for name, count in total.items())
    assert bool(has["resources"].get("GPU")) is bool(limits["GPU"]) is gpu


def test_every_machine_has_the_environment_of_the_lock_file() -> None:
    assert ray.__version__ == LOCKED_RAY
    config = launcher()
    images = [config["docker"]["image"], config["available_node_types"]["gpu"]["docker"]["worker_image"]]
    dockerfile = (ROOT / "docs/Dockerfile").read_text()
    images.append(re.search(r"^FROM (\S+)$", dockerfile, re.MULTILINE)[1])
    assert all(image.startswith(f"rayproject/ray:{LOCKED_RAY}-py311") for image in images)
    assert config["file_mounts"]["~/requirements.lock"] == "requirements.lock"
    assert config["file_mounts"]["~/node.sh"] == "orchestration/cluster/node.sh"
    copied = re.search(r"^COPY (.*) /tmp/$", dockerfile, re.MULTILINE)[1].split()
    assert copied == ["requirements.lock", "orchestration/cluster/node.sh"]
    assert all((ROOT / one).is_file() for one in copied)
    assert "bash /tmp/node.sh install /tmp/requirements.lock" in dockerfile
    assert "ENV PATH=/home/ray/gait/bin:$PATH" in dockerfile
    assert kuberay()["rayVersion"] == LOCKED_RAY
    assert {pod["containers"][0]["image"].rpartition(":")[2] for _, pod in pods()} == {LOCKED_RAY}


@pytest.fixture
def node(tmp_path: Path) -> Callable[[str], str]:
    """Runs a command as a shell of a new machine does, which has the mounted files and a python3; returns its output.

    The interpreter notes what it is asked for, and makes an environment with an interpreter like it and a `ray`.
    """
    for target, source in launcher()["file_mounts"].items():
        if not source.startswith("~"):
            shutil.copy(ROOT / source, tmp_path / target.removeprefix("~/"))
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\necho "$*" >> ~/asked\ntest "$2" = venv || exit 0\nmkdir -p "$3/bin"\ncp "$0" "$3/bin/python"\n'
        'printf \'#!/bin/sh\\necho "$* $(command -v python) $RAY_AUTH_MODE"\' > "$3/bin/ray"\nchmod +x "$3/bin/ray"\n'
    )
    python.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{python.parent}:/usr/bin:/bin", "RAY_HEAD_IP": "10.0.0.1"}

    def run(command: str) -> str:
        done = subprocess.run(["bash", "-c", command], check=True, env=environment, capture_output=True, text=True)
        return done.stdout

    return run


def test_the_set_up_of_a_node_is_done_once_and_starts_ray_in_its_environment(
    node: Callable[[str], str], tmp_path: Path
) -> None:
    for command in 2 * launcher()["setup_commands"]:
        node(command)
    install = f"-m pip install --disable-pip-version-check --quiet -r {tmp_path}/requirements.lock"
    assert (tmp_path / "asked").read_text().splitlines() == [f"-m venv {tmp_path}/gait", install, install]
    assert (tmp_path / ".bashrc").read_text() == f"export PATH={tmp_path}/gait/bin:$PATH RAY_AUTH_MODE=token\n"
    (*head, _), worker = (launcher()[f"{role}_start_ray_commands"] for role in ("head", "worker"))
    inherited = f" {tmp_path}/gait/bin/python token\n"
    options = "--head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml"
    assert [node(command) for command in head] == ["stop" + inherited, f"start {options}" + inherited]
    assert [node(command) for command in worker] == ["stop" + inherited, "start --address=10.0.0.1:6379" + inherited]


def test_the_launcher_finds_the_command_that_starts_ray(capsys) -> None:
    """Else `ray up` warns that no Ray will run, or no worker."""
    warn_about_bad_start_command(launcher()["head_start_ray_commands"])
    assert capsys.readouterr() == ("", "")


def test_authentication_is_on_everywhere() -> None:
    config = launcher()
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for role in ("head", "worker"):  # node.sh turns it on: see the set-up above
        commands = [one for one in config[f"{role}_start_ray_commands"] if " ray " in one]
        assert len(commands) == 2 and all(command.startswith("bash ~/node.sh ray ") for command in commands)
    environments = {name: pod["containers"][0]["env"] for name, pod in pods()}
    environments["autoscaler"] = kuberay()["autoscalerOptions"]["env"]
    assert set(environments) == {"head", "cpu", "gpu", "autoscaler"}
    for environment in environments.values():
        by_name = {one["name"]: one for one in environment}
        assert by_name["RAY_AUTH_MODE"]["value"] == "token"
        assert "secretKeyRef" in by_name["RAY_AUTH_TOKEN"]["valueFrom"]


def test_the_job_server_listens_on_the_loopback_interface_of_the_head() -> None:
    assert "--dashboard-host=127.0.0.1" in launcher()["head_start_ray_commands"][1]
    assert "0.0.0.0" not in (ROOT / "ray_cluster.yaml").read_text() + (ROOT / "docs/kuberay.yaml").read_text()
    assert kuberay()["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    for kind in launcher()["available_node_types"].values():  # else Ray makes a group that lets all the world try SSH
        assert kind["node_config"]["SecurityGroupIds"]
    _, policy = yaml.safe_load_all((ROOT / "docs/kuberay.yaml").read_text())
    ours = {"matchLabels": {"ray.io/cluster": "foundationgait"}}
    assert policy["spec"] == {
        "podSelector": ours,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": ours}]}],
    }


def test_the_machines_are_sent_their_set_up_and_the_token_and_nothing_more() -> None:
    files = {"orchestration/cluster/node.sh", "requirements.lock", "~/.ray/auth_token"}
    assert set(launcher()["file_mounts"].values()) == files
    assert "COPY . " not in (ROOT / "docs/Dockerfile").read_text()


def test_the_user_of_the_containers_can_write_where_runs_and_contours_lie() -> None:
    """A new EFS, and a disk that was just mounted, belong to root."""
    config = launcher()
    commands, options = config["initialization_commands"], " ".join(config["docker"]["run_options"]).split()
    mounted = next(number for number, one in enumerate(commands) if "mount -t nfs4" in one)
    assert "sudo chown 1000:1000 /mnt/gait" in commands[mounted + 1 :]
    volumes = dict(options[number + 1].split(":") for number, one in enumerate(options) if one == "--volume")
    variables = dict(options[number + 1].split("=") for number, one in enumerate(options) if one == "--env")
    assert variables["TMPDIR"] == "/scratch" and variables["RAY_TMPDIR"] == "/tmp"
    for folder, mount in volumes.items():
        assert any(f"chown 1000:1000 {folder}" in one for one in commands), mount
    for _, pod in pods():
        assert pod["securityContext"] == {
            "runAsUser": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
        }
        mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
        assert mounts == {"gait": "/mnt/gait", "scratch": "/scratch"} and mounts.keys() == {
            one["name"] for one in pod["volumes"]
        }
        assert {"name": "TMPDIR", "value": "/scratch"} in pod["containers"][0]["env"]


def test_records_go_to_a_server_on_the_loopback_interface_of_the_head() -> None:
    """It asks nobody for a password. Drivers of jobs run on the head, and so reach it."""
    start = launcher()["head_start_ray_commands"][-1].split()
    assert start[:4] == ["bash", "~/node.sh", "mlflow", "5000"] and start[4].startswith("sqlite:////mnt/gait/")
    tracked = {"name": "MLFLOW_TRACKING_URI", "value": "http://127.0.0.1:5000"}
    assert launcher()["docker"]["head_run_options"] == [f"--env {tracked['name']}={tracked['value']}"]
    beside = {name: [one for one in pod["containers"] if one["name"] == "mlflow"] for name, pod in pods()}
    assert not beside["cpu"] and not beside["gpu"]
    [server] = beside["head"]
    assert server["command"][:6] == ["mlflow", "server", "--host", "127.0.0.1", "--port", "5000"]
    assert server["args"][:2] == ["--backend-store-uri", "sqlite:////mnt/gait/mlflow.db"]
    head = dict(pods())["head"]["containers"][0]
    assert tracked in head["env"] and server["image"] == head["image"]


@pytest.mark.slow
def test_the_server_of_records_starts_once_and_is_closed_to_others(tmp_path: Path, listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database, artifacts = tmp_path / "made/mlflow.db", tmp_path / "artifacts"
    command = ["bash", ROOT / "orchestration/cluster/node.sh", "mlflow", f"{port}", f"sqlite:///{database}", artifacts]
    environment = os.environ | {"GAIT_ENVIRONMENT": sys.prefix, "HOME": str(tmp_path)}
    subprocess.run(command, env=environment, check=True)
    started = [
        one for one in psutil.process_iter(["cmdline"]) if f"sqlite:///{database}" in (one.info["cmdline"] or [])
    ]
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with suppress(requests.ConnectionError):
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            time.sleep(0.2)
        client = mlflow.MlflowClient(f"http://127.0.0.1:{port}")
        run = client.create_run("0").info.run_id
        assert client.get_run(run).info.run_id == run and database.is_file()
        assert set(listening(started[0])) == {"127.0.0.1"}
        log = (tmp_path / "mlflow.log").read_bytes()
        subprocess.run(command, env=environment, check=True)
        assert (tmp_path / "mlflow.log").read_bytes()[: len(log)] == log  # no second server wrote over it
    finally:
        for one in started:
            for child in [*one.children(recursive=True), one]:
                child.kill()


def test_ray_packs_the_code_and_nothing_else(tmp_path: Path) -> None:
    """Ray's own packing, which a local Ray uses, and a driver that RAY_ADDRESS connects."""
    tree = tmp_path / "tree"
    wanted = ["datasets/schema/rows.py", "datasets/store/blocks.py", "jobs/demo.py", "model/encoder.py"]
    unwanted = [".env", ".git/config", ".venv/bin/python", "a.pkl", "auth_token", "demo/run/weights.safetensors"]
    unwanted += ["id.pem", "secrets/id.key", "shards/x.parquet"]
    for name in wanted + unwanted:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    create_package(str(tree), tmp_path / "package.zip", include_gitignore=True, excludes=session.EXCLUDES)
    assert sorted(name for name in zipfile.ZipFile(tmp_path / "package.zip").namelist() if name[-1] != "/") == wanted
