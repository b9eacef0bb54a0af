"""A trained network as a program of torch.export: one graph with its weights, which needs none of this project's code.

The number of tokens depends on the pixels, and so do shapes inside the contour Transformer, which no graph can express.
Here all tubelets of a clip are tokens, and a mask excludes those that no contour crosses from attention and pooling:
the same weights and the same embedding, at about four times the tokens. The published P3D encoder is dense as it is. A
program takes clips; walks that are longer are pooled from chunks (model/embedding.py).

`torch.export.load` reads the graph from JSON and the weights from raw bytes. It can also unpickle, example inputs and
tensors of other classes than torch's, without restriction; a program written here has neither and so no pickle at all,
but loading a file means trusting its author.

Shapes: B clips, T frames, P = 31 parts, C channels of the embedding.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from datasets.schema.rows import HEIGHT, WIDTH
from model.encoder import ContourEncoder
from model.network import GaitNetwork
from model.packing import pack_dense
from model.parts import RowStatistics, masked_statistics
from model.sizes import REGISTERS
from model.tokens import GRID_COLUMNS, GRID_ROWS, tokenise_all

PROGRAM = "encoder.pt2"


class DenseNetwork(nn.Module):
    """A network whose shapes depend on no pixel. It shares the weights of the network."""

    def __init__(self, network: GaitNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor, times: Tensor) -> Tensor:
        """Embeddings [B, C, P], each part of unit length, of clips [B, T, 64, 44] of 0 and 1 at times [B, T] in frames.

        Times are relative to a clip's first frame, as in model/embedding.py.
        """
        times = times - times[:, :1]
        encoder = self.network.encoder
        if isinstance(encoder, ContourEncoder):
            rows = _pool(encoder, clips, times)
        else:
            rows, _ = self.network.pool(clips, times)
        return self.network.embed(rows).transpose(1, 2)


def write_program(folder: Path, network: GaitNetwork, frames: int) -> None:
    """Write the program of a network for clips of a number of frames, without traces of this machine."""
    program = export(network, frames)
    program.example_inputs = None  # torch.export.save would pickle them
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds paths of this machine
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
    example = torch.zeros(2, frames, HEIGHT, WIDTH, dtype=torch.uint8), torch.zeros(2, frames)
    program = torch.export.export(DenseNetwork(network), example, dynamic_shapes=(sizes, sizes))
    network.train(training)
    return program


def _pool(encoder: ContourEncoder, clips: Tensor, times: Tensor) -> RowStatistics:
    """The same as `encoder.pool` of whole clips, from all of their tubelets."""
    tokens, mixed = tokenise_all(clips, times)
    mixed = torch.ones_like(mixed) if encoder.every_tubelet else mixed
    features = encoder(tokens, pack_dense(mixed.unflatten(0, (clips.shape[0], -1)), REGISTERS)).float()
    grid = (clips.shape[0], -1, GRID_ROWS, GRID_COLUMNS)
    return masked_statistics(features.unflatten(0, grid), mixed.unflatten(0, grid))
