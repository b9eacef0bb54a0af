"""Which precision a job gets: from what was asked for, what it was begun in, and what its machines have."""

import pytest
import torch

from orchestration.run.hardware import bf16_support, cpu_support
from orchestration.run.precision import Bf16Support, fastest, resolve, resolved

ZEN_3 = {"architecture": "x86_64", "cpu_name": "AMD EPYC 7R13", "avx2": True, "avx512_bf16": False}
AMX, NONE = Bf16Support("Intel Xeon", "AMX"), Bf16Support("AMD EPYC 7R13", None)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_tile": True, "amx_bf16": True}, AMX),
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True}, Bf16Support("AMD EPYC 9R14", "AVX512-BF16")),
        (ZEN_3, NONE),
        ({"cpu_name": "Intel Xeon", "avx512_f": True, "avx512_vnni": True}, Bf16Support("Intel Xeon", None)),
        ({"architecture": "aarch64", "neon": True}, Bf16Support("unknown processor", None)),
    ],
    ids=["Sapphire Rapids", "Zen 4", "Zen 3", "Ice Lake", "without a name"],
)
def test_processors_with_instructions_for_bf16(capabilities: dict, expected: Bf16Support) -> None:
    assert cpu_support(capabilities) == expected


def test_this_processor_answers() -> None:
    assert bf16_support(gpu=False) == cpu_support(torch.cpu.get_capabilities())


@pytest.mark.parametrize(("native", "expected"), [(True, "tensor cores for bf16"), (False, None)])
def test_a_gpu_that_emulates_bf16_does_not_have_it(monkeypatch, native: bool, expected: str | None) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or native)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert bf16_support(gpu=True) == Bf16Support("a GPU", expected)


def test_one_rank_without_bf16_makes_the_run_fp32() -> None:
    avx = Bf16Support("AMD EPYC 9R14", "AVX512-BF16")
    assert fastest({"rank 0": AMX, "rank 1": NONE, "rank 2": AMX}) == (
        "fp32",
        "rank 1 (AMD EPYC 7R13) has no bf16 instructions",
    )
    assert fastest({"rank 0": AMX, "rank 1": AMX}) == ("bf16", "all 2 ranks have AMX")
    assert fastest({"node a": AMX, "node b": avx}) == ("bf16", "all 2 nodes have AMX or AVX512-BF16")
    assert fastest({"this machine": AMX}) == ("bf16", "this machine (Intel Xeon) has AMX")


def test_what_was_asked_for_and_what_was_begun_decide_before_the_machines() -> None:
    def ask() -> dict[str, Bf16Support]:
        raise AssertionError("nobody is asked")

    assert resolve("fp32", None, ask) == ("fp32", "as requested")
    assert resolve("bf16", "auto", ask) == ("bf16", "as requested")
    assert resolve("auto", "bf16", ask) == ("bf16", "as it was begun")
    for recorded in (None, "auto"):
        assert resolve("auto", recorded, lambda: {"rank 0": NONE})[0] == "fp32"
    with pytest.raises(AssertionError, match="auto is resolved before"):
        resolved("auto")
