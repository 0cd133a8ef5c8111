#!/usr/bin/env python3
"""Makes the golden files of this folder: checkpoints as PyTorch and the programs of the training side write them.

  expected.safetensors     what the tensors of the state dict `small()` below are, read as float32 or integers
  lightning.ckpt           PyTorch Lightning 1.6: the keys that it writes, names with the prefix `model.`
  geo.pth.tar              geo-deep-learning: model_state_dict, params (an object), epoch, best_loss (numpy), optimizer
  delira.pth               delira: model, optimizer {name: state}, epoch
  plain.pth                the state dict alone
  legacy.pth               the same in the format before PyTorch 1.6
  legacy_views.pth         views.pth in that format
  half.pth                 float16, bfloat16, float64, and the integer types
  views.pth                transposed, sliced, expanded, shared and empty tensors; views.safetensors: what they are
  parameters.pth           nn.Parameter, a tensor with an attribute, uint16 (which has no storage class of its own)
  protocol4.pth            the state dict, pickled by protocol 4
  deflated.pth             plain.pth packed anew by a zip tool, compressed
  unchecked.pth            written with set_crc32_options(False)
  none.ckpt                epoch is None, global_step a tensor
  foreign.pth              a state dict in which a tensor is what os.system makes
  foreign_beside.pth       the same call, beside a sound state dict
  module.pth               a whole nn.Module, as torch.save(model) writes it
  scripted.pth             a TorchScript archive
  complex.pth              a complex tensor beside a sound one

needs: numpy, safetensors, torch
usage: make.py
"""
import argparse
import collections
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

here = Path(__file__).parent
torch.manual_seed(5)


def small():
    own = collections.OrderedDict()
    own["conv.weight"] = torch.randn(4, 3, 2, 2)
    own["conv.bias"] = torch.randn(4)
    own["bn.weight"] = torch.rand(4) + 0.5
    own["bn.bias"] = torch.randn(4)
    own["bn.running_mean"] = torch.randn(4)
    own["bn.running_var"] = torch.rand(4) + 0.5
    own["bn.num_batches_tracked"] = torch.tensor(7)
    own["head.weight"] = torch.randn(2, 4)
    own._metadata = collections.OrderedDict({"": {"version": 1}})
    return own


class Call:
    """What os.system('...') is, in a pickle."""

    def __reduce__(self):
        return os.system, ("touch /tmp/glebe-pickle-was-run",)


def save(name, value, **options):
    torch.save(value, here / name, **options)


def main():
    own = small()
    save_file(dict(own), here / "expected.safetensors")
    moments = {n: {"step": torch.tensor(4.0), "exp_avg": torch.zeros_like(own["conv.bias"])} for n in range(2)}
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1]}
    optimizer = {"state": moments, "param_groups": [group]}
    prefixed = collections.OrderedDict(("model." + name, value) for name, value in own.items())
    save("lightning.ckpt", {
        "epoch": 2, "global_step": 4, "pytorch-lightning_version": "1.6.5", "state_dict": prefixed,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "", "best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [optimizer], "lr_schedulers": [],
        "hparams_name": "config", "hyper_parameters": argparse.Namespace(lr=1e-3, size=[64, 64]),
    })
    save("geo.pth.tar", {
        "epoch": 11, "params": argparse.Namespace(model="unet"), "model_state_dict": own,
        "best_loss": np.float64(0.4213), "optimizer_state_dict": optimizer,
    })
    save("delira.pth", {"optimizer": {"default": optimizer}, "model": own, "epoch": 3})
    save("plain.pth", own)
    save("legacy.pth", own, _use_new_zipfile_serialization=False)
    half = {
        "f16": torch.tensor([1.0, -0.5, 65504.0, 6e-8]).half(), "bf16": torch.tensor([1.0, 3.140625, -2e30]).bfloat16(),
        "f64": torch.tensor([0.1, 1e-300]).double(), "i64": torch.tensor([1 << 40, -1]), "i32": torch.tensor([7]).int(),
        "i16": torch.tensor([-300]).short(), "i8": torch.tensor([-128]).char(), "u8": torch.tensor([255]).byte(),
        "bool": torch.tensor([True, False]),
    }
    save("half.pth", half)
    base = torch.arange(24.0)
    views = {
        "transposed": base[:6].reshape(2, 3).t(), "sliced": base.reshape(4, 6)[1:3, 1:5:2], "shared": base[12:],
        "expanded": base[3:5, None].expand(2, 3), "empty": torch.zeros(0, 4), "scalar": base[5],
        "permuted": base.reshape(2, 3, 4).permute(2, 0, 1), "channels_last":
            torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
    }
    views["tied"] = views["shared"]
    save("views.pth", views)
    save("legacy_views.pth", views, _use_new_zipfile_serialization=False)
    save_file({name: value.clone(memory_format=torch.contiguous_format).contiguous() for name, value in views.items()},
              here / "views.safetensors")
    with_attribute = nn.Parameter(torch.ones(2))
    with_attribute.tag = "kept"
    save("parameters.pth", {
        "parameter": nn.Parameter(torch.tensor([1.0, 2.0])), "attribute": with_attribute,
        "u16": torch.tensor([65535, 1], dtype=torch.uint16), "buffer": nn.Buffer(torch.tensor([4.0])),
    })
    save("protocol4.pth", own, pickle_protocol=4)
    with zipfile.ZipFile(here / "plain.pth") as archive, \
            zipfile.ZipFile(here / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in archive.namelist():
            packed.writestr(zipfile.ZipInfo(entry, (1980, 1, 1, 0, 0, 0)), archive.read(entry), zipfile.ZIP_DEFLATED)
    torch.serialization.set_crc32_options(False)
    save("unchecked.pth", own)
    torch.serialization.set_crc32_options(True)
    save("none.ckpt", {"epoch": None, "global_step": torch.tensor(120), "state_dict": own})
    foreign = collections.OrderedDict(own)
    foreign["head.weight"] = Call()
    save("foreign.pth", foreign)
    save("foreign_beside.pth", {"state_dict": own, "epoch": 1, "trap": Call()})
    save("module.pth", nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    (here / "scripted.pth").write_bytes(buffer.getvalue())
    save("complex.pth", {"a": torch.ones(2), "b": torch.ones(2, dtype=torch.complex64)})


if __name__ == "__main__":
    main()
