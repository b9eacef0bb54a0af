"""Compiled blocks: the results of blocks that are not, and one program for all packings."""

import shutil
from functools import cache

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from model import compiled
from model.encoder import ContourEncoder
from model.packing import Layout
from tests.model.test_encoder import walking_clips


def features_and_gradients(encoder: ContourEncoder, clips: Tensor, times: Tensor) -> dict[str, Tensor]:
    """Features of clips, and the gradients of a loss in all weights."""
    inputs = encoder.prepare(clips, times)
    features = encoder(inputs.tokens, inputs.packing)
    weights = torch.linspace(-1, 1, features.numel()).view_as(features)
    encoder.zero_grad()
    (features * weights).sum().backward()
    return {"features": features.detach()} | {
        name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None
    }


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPU")
@pytest.mark.parametrize("layout", ["padded", "jagged"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_encoder_has_the_features_and_gradients_of_one_that_is_not(layout: Layout, precision: str) -> None:
    torch.manual_seed(0)
    encoder = ContourEncoder(2, layout)
    found = []
    for encoder.compiled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found.append(features_and_gradients(encoder, *walking_clips(3)))
    assert found[0].keys() == found[1].keys() and len(found[0]) == 1 + len(list(encoder.parameters()))
    for name, expected in found[0].items():
        apart = float((found[1][name] - expected).norm() / expected.norm())
        assert apart < (1e-5 if precision == "fp32" else 2e-2), f"{name}: {apart:.1e}"


@pytest.mark.parametrize("layout", ["padded", "jagged"])
def test_all_packings_share_one_program(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()  # programs of other tests count towards the most that a function may have
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(compiled, "_compiled", cache(lambda part: torch.compile(part, backend=counter, fullgraph=True)))
    encoder = ContourEncoder(1, layout)
    encoder.compiled = True
    programs = []
    for clips in range(1, 21):
        features_and_gradients(encoder, *walking_clips(clips, seed=clips))
        programs.append(counter.frame_count)
    assert programs == [6] * 20  # four matrices, before attention, and after it
