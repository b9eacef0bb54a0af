"""A trained network as a program of torch.export: one graph with its weights, which needs none of this project's code.

Only tubelets that a contour crosses become tokens, so shapes inside the contour Transformer follow the pixels, which no
graph can. Here all tubelets of a clip are tokens, and a mask keeps those that would have been dropped out of attention
and out of pooling: the same weights and the same numbers, at about four times the tokens. The published P3D encoder is
dense as it is. Knows nothing of runs, nor of walks longer than a clip, which model/embedding.py pools from chunks.

`torch.export.load` reads the graph from JSON and the weights from raw bytes. It can also unpickle, example inputs and
tensors of other classes than torch's, without restriction; a program written here has neither and so no pickle at all,
but whoever loads somebody else's file trusts it.

Shapes: B clips, T frames, P = 31 parts, C channels of the embedding.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from model.encoder import ContourEncoder
from model.network import GaitNetwork
from model.packing import dense
from model.parts import ROWS, RowStatistics, masked_statistics
from model.sizes import REGISTERS
from model.tokens import COLUMNS, tubelets

PROGRAM = "encoder.pt2"
_HEIGHT, _WIDTH = 64, 44  # pixels of a frame


class DenseNetwork(nn.Module):
    """A network in a form whose shapes no pixel changes; it holds the network, not a copy of it."""

    def __init__(self, network: GaitNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor, times: Tensor) -> Tensor:
        """Embeddings [B, C, P], each part of unit length, of clips [B, T, 64, 44] of 0 and 1 at times [B, T] in frames.

        Only differences of a clip's times count: its first frame is at 0, as in model/embedding.py.
        """
        times = times - times[:, :1]
        encoder = self.network.encoder
        if isinstance(encoder, ContourEncoder):
            rows = _pool(encoder, clips, times)
        else:
            rows, _ = self.network.pool(clips, times)
        return self.network.embed(rows).transpose(1, 2)


def write_program(folder: Path, network: GaitNetwork, frames: int) -> None:
    """Write the program of a network whose clips are of so many frames; it says nothing of the machine."""
    program = export(network, frames)
    program.example_inputs = None  # would be pickled
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    torch.export.save(program, folder / PROGRAM)


def export(network: GaitNetwork, frames: int) -> torch.export.ExportedProgram:
    """The program of a network in evaluation: clips uint8 [B, T, 64, 44], times float32 [B, T] to embeddings [B, C, P].

    For any B. T is `frames`, or any where the encoder takes whole sequences.
    """
    training = network.training
    network.eval()
    sizes = {0: torch.export.Dim("clips", min=1)}
    if network.encoder.whole_sequences:
        sizes[1] = torch.export.Dim("frames", min=1)
    given = torch.zeros(2, frames, _HEIGHT, _WIDTH, dtype=torch.uint8), torch.zeros(2, frames)
    program = torch.export.export(DenseNetwork(network), given, dynamic_shapes=(sizes, sizes))
    network.train(training)
    return program


def _pool(encoder: ContourEncoder, clips: Tensor, times: Tensor) -> RowStatistics:
    """What `encoder.pool` gives for clips that are not cut, from all of their tubelets."""
    tokens, mixed = tubelets(clips, times)
    mixed = torch.ones_like(mixed) if encoder.every_tubelet else mixed
    features = encoder(tokens, dense(mixed.unflatten(0, (clips.shape[0], -1)), REGISTERS)).float()
    grid = (clips.shape[0], -1, ROWS, _WIDTH // COLUMNS)
    return masked_statistics(features.unflatten(0, grid), mixed.unflatten(0, grid))
