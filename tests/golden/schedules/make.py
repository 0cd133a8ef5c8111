"""Learning rates of PyTorch's schedulers: python make.py > schedules.json

Made with torch 2.15.
"""
import json
import math

import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau


def optimizer(rate):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def plateau(values, rate, **settings):
    own = optimizer(rate)
    scheduler = ReduceLROnPlateau(own, **settings)
    rates = []
    for value in values:
        rates.append(own.param_groups[0]["lr"])
        own.step()
        scheduler.step(value)
    return rates


def one_cycle(**settings):
    own = optimizer(1.0)
    scheduler = OneCycleLR(own, cycle_momentum=False, **settings)
    rates = []
    for step in range(settings["total_steps"]):
        rates.append(own.param_groups[0]["lr"])
        own.step()
        if step + 1 < settings["total_steps"]:
            scheduler.step()
    return rates


values = [1 + math.sin(index * 1.7) / (index + 1) for index in range(30)]
print(json.dumps({
    "values": values,
    "lowest": plateau(values, 0.1, mode="min", factor=0.5, patience=2),
    "highest": plateau(values, 0.1, mode="max", factor=0.1, patience=1, cooldown=3, min_lr=0.002),
    "threshold": plateau([1 - 0.01 * index for index in range(30)], 0.1, mode="min", factor=0.1, patience=3, threshold=0.05),
    "one_cycle": one_cycle(max_lr=0.1, total_steps=20),
    "one_cycle_other": one_cycle(max_lr=0.01, total_steps=7, pct_start=0.5, div_factor=10, final_div_factor=100),
}))
