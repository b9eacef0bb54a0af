"""The networks of a run that are compared, by method: its own, and those that it is compared with.

These are the network with the random weights that the run started from and, where it was fine-tuned, the pretrained
one.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from datasets.schema.errors import UsageError
from datasets.storage import Place, open_place
from model.network import GaitNetwork
from orchestration.run import checkpoint
from orchestration.run import folder as run_folder
from orchestration.run.finetune_settings import FinetuneRun, read_start
from orchestration.run.settings import PretrainRun

Learned = Literal["random initialisation", "pretrained", "fine-tuned"]
RANDOM: Learned = "random initialisation"
PRETRAINED: Learned = "pretrained"
TUNED: Learned = "fine-tuned"


def read_any(folder: Place) -> PretrainRun | FinetuneRun:
    """The settings in the folder of a run, or a checkpoint of it; UsageError where there are none."""
    if run_folder.is_finetuned(folder):
        return run_folder.read_settings(folder, FinetuneRun)
    return run_folder.read_run(folder)


def own_method(folder: Place) -> Learned:
    """The method name of a run's own network."""
    return TUNED if run_folder.is_finetuned(folder) else PRETRAINED


def networks_of(folder: Place, chosen: Place, methods: Sequence[str]) -> dict[str, GaitNetwork]:
    """The networks of some methods; methods without a network are left out. chosen: a checkpoint of the run.

    UsageError where weights do not fit their settings, or are gone.
    """
    run = read_any(folder)
    if isinstance(run, FinetuneRun):
        return _tuned(folder, run, chosen, methods)
    if TUNED in methods:
        raise UsageError(f"{folder} is not fine-tuned: give the run of `jobs.finetune`, or leave 'fine-tuned' out")
    found: dict[str, GaitNetwork] = {}
    if RANDOM in methods:
        torch.manual_seed(run.seed)  # the weights that the run started from
        found[RANDOM] = GaitNetwork(run.network)
    if PRETRAINED in methods:
        found[PRETRAINED] = teacher_of(chosen)
    return found


def teacher_of(place: Place) -> GaitNetwork:
    """The pretrained network of a checkpoint: its teacher, the one that is evaluated, which takes no gradient.

    UsageError where the checkpoint is of a fine-tuned run, or its weights do not fit its settings.
    """
    network = GaitNetwork(run_folder.read_run(place).network).requires_grad_(False)
    checkpoint.load_weights(place, network, prefix="teacher.")
    return network


def _tuned(folder: Place, run: FinetuneRun, chosen: Place, methods: Sequence[str]) -> dict[str, GaitNetwork]:
    start = read_start(folder)
    found: dict[str, GaitNetwork] = {}
    if RANDOM in methods:
        torch.manual_seed(run.seed)
        found[RANDOM] = GaitNetwork(start.network)
    if PRETRAINED in methods:
        source = open_place(start.checkpoint)
        if not (source / "state.json").exists():
            raise UsageError(f"{source}, from which {folder} was fine-tuned, is gone: leave 'pretrained' out")
        found[PRETRAINED] = teacher_of(source)
    if TUNED in methods:
        module = start.module(run)
        checkpoint.load_weights(chosen, module)
        found[TUNED] = module.teacher.network
    return found
