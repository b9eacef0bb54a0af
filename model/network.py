"""The network that is trained and evaluated: an encoder, pooling into body parts, and two heads for each part.

The size alone chooses the encoder: the contour Transformer, or the published P3D.

Shapes: B clips, T frames, P = 31 parts, C channels of the embedding of a part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from datasets.schema.errors import UsageError
from model import parts, sizes, transfer
from model.encoder import ContourEncoder
from model.p3d import encoder
from model.p3d.encoder import P3DEncoder


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The encoder and its heads."""

    size: str = "xxs"  # a size of the ladder, or of the published P3D encoder (model/sizes.py)
    channels: int = 256  # of the embedding of a part
    every_tubelet: bool = False  # tubelets that no contour crosses are tokens too (model/tokens.py); for comparison

    def __post_init__(self) -> None:
        sizes.check(self.size)
        if self.channels < 1:
            raise UsageError(f"--network.channels {self.channels} must be at least 1")
        if self.every_tubelet and self.size in sizes.P3D:
            raise UsageError(f"--network.every-tubelet does not apply to {self.size}: it has no tokens, leave it out")


class GaitNetwork(nn.Module):
    """Encoder, part pooling, and two heads for each part: a projector, and a predictor on top of it."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.encoder: ContourEncoder | P3DEncoder
        self.projector: nn.Module
        self.predictor: nn.Module
        if settings.size in sizes.P3D:
            self.encoder = P3DEncoder(sizes.P3D[settings.size])
            self.projector = encoder.projector(self.encoder.width, settings.channels)
            self.predictor = encoder.predictor(settings.channels, settings.channels)
        else:
            self.encoder = ContourEncoder(sizes.DEPTHS[settings.size], every_tubelet=settings.every_tubelet)
            std = transfer.projector_std(self.encoder.width)
            self.projector = parts.PartHead(self.encoder.width, settings.channels, std)
            self.predictor = parts.PartHead(settings.channels, settings.channels)

    def pool(
        self, clips: Tensor, times: Tensor, strips: Sequence[parts.Strips] | None = None
    ) -> tuple[parts.RowStatistics, dict[str, Tensor]]:
        """Statistics of each body row over clips [B, T, 64, 44], cut or whole, and metrics of the encoder.

        Clips and times lie on the host, from which the encoder takes what it needs to its own device.
        """
        return self.encoder.pool(clips, times, strips)

    def project(self, rows: parts.RowStatistics) -> Tensor:
        """Projections [B, P, C]."""
        return self.projector(parts.pyramid(rows)).float()

    def predict(self, projections: Tensor) -> Tensor:
        """Predictions [B, P, C], each part of unit length: the embedding that is compared at test time."""
        return functional.normalize(self.predictor(projections).float(), dim=2)

    def embed(self, rows: parts.RowStatistics) -> Tensor:
        """The same, from pooled rows."""
        return self.predict(self.project(rows))
