"""AdamW without torch's compiler, which compiles nothing here, and whose import takes a second or two."""

import inspect

import torch
from torch.optim import AdamW, Optimizer


class EagerAdamW(AdamW):
    """torch's AdamW, of which no method imports the compiler.

    torch's own methods do so when they are first called, to exempt themselves from compilation: these are the same ones
    without that.
    """

    step = torch.no_grad()(inspect.unwrap(AdamW.step))
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
