#!/usr/bin/env python3
"""Makes optimizers.safetensors: what torch.optim's optimizers and clippings do, float32.

Inputs: `matrix` [7, 5] and `scalar` []: two parameters; `matrix.gradients` [10, 7, 5] and `scalar.gradients` [10]: the
gradients of ten steps (the fourth of the matrix is all zero), `lr` [10]: a learning rate a step.
Results, from a float64 run: `NAME.matrix` [10, 7, 5] and `NAME.scalar` [10]: the parameters after each step. NAME says
the optimizer; the metadata's entry of that name its options, JSON. Both parameters are in one group, save in `groups`:
there the scalar has weight decay 0 and a tenth of the learning rate.

Clipping, of the first step's two gradients together (one norm): `clip.norm_0.5.matrix` and `.scalar`, `clip.norm_0.5.total`
the norm before (torch divides by total + 1e-6); `clip.norm_100.*` (too large to matter), `clip.value_0.3.*`.
`ema.matrix` [10, 7, 5]: average of adamw's weights, e = 0.9 e + 0.1 w, from e = the weights before the first step.
`accumulated.matrix` [5, 7, 5], `accumulated.scalar` [5]: adamw, each step with the mean of two gradients in turn.
"""
import json
import sys
from pathlib import Path

import torch

here = Path(__file__).parent
sys.path.insert(0, str(here / "../../parity"))
from parameters import save  # noqa: E402

torch.set_num_threads(1)
STEPS = 10
generator = torch.Generator().manual_seed(9)


def normal(*shape):
    """Rounded to float32, in float64."""
    return torch.randn(shape, generator=generator).double()


matrix, scalar = normal(7, 5), normal()
scale = torch.logspace(-3, 0, 5, dtype=torch.float64)
gradients = [(normal(7, 5) * scale).float().double() for _ in range(STEPS)]
gradients[3] = torch.zeros(7, 5, dtype=torch.float64)
scalars = [normal() for _ in range(STEPS)]
lr = torch.tensor([0.05, 0.05, 0.04, 0.04, 0.03, 0.03, 0.02, 0.02, 0.01, 0.01])

OPTIMIZERS = {
    "sgd": ("SGD", {}),
    "sgd.momentum": ("SGD", {"momentum": 0.9}),
    "sgd.nesterov": ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "sgd.dampening": ("SGD", {"momentum": 0.6, "dampening": 0.1, "weight_decay": 1e-4}),
    "adam": ("Adam", {}),
    "adam.decay": ("Adam", {"eps": 1e-4, "weight_decay": 0.1}),
    "amsgrad": ("Adam", {"amsgrad": True, "betas": [0.8, 0.9]}),
    "adamw": ("AdamW", {"weight_decay": 0.01}),
    "adamw.betas": ("AdamW", {"weight_decay": 0.3, "betas": [0.7, 0.95], "eps": 1e-3}),
    "adamw.amsgrad": ("AdamW", {"weight_decay": 0.01, "amsgrad": True}),
    "rmsprop": ("RMSprop", {"alpha": 0.9, "eps": 1e-4}),
    "rmsprop.momentum": ("RMSprop", {"alpha": 0.9, "eps": 1e-4, "momentum": 0.6, "weight_decay": 0.01}),
}
out = {"matrix": matrix, "scalar": scalar, "matrix.gradients": torch.stack(gradients), "scalar.gradients": torch.stack(scalars), "lr": lr}


def run(kind, options, split=False, pairs=None):
    a, b = matrix.clone().requires_grad_(), scalar.clone().requires_grad_()
    groups = [{"params": [a], "times": 1.0}, {"params": [b], "times": 0.1, "weight_decay": 0.0}] if split else [a, b]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    optimizer = getattr(torch.optim, kind)(groups, lr=0.0, **options)
    first, second = [], []
    for step, (g, h) in enumerate(pairs or zip(gradients, scalars)):
        for group in optimizer.param_groups:
            group["lr"] = lr[step].double().item() * group.get("times", 1.0)
        a.grad, b.grad = g.clone(), h.clone()
        optimizer.step()
        first.append(a.detach().clone())
        second.append(b.detach().clone())
    return torch.stack(first), torch.stack(second)


for name, (kind, options) in OPTIMIZERS.items():
    out[f"{name}.matrix"], out[f"{name}.scalar"] = run(kind, options)
out["groups.matrix"], out["groups.scalar"] = run("AdamW", {"weight_decay": 0.2}, split=True)
halves = [((gradients[i] + gradients[i + 1]) / 2, (scalars[i] + scalars[i + 1]) / 2) for i in range(0, STEPS, 2)]
out["accumulated.matrix"], out["accumulated.scalar"] = run("AdamW", {"weight_decay": 0.01}, pairs=halves)
mean, averages = matrix.clone(), []
for weights in out["adamw.matrix"]:
    mean = 0.9 * mean + 0.1 * weights
    averages.append(mean)
out["ema.matrix"] = torch.stack(averages)


def clip(how, limit):
    a, b = matrix.clone().requires_grad_(), scalar.clone().requires_grad_()
    a.grad, b.grad = gradients[0].clone(), scalars[0].clone()
    total = how([a, b], limit)
    return a.grad, b.grad, total


for limit in (0.5, 100.0):
    a, b, total = clip(torch.nn.utils.clip_grad_norm_, limit)
    out[f"clip.norm_{limit:g}.matrix"], out[f"clip.norm_{limit:g}.scalar"], out[f"clip.norm_{limit:g}.total"] = a, b, total
out["clip.value_0.3.matrix"], out["clip.value_0.3.scalar"], _ = clip(torch.nn.utils.clip_grad_value_, 0.3)

notes = {name: json.dumps({"optimizer": kind, **options}) for name, (kind, options) in OPTIMIZERS.items()}
notes["groups"] = json.dumps({"optimizer": "AdamW", "weight_decay": 0.2, "scalar": {"weight_decay": 0.0, "lr_times": 0.1}})
notes["torch"] = torch.__version__
save({k: v.float().numpy() for k, v in out.items()}, here / "optimizers.safetensors", notes)
for name in notes:
    if name != "torch":
        print(f"{name:18} {out[name + '.matrix'][-1].sum():.6f} {out[name + '.scalar'][-1]:.6f}")
