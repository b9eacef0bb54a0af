"""DeepSpeed, and nothing but DeepSpeed: its one configuration, derived from the run; its engine; its training step.

What differs between the ZeRO stages ends here and in engine_state.py, which takes a checkpoint's weights and moments
out of an engine and puts them back. No one else imports deepspeed.
"""

from collections.abc import Sequence
from functools import partial

import deepspeed
import deepspeed.ops
import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from torch import Tensor, nn

from model.transfer import BETAS
from orchestration.rank import collectives
from orchestration.rank.optimizer_state import prepare_moments, trained_weights
from orchestration.rank.work import Trained
from orchestration.run.settings import Run


def deepspeed_config(run: Run, workers: int) -> dict[str, object]:
    """DeepSpeed's JSON for so many workers. Nothing in it is set elsewhere; the batch is that of the schedule."""
    micro_batch = run.micro_batch(workers)
    zero: dict[str, object] = {"stage": run.cluster.zero_stage}
    if run.cluster.zero_stage == 3:
        zero["stage3_param_persistence_threshold"] = 0  # a weight that stays whole would miss the teacher's own steps
    return {
        "train_batch_size": run.schedule.batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": run.schedule.batch // workers // micro_batch,
        "gradient_clipping": run.schedule.clip_norm,
        "zero_optimization": zero,
        "torch_autocast": {"enabled": run.cluster.precision == "bf16", "dtype": "bfloat16"},
        "steps_per_print": 2**31,  # the worker reports
    }


def start_engine(run: Run, module: Trained) -> DeepSpeedEngine:
    """An engine that trains the student of a module, in the process group that Ray Train has set up."""
    # DeepSpeed would compile a collective of its own on CPU, which needs a C++ compiler on every machine; gloo serves.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_init_required=False, verbose=False)
    module.student.encoder.recompute = run.cluster.recompute
    groups = module.parameter_groups(run.schedule.weight_decay)
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=torch.optim.AdamW(groups, lr=run.schedule.lr, betas=BETAS),
        config=deepspeed_config(run, dist.get_world_size()),
        dist_init_required=False,
    )
    if not engine.zero_optimization():
        engine.clip_fp32_gradients = partial(_clip, engine)  # DeepSpeed's own does not tell the norm
    prepare_moments(engine)
    return engine


def set_rate(engine: DeepSpeedEngine, rate: float) -> None:
    """The learning rate of the next step, of which each group has its share."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]


def train_step(engine: DeepSpeedEngine, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
    """One optimizer step and one of the teacher; what is watched, of this rank, and the norm of the gradient.

    batch: what the module takes, of this rank's share. As many items as a micro batch holds go through the network at
    once; the step is the same for any number, up to rounding.
    """
    if engine.gradient_accumulation_steps() == 1:
        watched = engine(*batch, step=step, gather=collectives.gather)
        engine.backward(watched["loss"])
        engine.step()
    else:
        watched = _accumulate(engine, batch, step)
    engine.module.update_teacher(_held if engine.zero_optimization_stage() == 3 else _whole)
    norm = torch.as_tensor(engine.get_global_grad_norm(), device=engine.device)
    return {name: value.detach().float() for name, value in (watched | {"gradient_norm": norm}).items()}


def _accumulate(engine: DeepSpeedEngine, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
    """The gradient of the whole share, a few items at a time (gradient caching, Gao et al., RepL4NLP 2021).

    First all items are embedded without keeping activations, and the loss gives its gradients in the embeddings; then
    each few are embedded again, and these gradients go on into the weights. A mean of losses over fewer items each, as
    it is usually accumulated, would be another loss.
    """
    module: Trained = engine.module
    micro_batch, count = engine.train_micro_batch_size_per_gpu(), engine.gradient_accumulation_steps()
    parts = list(zip(*(one.split(micro_batch) for one in batch), strict=True))
    with torch.no_grad(), engine_precision(engine):
        of_parts = (module.embed_batch(*part[: module.inputs], step=step) for part in parts)
        embedded, watched = zip(*of_parts, strict=True)
    whole = [torch.cat(one).detach().requires_grad_() for one in zip(*embedded, strict=True)]
    found = module.compare(*whole, *batch[module.inputs :], step=step, gather=collectives.gather)
    found["loss"].backward()
    output_grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in whole]
    shares = list(zip(*(one.split(micro_batch) for one in output_grads), strict=True))
    for part, share in zip(parts, shares, strict=True):
        engine.backward(engine(*part, step=step, output_grads=share)["loss"] * count)  # DeepSpeed divides by the count
        engine.step()  # at the last one
    return found | {name: torch.stack([one[name] for one in watched]).mean() for name in watched[0]}


def engine_precision(engine: DeepSpeedEngine) -> torch.autocast:
    """The precision in which the engine runs its module, for what runs it without the engine."""
    enabled = engine.torch_autocast_enabled()
    return torch.autocast(engine.device.type, dtype=torch.bfloat16, enabled=enabled)


def _clip(engine: DeepSpeedEngine) -> None:
    """Clip the gradient, and leave its norm where ZeRO's optimizers leave it."""
    weights = [weight for _, weight in trained_weights(engine.module)]
    engine.optimizer._global_grad_norm = torch.nn.utils.clip_grad_norm_(weights, engine.gradient_clipping())


def _whole(weight: nn.Parameter) -> Tensor:
    return weight


def _held(weight: nn.Parameter) -> Tensor:
    """What this rank holds of a weight that ZeRO has shared out."""
    return weight.ds_tensor
