"""A released encoder: a folder with what is needed to embed walks, independent of the run that trained it.

    <folder>/encoder.safetensors    weights of the encoder and its heads
             settings.json          the network's settings, and the length of its clips
             encoder.pt2            both as one program, written by model/export.py
             README.md              the model card, written by orchestration/release

No pickled classes: loading a stranger's release runs no code.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from datasets.schema.errors import UsageError
from model import embedding
from model.network import GaitNetwork, NetworkSettings

FORMAT = 1
WEIGHTS, SETTINGS = "encoder.safetensors", "settings.json"


@dataclass(frozen=True, eq=False)
class Encoder:
    """A network that embeds walks. frames: the length of the clips that it was trained on."""

    network: GaitNetwork
    settings: NetworkSettings
    frames: int
    device: torch.device

    def embed(self, walks: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Embeddings float32 [n, C, 31], each part of unit length: compare walks by the cosine or distance of parts.

        walks: frames uint8 0/1 [T, 64, 44] and their numbers [T] each, as datasets/ingest/read_walk.py reads them.
        """
        return embedding.embed(self.network, walks, self.frames, self.device)


def write_release(folder: Path, network: GaitNetwork, settings: NetworkSettings, frames: int) -> None:
    """Write weights and settings of a trained network."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    settings_json = {"format": FORMAT, "network": asdict(settings), "frames": frames}
    (folder / SETTINGS).write_text(json.dumps(settings_json, indent=1))


def load_release(folder: str | Path, device: str = "cpu") -> Encoder:
    """The encoder in a folder; UsageError where there is none, or one that this program cannot read."""
    folder = Path(folder)
    try:
        saved = json.loads((folder / SETTINGS).read_text())
        if saved["format"] != FORMAT:
            raise ValueError(f"of format {saved['format']}, not {FORMAT}")
        settings = NetworkSettings(**saved["network"])
        network = GaitNetwork(settings)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no encoder (no {Path(error.filename or WEIGHTS).name}): {_FIX}") from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        words = " ".join(str(error).split())[:200]
        raise UsageError(f"the encoder in {folder} cannot be read by this program ({words}): {_FIX}") from error
    where = torch.device(device)
    return Encoder(network.to(where).eval(), settings, saved["frames"], where)


_FIX = "give a folder that `python -m jobs.release` wrote"
