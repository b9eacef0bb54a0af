import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.attention import check_layout
from benchmarks.gpu.report import NotRun
from model import packing

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "dtype"), [("padded", torch.float32), ("padded", torch.bfloat16), ("jagged", torch.float32)]
)
def test_layouts_attend_alike(name: packing.Layout, dtype: torch.dtype) -> None:
    assert check_layout(name, name, dtype, CPU).verdict == "PASS"


def test_attention_beyond_a_segment_is_found() -> None:
    with patch.object(packing, "_mask", lambda *_: None):  # padding is attended to
        line = check_layout("padded", "padded", torch.float32, CPU)
    assert line.verdict == "FAIL" and line.values["forward"] > 0.01


def test_the_kernel_of_gpus_is_not_run_without_one() -> None:
    with pytest.raises(NotRun, match="GPU"):
        check_layout("varlen", "jagged", torch.bfloat16, CPU)


@pytest.mark.slow  # about two minutes
def test_all_checks_pass_at_tiny_sizes_on_the_cpu(tmp_path: Path) -> None:
    status = program.main(program.Arguments(minutes=15, json=str(tmp_path / "gpu.json")))
    found = {line["check"]: line["verdict"] for line in json.loads((tmp_path / "gpu.json").read_text())["lines"]}
    assert status == 0
    not_run = {check for check, verdict in found.items() if verdict == "NOT RUN"}
    assert not_run <= {"attention, varlen, bfloat16", "compiled blocks"}  # without a compiler
    assert {
        "kill and resume",
        "compiled blocks",
        "ZeRO stage 3",
        "step of xxs",
        "step of p3d-tiny",
        "embed by xxs",
    } <= found.keys()


def test_a_failed_check_is_the_exit_status(capsys) -> None:
    with patch.object(program, "check_all", lambda report, place: report.check("a", 0, lambda: 1 / 0)):
        assert program.main(program.Arguments(minutes=1)) == 1
    assert "| a | FAIL | ZeroDivisionError" in capsys.readouterr().out
