"""DeepSpeed's engine: its configuration, derived from the run's settings, and a training step.

Only this file and optimizer_state.py import deepspeed and know of ZeRO stages.
"""

from collections.abc import Sequence
from functools import partial

import deepspeed
import deepspeed.ops
import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from torch import Tensor, nn

from model.objectives.interface import Objective
from model.objectives.teacher import whole_weight
from model.transfer import BETAS
from orchestration.rank import collectives
from orchestration.rank.eager_adamw import EagerAdamW
from orchestration.rank.optimizer_state import prepare_moments, trained_weights
from orchestration.run.precision import resolved
from orchestration.run.settings import Run

# Numbers of a bucket of gradients. DeepSpeed's default of 5e8 is more than any size of the ladder has: nothing would be
# sent before the backward pass ends, and the two buffers that ZeRO makes of this size would take more than it saves.
BUCKET = 2**24


def deepspeed_config(run: Run, workers: int) -> dict[str, object]:
    """DeepSpeed's JSON for a number of workers; the only place where DeepSpeed is configured."""
    micro_batch = run.micro_batch(workers)
    zero: dict[str, object] = {
        "stage": run.cluster.zero_stage,
        "reduce_bucket_size": BUCKET,
        "allgather_bucket_size": BUCKET,
        "overlap_comm": run.cluster.zero_stage > 0,  # each full bucket is reduced while the backward pass goes on
    }
    if run.cluster.zero_stage == 3:
        zero["stage3_param_persistence_threshold"] = 0  # a weight that stays whole would miss updates of the teacher
    return {
        "train_batch_size": run.schedule.batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": run.schedule.batch // workers // micro_batch,
        "gradient_clipping": run.schedule.clip_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,  # it knows AdamW, but not that EagerAdamW is one
        "torch_autocast": {
            "enabled": resolved(run.cluster.precision) == "bf16",
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],  # else ZeRO reduces their gradients in bf16, which stage 0 does not
        },
        "timers": {"throughput": {"enabled": False}},  # it waits for the device twice a step
        "steps_per_print": 2**31,  # never: the rank reports
    }


def start_engine(run: Run, module: Objective) -> DeepSpeedEngine:
    """An engine that trains the student of an objective, in the process group of Ray Train."""
    # None of DeepSpeed's own kernels is used. It would run the compiler to see which it could build, and build one of
    # its own for collectives on CPU, for which every machine would need a C++ compiler.
    vars(deepspeed.ops)["__compatible_ops__"] = {}
    deepspeed.init_distributed(dist_init_required=False, verbose=False)
    module.set_recompute(run.cluster.recompute)
    if run.cluster.compile:
        module.compile_blocks()
    groups = module.parameter_groups(run.schedule.weight_decay)
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=EagerAdamW(groups, lr=run.schedule.lr, betas=BETAS, fused=True),
        config=deepspeed_config(run, dist.get_world_size()),
        dist_init_required=False,
    )
    if not engine.zero_optimization():
        engine.clip_fp32_gradients = partial(_clip, engine)  # DeepSpeed's own does not return the norm
    prepare_moments(engine)
    return engine


def set_lr(engine: DeepSpeedEngine, lr: float) -> None:
    """Set the learning rate of the next step, scaled for each group."""
    for group in engine.optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def train_step(engine: DeepSpeedEngine, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
    """One step of the optimizer and one of the teacher; metrics of this rank, and the norm of the gradient.

    batch: the tensors of this rank's share, as the objective takes them. As many items as a micro batch holds go
    through the network at once; the step is the same for any number, up to rounding.
    """
    if engine.gradient_accumulation_steps() == 1:
        metrics = engine(*batch, step=step, gather=collectives.gather)
        engine.backward(metrics["loss"])
        engine.step()
    else:
        metrics = _accumulate(engine, batch, step)
    engine.module.update_teacher(_local_shard if engine.zero_optimization_stage() == 3 else whole_weight)
    norm = torch.as_tensor(engine.get_global_grad_norm(), device=engine.device)
    return {name: value.detach().float() for name, value in (metrics | {"gradient_norm": norm}).items()}


def _accumulate(engine: DeepSpeedEngine, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
    """The gradient of the whole share, a micro batch at a time (gradient caching, Gao et al., RepL4NLP 2021).

    First all items are embedded without keeping activations, and the loss gives its gradients in the embeddings; then
    each micro batch is embedded again, and its part of these gradients goes on into the weights. To accumulate the
    gradients of one loss a micro batch, as is usual, would be another loss: each item would have fewer negatives.
    """
    module: Objective = engine.module
    size, count = engine.train_micro_batch_size_per_gpu(), engine.gradient_accumulation_steps()
    micro_batches = list(zip(*(tensor.split(size) for tensor in batch), strict=True))
    with torch.no_grad(), engine_precision(engine):
        results = [module.embed_batch(one[: module.num_inputs], step=step) for one in micro_batches]
    embedded, metrics = zip(*results, strict=True)
    whole = [torch.cat(one).detach().requires_grad_() for one in zip(*embedded, strict=True)]
    found = module.compare(whole, batch[module.num_inputs :], step=step, gather=collectives.gather)
    found["loss"].backward()
    output_grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in whole]
    split_grads = list(zip(*(grad.split(size) for grad in output_grads), strict=True))
    for micro_batch, grads in zip(micro_batches, split_grads, strict=True):
        loss = engine(*micro_batch, step=step, output_grads=grads)["loss"]
        engine.backward(loss * count)  # DeepSpeed divides by the count
        engine.step()  # steps the optimizer at the last micro batch alone
    return found | {name: torch.stack([one[name] for one in metrics]).mean() for name in metrics[0]}


def engine_precision(engine: DeepSpeedEngine) -> torch.autocast:
    """The precision in which the engine runs its module, for code that calls the module directly."""
    enabled = engine.torch_autocast_enabled()
    return torch.autocast(engine.device.type, dtype=torch.bfloat16, enabled=enabled)


def _clip(engine: DeepSpeedEngine) -> None:
    """Clip the gradient, and store its norm in the attribute in which ZeRO's optimizers store it."""
    weights = [weight for _, weight in trained_weights(engine.module)]
    engine.optimizer._global_grad_norm = torch.nn.utils.clip_grad_norm_(weights, engine.gradient_clipping())


def _local_shard(weight: nn.Parameter) -> Tensor:
    """The shard of a weight that this rank stores, at ZeRO stage 3."""
    return weight.ds_tensor  # type: ignore[attr-defined]  # DeepSpeed adds it
