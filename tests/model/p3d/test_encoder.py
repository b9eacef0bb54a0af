"""The published P3D encoder: its arithmetic, its checkpoints, its strips; that it trains and embeds as ours does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from datasets.schema.errors import UsageError
from datasets.schema.rows import HEIGHT, WIDTH
from model import embedding, parts, sizes
from model.network import GaitNetwork, NetworkSettings
from model.objectives.pairs import assign_strips
from model.objectives.part_contrast import ContrastSettings, PartContrast
from model.p3d.checkpoint import fill, load_published, published_name
from model.p3d.norm import BatchNorm, synchronise_norms
from model.parts import Strips

TINY = NetworkSettings(size="p3d-tiny", channels=32)


def walkers(count: int, frames: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clips uint8 [count, frames, 64, 44] of noise as wide as a body, with a width of its own in each; their times."""
    rng = np.random.default_rng(seed)
    shape = (count, frames, HEIGHT, WIDTH)
    inside = np.abs(np.arange(WIDTH) - 22) < rng.integers(6, 16, (count, 1, HEIGHT, 1))
    clips = (rng.random(shape) < 0.8) & inside
    return torch.from_numpy(clips.astype(np.uint8)), torch.arange(frames).float().expand(count, -1)


def network(settings: NetworkSettings = TINY, seed: int = 0) -> GaitNetwork:
    torch.manual_seed(seed)
    return GaitNetwork(settings)


def published_state(of: GaitNetwork) -> dict[str, Tensor]:
    """The weights of a network by their names and in their shapes in OpenGait."""
    state = {}
    for name, value in of.state_dict().items():
        theirs = published_name(name)
        state[theirs] = value.unsqueeze(2) if theirs.endswith("downsample.0.weight") else value.clone()
    return state


def save_checkpoint(path: Path, teacher: dict[str, Tensor], student: dict[str, Tensor], prefix: str = "") -> Path:
    """What OpenGait's pretraining saves."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20_000, 30_000])
    model = {f"{prefix}teacher_backbone.{name}": value for name, value in teacher.items()}
    model |= {f"{prefix}student_backbone.{name}": value for name, value in student.items()}
    state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "iteration": 40_000}
    torch.save({"model": model, **state}, path)
    return path


def pooled(encoder: nn.Module, clips: Tensor, strips: list[Strips] | None = None) -> parts.RowStatistics:
    return encoder.pool(clips, torch.zeros(clips.shape[:2]), strips)[0]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("size", "encoder", "whole", "flops"),
    [
        ("p3d-0.03b", 33_134_272, 65_735_360, 214_867_378_176),
        ("p3d-0.13b", 132_298_432, 164_899_520, 772_944_691_200),
    ],
)
def test_parameters_and_work_are_the_published_ones(size: str, encoder: int, whole: int, flops: int) -> None:
    with torch.device("meta"):
        built, clip = GaitNetwork(NetworkSettings(size=size, channels=512)), torch.zeros(1, 16, HEIGHT, WIDTH)
    assert count(built.encoder) == sizes.parameters_of(size) == encoder
    assert count(built) == whole
    with FlopCounterMode(display=False) as counter:
        built.encoder.pool(clip, torch.zeros(1, 16))
    assert counter.get_total_flops() == sizes.cost(size, 512).flops == flops


@pytest.mark.parametrize("size", ["0.03B", "0.13B"])
def test_names_and_shapes_are_those_of_the_published_weights(size: str, golden_folder: Path) -> None:
    published = json.loads((golden_folder / "opengait_state_shapes.json").read_text())[size]
    with torch.device("meta"):
        built = GaitNetwork(NetworkSettings(size=f"p3d-{size.lower()}", channels=512))
    assert {name: list(value.shape) for name, value in published_state(built).items()} == published["state"]
    assert count(built.encoder) == published["encoder_parameters"]
    assert count(built) == published["total_parameters"]


def test_outputs_of_a_published_checkpoint_are_the_published_ones(golden_folder: Path, tmp_path: Path) -> None:
    golden = np.load(golden_folder / "p3d_tiny.npz")
    state = {n.removeprefix("state/"): torch.from_numpy(golden[n]) for n in golden.files if n.startswith("state/")}
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    loaded = network().eval()
    load_published(save_checkpoint(tmp_path / "p3d.pt", state, other, prefix="module."), loaded)
    with torch.inference_mode():
        features = parts.pyramid(loaded.pool(torch.from_numpy(golden["x"])[:, 0], torch.zeros(2, 20))[0])
        projected = loaded.projector(features)
        results = {"feat_hpp": features, "projector": projected, "predictor": loaded.predictor(projected)}
    for name, value in results.items():
        np.testing.assert_allclose(value.transpose(1, 2), golden[name], rtol=0, atol=1e-5, err_msg=name)


def test_a_checkpoint_gives_its_teacher_or_its_student(tmp_path: Path) -> None:
    teacher, student = network(seed=1), network(seed=2)
    path = save_checkpoint(tmp_path / "p3d.pt", published_state(teacher), published_state(student))
    for whose, expected in (("teacher", teacher), ("student", student)):
        loaded = network(seed=3)
        load_published(path, loaded, whose)
        for name, value in loaded.state_dict().items():
            torch.testing.assert_close(value, expected.state_dict()[name], rtol=0, atol=0, msg=name)


def test_a_checkpoint_of_another_network_is_refused_by_its_first_keys(tmp_path: Path) -> None:
    state, path = published_state(network()), tmp_path / "p3d.pt"
    less = {name: value for name, value in state.items() if not name.startswith("layer3.1.sbn")}
    with pytest.raises(UsageError, match=r"lacks layer3\.1\.sbn\.bias, .* and 2 more\)"):
        load_published(save_checkpoint(path, less, state), network())
    with pytest.raises(UsageError, match=r"also has FCs\.fc_bin\)"):
        fill(network(), {**state, "FCs.fc_bin": torch.zeros(1)}, "here")
    other = (
        r"another shape predictor\.0\.fc_bin, predictor\.1\.bn1d\.bias.* --network.size p3d-tiny --network.channels 32$"
    )
    with pytest.raises(UsageError, match=other):
        load_published(save_checkpoint(path, state, state), network(NetworkSettings(size="p3d-tiny", channels=8)))
    deeper = {**state, "layer3.2.sbn.weight": torch.zeros(16)}
    with pytest.raises(UsageError, match=r"also has layer3\.2\.sbn\.weight\): no size of this program is like them"):
        fill(network(), deeper, "here")
    load_published(save_checkpoint(path, state, {}), network())  # the student is not asked for
    with pytest.raises(UsageError, match="no weights named student_backbone"):
        load_published(path, network(), "student")


def test_a_file_that_is_no_checkpoint_is_refused_and_never_run(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": {"teacher_backbone.layer0": Planted()}}, tmp_path / "code.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    for name, words in (("code", "nothing else is read"), ("text", "is not a file"), ("other", "under `model`")):
        with pytest.raises(UsageError, match=words) as raised:
            load_published(tmp_path / f"{name}.pt", network())
        assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="No such file"):
        load_published(tmp_path / "missing.pt", network())
    assert not (tmp_path / "ran").exists()


def test_a_batch_is_cut_by_quarters_and_half_of_each_is_shifted() -> None:
    cut = assign_strips(16)
    assert {one: cut.count(one) for one in cut} == {
        **{Strips(k, shifted): 2 for k in (8, 4, 2) for shifted in (False, True)},
        Strips(1, False): 4,
    }
    assert cut == assign_strips(8) + assign_strips(8)  # two ranks cut as one does


@pytest.mark.parametrize("cut", [Strips(k, shifted) for k in (8, 4, 2) for shifted in (False, True)], ids=str)
def test_pixels_of_one_strip_change_nothing_in_another(cut: Strips) -> None:
    encoder = network().encoder.eval()
    clips, _ = walkers(1)
    before = pooled(encoder, clips, [cut])
    height = HEIGHT // cut.number
    for top in range(-height // 2 if cut.shifted else 0, HEIGHT, height):
        rows = slice(max(top, 0), top + height)
        changed = clips.clone()
        changed[:, :, rows] = 1 - changed[:, :, rows]
        after = pooled(encoder, changed, [cut])
        moved = ((after.maximum - before.maximum).abs() + (after.total - before.total).abs()).sum(dim=(0, 2)) > 0
        assert moved.nonzero().flatten().tolist() == list(range(rows.start // 4, min(rows.stop, HEIGHT) // 4))


def test_a_strip_is_encoded_as_if_it_were_the_whole_picture() -> None:
    encoder = network().encoder.eval()
    clips, _ = walkers(1)
    plain = pooled(encoder, clips, [Strips(4, False)]).maximum
    alone = encoder(clips[:, :, 16:32]).amax(dim=(1, 4)).transpose(1, 2)
    torch.testing.assert_close(plain[:, 4:8], alone)
    shifted = pooled(encoder, clips, [Strips(4, True)]).maximum
    first = encoder(nn.functional.pad(clips[:, :, :8], (0, 0, 8, 0))).amax(dim=(1, 4)).transpose(1, 2)
    torch.testing.assert_close(shifted[:, :2], first[:, 2:])


def test_clips_cut_in_company_are_cut_as_alone() -> None:
    encoder = network().encoder.eval()
    clips, _ = walkers(9)
    together = pooled(encoder, clips, assign_strips(9))
    for one, cut in enumerate(assign_strips(9)):
        alone = pooled(encoder, clips[one : one + 1], [cut])
        torch.testing.assert_close(together.maximum[one], alone.maximum[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.total[one], alone.total[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.maximum[3], pooled(encoder, clips).maximum[3], rtol=1e-4, atol=1e-5)


def test_every_weight_learns_from_strips() -> None:
    trained = network()
    clips, _ = walkers(8)
    predicted = trained.embed(pooled(trained.encoder, clips, assign_strips(8)))
    assert predicted.shape == (8, 31, 32)
    (predicted * torch.randn_like(predicted)).sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in trained.parameters())


def test_training_on_a_batch_learns_it() -> None:
    torch.manual_seed(1)
    module = PartContrast(TINY, ContrastSettings(smoothing=0.0))
    optimizer = torch.optim.AdamW(module.student.parameters(), lr=3e-3)
    clips, times = walkers(8, frames=4)
    losses = []
    for _ in range(10):
        result = module(clips, times, clips.flip(3), times)
        optimizer.zero_grad()
        result["loss"].backward()
        optimizer.step()
        module.update_teacher()
        losses.append(float(result["loss"].detach()))
    assert "tokens_kept" not in result
    assert losses[-1] < 0.6 * losses[0]


def test_a_sequence_is_embedded_whole_and_without_regard_to_its_company() -> None:
    trained = network()
    trained.pool(*walkers(4, seed=1))  # gives the norms something to remember
    clips, times = walkers(3, frames=21)
    sequences = [(clip[:length].numpy(), np.arange(length)) for clip, length in zip(clips, (21, 7, 1), strict=True)]
    together = embedding.embed(trained, sequences, 8, torch.device("cpu"))
    assert trained.training  # left as it was
    trained.eval()
    whole = trained.embed(trained.pool(clips[:1], times[:1])[0]).detach().transpose(1, 2)
    np.testing.assert_allclose(together[0], whole[0], atol=1e-5)
    alone = embedding.embed(trained, sequences[1:2], 8, torch.device("cpu"))
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5)


def _one_rank(rank: int, shares: list[slice], folder: str) -> None:
    """One rank of the test below: what it finds on its share of the batch, to a file."""
    if len(shares) > 1:
        dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=len(shares))

    def total(mine: Tensor) -> Tensor:
        dist.all_reduce(mine)
        return mine

    torch.manual_seed(1)
    smooth = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNorm(8), nn.Tanh(), nn.Conv2d(8, 8, 3), BatchNorm(8))
    trained, images, weights = network(), torch.randn(8, 3, 9, 7), torch.randn(8, 8, 5, 3)
    if len(shares) > 1:
        synchronise_norms(smooth, total)
        synchronise_norms(trained, total)
    mine = shares[rank]
    (smooth(images[mine]) * weights[mine]).sum().backward()
    clips, times = walkers(8)
    trained.embed(trained.pool(clips[mine], times[mine])[0])
    found = {f"gradient of {name}": parameter.grad for name, parameter in smooth.named_parameters()}
    found |= {name: value for name, value in trained.state_dict().items() if "running" in name}
    torch.save(found, f"{folder}/{len(shares)}-{rank}.pt")


def test_two_ranks_normalise_as_one(tmp_path: Path) -> None:
    """Gradients, and what every norm remembers, of gloo ranks with 3 and 5 clips equal those of one process with 8."""
    _one_rank(0, [slice(0, 8)], str(tmp_path))
    torch.multiprocessing.spawn(_one_rank, ([slice(0, 3), slice(3, 8)], str(tmp_path)), nprocs=2)
    whole, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name, value in whole.items():
        if name.startswith("gradient"):
            torch.testing.assert_close(first[name] + second[name], value, rtol=1e-4, atol=1e-4, msg=name)
        else:
            torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-3, msg=name)
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=0, msg=name)
