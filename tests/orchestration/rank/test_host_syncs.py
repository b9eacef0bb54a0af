"""A steady step of training never makes the host wait for the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from model.encoder import ContourEncoder
from model.network import NetworkSettings
from model.objectives.part_contrast import ContrastSettings
from model.packing import JaggedChunk
from orchestration.run.settings import Cluster, PretrainRun, Schedule
from tests.orchestration.rank.outlines import outline_pairs

BATCH, FRAMES = 8, 4
RUN = PretrainRun(
    recipe="test",
    shards="s",
    out="o",
    network=NetworkSettings(size="xxs", channels=8),
    objective=ContrastSettings(joint=0.5),
    schedule=Schedule(batch=BATCH, clip_norm=0.5),
    cluster=Cluster(workers=1, precision="bf16"),
)
# Operations whose result, or whose size, the host has to know. A mask as an index is one too.
WAITS = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "equal", "is_nonzero")


class NoWaits(TorchDispatchMode):
    """Collects operations for which a host waits, except where it computes on its own memory."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.on_host = False

    def __torch_dispatch__(self, function: Any, _types: object, args: Any = (), kwargs: Any = None) -> object:
        name = function.name().removeprefix("aten::")
        masked = name.startswith("index") and any(
            isinstance(one, Tensor) and one.dtype is torch.bool for one in (args[1] if len(args) > 1 else ()) or ()
        )
        repeated = name == "repeat_interleave.Tensor" and (kwargs or {}).get("output_size") is None
        if not self.on_host and (name.startswith(WAITS) or masked or repeated):
            self.found.append(name)
        return function(*args, **(kwargs or {}))

    @contextmanager
    def host(self) -> Iterator[None]:
        before, self.on_host = self.on_host, True
        yield
        self.on_host = before


def _attend(chunk: JaggedChunk, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What the kernel of GPUs computes; no host waits for that kernel."""
    segment = torch.searchsorted(chunk.offsets, torch.arange(chunk.size), right=True)
    q, k, v = (one.transpose(0, 1) for one in (query, key, value))
    mask = segment[:, None] == segment
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(0, 1)


def test_a_step_never_waits_for_the_device(tmp_path: Path, monkeypatch) -> None:
    for name, value in {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    from orchestration.rank import engine  # DeepSpeed looks at the environment when it is imported

    mode = NoWaits()
    prepare = ContourEncoder.prepare

    def on_host(encoder: ContourEncoder, *given: Any) -> object:
        with mode.host():
            return prepare(encoder, *given)

    monkeypatch.setattr(ContourEncoder, "prepare", on_host)
    monkeypatch.setattr(JaggedChunk, "attend", _attend)
    dist.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        trained = engine.start_engine(RUN, RUN.objective.build(RUN.network))
        for encoder in (trained.module.student.encoder, trained.module.teacher.encoder):
            encoder.layout = "jagged"  # as on a GPU
        engine.train_step(trained, outline_pairs(BATCH, FRAMES, seed=3), 0)
        with mode:
            metrics = engine.train_step(trained, outline_pairs(BATCH, FRAMES, seed=3), 1)
    finally:
        dist.destroy_process_group()
    assert metrics["loss"].isfinite()
    assert mode.found == []


def test_the_operations_that_wait_are_found() -> None:
    numbers = torch.arange(4)
    for waits in (
        lambda: int(numbers[2]),
        lambda: numbers.nonzero(),
        lambda: numbers[numbers > 2],
        lambda: numbers.bincount(),
        lambda: numbers.repeat_interleave(numbers),
    ):
        with NoWaits() as mode:
            waits()
        assert mode.found
    with NoWaits() as mode, mode.host():
        numbers.nonzero()
    assert not mode.found
