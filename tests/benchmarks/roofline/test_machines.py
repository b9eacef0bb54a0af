import pytest
import yaml

from benchmarks.roofline.__main__ import Arguments, main
from benchmarks.roofline.counts import Counts
from benchmarks.roofline.machines import MACHINES, Shares, forecast
from orchestration.cluster.session import ROOT

WORK = Counts("xl", 64, 380.0, 10**8, 26 * 10**12, 10**12, 160 * 10**9, 10**10, 10**10)


def test_the_first_machine_is_the_one_of_the_cluster_file() -> None:
    kind = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())["available_node_types"]["gpu"]
    machine = MACHINES[0]
    assert kind["node_config"]["InstanceType"] == machine.name
    assert kind["resources"] == {"CPU": machine.cores, "GPU": machine.gpus}


def test_one_gpu_sends_nothing() -> None:
    alone = forecast(WORK, MACHINES[1], 1, Shares(products=0.5, memory=0.5))
    assert (alone.gradients, alone.keys) == (0, 0)
    assert alone.products == pytest.approx(27 / (0.5 * 989))
    assert alone.elementwise == pytest.approx(160 / (0.5 * 3350))


def test_gradients_pass_the_narrowest_link() -> None:
    machine, shares = MACHINES[0], Shares(network=1.0)
    within, between = (forecast(WORK, machine, gpus, shares).gradients for gpus in (4, 32))
    assert within == pytest.approx(2 * 3 / 4 * 0.4 / 32)
    assert between == pytest.approx(2 * 31 / 32 * 0.4 / 12.5)


def test_tables_are_printed(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    main(Arguments(sizes=("xxs",), pairs=8, json=str(tmp_path / "counts.json")))
    printed = capsys.readouterr().out
    assert "| xxs |" in printed and "| 32 L40S | xxs | 256, 8 |" in printed
    assert '"elementwise_bytes"' in (tmp_path / "counts.json").read_text()
