"""DeepSpeed, and nothing but DeepSpeed: its one configuration, derived from the run; its engine; its optimizer's state.

The optimizer's state goes in and out whole, by the name of the weight, so that a checkpoint is the same for every ZeRO
stage and every number of workers. No one else imports deepspeed.
"""

import deepspeed
import deepspeed.ops
import torch
from deepspeed import DeepSpeedEngine
from deepspeed.utils import safe_get_full_optimizer_state, safe_set_full_optimizer_state
from torch import Tensor, nn

from model.objective import PartContrast
from model.transfer import BETAS, parameter_groups
from orchestration.runs import PretrainRun

MOMENTS = ("exp_avg", "exp_avg_sq")


def deepspeed_config(run: PretrainRun) -> dict[str, object]:
    """DeepSpeed's JSON. Nothing in it is set elsewhere; the batch is written once, in the schedule."""
    return {
        "train_batch_size": run.schedule.batch,
        "train_micro_batch_size_per_gpu": run.schedule.batch // run.cluster.workers,
        "gradient_clipping": run.schedule.clip_norm,
        "zero_optimization": {"stage": run.cluster.zero_stage},
        "torch_autocast": {"enabled": run.cluster.precision == "bf16", "dtype": "bfloat16"},
        "steps_per_print": 2**31,  # the worker reports
    }


def start_engine(run: PretrainRun, module: PartContrast) -> DeepSpeedEngine:
    """An engine that trains the student of a module, in the process group that Ray Train has set up."""
    # DeepSpeed would compile a collective of its own on CPU, which needs a C++ compiler on every machine; gloo serves.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_init_required=False, verbose=False)
    groups = parameter_groups(module.student, run.network.size, run.schedule.weight_decay)
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=torch.optim.AdamW(groups, lr=run.schedule.rate, betas=BETAS),
        config=deepspeed_config(run),
        dist_init_required=False,
    )
    _prepare_state(engine)
    return engine


def set_rate(engine: DeepSpeedEngine, rate: float) -> None:
    """The learning rate of the next step, of which each group has its share."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]


def optimizer_state(engine: DeepSpeedEngine) -> dict[str, Tensor]:
    """AdamW's moments of every trained weight, whole, on the CPU. Every rank must call it."""
    state = {}
    for name, parameter in _trained(engine.module):
        for moment in MOMENTS:
            if engine.zero_optimization():
                value = safe_get_full_optimizer_state(parameter, moment)
            else:
                value = engine.optimizer.state[parameter][moment]
            state[f"{name}.{moment}"] = value.detach().cpu().clone().contiguous()
    return state


def restore_optimizer(engine: DeepSpeedEngine, state: dict[str, Tensor], step: int) -> None:
    """Give the optimizer its moments and its count of steps back, before the first step. Every rank must call it."""
    for name, parameter in _trained(engine.module):
        for moment in MOMENTS:
            value = state[f"{name}.{moment}"].to(parameter.device)
            if engine.zero_optimization():
                safe_set_full_optimizer_state(parameter, value, moment)
            else:
                engine.optimizer.state[parameter][moment].copy_(value)
    for of_tensor in _torch_optimizer(engine).state.values():
        of_tensor["step"].fill_(step)


def _prepare_state(engine: DeepSpeedEngine) -> None:
    """Zero moments for every tensor that the optimizer steps, before its first step.

    AdamW makes them at its first step; but ZeRO links them to the weights after the first step of the first parameter
    group, when those of the second do not exist yet (DeepSpeed 0.19.8), and a resumed run needs them before any step.
    """
    optimizer = _torch_optimizer(engine)
    zero = engine.zero_optimization()
    stepped = engine.optimizer.single_partition_of_fp32_groups if zero else [p for _, p in _trained(engine.module)]
    for tensor in stepped:
        optimizer.state[tensor] = {"step": torch.tensor(0.0), **{name: torch.zeros_like(tensor) for name in MOMENTS}}
    if zero:
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def _torch_optimizer(engine: DeepSpeedEngine) -> torch.optim.Optimizer:
    """The optimizer inside ZeRO's; the engine's own at stage 0."""
    return engine.optimizer.optimizer if engine.zero_optimization() else engine.optimizer


def _trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
