"""The operations and bytes of a training step of the contour Transformer as a GPU runs it, counted on fake tensors.

Weights are fake tensors, which have shapes and no values; the clips are real, since the number of tokens depends on
them. So the code of the objective runs as it is, forward and backward, in bf16 autocast, in the jagged layout with the
attention kernel of GPUs, and without a GPU. A dispatch mode sees each operation. Elementwise stands for everything but
matrix products and attention: each such operation reads its inputs and writes its outputs once, as eager PyTorch does.

Not seen: kernels that autocast adds on CUDA but not on CPU, caches, and the launches of kernels.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention.varlen import varlen_attn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from datasets.loading.pairs import PairBatch
from model import transfer
from model.encoder import ContourEncoder
from model.network import NetworkSettings
from model.objectives.pairs import PairObjective
from model.objectives.part_contrast import ContrastSettings
from model.packing import JaggedChunk

_NO_WORK = ("empty", "new_empty", "empty_like", "empty_strided", "_unsafe_view", "detach", "lift_fresh")
_ONLY_WRITES = ("copy_", "fill_", "zero_", "zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like")


@dataclass(frozen=True)
class Counts:
    """A training step of one GPU."""

    size: str
    pairs: int
    tokens: float  # of a query or key clip, mean
    parameters: int  # of the student, heads included
    product_flops: int  # of matrix products
    attention_flops: int
    elementwise_bytes: int  # forward and backward
    activation_bytes: int  # kept for the backward pass
    optimizer_bytes: int  # clipping, AdamW and the teacher's average; once a step, whatever its pairs

    @property
    def flops(self) -> int:
        """FLOP of products and attention."""
        return self.product_flops + self.attention_flops


def count(size: str, batch: PairBatch) -> Counts:
    """The work of one training step of a size on the pairs of a batch, without gathering keys or gradients."""
    with as_on_a_gpu():
        module = fake_objective(size)
        saved = _SavedBytes(module)
        with Counter() as step:
            with saved, torch.autocast("cpu", dtype=torch.bfloat16):
                found = module(*module.tensors(batch, torch.device("cpu")))
            found["loss"].backward()
        optimizer = torch.optim.AdamW(module.parameter_groups(0.05), betas=transfer.BETAS, fused=True)
        optimizer.step()  # allocates the moments
        with Counter() as update:
            torch.nn.utils.clip_grad_norm_(module.student.parameters(), 3.0)
            optimizer.step()
            module.update_teacher()
    clips = torch.from_numpy(batch.query), torch.from_numpy(batch.key)
    encoder = module.student.encoder
    assert isinstance(encoder, ContourEncoder)
    tokens = [float(encoder.count_tokens(one).float().mean()) for one in clips]
    return Counts(
        size=size,
        pairs=len(batch.query),
        tokens=sum(tokens) / len(tokens),
        parameters=sum(weight.numel() for weight in module.student.parameters()),
        product_flops=step.product_flops,
        attention_flops=step.attention_flops,
        elementwise_bytes=step.elementwise_bytes,
        activation_bytes=saved.total(),
        optimizer_bytes=update.elementwise_bytes,
    )


def fake_objective(size: str) -> PairObjective:
    """A student and a teacher of a size, whose weights have shapes and no values, in the layout of GPUs."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        module = ContrastSettings().build(NetworkSettings(size=size))
    for network in (module.student, module.teacher):
        assert isinstance(network.encoder, ContourEncoder), f"{size} has no tokens"
        network.encoder.layout = "jagged"
    return module


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Let jagged chunks attend with the kernel of GPUs; it has no CPU kernel, but fake tensors need none."""

    def attend(self: JaggedChunk, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        offsets = self.offsets.int()
        attended = varlen_attn(query, key, value, offsets, offsets, self.longest, self.longest)
        assert isinstance(attended, Tensor)
        return attended

    with patch.object(JaggedChunk, "attend", attend), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield


class Counter(TorchDispatchMode):
    """FLOP of products and attention, and bytes of all else, of the operations that run in it."""

    def __init__(self) -> None:
        super().__init__()
        self.product_flops = self.attention_flops = self.elementwise_bytes = 0
        self._products_alone = False

    @contextmanager
    def products_alone(self) -> Iterator[None]:
        """Leave out the bytes of what runs in this context."""
        before, self._products_alone = self._products_alone, True
        yield
        self._products_alone = before

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 any operation
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 its result
        del types
        found = func(*args, **(kwargs or {}))
        space, _, name = func._schema.name.partition("::")
        if func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=found)
            if "attn" in name or "attention" in name:
                self.attention_flops += flops
            else:
                self.product_flops += flops
        elif not self._products_alone and space != "prim" and not func.is_view and name not in _NO_WORK:
            inputs = [value for key, value in (kwargs or {}).items() if key != "out"]
            read = [*args[name in _ONLY_WRITES :], *inputs]
            written = _overwritten(func, args) if found is None else found  # operations on lists return nothing
            self.elementwise_bytes += sum(map(_bytes, tree_leaves([read, written])))
        return found


def _overwritten(func: Any, args: Sequence[Any]) -> list[Any]:  # noqa: ANN401 any operation
    """The arguments of an operation that it writes to."""
    schema = zip(func._schema.arguments, args, strict=False)
    return [value for argument, value in schema if argument.alias_info is not None and argument.alias_info.is_write]


class _SavedBytes(saved_tensors_hooks):
    """Bytes of the tensors that are kept for the backward pass, without the weights."""

    def __init__(self, module: nn.Module) -> None:
        weights = {weight.untyped_storage()._cdata for weight in module.parameters()}
        self._kept: dict[int, torch.UntypedStorage] = {}  # kept, so that no two of them have one address

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                self._kept[storage._cdata] = storage
            return tensor

        super().__init__(keep, lambda tensor: tensor)

    def total(self) -> int:
        return sum(storage.nbytes() for storage in self._kept.values())


def _bytes(value: object) -> int:
    """Of the distinct elements of a tensor; 0 of anything else."""
    if not isinstance(value, Tensor):
        return 0
    elements = 1
    for size, stride in zip(value.shape, value.stride(), strict=True):
        elements *= size if stride else min(size, 1)
    return elements * value.element_size()
