"""The exported program: the numbers of the network it was made of, for any batch, saved and loaded without pickles."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.schema.rows import HEIGHT, WIDTH
from model.embedding import embed
from model.export import PROGRAM, DenseNetwork, write_program
from model.network import GaitNetwork, NetworkSettings
from model.packing import pack_dense
from model.parts import masked_statistics, row_statistics
from model.tokens import tokenise, tokenise_all

FRAMES = 8


def walking(count: int, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Clips of bodies that sway, each of another width, one of them with an empty frame and one with nothing in it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    clips = np.zeros((count, frames, HEIGHT, WIDTH), np.uint8)
    for number, clip in enumerate(clips):
        for t, frame in enumerate(clip):
            middle = 22 + 4 * np.sin(number + t) * (y - 32) / 32
            frame[:] = ((x - middle) / (5 + number)) ** 2 + ((y - 32) / 30) ** 2 < 1
    clips[1, 2] = 0
    clips[2] = 0
    times = torch.arange(frames).float() * torch.arange(1, count + 1)[:, None]
    return torch.from_numpy(clips), times


@pytest.fixture(scope="module", params=["xxs", "p3d-tiny"])
def exported(request, tmp_path_factory) -> tuple[GaitNetwork, Path]:
    """A network that remembers something, and the folder with its program."""
    torch.manual_seed(0)
    network = GaitNetwork(NetworkSettings(size=request.param, channels=8))
    clips, times = walking(5)
    with torch.no_grad():
        network.pool(clips, times)  # gives the norms something to remember
    network.requires_grad_(False)
    folder = tmp_path_factory.mktemp(request.param)
    write_program(folder, network, FRAMES)
    assert network.training  # left as it was
    return network.eval(), folder


def expected(network: GaitNetwork, clips: Tensor, times: Tensor) -> np.ndarray:
    """What the network makes of each clip alone, as a released encoder embeds it."""
    walks = [(clip.numpy(), when.numpy()) for clip, when in zip(clips, times, strict=True)]
    return np.concatenate([embed(network, [walk], FRAMES, torch.device("cpu")) for walk in walks])


def test_the_dense_form_gives_the_numbers_of_the_packed_one(exported) -> None:
    network, _ = exported
    clips, times = walking(5)
    found = DenseNetwork(network)(clips, times)
    assert found.shape == (5, 8, 31)
    np.testing.assert_allclose(found, expected(network, clips, times), rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_loaded_program_embeds_any_number_of_clips(exported, count: int) -> None:
    network, folder = exported
    program = torch.export.load(folder / PROGRAM).module()
    clips, times = (one.flip(0)[:count] for one in walking(5))
    found = program(clips, times + 7)  # times may begin anywhere
    assert not found.requires_grad
    np.testing.assert_allclose(found, expected(network, clips, times), rtol=0, atol=1e-5)
    if count > 2:
        nothing = program(clips, times)[2]
        assert torch.isfinite(nothing).all()


def test_a_clip_of_another_length_is_refused_unless_whole_sequences_are_taken(exported) -> None:
    network, folder = exported
    program = torch.export.load(folder / PROGRAM).module()
    clips, times = walking(3, frames=2 * FRAMES)
    if network.encoder.whole_sequences:
        np.testing.assert_allclose(program(clips, times), expected(network, clips, times), rtol=0, atol=1e-5)
    else:
        with pytest.raises(RuntimeError, match="to be equal to 8, but got 16"):
            program(clips, times)


def test_a_program_holds_no_pickle_and_no_path_of_the_machine(exported, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = exported
    with zipfile.ZipFile(folder / PROGRAM) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    root = str(Path(__file__).resolve().parent.parent).encode()
    assert not [name for name, content in contents.items() if root in content or b"site-packages" in content]
    configs = {name: json.loads(content) for name, content in contents.items() if name.endswith("_config.json")}
    assert len(configs) == 2
    assert not [name for one in configs.values() for name, weight in one["config"].items() if weight["use_pickle"]]
    monkeypatch.setattr(torch, "load", None)  # what unpickles the rest in torch.export.load
    torch.export.load(folder / PROGRAM)


def test_all_tubelets_with_those_that_are_mixed_are_the_tokens() -> None:
    clips, times = walking(3)
    every, mixed = tokenise_all(clips, times)
    kept, _ = tokenise(clips, times)
    assert len(every.clip) == 3 * FRAMES // 2 * 16 * 11
    for name, value in vars(every.take(mixed.nonzero().squeeze(1))).items():
        torch.testing.assert_close(value, getattr(kept, name), rtol=0, atol=0, msg=name)


def test_what_is_not_counted_is_not_pooled() -> None:
    torch.manual_seed(0)
    features, counted = torch.randn(2, 3, 16, 11, 4), torch.rand(2, 3, 16, 11) < 0.3
    counted[:, :, 5] = False
    found = masked_statistics(features, counted)
    clip, _, row, _ = counted.nonzero().unbind(1)
    bins = clip * 16 + row
    wanted = row_statistics(features[counted][bins.argsort(stable=True)], bins.bincount(minlength=32).view(2, 16))
    for name, value in vars(found).items():
        torch.testing.assert_close(value, getattr(wanted, name), msg=name)


def test_the_dense_layout_attends_to_what_is_filled() -> None:
    torch.manual_seed(0)
    filled = torch.rand(3, 20) < 0.5
    packing = pack_dense(filled, registers=2)
    given = torch.randn(3 * 20, 3, 2, 64)
    changed = given.clone()
    changed[~filled.flatten()] = torch.randn(int((~filled).sum()), 3, 2, 64)
    leads = torch.randn(3 * 2, 3, 2, 64)
    results = []
    for one in (given, changed):
        placed = packing.scatter(one, leads)
        (chunk,) = packing.chunks
        results.append(chunk.attend(*placed.unbind(1))[packing.tokens][filled.flatten()])
    torch.testing.assert_close(*results, rtol=0, atol=0)
    taken = torch.cat([packing.registers, packing.tokens])
    assert taken.sort().values.tolist() == list(range(3 * 22)) == list(range(packing.size))
