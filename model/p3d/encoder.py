"""The published encoder of FoundationGait: a residual network of pseudo-3D convolutions over whole silhouettes.

DeepGaitV2-P3D as it is pretrained (Fan et al., arXiv 2303.03301; arXiv 2512.00691): a stem and a stage that see each
frame alone, then three stages whose blocks look one frame back and one ahead between two convolutions over space
(pseudo-3D: Qiu et al., ICCV 2017). Maximum over time, a pyramid of 31 parts, and for each part a projector and a
predictor. Published checkpoints are read by model/p3d/checkpoint.py.

Shapes: B clips, T frames, H x W = 64 x 44 pixels, D channels of a map of h x w, P = 31 parts, C channels of the
embedding. An image is one frame of one clip: maps are [B * T, D, h, w] with the channels last in memory, which makes
[B, D, T, h, w] a view of them, and convolutions over space and over time alternate without a copy.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.device import send
from model.p3d.norm import BatchNorm
from model.parts import PARTS, PartHead, RowStatistics, Strips
from model.recompute import run_block
from model.sizes import P3DShape

_STRIDE = 4  # of the last map, in pixels of the clip


class P3DEncoder(nn.Module):
    """Stem and four stages; the second and the third halve height and width."""

    whole_sequences = True  # its mean is one over columns, of maxima over the whole time: no chunks can be merged
    recompute = False  # whether blocks recompute their activations in the backward pass (model/recompute.py)

    def __init__(self, shape: P3DShape) -> None:
        super().__init__()
        self.width = shape.channels[-1]
        self.stem = ConvNorm(nn.Conv2d(1, shape.channels[0], 3, padding=1, bias=False))
        self.stages = nn.ModuleList()
        inputs = shape.channels[0]
        for stage, (blocks, outputs) in enumerate(zip(shape.layers, shape.channels, strict=True)):
            stride = 2 if stage in (1, 2) else 1
            made = [Block(inputs, outputs, stride, in_time=stage > 0)]
            made += [Block(outputs, outputs, 1, in_time=stage > 0) for _ in range(blocks - 1)]
            self.stages.append(nn.ModuleList(made))
            inputs = outputs
        self.apply(_initialise)

    def forward(self, clips: Tensor) -> Tensor:
        """The last map [B, T, D, H / 4, W / 4] of clips [B, T, H, W] in 0..1; H and W are multiples of 4."""
        frames = clips.shape[1]
        images = clips.flatten(0, 1)[:, None].to(self.stem.conv.weight.dtype)
        x = functional.relu(self.stem(images), inplace=True).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                x = run_block(block, self.recompute, x, frames)
        return x.unflatten(0, (-1, frames))

    def pool(
        self, clips: Tensor, _times: Tensor, strips: Sequence[Strips] | None = None
    ) -> tuple[RowStatistics, dict[str, Tensor]]:
        """Statistics of each body row over clips [B, T, 64, 44] on the host: maximum over time, then over the columns.

        It takes frames as equally spaced, whatever their times, and has no metrics. strips: how each clip is cut; whole
        where None.
        """
        maps = self._peaks(clips) if strips is None else self._in_strips(clips, strips)
        count = maps.new_full(maps.shape[:1] + maps.shape[2:3], maps.shape[3])
        return RowStatistics(maps.amax(dim=3).transpose(1, 2), maps.sum(dim=3).transpose(1, 2), count), {}

    def _peaks(self, clips: Tensor) -> Tensor:
        """Maximum over time of the last map: [B, D, h, w]."""
        return self(send(clips, self.stem.conv.weight.device)).max(dim=1).values.float()

    def _in_strips(self, clips: Tensor, strips: Sequence[Strips]) -> Tensor:
        """The same of clips that are cut: each strip is encoded alone, all those of one height at once."""
        maps, order, rows = [], [], clips.shape[2] // _STRIDE
        for count in sorted({one.number for one in strips}):
            plain, shifted = ([i for i, one in enumerate(strips) if one == (count, moved)] for moved in (False, True))
            height = clips.shape[2] // count
            margin = height // 2
            pieces = torch.cat([_cut(clips[plain], height, 0), _cut(clips[shifted], height, margin)])
            peaks = self._peaks(pieces)
            uncut = len(plain) * count
            maps += [_join(peaks[:uncut], rows, 0), _join(peaks[uncut:], rows, margin // _STRIDE)]
            order += plain + shifted
        together = torch.cat(maps)
        return together[send(torch.tensor(order).argsort(), together.device)]


def _cut(clips: Tensor, height: int, margin: int) -> Tensor:
    """Strips [B * k, T, height, W] of clips [B, T, H, W] that get `margin` rows of background above and below."""
    padded = functional.pad(clips, (0, 0, margin, margin))
    return padded.unflatten(2, (-1, height)).transpose(1, 2).flatten(0, 1)


def _join(strips: Tensor, rows: int, margin: int) -> Tensor:
    """Maps [B, D, rows, w] of those of their strips [B * k, D, h, w], less the rows of the margin."""
    count = (rows + 2 * margin) // strips.shape[2]
    return strips.unflatten(0, (-1, count)).transpose(1, 2).flatten(2, 3)[:, :, margin : margin + rows]


class Block(nn.Module):
    """Two 3 x 3 convolutions around a residual one over three frames, all on a residual branch."""

    def __init__(self, inputs: int, outputs: int, stride: int, in_time: bool) -> None:
        super().__init__()
        self.first = ConvNorm(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False))
        self.temporal = TemporalConvNorm(outputs) if in_time else None
        self.second = ConvNorm(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False))
        self.stride = stride
        same = stride == 1 and inputs == outputs
        self.down = None if same else ConvNorm(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, images: Tensor, frames: int) -> Tensor:
        """images: [B * T, D, h, w], of clips of T frames."""
        x = functional.relu(self.first(images), inplace=True)
        if self.temporal is not None:
            x = functional.relu(x + self.temporal(x, frames), inplace=True)
        x = self.second(x)
        if self.down is not None:
            # Strided by hand: the gradient of a 1 x 1 convolution with a stride crashes oneDNN 3.12 on few channels.
            images = self.down(images[:, :, :: self.stride, :: self.stride])
        return functional.relu(x + images, inplace=True)


class ConvNorm(nn.Module):
    """A convolution over space without a bias, normalised."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm(conv.out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """images: [N, D, h, w]."""
        return self.norm(self.conv(images))


class TemporalConvNorm(nn.Module):
    """A convolution over a frame and its two neighbours, normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.norm = BatchNorm(channels)

    def forward(self, images: Tensor, frames: int) -> Tensor:
        """images: [B * T, D, h, w], of clips of T frames."""
        x = self.conv(images.unflatten(0, (-1, frames)).transpose(1, 2))
        return self.norm(x.transpose(1, 2).flatten(0, 1))


class PartNorm(nn.Module):
    """Batch normalisation of each channel of each part; channels before parts, as the published weights lie."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(PARTS * channels)

    def forward(self, parts: Tensor) -> Tensor:
        """parts: [B, P, C]."""
        x = self.norm(parts.transpose(1, 2).flatten(1)[:, :, None, None])
        return x.view(parts.shape[0], -1, PARTS).transpose(1, 2)


def projector(inputs: int, channels: int) -> nn.Sequential:
    """From part features [B, P, D] to projections [B, P, C]."""
    return nn.Sequential(*predictor(inputs, channels), PartNorm(channels))


def predictor(inputs: int, channels: int) -> nn.Sequential:
    """From projections [B, P, D] to predictions [B, P, C]."""
    return nn.Sequential(PartHead(inputs, channels), PartNorm(channels), nn.ReLU(), PartHead(channels, channels))


def _initialise(module: nn.Module) -> None:
    """As the published training begins."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, BatchNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
