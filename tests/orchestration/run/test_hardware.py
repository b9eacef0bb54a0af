"""Which cards a build of torch runs on, told from what nvidia-smi and torch say."""

import os
from pathlib import Path

import pytest
import torch

from orchestration.run.hardware import compiler_problem, gpu_problem, unsupported_card

# torch.cuda.get_arch_list() of builds for CUDA 13.0 and 12.6.
CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
CUDA_12 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
H100 = "NVIDIA H100 80GB HBM3, 580.65.06, 9.0\n"


@pytest.mark.parametrize(
    ("cards", "cuda", "architectures"),
    [
        (4 * H100, "13.0", CUDA_13),
        ("NVIDIA L40S, 580.82.07, 8.9", "13.0", CUDA_13),  # code for 8.6 runs there
        ("NVIDIA GB10, 590.10, 12.1", "13.0", CUDA_13),
        ("NVIDIA Rubin, 600.10, 13.0", "13.0", CUDA_13),  # compiled by the driver
        ("Tesla V100-SXM2-16GB, 535.129.03, 7.0", "12.6", CUDA_12),
        ("NVIDIA H100 80GB HBM3, 580.65.06, [N/A]", "13.0", CUDA_13),
        ("NVIDIA H100 80GB HBM3, 580.65.06, 9.0", "13.0", ["sm_90a"]),
        ("", "13.0", CUDA_13),
    ],
)
def test_cards_that_torch_runs_on(cards: str, cuda: str, architectures: list[str]) -> None:
    assert unsupported_card(cards, cuda, architectures) is None


@pytest.mark.parametrize(
    ("cards", "cuda", "architectures", "said"),
    [
        (
            H100 + "NVIDIA A100-SXM4-40GB, 535.129.03, 8.0",
            "13.0",
            CUDA_13,
            "NVIDIA A100-SXM4-40GB has driver 535.129.03, and torch for CUDA 13.0 needs 580 or newer: "
            "update NVIDIA's driver, or give --cluster.device cpu",
        ),
        ("Tesla K80, 470.42.01", "12.6", CUDA_12, "Tesla K80 has driver 470.42.01, and torch for CUDA 12.6 needs 525"),
        (
            "Tesla V100-SXM2-16GB, 580.65.06, 7.0",
            "13.0",
            CUDA_13,
            "Tesla V100-SXM2-16GB has compute capability 7.0, and torch for CUDA 13.0 has code for "
            "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120 alone",
        ),
        ("NVIDIA B200, 580.65.06, 10.0", "12.6", CUDA_12, "NVIDIA B200 has compute capability 10.0"),
        ("NVIDIA B200, 580.65.06, 10.0", "12.6", ["sm_90a", "compute_90a"], "NVIDIA B200 has compute capability 10.0"),
    ],
)
def test_cards_that_it_does_not_run_on_are_named_with_what_is_needed(
    cards: str, cuda: str, architectures: list[str], said: str
) -> None:
    problem = unsupported_card(cards, cuda, architectures)
    assert problem is not None and problem.startswith(said) and "\n" not in problem


def test_a_process_asks_for_the_cards_that_it_sees(tmp_path: Path, monkeypatch) -> None:
    """By a stand-in for nvidia-smi, of a driver that knows no compute capabilities."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ncase $1 in *compute_cap*) exit 2;; esac\n'
        'echo "NVIDIA A100-SXM4-40GB, 470.42.01"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    problem = gpu_problem()
    assert problem is not None and problem.startswith("NVIDIA A100-SXM4-40GB has driver 470.42.01")
    assert [line.split()[-1] for line in (tmp_path / "asked").read_text().splitlines()] == 2 * ["--id=2,3"]


def test_a_torch_without_cuda_says_so(monkeypatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    problem = gpu_problem()
    assert problem is not None and "was built without CUDA" in problem
    assert gpu_problem(gpu=False) is None


def test_a_machine_without_a_compiler_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    problem = compiler_problem(gpu=False)
    assert problem is not None and problem.startswith("--cluster.compile needs g++ or clang++")
    (tmp_path / "g++").write_text("#!/bin/sh\n")
    (tmp_path / "g++").chmod(0o755)
    assert compiler_problem(gpu=False) is None
    missing = compiler_problem(gpu=True)
    assert missing is not None and "needs gcc or clang" in missing
