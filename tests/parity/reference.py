#!/usr/bin/env python3
"""How PyTorch trains a network: losses of some AdamW steps, gradients of the first, running statistics after the last.

Float32, on the CPU, everything in eval mode (BatchNorm with frozen statistics, no dropout), or only BatchNorm in
training. Cross-entropy with ignore index 255, or mean squared error.

needs: torch and what networks.py needs
usage: reference.py NETWORK OUT_DIR [--bn frozen|train] [--steps 20]
writes OUT_DIR/NETWORK.batches.safetensors: `images` [S, N, 3, H, W] f32, `labels` [S, N, H, W] i64 (some 255), or
float targets [S, N, C, H, W] for regression; and OUT_DIR/NETWORK.BN.safetensors: `losses` [S] f64, `gradient.PARAMETER`,
`running.BUFFER`, `weight.PARAMETER` (after the last step)
"""
import argparse
import copy
import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import networks
from parameters import gradient_errors, save

STEPS, LR, DECAY = 20, 1e-4, 0.01
# of the training before the comparison
SETTLING_STEPS, SETTLING_LR, SETTLING_BATCH = 60, 1e-3, 4


@dataclass
class Reference:
    losses: list
    gradients: dict
    running: dict
    weights: dict

    def running_in(self, match):
        """The statistics that the file holds."""
        return {n: a for n, a in self.running.items() if n in match.shapes}


def batches(network, steps=STEPS, batch=None, first=100, seed=21):
    """Smooth images and classes that follow from them, the same ones every time; `first` and `seed` give others."""
    generator = torch.Generator().manual_seed(seed)
    size = network.size
    batch = batch or network.batch
    images = torch.stack([torch.cat([networks.smooth_image(size, first + batch * s + n) for n in range(batch)]) for s in range(steps)])
    images = (images + 0.5 * torch.randn(steps, batch, networks.BANDS, 1, 1, generator=generator)).contiguous()
    if network.loss == "mse":
        return images, images[:, :, [1, 0]].contiguous()
    score = images[:, :, 0] + 0.5 * images[:, :, 1] * images[:, :, 2]
    labels = torch.bucketize(score, torch.tensor([-1.5, -0.5, 0.5, 1.5]))
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = 255
    labels[1::4, 0, : size // 4] = 255
    return images, labels


@functools.cache
def settled(name):
    """The network after some steps of training on other batches, in eval mode; the caller must not change it.

    Finetuning begins with a trained network. With raw random weights training amplifies rounding so fast that losses of
    two runs of PyTorch itself differ by per cents after 20 steps, and no comparison of losses says anything.
    """
    network = networks.NETWORKS[name]
    model = networks.build(name)
    optimizer = torch.optim.AdamW(prepare(model, None, True), lr=SETTLING_LR)
    data = batches(network, SETTLING_STEPS, max(network.batch, SETTLING_BATCH), 5000, 22)
    torch.manual_seed(0)
    for step, (image, label) in enumerate(zip(*data)):
        for group in optimizer.param_groups:
            group["lr"] = SETTLING_LR * min(1, (step + 1) / 10) * (1 - step / SETTLING_STEPS)
        optimizer.zero_grad()
        loss_of(model(image), label, network.loss).backward()
        optimizer.step()
    model.requires_grad_(True)
    return model.eval()


def loss_of(output, labels, loss):
    if loss == "mse":
        return F.mse_loss(output, labels.to(output.dtype))
    return F.cross_entropy(output, labels, ignore_index=255)


def prepare(model, trained, norm_in_training):
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(norm_in_training)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained is None or name in trained)
    return [p for p in model.parameters() if p.requires_grad]


def gradients_of(model):
    return {n: p.grad.numpy().copy() for n, p in model.named_parameters() if p.grad is not None}


def own_error(model, batch, loss="ce", norm_in_training=False, trained=None):
    """How far float32 gradients of one batch, also of the images changed by a millionth, are from float64's: the
    largest error of a parameter."""
    image, label = batch
    found = []
    for precision in (torch.float64, torch.float32, torch.float32, torch.float32):
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(len(found)), dtype=image.dtype)
        changed = image.to(precision) if len(found) < 2 else image * (1 + 1e-6 * noise)
        one = copy.deepcopy(model).to(precision)
        prepare(one, trained, norm_in_training)
        loss_of(one(changed), label, loss).backward()
        found.append(gradients_of(one))
    return max(max(gradient_errors(other, found[0]).values()) for other in found[1:])


def run(model, data, loss="ce", norm_in_training=False, trained=None, lr=LR, decay=DECAY):
    """Trains a copy. `trained`: names of parameters, all if None."""
    images, labels = data
    model = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(prepare(model, trained, norm_in_training), lr=lr, weight_decay=decay)
    losses, gradients = [], {}
    for step, (image, label) in enumerate(zip(images, labels)):
        optimizer.zero_grad()
        value = loss_of(model(image), label, loss)
        value.backward()
        if step == 0:
            gradients = gradients_of(model)
        optimizer.step()
        losses.append(value.item())
    running = {n: b.numpy().copy() for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var"))}
    weights = {n: p.detach().numpy().copy() for n, p in model.named_parameters()}
    return Reference(losses, gradients, running, weights)


def untrained_losses(model, data, loss="ce", norm_in_training=False):
    """What the losses would be without training."""
    model = copy.deepcopy(model)
    prepare(model, None, norm_in_training)
    with torch.no_grad():
        return np.array([loss_of(model(image), label, loss).item() for image, label in zip(*data)])


def spread(model, data, result, loss="ce", norm_in_training=False, trained=None, lr=LR):
    """How far PyTorch's losses are from its own where the images differ by rounding: the largest relative difference
    up to each step, over two such runs."""
    images, labels = data
    worst = np.zeros(len(images))
    for seed in (1, 2):
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
        other = run(model, (images * (1 + 3e-7 * noise), labels), loss, norm_in_training, trained, lr)
        worst = np.maximum(worst, np.abs(np.array(other.losses) / np.array(result.losses) - 1))
    return np.maximum.accumulate(worst)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("network", choices=networks.NETWORKS)
    p.add_argument("out", type=Path)
    p.add_argument("--bn", choices=["frozen", "train"], default="frozen")
    p.add_argument("--steps", type=int, default=STEPS)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    network = networks.NETWORKS[a.network]
    data = batches(network, a.steps)
    save({"images": data[0].numpy(), "labels": data[1].numpy()}, a.out / f"{a.network}.batches.safetensors")
    model = settled(a.network)
    result = run(model, data, network.loss, a.bn == "train", lr=network.lr)
    own = own_error(model, tuple(x[0] for x in data), network.loss, a.bn == "train")
    tensors = {"losses": np.array(result.losses)}
    for kind, group in (("gradient", result.gradients), ("running", result.running), ("weight", result.weights)):
        tensors |= {f"{kind}.{name}": array for name, array in group.items()}
    save(tensors, a.out / f"{a.network}.{a.bn}.safetensors")
    print(f"{a.network}: loss {result.losses[0]:.6f} -> {result.losses[-1]:.6f}, float32's own gradient error {own:.1e}")


if __name__ == "__main__":
    sys.exit(main())
