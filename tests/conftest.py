"""What several tests share: reference material where it is there, one Ray for the session, empty records of MLflow."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from datasets.catalog import registry
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from orchestration.cluster import session
from orchestration.cluster.session import ROOT
from orchestration.ingest.ingest import IngestRun, ingest
from tests.fixtures.planted import planted_walks

# Small tensors gain nothing from a second thread, and threads that wait for each other on a busy machine cost much.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Of the local S3 server: it takes any. Ray's workers have the environment in which Ray was started.
os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start jobs come first: two processes share the suite, and none is to begin the longest file last."""
    items.sort(key=lambda item: not {"orchestration", "end_to_end", "jobs"} & set(item.path.parts))


@pytest.fixture(autouse=True)
def log_from_info(caplog: pytest.LogCaptureFixture) -> None:
    """Tests see in `caplog` what users see on their terminal, whether or not a job has configured logging."""
    caplog.set_level(logging.INFO)


def _outside(variable: str, default: Path, folder: str, what: str) -> Path:
    """A folder outside the repository, or a skip that says what is missing and how to give it."""
    found = Path(os.environ.get(variable, default)) / folder
    if not found.exists():
        pytest.skip(f"{what}: {found} is not on this machine (set {variable} to the folder above it)")
    return found


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Inputs, and what the published programs made of them (tests/golden/README.md)."""
    return ROOT / "tests/golden"


@pytest.fixture(scope="session")
def kth_masks() -> Path:
    """Masks of real people from KTH's videos, and what OpenGait made of them; not part of the repository."""
    name = "golden/normalize_kth.npz"
    return _outside("FOUNDATIONGAIT_REFERENCE", ROOT.parent / "shared/reference", name, "masks of real people")


@pytest.fixture(scope="session")
def casia_b_archive() -> Path:
    """Real silhouettes: CASIA-B's TRAIN subjects as OpenGait pickles in a tar archive; not part of the repository."""
    name = "casia-b-train-pkl.tar.zst"
    return _outside("FOUNDATIONGAIT_DATA", ROOT.parent / "shared/data", name, "real silhouettes")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[ModuleType]:
    """One local Ray for all tests that need one, started as the jobs start it."""
    import ray

    session.start(num_cpus=2)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def new_records(tmp_path_factory) -> Callable[[Path], str]:
    """Puts MLflow's records into a folder and returns their URI: a copy of empty ones, which take seconds to make."""
    import mlflow

    empty = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{empty}").search_experiments()

    def put(folder: Path) -> str:
        return f"sqlite:///{shutil.copy(empty, folder / 'mlflow.db')}"

    return put


@pytest.fixture(scope="module")
def uri(new_records: Callable[[Path], str], tmp_path_factory) -> str:
    """Where the runs of a file of tests are tracked."""
    return new_records(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def listening() -> Callable[[psutil.Process], list[str]]:
    """The addresses that a process, and those that it started, wait for connections on."""

    def addresses(process: psutil.Process) -> list[str]:
        found = []
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # it has ended since
                found += [each.laddr.ip for each in one.net_connections("inet") if each.status == psutil.CONN_LISTEN]
        return [ip.removeprefix("::ffff:") for ip in found]

    return addresses


@pytest.fixture(scope="session")
def walks(tmp_path_factory) -> Path:
    """Synthetic walkers on disk: CASIA-B as released (4 subjects to train on, 4 to test) and GaitLU-1M."""
    root = tmp_path_factory.mktemp("walks")
    subjects = ["001", "002", "003", "004", "075", "076", "077", "078"]
    conditions = ["nm-01", "nm-02", "nm-05", "bg-01", "cl-01"]
    views = ["036", "090"]
    for name, people in (
        ("CASIA-B", [scenes.casia_b(*one) for one in product(subjects, conditions, views)]),
        ("GaitLU-1M", [scenes.gaitlu_1m(number) for number in range(24)]),
    ):
        write_tree(root / name, registry.find(name).layouts[0], people, num_frames=18, seed=1)
    return root


@pytest.fixture(scope="session")
def store(walks: Path, local_ray, tmp_path_factory) -> Path:
    """The walkers as shards. Tests read it and leave it as it is."""
    out = tmp_path_factory.mktemp("store") / "shards"
    roots = {name: str(walks / name) for name in ("CASIA-B", "GaitLU-1M")}
    ingest(IngestRun(roots=roots, out=str(out), block_sequences=20))
    return out


@pytest.fixture(scope="session")
def planted(local_ray, tmp_path_factory) -> Path:
    """Walkers with planted scoliosis and depression as a store, in the collections' own layouts."""
    root = tmp_path_factory.mktemp("planted")
    for name, walks in planted_walks().items():
        write_tree(root / name, registry.find(name).layouts[0], walks, num_frames=12, seed=3)
    roots = {name: str(root / name) for name in ("Scoliosis1K", "D-Gait")}
    ingest(IngestRun(roots=roots, out=str(root / "shards"), block_sequences=60))
    return root / "shards"
