#!/usr/bin/env python3
"""Makes NETWORK.FORM.lora.safetensors: how PyTorch trains low-rank adapters of the networks of this folder.

Every weight of a linear layer and of a 1 x 1 convolution of one group, W [P, Q] in the layout of the file, becomes
W + s L R with s = ALPHA / RANK, L [P, RANK] and R [RANK, Q]; only L and R are trained, five steps of AdamW on the batches of
batches.safetensors, in float64. The factor that meets the layer's input (of size `in`) is called lora_A, the other lora_B.
B begins with zeros, A uniformly within 1/sqrt(in), from SplitMix64 begun at SEED xor FNV-1a of the weight's name, of whose
numbers the upper 24 bits count.

  losses [5] f64            loss of every step
  gradient.NAME.lora_B      gradient of the first step (that of A is zero then)
  weights.NAME.lora_A, _B   the factors after five steps
  merged.NAME               the weight with its adapter
  logits                    of the first batch, after five steps
  metadata                  params, seed, lr, weight_decay, torch: the version

needs: numpy, onnx, onnxruntime, onnxscript, safetensors, torch (as make.py, whose files it takes)
usage: lora.py
"""
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

here = Path(__file__).parent
sys.path.insert(0, str(here / "../../parity"))
sys.path.insert(0, str(here))
import parameters  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

RANK, ALPHA, SEED, LR, DECAY = 2, 4.0, 7, 1e-2, 0.01
FORMS = ["vit.ts17", "segformer.dynamo20", "mobile.ts17"]
MASK = (1 << 64) - 1


def uniform(name, count, fan_in):
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    state ^= SEED
    bound, values = np.float32(1) / np.sqrt(np.float32(fan_in)), []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        values.append((np.float32(z >> 40) / np.float32(1 << 23) - np.float32(1)) * bound)
    return torch.tensor(np.array(values, np.float32)).double()


class Adapter(nn.Module):
    """W + s L R, where `turned` says that the file holds the transpose of the parameter."""

    def __init__(self, name, weight, turned):
        super().__init__()
        out, inner = weight.shape[:2]
        p, q = (inner, out) if turned else (out, inner)
        start = uniform(name, RANK * inner, inner)
        self.turned = turned
        self.left = nn.Parameter(start.reshape(p, RANK) if turned else torch.zeros(p, RANK).double())
        self.right = nn.Parameter(torch.zeros(RANK, q).double() if turned else start.reshape(RANK, q))

    def forward(self, weight):
        delta = ALPHA / RANK * self.left @ self.right
        return weight + (delta.T if self.turned else delta).reshape(weight.shape)

    def factors(self):
        """A and B."""
        return (self.left, self.right) if self.turned else (self.right, self.left)


def adapted(model):
    """Names of the weights that have an adapter."""
    for name, module in model.named_modules():
        single = isinstance(module, nn.Conv2d) and module.groups == 1 and tuple(module.kernel_size) == (1, 1)
        if isinstance(module, nn.Linear) or single:
            yield module, f"{name}.weight"


def make_one(form):
    import make

    path = here / f"{form}.onnx"
    model = make.build(make.MINIATURES[form.split(".")[0]][0])
    parameters.fold(model, make.smooth_image(make.SIZE), path)
    matched = parameters.match(path, model)
    names = {parameter: (initializer, turned) for initializer, (parameter, turned) in matched.trained.items()}
    model = model.double().eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    adapters = {}
    for module, name in list(adapted(model)):
        initializer, turned = names[name]
        adapters[initializer] = own = Adapter(initializer, module.weight, turned)
        parametrize.register_parametrization(module, "weight", own)
    trained = [factor for own in adapters.values() for factor in (own.left, own.right)]
    optimiser = torch.optim.AdamW(trained, lr=LR, weight_decay=DECAY)
    data = load_file(here / "batches.safetensors")
    shape = {name: matched.shapes[name] for name in adapters}

    def in_layout(name, factor):
        return factor.detach().float().numpy().reshape(*factor.shape, *shape[name][2:])

    out, losses = {}, []
    for images, labels in zip(data["images"].double(), data["labels"].long()):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(images), labels, ignore_index=255)
        loss.backward()
        if not losses:
            for name, own in adapters.items():
                a, b = own.factors()
                assert a.grad.abs().max() == 0
                out[f"gradient.{name}.lora_B"] = in_layout(name, b.grad)
        optimiser.step()
        losses.append(loss.item())
    for name, own in adapters.items():
        for suffix, factor in zip("AB", own.factors()):
            out[f"weights.{name}.lora_{suffix}"] = in_layout(name, factor)
    for module, name in adapted(model):
        initializer, turned = names[name]
        merged = module.weight.detach().float().numpy()
        out[f"merged.{initializer}"] = (merged.T if turned else merged).reshape(shape[initializer])
    with torch.no_grad():
        out["logits"] = model(data["images"][0].double()).float().numpy()
    out["losses"] = np.array(losses)
    notes = dict(params=f"lora:r={RANK}:alpha={ALPHA:g}", seed=SEED, lr=LR, weight_decay=DECAY, torch=torch.__version__)
    target = here / f"{form}.lora.safetensors"
    parameters.save(out, target, {k: str(v) for k, v in notes.items()})
    print(f"{target.name}: {len(adapters)} adapters, loss {losses[0]:.3f} -> {losses[-1]:.3f}", flush=True)


if __name__ == "__main__":
    for each in FORMS:
        make_one(each)
