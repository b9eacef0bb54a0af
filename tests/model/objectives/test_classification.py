"""The classifier: its losses by hand, what is frozen, and ranks and micro batches that are as good as one batch."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from datasets.schema.errors import UsageError
from datasets.schema.rows import HEIGHT, WIDTH
from model.network import NetworkSettings
from model.objectives.classification import Classifier, HeadSettings
from model.objectives.interface import no_gather
from model.parts import PARTS
from model.transfer import BETAS
from orchestration.run.finetune_settings import FinetuneRun
from orchestration.run.settings import Cluster, Schedule

STEPS, BATCH, CLASSES = 8, 16, (4, 3)
RUN = FinetuneRun(
    recipe="test",
    task="scoliosis",
    run="r",
    shards="s",
    out="o",
    head=HeadSettings(triplet=0.5, momentum=0.9, encoder_rate=0.5),
    schedule=Schedule(steps=STEPS, batch=BATCH, warmup=2, lr=1e-2, clip_norm=0.5),
    cluster=Cluster(workers=2, device="cpu", precision="fp32"),
)
ARMS = [(0, 8, "all"), (1, 4, "all"), (2, 8, "head"), (3, 4, "all")]  # ZeRO stage, clips at once, what is trained


def classifier(trained: str = "all", **settings: object) -> Classifier:
    torch.manual_seed(1)
    head = replace(RUN.head, **settings)
    return Classifier(NetworkSettings(size="xxs", channels=8), CLASSES, head, trained)


def batch(step: int, mine: slice = slice(None)) -> list[Tensor]:
    """Clips whose outline differs in every row, their times, and labels of which some are missing."""
    generator = torch.Generator().manual_seed(step)
    width = torch.randint(4, 20, (BATCH, 2, HEIGHT, 1), generator=generator)
    clips = ((torch.arange(WIDTH) - 20).abs() < width).to(torch.uint8)
    labels = torch.stack([torch.arange(BATCH) % CLASSES[0], torch.randint(-1, 3, (BATCH,), generator=generator)], 1)
    return [one[mine] for one in (clips, torch.arange(2).float().expand(BATCH, -1), labels)]


@pytest.mark.parametrize("each_part", [True, False])
def test_cross_entropy_leaves_out_what_has_no_label(each_part: bool) -> None:
    module = classifier(smoothing=0.2, each_part=each_part, triplet=0.0)
    logits, labels = torch.randn(5, 7, PARTS), torch.tensor([[0, -1], [3, 2], [1, 0], [-1, -1], [2, -1]])
    found = module.compare((torch.randn(5, PARTS, 8), logits), (labels,), step=0, gather=no_gather)
    expected = []
    for of_question, column in zip(logits.split(CLASSES, dim=1), range(2), strict=True):
        parts = of_question if each_part else of_question.mean(dim=2, keepdim=True)
        losses = [
            functional.cross_entropy(parts[clip, :, part], labels[clip, column], label_smoothing=0.2)
            for clip in range(5)
            for part in range(parts.shape[2])
            if labels[clip, column] >= 0
        ]
        expected.append(torch.stack(losses).mean())
    torch.testing.assert_close(found["loss"], torch.stack(expected).mean())
    nothing = module.compare(
        (torch.randn(2, PARTS, 8), logits[:2]), (torch.full((2, 2), -1),), step=0, gather=no_gather
    )
    assert nothing["loss"] == 0 and nothing["accuracy"] == 0


def test_triplets_are_all_of_a_batch() -> None:
    module = classifier(triplet=2.0, margin=0.3)
    features = functional.normalize(torch.randn(6, PARTS, 8), dim=2)
    labels = torch.tensor([[0], [0], [0], [1], [1], [-1]]).expand(-1, 2)
    found = module.compare((features, torch.zeros(6, 7, PARTS)), (labels,), step=0, gather=no_gather)
    of_parts = []
    for part in range(PARTS):
        distance, losses = torch.cdist(features[:, part], features[:, part]), []
        for anchor in range(5):
            for near in range(5):
                for far in range(5):
                    same = labels[anchor, 0] == labels[near, 0] and anchor != near
                    if same and labels[anchor, 0] != labels[far, 0]:
                        losses.append((distance[anchor, near] - distance[anchor, far] + 0.3).relu())
        active = [one for one in losses if one > 0]
        of_parts.append(sum(active) / max(len(active), 1))
    torch.testing.assert_close(found["triplet"], torch.stack(of_parts).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["loss"], found["cross_entropy"] + 2 * found["triplet"])


def test_standardising_follows_the_batches_and_is_the_same_for_each_clip() -> None:
    module = classifier()
    first = module(*batch(0))
    assert (module.student.head.mean == 0).all()  # of the batches before
    module.update_teacher()
    (features, _), _ = module.embed_batch(batch(0)[:2], step=0)
    variance, mean = torch.var_mean(features, dim=0, correction=0)
    torch.testing.assert_close(module.student.head.mean, mean)
    torch.testing.assert_close(module.teacher.head.variance, variance)
    alone, _ = module.embed_batch([one[:1] for one in batch(0)[:2]], step=0)
    torch.testing.assert_close(alone[0][0], features[0])
    assert first["finite"] == 1


def test_a_probe_trains_the_head_alone() -> None:
    module = classifier("head", triplet=1.0)
    found = module(*batch(0))
    found["loss"].backward()
    assert "triplet" not in found
    trained = {name for name, weight in module.named_parameters() if weight.grad is not None}
    assert trained == {"student.head.weight", "student.head.bias"}
    stepped = [weight for group in module.parameter_groups(0.1) for weight in group["params"]]
    assert len(stepped) == 2 and not module.student.network.training
    groups = classifier().parameter_groups(0.1)
    assert {group["lr_scale"] for group in groups} == {1.0, 0.5}
    assert sum(len(group["params"]) for group in groups) == len(list(module.student.parameters()))


def test_settings_that_mean_nothing_are_mistakes() -> None:
    for wrong, message in [
        ({"smoothing": 1.0}, "--head.smoothing 1.0 must be at least 0 and below 1"),
        ({"margin": 0.0}, "--head.margin 0.0 must be positive"),
        ({"encoder_rate": 0.0}, "or --train head to freeze the encoder"),
    ]:
        with pytest.raises(UsageError, match=message):
            HeadSettings(**wrong)


def _plain_loop(trained: str) -> dict[str, Tensor]:
    """Weights after all steps of one process with the whole batch, in plain PyTorch; and each loss."""
    module, losses = classifier(trained), []
    groups = module.parameter_groups(RUN.schedule.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=BETAS)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RUN.schedule.lr_at(step) * group["lr_scale"]
        loss = module(*batch(step), step=step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        stepped = [weight for weight in module.parameters() if weight.requires_grad]
        torch.nn.utils.clip_grad_norm_(stepped, RUN.schedule.clip_norm)
        optimizer.step()
        module.update_teacher()
        losses.append(loss.detach())
    return module.state_dict() | {"losses": torch.stack(losses)}


def _rank(rank: int, ranks: int, folder: str) -> None:
    """One rank of every arm; rank 0 leaves the weights of each in a file."""
    from orchestration.rank import engine, optimizer_state  # DeepSpeed looks at the environment when it is imported

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    mine = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    for stage, micro_batch, what in ARMS:
        run = replace(RUN, cluster=replace(RUN.cluster, zero_stage=stage, micro_batch=micro_batch))
        trained, losses = engine.start_engine(run, classifier(what)), []
        for step in range(STEPS):
            engine.set_lr(trained, run.schedule.lr_at(step))
            watched = engine.train_step(trained, batch(step, mine), step)
            dist.all_reduce(watched["loss"])
            losses.append(watched["loss"] / ranks)
        found = optimizer_state.gather_weights(trained)
        if rank == 0:
            torch.save(found | {"losses": torch.stack(losses)}, f"{folder}/{stage}.pt")
    dist.barrier()  # no rank leaves while another is at work
    os._exit(0)  # DeepSpeed keeps the process group: an orderly end may abort while threads of it are alive


def test_every_stage_and_micro_batch_is_a_plain_loop(tmp_path: Path, monkeypatch) -> None:
    """Two ranks at every ZeRO stage, some with a few clips at once: losses and weights of one process."""
    for name, value in {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    torch.multiprocessing.spawn(_rank, (2, str(tmp_path)), nprocs=2)
    expected = {what: _plain_loop(what) for what in ("all", "head")}
    for stage, _, what in ARMS:
        found, untrained = torch.load(tmp_path / f"{stage}.pt"), classifier(what).state_dict()
        assert found.keys() == expected[what].keys()
        for name, value in expected[what].items():
            if name == "losses":
                torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
            else:
                way = (value - untrained[name]).norm()
                assert (found[name] - value).norm() <= 1e-2 * way + 1e-6, f"stage {stage}, {what}: {name}"
