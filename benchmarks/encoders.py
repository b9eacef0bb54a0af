"""python -m benchmarks.encoders [--shards <store>] [--ours xl] [--theirs p3d-0.13b] [--clips 2] [--repeats 5]

Compares the contour Transformer with the published P3D encoder: FLOP of a clip of 16 frames, as torch counts them, and
clips a second of the forward pass, on walks of a store or on synthetic walkers. The two alternate, in fp32 and in bf16;
a ratio is that of one turn.
"""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch
import tyro
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.preprocessing import silhouettes
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.rows import HEIGHT
from datasets.store.reader import Store
from datasets.synthetic.body import make_walker
from datasets.synthetic.film import Shot, render
from model.network import GaitNetwork, NetworkSettings

FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The encoders, and the clips."""

    shards: str = ""
    """A store whose walks are used, evenly spaced; without one, synthetic walkers, which have longer outlines."""
    ours: str = "xl"
    """A size of the ladder."""
    theirs: str = "p3d-0.13b"
    """A size of the published encoder."""
    clips: int = 2
    """Clips of a forward pass."""
    repeats: int = 5
    """Turns of each encoder."""


def main(arguments: Arguments) -> None:
    """Measure and print."""
    walks = _stored(arguments.shards, arguments.clips) if arguments.shards else _walkers(arguments.clips)
    times = torch.arange(FRAMES).float().expand(arguments.clips, -1)
    torch.manual_seed(1)
    networks = {size: GaitNetwork(NetworkSettings(size=size)).eval() for size in (arguments.ours, arguments.theirs)}
    for size, network in networks.items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            _, metrics = network.pool(walks, times)
        kept = f", {100 * float(metrics['tokens_kept']):.0f}% of the tubelets" if "tokens_kept" in metrics else ""
        print(f"{size}: {counter.get_total_flops() / len(walks) / 1e9:.1f} GFLOP a clip{kept}")
    print(f"forward, {arguments.clips} clips a pass, {torch.get_num_threads()} threads:")
    for dtype in (torch.float32, torch.bfloat16):
        turns = [
            [_seconds(network, walks, times, dtype) for network in networks.values()] for _ in range(arguments.repeats)
        ]
        ours, theirs = np.array(turns).T
        rates = f"{len(walks) / np.median(ours):.3f} clips a second and {len(walks) / np.median(theirs):.3f}"
        ratios = theirs / ours
        print(f"  {str(dtype)[6:]}: {rates}; ours {np.median(ratios):.2f} times as fast, {ratios.min():.2f} at least")


def _stored(shards: str, count: int) -> Tensor:
    """The first frames of some sequences that are long enough."""
    rows = Store.open(shards).rows()
    rows = rows.filter(pc.greater_equal(rows["num_frames"], FRAMES))
    made = []
    for index in np.linspace(0, rows.num_rows - 1, count + 2).astype(int)[1:-1].tolist():
        (row,) = rows.slice(index, 1).to_pylist()
        made.append(to_input(codec.decode(contours_of(row), np.arange(FRAMES))))
    return torch.from_numpy(np.stack(made))


def _walkers(count: int) -> Tensor:
    """Clips uint8 [count, 16, 64, 44], each of another walker from another direction."""
    made = []
    for number in range(count):
        angle = 360 * number / count + 90
        frames = render(Shot(walker=make_walker(number), azimuth=angle, num_frames=2 * FRAMES, occasion=number))
        masks = [mask for mask, _ in (silhouettes.normalise(frame, HEIGHT) for frame in frames) if mask is not None]
        made.append(to_input(np.stack(masks[:FRAMES])))
    return torch.from_numpy(np.stack(made))


@torch.inference_mode()
def _seconds(network: GaitNetwork, walks: Tensor, times: Tensor, dtype: torch.dtype) -> float:
    """Seconds of one forward pass of an encoder, with pooling."""
    started = time.perf_counter()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        network.pool(walks, times)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(tyro.cli(Arguments))
