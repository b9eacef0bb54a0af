"""Batch normalisation over the clips of all ranks, on any device.

The published encoder is trained with statistics that are synchronised between ranks; torch.nn.SyncBatchNorm runs on
GPUs alone. This one calls a function for sums over the ranks, and so trains the same network on one rank or on many, up
to rounding. Without such a function it is torch.nn.BatchNorm2d.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Maps a vector of this rank to its sum over all ranks, perhaps in place. All ranks must call it in the same order.
AllReduce = Callable[[Tensor], Tensor]


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all ranks together."""

    all_reduce: AllReduce | None = None

    def forward(self, images: Tensor) -> Tensor:
        """images: [N, D, h, w]; every rank must call it."""
        if self.all_reduce is None or not self.training:
            return super().forward(images)
        mean, variance, count = self._statistics(images.float())
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None  # torch's types allow for layers without running statistics
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.float(), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).float(), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        scale, shift = (part.float()[:, None, None] for part in (scale, shift))
        return torch.addcmul(shift, images.float(), scale).to(images.dtype)

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance [D] over all ranks, in double precision, and over how many values."""
        variance, mean = torch.var_mean(images, dim=(0, 2, 3), correction=0)
        variance, mean = variance.double(), mean.double()
        sums = torch.cat([mean, variance + mean.square(), mean.new_ones(1)]) * (images.numel() // len(mean))
        mean, square, count = _Sum.apply(sums, self.all_reduce).split([len(mean), len(mean), 1])
        mean = mean / count
        return mean, square / count - mean.square(), count


class _Sum(torch.autograd.Function):
    """A sum over ranks. A rank's summand reaches the losses of all ranks, so its gradient is a sum over them too."""

    @staticmethod
    def forward(context: Any, local: Tensor, all_reduce: AllReduce) -> Tensor:  # noqa: ANN401 torch's contexts take any attribute
        context.all_reduce = all_reduce
        return all_reduce(local.clone())

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return context.all_reduce(gradient.clone()), None


def synchronise_norms(module: nn.Module, all_reduce: AllReduce) -> None:
    """Make every BatchNorm of a module normalise over all ranks."""
    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            layer.all_reduce = all_reduce
