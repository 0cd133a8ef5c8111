#!/usr/bin/env python3
"""Makes the golden files of this folder that show what PyTorch writes beside plain tensors, and what folding does.

  negated.pth, conjugated.pth  a tensor that is a view with PyTorch's bit for the negative or the conjugate
  meta.pth                     tensors of the device "meta", without elements
  empty.pth                    an empty dictionary
  stream3.pth ... stream5.pth  {"w": [1, 2, 3]} in the format before 1.6, in pickles of protocol 3 to 5
  up.pth, up.onnx              a transposed convolution of as many input as output channels and its BatchNorm; the layer
                               alone with a bias, as an exporter that folds writes it, of other weights
  up.folded.safetensors        weight and bias of up.pth with the BatchNorm in them, by PyTorch

needs: onnx, safetensors, torch
usage: views_and_folds.py
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

here = Path(__file__).parent
torch.manual_seed(5)
number = torch.tensor([1 + 2j, 3 - 4j])
torch.save({"w": number.conj().imag}, here / "negated.pth")
torch.save({"w": number.conj()}, here / "conjugated.pth")
torch.save({"w": torch.ones(2, device="meta")}, here / "meta.pth")
torch.save({}, here / "empty.pth")
for protocol in (3, 4, 5):
    torch.save(
        {"w": torch.tensor([1.0, 2.0, 3.0])},
        here / f"stream{protocol}.pth",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=False,
    )


class Up(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.up_bn = nn.BatchNorm2d(4)


up = Up().eval()
nn.init.uniform_(up.up_bn.weight, 0.5, 2)
nn.init.normal_(up.up_bn.bias)
up.up_bn.running_mean.normal_()
up.up_bn.running_var.uniform_(0.2, 3)
torch.save(up.state_dict(), here / "up.pth")
fused = fuse_conv_bn_eval(up.up, up.up_bn, transpose=True)
save_file({"up.weight": fused.weight.data.contiguous(), "up.bias": fused.bias.data}, here / "up.folded.safetensors")


class Alone(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, image):
        return self.up(image)


torch.onnx.export(Alone().eval(), torch.zeros(1, 4, 8, 8), here / "up.onnx", input_names=["image"],
                  output_names=["logits"], opset_version=17, dynamo=False)
