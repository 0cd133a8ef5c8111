#!/usr/bin/env python3
"""What docs/exporting-for-finetuning.md says to do in Python, done: its blocks of code are cut out of it and run.

usage: snippet.py export    in an empty folder: model.onnx, dynamo.onnx; parameters.json: names and shapes of the state_dict
       snippet.py load      loads finetuned.onnx into the PyTorch model; images.safetensors -> logits.safetensors
needs: torch, onnx, onnxscript, safetensors
"""
import json
import re
import sys
from pathlib import Path

import onnx
import torch
from safetensors.torch import load_file, save_file
from torch import nn

root = Path(__file__).parents[2]
page = (root / "docs/exporting-for-finetuning.md").read_text()
function, load, dynamo = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
call = re.search(r"^    export_for_finetuning\(.*?^(?!    )", page, re.S | re.M).group()


class Network(nn.Module):
    """As it is before any training: norms equal to each other, and biases too."""

    def __init__(self):
        super().__init__()
        widths = [3, 8, 8, 16, 16, 16]
        self.encoder = nn.Sequential(*(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip(widths, widths[1:])))
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=8, mode="bilinear"), nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.token = nn.Linear(8, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, image):
        x = self.decoder(self.encoder(image)).permute(0, 2, 3, 1)
        x = nn.functional.gelu(self.token(x)).permute(0, 3, 1, 2)
        return nn.functional.interpolate(self.head(x), scale_factor=4, mode="bilinear")


torch.manual_seed(5)
model = Network()
if sys.argv[1] == "export":
    # the file that the page shows is the page's first block
    shown = (root / "tests/parity/export_snippet.py").read_text().split('"""', 2)[2]
    assert shown.strip() == function.strip(), "docs/exporting-for-finetuning.md shows another snippet"
    exec(function)
    image = torch.randn(2, 3, 64, 64)
    exec(call.replace("\n    ", "\n").lstrip())
    exec(dynamo.replace('"model.onnx"', '"dynamo.onnx"'))
    shapes = {k: list(v.shape) for k, v in model.state_dict().items() if v.is_floating_point()}
    Path("parameters.json").write_text(json.dumps(shapes))
else:
    exec(load)
    with torch.no_grad():
        save_file({"logits": model.eval()(load_file("images.safetensors")["images"]).contiguous()}, "logits.safetensors")
