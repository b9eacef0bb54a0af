"""AdamW without the compiler is torch's AdamW."""

import torch
from torch import nn
from torch.optim import AdamW

from orchestration.rank.eager_adamw import EagerAdamW


def trained(kind: type[AdamW], steps: int) -> tuple[list[torch.Tensor], AdamW]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))
    groups = [{"params": list(net[0].parameters()), "weight_decay": 0.1}]
    optimizer = kind(groups, lr=1e-2, betas=(0.9, 0.95), fused=True)
    optimizer.add_param_group({"params": list(net[2].parameters()), "lr": 1e-3})
    for step in range(steps):
        optimizer.zero_grad()
        net(torch.randn(4, 7)).square().mean().backward()
        optimizer.step()
        if step == steps // 2:
            optimizer.load_state_dict(optimizer.state_dict())
    return [weight.detach() for weight in net.parameters()], optimizer


def test_it_trains_to_the_same_weights_to_the_bit() -> None:
    ours, optimizer = trained(EagerAdamW, 9)
    theirs, reference = trained(AdamW, 9)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert all(weight.requires_grad for group in optimizer.param_groups for weight in group["params"])
    assert optimizer.state_dict()["param_groups"] == reference.state_dict()["param_groups"]


def test_a_scheduler_finds_the_steps_that_it_counts() -> None:
    _, optimizer = trained(EagerAdamW, 1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [5e-3, 5e-4]
