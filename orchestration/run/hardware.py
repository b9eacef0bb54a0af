"""The support for products in bf16 of the hardware that this process runs on."""

from collections.abc import Mapping
from typing import Any

import torch

from orchestration.run.precision import Bf16Support


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
