"""What the hardware of this process has for training: bf16, and cards that this build of torch runs on."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from orchestration.run.precision import Bf16Support

# The oldest driver of NVIDIA for each major version of CUDA, as in the release notes of CUDA's toolkit for Linux.
_OLDEST_DRIVERS = {11: 450, 12: 525, 13: 580}
_INSTEAD = "or give --cluster.device cpu"


def bf16_support(gpu: bool) -> Bf16Support:
    """The support for bf16 of this process's current GPU, or else of its processor."""
    if gpu:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return Bf16Support(torch.cuda.get_device_name(), "tensor cores for bf16" if fast else None)
    return cpu_support(torch.cpu.get_capabilities())


def cpu_support(capabilities: Mapping[str, Any]) -> Bf16Support:
    """The support for bf16 of a processor with these capabilities (torch.cpu.get_capabilities)."""
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
    found = [name for key, name in names.items() if capabilities.get(key)]
    return Bf16Support(capabilities.get("cpu_name") or "unknown processor", found[0] if found else None)


def gpu_problem(gpu: bool = True) -> str | None:
    """One line on why this process cannot train on the GPUs that it sees, and what is needed; None where it can.

    gpu: as `ask_nodes` passes it; without one there is nothing to check.
    """
    if not gpu:
        return None
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) was built without CUDA: install one with it, {_INSTEAD}"
    if (problem := unsupported_card(_cards(), torch.version.cuda, torch.cuda.get_arch_list())) is not None:
        return problem
    if not torch.cuda.is_available():
        return f"torch finds no GPU where Ray has some: see what nvidia-smi says on that machine, {_INSTEAD}"
    return None


def compiler_problem(gpu: bool) -> str | None:
    """One line on why torch.compile has no compiler on this machine, and what is needed; None where it has one.

    gpu: for a GPU it writes programs in Triton, which needs a C compiler; else in C++.
    """
    variable, names = ("CC", ("gcc", "clang")) if gpu else ("CXX", ("g++", "clang++"))
    if not any(map(shutil.which, filter(None, (os.environ.get(variable), *names)))):
        return (
            f"--cluster.compile needs {' or '.join(names)}, and none is installed: "
            "install one (Debian: apt-get install g++), or leave --cluster.compile out"
        )
    if gpu and importlib.util.find_spec("triton") is None:
        return "--cluster.compile needs Triton on a GPU: pip install triton, or leave --cluster.compile out"
    return None


def unsupported_card(cards: str, cuda: str, architectures: Sequence[str]) -> str | None:
    """One line on the first card that a build of torch does not run on, and what is needed; None where there is none.

    cards: lines of `name, driver, compute capability`, as nvidia-smi prints them; the last is missing where the driver
    is too old to know it. cuda: the version that torch was built for (torch.version.cuda). architectures: those that it
    has code for (torch.cuda.get_arch_list), as sm_90 or compute_90.
    """
    oldest = _OLDEST_DRIVERS.get(int(cuda.split(".")[0]), 0)
    for line in filter(None, map(str.strip, cards.splitlines())):
        name, driver, *capability = (part.strip() for part in line.split(","))
        if (major := re.match(r"\d+", driver)) and int(major[0]) < oldest:
            return (
                f"{name} has driver {driver}, and torch for CUDA {cuda} needs {oldest} or newer: "
                f"update NVIDIA's driver, {_INSTEAD}"
            )
        numbers = re.fullmatch(r"(\d+)\.(\d+)", capability[0]) if capability else None
        if numbers and not _runs_on((int(numbers[1]), int(numbers[2])), architectures):
            return (
                f"{name} has compute capability {capability[0]}, and torch for CUDA {cuda} has code for "
                f"{' '.join(architectures)} alone: take another card or another build of torch, {_INSTEAD}"
            )
    return None


def _runs_on(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether code of one of the architectures runs on a card.

    Machine code (sm_86) runs on cards of the same major version that are not older, and code that the driver compiles
    (compute_86) on all that are not older; a letter behind it (sm_90a) binds it to this very card.
    """
    for one in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", one)
        if found is None:
            continue
        built = (int(found[2]), int(found[3]))
        if found[4]:
            fits = capability == built
        else:
            fits = capability >= built and (found[1] == "compute" or capability[0] == built[0])
        if fits:
            return True
    return False


def _cards() -> str:
    """What nvidia-smi prints of the cards that this process sees; nothing where it cannot be run."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    chosen = [f"--id={visible}"] if visible and "MIG" not in visible else []
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):  # an old driver knows no compute_cap
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", *chosen]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        if asked.returncode == 0:
            return asked.stdout
    return ""
