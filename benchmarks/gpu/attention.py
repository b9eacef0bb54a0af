"""Whether the layouts of segments attend alike: padded, jagged, and jagged with the kernel of GPUs, in both passes."""

import torch
from torch import Tensor

from benchmarks.gpu.report import Line, NotRun
from model.packing import Layout, pack
from model.sizes import HEAD_WIDTH, REGISTERS

HEADS = 3
LENGTHS = [370, 1, 96, 0, 200, 371, 50, 12, 365, 33]  # tokens of whole clips and of strips, also of empty ones
TOLERANCE = {torch.bfloat16: 0.02, torch.float32: 2e-3}  # of the norm; fp32 may be TF32 in a kernel


def check_layout(name: str, layout: Layout, dtype: torch.dtype, device: torch.device) -> Line:
    """Attention and its gradients in a layout against explicit softmax in double precision, segment by segment."""
    if name == "varlen" and device.type != "cuda":
        raise NotRun("the kernel is for GPUs")
    if name == "varlen" and torch.cuda.get_device_capability(device) < (8, 0):
        raise NotRun(f"the kernel needs compute capability 8.0, {torch.cuda.get_device_name(device)} has less")
    inputs = _random_inputs(dtype, device)
    cotangents = [torch.randn(one.shape, device=device).to(dtype) for one in inputs[:2]]
    found = _gradients(_in_layout(inputs, layout), inputs, cotangents)
    exact = [one.detach().double().requires_grad_() for one in inputs]
    expected = _gradients(_by_segment(exact), exact, [one.double() for one in cotangents])
    errors = [_apart(one.detach(), other.detach()) for one, other in zip(found, expected, strict=True)]
    forward, backward = max(errors[:2]), max(errors[2:])
    passed = max(forward, backward) < TOLERANCE[dtype]  # false for NaN
    text = f"relative error {forward:.1e} forward, {backward:.1e} backward; at most {TOLERANCE[dtype]:.0e}"
    kind = f"attention, {name}, {str(dtype)[6:]}"
    return Line(kind, "PASS" if passed else "FAIL", text, {"forward": forward, "backward": backward})


def _apart(found: Tensor, expected: Tensor) -> float:
    """The difference as a share of the norm."""
    return float((found.double() - expected).norm() / expected.norm())


def _random_inputs(dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Query, key and value of all tokens and of all registers, alternating: each [count, K, 64]."""
    torch.manual_seed(0)
    counts = (sum(LENGTHS), REGISTERS * len(LENGTHS)) * 3
    made = [torch.randn(count, HEADS, HEAD_WIDTH, device=device).to(dtype) for count in counts]
    return [one.requires_grad_() for one in made]


def _in_layout(inputs: list[Tensor], layout: Layout) -> list[Tensor]:
    """What tokens and registers attend to, by the code of the model."""
    packing = pack(LENGTHS, REGISTERS, inputs[0].device, layout)
    slots = [packing.split(packing.scatter(*inputs[first : first + 2])) for first in (0, 2, 4)]
    attended = [chunk.attend(*parts) for chunk, *parts in zip(packing.chunks, *slots, strict=True)]
    together = torch.cat(attended)
    return [together[packing.tokens], together[packing.registers]]


def _by_segment(inputs: list[Tensor]) -> list[Tensor]:
    """The same, written out."""
    segments = zip(
        *(one.split(LENGTHS if index % 2 == 0 else REGISTERS) for index, one in enumerate(inputs)), strict=True
    )
    tokens, registers = [], []
    for of_query, query, of_key, key, of_value, value in segments:
        q, k, v = (torch.cat(pair).transpose(0, 1) for pair in ((query, of_query), (key, of_key), (value, of_value)))
        attended = ((q @ k.transpose(1, 2) * HEAD_WIDTH**-0.5).softmax(dim=-1) @ v).transpose(0, 1)
        registers.append(attended[:REGISTERS])
        tokens.append(attended[REGISTERS:])
    return [torch.cat(tokens), torch.cat(registers)]


def _gradients(outputs: list[Tensor], inputs: list[Tensor], cotangents: list[Tensor]) -> list[Tensor]:
    """The outputs, and their gradients in all inputs."""
    return [*outputs, *torch.autograd.grad(outputs, inputs, cotangents)]
