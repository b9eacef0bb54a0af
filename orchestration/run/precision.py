"""The precision of matrix products: bf16 where the hardware multiplies it faster than fp32, else fp32.

Without such instructions a processor converts every operand: on Zen 3 a training step takes eight times as long in bf16
as in fp32. So settings have `auto`, which is resolved once, when a job begins, from what its machines have. What
computes takes a `Precision`, never `auto`. What a machine has: orchestration/run/hardware.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16"]
RequestedPrecision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Bf16Support:
    """What a process has for products in bf16. instructions: their name; None where it would emulate them."""

    device: str
    instructions: str | None


def resolve(
    requested: RequestedPrecision,
    recorded: RequestedPrecision | None,
    ask: Callable[[], Mapping[str, Bf16Support]],
) -> tuple[Precision, str]:
    """The precision of a job, and the reason for it in words.

    recorded: what an earlier start of the job resolved; auto or None where there was none. ask: returns the support of
    each process or machine of the job, by its name; called where nothing else decides.
    """
    if requested != "auto":
        return requested, "as requested"
    if recorded is not None and recorded != "auto":
        return recorded, "as it was begun"
    return fastest(ask())


def fastest(support: Mapping[str, Bf16Support]) -> tuple[Precision, str]:
    """bf16 if all have it in hardware, else fp32; and the reason. support: by name, as "rank 0" or "node 10.0.0.7"."""
    for name, one in support.items():
        if one.instructions is None:
            return "fp32", f"{name} ({one.device}) has no bf16 instructions"
    has = " or ".join(sorted({str(one.instructions) for one in support.values()}))
    first = next(iter(support))
    if len(support) == 1:
        return "bf16", f"{first} ({support[first].device}) has {has}"
    return "bf16", f"all {len(support)} {first.split()[0]}s have {has}"


def resolved(precision: RequestedPrecision) -> Precision:
    """The precision of settings in which `auto` was resolved before."""
    assert precision != "auto", "auto is resolved before anything is computed"
    return precision
