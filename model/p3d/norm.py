"""Batch normalisation over the clips of all ranks, on any device.

The published encoder is trained with statistics that are synchronised between ranks; torch's synchronised layer runs on
GPUs alone. This one asks a function that it is handed for sums over the ranks, and so trains the same network on one
rank or on many, up to rounding. It knows no process group; without such a function it is torch's BatchNorm2d.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

# A vector of this rank to its sum over all ranks, which may take its place. All ranks call it in the same order.
Total = Callable[[Tensor], Tensor]


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all ranks together."""

    total: Total | None = None

    def forward(self, images: Tensor) -> Tensor:
        """images: [N, D, h, w]; every rank must call it."""
        if self.total is None or not self.training:
            return super().forward(images)
        mean, variance, count = self._statistics(images.float())
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
        mine = torch.cat([mean, variance + mean.square(), mean.new_ones(1)]) * (images.numel() // len(mean))
        mean, square, count = _Sum.apply(mine, self.total).split([len(mean), len(mean), 1])
        mean = mean / count
        return mean, square / count - mean.square(), count


class _Sum(torch.autograd.Function):
    """A sum over ranks. What a rank adds to it reaches the losses of all, so their gradients come back as a sum too."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, mine: Tensor, total: Total) -> Tensor:
        context.total = total
        return total(mine.clone())

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return context.total(gradient.clone()), None


def share_statistics(module: nn.Module, total: Total) -> None:
    """Let every BatchNorm of a module normalise over all ranks."""
    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            layer.total = total
