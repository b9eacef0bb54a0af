"""Weights and AdamW's moments of a DeepSpeed engine, gathered for a checkpoint and restored from it.

Each is gathered whole, under the name of its weight, so that a checkpoint is the same for every ZeRO stage and every
number of workers; DeepSpeed's own checkpoints of ZeRO 1 to 3 can be loaded by the same number alone. Relies on the
internals of DeepSpeed 0.19.8.
"""

import deepspeed
import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from deepspeed.utils import (
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
    safe_set_local_optimizer_state,
)
from torch import Tensor, nn
from torch.nn import functional

from orchestration.rank import collectives

MOMENTS = ("exp_avg", "exp_avg_sq")
State = dict[str, Tensor]


def trained_weights(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The weights that the optimizer steps, by name."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]


def gather_weights(engine: DeepSpeedEngine) -> State:
    """A copy of all weights and buffers on the CPU of rank 0; empty on the others. Every rank must call it."""
    found: State = {}
    for name, parameter in engine.module.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], enabled=engine.zero_optimization_stage() == 3):
            if dist.get_rank() == 0:
                found[name] = _copy(parameter)
    if dist.get_rank() == 0:
        found |= {name: _copy(buffer) for name, buffer in engine.module.named_buffers()}
    return found


def gather_moments(engine: DeepSpeedEngine) -> State:
    """A copy of AdamW's moments of each trained weight on the CPU of rank 0; empty on the others. All must call it."""
    found: State = {}
    for name, parameter in trained_weights(engine.module):
        for moment in MOMENTS:
            if engine.zero_optimization():
                value = safe_get_full_optimizer_state(parameter, moment)
            else:
                value = engine.optimizer.state[parameter][moment]
            if dist.get_rank() == 0:
                found[f"{name}.{moment}"] = _copy(value)
    return found


def share_weights(module: nn.Module, device: torch.device) -> None:
    """Give the weights and buffers of rank 0 to all ranks, before the engine starts. Every rank must call it.

    device: of this rank, on which the ranks communicate; the module may lie elsewhere.
    """
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.copy_(collectives.broadcast(tensor, device))


def restore_moments(engine: DeepSpeedEngine, moments: State, step: int) -> None:
    """Restore the optimizer's moments and step count, before its first step. Every rank must call it.

    moments: of each trained weight, as `gather_moments` gives them, on rank 0, which sends them to the others: storage
    that many ranks read at once is slow.
    """
    for name, parameter in trained_weights(engine.module):
        shape = getattr(parameter, "ds_shape", parameter.shape)  # ZeRO 3 keeps a shard, and the shape in an attribute
        for moment in MOMENTS:
            own = moments[f"{name}.{moment}"] if dist.get_rank() == 0 else torch.empty(shape)
            value = collectives.broadcast(own, engine.device)
            if engine.zero_optimization_stage() == 3:
                # safe_set_full_optimizer_state fails at stage 3 where the last rank's shard is padded.
                size = parameter.ds_tensor.numel()  # type: ignore[attr-defined]  # DeepSpeed adds it
                padded = functional.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
                safe_set_local_optimizer_state(parameter, padded.narrow(0, size * dist.get_rank(), size), moment)
            elif engine.zero_optimization():
                safe_set_full_optimizer_state(parameter, value, moment)
            else:
                assert value.shape == parameter.shape, f"{name}.{moment}: {value.shape} for {parameter.shape}"
                engine.optimizer.state[parameter][moment].copy_(value)
    for state in _torch_optimizer(engine).state.values():
        state["step"].fill_(step)


def prepare_moments(engine: DeepSpeedEngine) -> None:
    """Create zero moments for every tensor that the optimizer steps, before its first step.

    AdamW creates them at its first step. But ZeRO 1 and 2 link them to the weights after the first step of the first
    parameter group, when those of the second do not exist yet; and a resumed run restores them before any step.
    """
    optimizer = _torch_optimizer(engine)
    for tensor in _optimized_tensors(engine):
        step = torch.zeros((), device=tensor.device)  # fused kernels read it there
        optimizer.state[tensor] = {"step": step, **{name: torch.zeros_like(tensor) for name in MOMENTS}}
    if engine.zero_optimization_stage() in (1, 2):
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def _optimized_tensors(engine: DeepSpeedEngine) -> list[Tensor]:
    """The tensors that the optimizer steps: this rank's flat partitions with ZeRO, the weights without."""
    stage = engine.zero_optimization_stage()
    if stage == 0:
        return [parameter for _, parameter in trained_weights(engine.module)]
    return (
        engine.optimizer.fp32_partitioned_groups_flat
        if stage == 3
        else engine.optimizer.single_partition_of_fp32_groups
    )


def _torch_optimizer(engine: DeepSpeedEngine) -> torch.optim.Optimizer:
    """The torch optimizer, which ZeRO's optimizer wraps."""
    return engine.optimizer.optimizer if engine.zero_optimization() else engine.optimizer


def _copy(value: Tensor) -> Tensor:
    """A copy on the CPU; from a GPU into page-locked memory, which is several times as fast."""
    copied = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
    return copied.copy_(value.detach())
