"""Whether settings carry over: the loss of several sizes at several learning rates, after equally many steps.

    python -m benchmarks.transfer --shards <store> --sizes xxs xs s --rates 1e-3 3e-3 1e-2

If the rule of model/transfer.py holds, the best rate is the same at every size, and larger sizes do better at it. One
process, one core; clips are short and batches small, so that the largest size has its turn too.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from datasets import corpus, storage
from datasets.corpus_map import write_map
from datasets.declared import declared_in
from datasets.manifest import read_manifest
from datasets.order import GlobalOrder
from datasets.pairs import PairLoader
from jobs.recipes import RECIPES
from model import transfer
from model.objective import PartContrast
from orchestration.runs import PretrainRun

COUNTED = 15  # the last steps, over which losses are averaged


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Losses by size and learning rate."""

    shards: str
    """The store to train on."""
    recipe: str = "casia-b-walks"
    """The recipe whose other settings are kept."""
    sizes: tuple[str, ...] = ("xxs", "xs", "s")
    """Sizes of the encoder."""
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """Peak learning rates."""
    steps: int = 80
    """Steps of each run."""
    batch: int = 32
    """Pairs a step."""
    frames: int = 4
    """Of a clip."""
    seed: int = 0
    """Of weights and data."""


def main(arguments: Arguments) -> None:
    """Train every cell and print its loss."""
    torch.set_num_threads(1)
    base = RECIPES[arguments.recipe](arguments.shards, "")
    schedule = replace(base.schedule, steps=arguments.steps, batch=arguments.batch, warmup=10)
    base = replace(base, seed=arguments.seed, clips=replace(base.clips, frames=arguments.frames), schedule=schedule)
    store = storage.at(arguments.shards)
    manifest = read_manifest(store)
    specs = {name: declared_in(manifest, name) for name in base.data.collections or manifest["collections"]}
    with tempfile.TemporaryDirectory() as folder:
        write_map(corpus.training_tables(store, base.data.collections, base.data.holdout), specs, Path(folder))
        sequences = corpus.Corpus(Path(folder))
        for size in arguments.sizes:
            for rate in arguments.rates:
                run = replace(
                    base, network=replace(base.network, size=size), schedule=replace(base.schedule, rate=rate)
                )
                began = time.process_time()
                loss = _final_loss(run, sequences)
                print(f"{size:<4} rate {rate:<7g} loss {loss:.4f} ({time.process_time() - began:.0f} s)", flush=True)


def _final_loss(run: PretrainRun, sequences: corpus.Corpus) -> float:
    """The mean of the last losses of a run, on batches it has not seen before."""
    torch.manual_seed(run.seed)
    module = PartContrast(run.network, run.contrast)
    groups = transfer.parameter_groups(module.student, run.network.size, run.schedule.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=run.schedule.rate, betas=transfer.BETAS)
    order = GlobalOrder(sequences.sizes(), {}, run.schedule.batch, run.seed)
    loader = PairLoader(sequences, order, run.clips, run.schedule.batch, run.seed, positives=run.data.positives)
    losses = []
    for batch in loader.steps(0, run.schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = run.schedule.rate_at(batch.step) * group["rate_share"]
        arrays = (batch.query, batch.query_times, batch.key, batch.key_times, batch.walks)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.cluster.precision == "bf16"):
            loss = module(*map(torch.from_numpy, arrays), step=batch.step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.student.parameters(), run.schedule.clip_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    return statistics.fmean(losses[-COUNTED:])


if __name__ == "__main__":
    main(tyro.cli(Arguments))
