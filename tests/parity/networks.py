#!/usr/bin/env python3
"""The networks of the parity check: full-size segmentation networks with seeded random weights, and their export.

Most come from segmentation_models_pytorch; the others are written here, for operators that those do not have. No
weights are downloaded. Parameters that are constant at the start (norms, biases) are varied, BatchNorm gets running
statistics that differ from (0, 1), and the last convolution is scaled so that every class's logits have mean 0 and
deviation about 1 on a smooth image: with raw random weights one class wins everywhere, much of a wrong gradient would go
unseen, and exporters merge parameters that are equal.

The forms, by exporter (see docs/exporting-for-finetuning.md):
  ts         TorchScript, by export_snippet.py: BatchNorm kept, initializers named as in the state_dict
  tsfold     TorchScript by its defaults: BatchNorm folded, weights of MatMul transposed and renamed
  tied       as ts, but initializers of equal value merged (what TorchScript does unless told otherwise)
  dynamo     torch.export by its defaults: the same foldings, and more
  dynamoraw  torch.export without optimisation: BatchNorm and names kept

needs: torch, timm, segmentation_models_pytorch, onnx, onnxscript
usage: networks.py OUT_DIR [NAME ...]    exports all variants; prints the size and the operators of each
"""
import collections
import contextlib
import io
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import onnx
import torch
from torch import nn
from torch.nn import functional as F

from export_snippet import export_for_finetuning

warnings.filterwarnings("ignore")
CLASSES, BANDS = 5, 3


@dataclass(frozen=True)
class Network:
    """One network and how it is checked."""
    make: Callable[[], nn.Module]
    # (exporter, opset) of each form
    forms: tuple
    # pixels of a side of the tiles it is trained on
    size: int = 64
    # images a step; at least 4 where BatchNorm comes after a global pool, else in training it sees two values
    batch: int = 2
    # learning rate of AdamW: lower where random weights make training unstable, so that rounding would soon show
    lr: float = 1e-5
    # "ce": labels [S, N, H, W]; "mse": targets [S, N, C, H, W]
    loss: str = "ce"
    # whether batch, height and width are left free (TorchScript only)
    free: bool = True


def forms(text):
    """`ts17 dynamo18` as pairs of exporter and opset."""
    return tuple((form.rstrip("0123456789"), int(form.lstrip("abcdefghijklmnopqrstuvwxyz"))) for form in text.split())


def smp(kind, encoder, **options):
    def make():
        import segmentation_models_pytorch
        return getattr(segmentation_models_pytorch, kind)(
            encoder, encoder_weights=None, in_channels=BANDS, classes=CLASSES, **options)
    return make


class Vit(nn.Module):
    """Plain vision transformer; the tokens, as a map again, go through a decoder of transposed convolutions.

    `bundled` takes nn.MultiheadAttention, else attention is spelled out with a fused qkv projection.
    """

    def __init__(self, size=64, patch=8, width=192, depth=4, heads=6, bundled=False):
        super().__init__()
        self.grid = size // patch
        self.patch_embed = nn.Conv2d(BANDS, width, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.pos_embed = nn.Parameter(torch.randn(1, self.grid ** 2 + 1, width) * 0.5)
        self.blocks = nn.ModuleList(Block(width, heads, bundled) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(width, 64, 2, stride=2), nn.BatchNorm2d(64), nn.GELU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.BatchNorm2d(32), nn.GELU(approximate="tanh"),
            nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.GELU())
        self.head = nn.Conv2d(32, CLASSES, 1)

    def forward(self, image):
        tokens = self.patch_embed(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], 1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)[:, 1:].transpose(1, 2)
        return self.head(self.decoder(tokens.reshape(tokens.shape[0], -1, self.grid, self.grid)))


class Block(nn.Module):
    """Attention and two linear layers, normalised before each."""

    def __init__(self, width, heads, bundled):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        if bundled:
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        else:
            self.attention = None
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def attend(self, x):
        if self.attention is not None:
            return self.attention(x, x, x, need_weights=False)[0]
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Varied(nn.Module):
    """A UNet out of what the others lack: group and instance normalisation, PReLU and relatives, pixel shuffle, and
    reflecting and replicating borders."""

    def __init__(self, width=32):
        super().__init__()
        w = width
        self.enter = nn.Sequential(
            nn.Conv2d(BANDS, w, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(4, w), nn.PReLU(w))
        self.down1 = nn.Sequential(
            nn.Conv2d(w, 2 * w, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * w, affine=True), nn.LeakyReLU(0.1),
            nn.Conv2d(2 * w, 2 * w, 3, padding=1, padding_mode="replicate", bias=False), nn.GroupNorm(8, 2 * w), nn.SiLU())
        self.down2 = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(8 * w, 4 * w, 1), nn.InstanceNorm2d(4 * w), nn.ELU(),
            nn.Conv2d(4 * w, 4 * w, 3, padding=2, dilation=2, groups=4), nn.GroupNorm(1, 4 * w), nn.Mish())
        self.up1 = nn.Sequential(nn.Conv2d(4 * w, 8 * w, 1), nn.PixelShuffle(2), nn.PReLU())
        self.join1 = nn.Sequential(nn.Conv2d(4 * w, 2 * w, 3, padding=1), nn.GroupNorm(8, 2 * w), nn.Softplus())
        self.up2 = nn.Sequential(nn.ConvTranspose2d(2 * w, w, 3, stride=2, padding=1, output_padding=1, groups=2), nn.Tanh())
        self.head = nn.Conv2d(2 * w, CLASSES, 1)

    def forward(self, image):
        a = self.enter(image)
        b = self.down1(a)
        c = self.down2(b)
        b = self.join1(torch.cat([self.up1(c), b], 1))
        return self.head(torch.cat([self.up2(b), F.avg_pool2d(F.pad(a, (1, 1, 1, 1)), 3, 1)], 1))


class PixelRegression(nn.Module):
    """1 x 1 convolutions only: every pixel by itself, two continuous outputs."""

    def __init__(self, width=128):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(BANDS, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU())
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image):
        return self.head(self.body(image))


NETWORKS = {
    "unet_r18": Network(smp("Unet", "resnet18"), forms("ts17 ts11 tsfold17 dynamo18 dynamoraw18")),
    "segformer_b0": Network(smp("Segformer", "mit_b0"), forms("ts17 tsfold13 dynamo20 dynamoraw23"), lr=1e-4),
    "deeplab_mnv2": Network(smp("DeepLabV3Plus", "mobilenet_v2"), forms("ts17 ts13 dynamo18"), batch=4, lr=3e-6),
    "unetpp_r34": Network(smp("UnetPlusPlus", "resnet34"), forms("ts13")),
    "fpn_effb0": Network(smp("FPN", "efficientnet-b0"), forms("ts17 dynamo18")),
    # TorchScript wants every pooled grid (1, 2, 3, 6) to divide the map, here 12 x 12; torch.export does not
    "psp_r18": Network(smp("PSPNet", "resnet18"), forms("ts17"), size=96, free=False),
    "psp_r18_uneven": Network(smp("PSPNet", "resnet18"), forms("dynamoraw20 dynamo20"), free=False),
    "pan_r18": Network(smp("PAN", "resnet18"), forms("ts18 dynamo23"), size=128, batch=4),
    "deeplab3_r18": Network(smp("DeepLabV3", "resnet18"), forms("ts11 dynamo18"), batch=4),
    "unet_mnv3": Network(smp("Unet", "tu-mobilenetv3_small_100"), forms("ts17 dynamo20")),
    "manet_r18": Network(smp("MAnet", "resnet18"), forms("ts18 dynamo23")),
    "unet_scse": Network(smp("Unet", "resnet18", decoder_attention_type="scse"), forms("ts20 dynamo18")),
    "upernet_convnext": Network(smp("UPerNet", "tu-convnext_atto"), forms("ts17 dynamo20"), size=192, free=False),
    "unet_convnext": Network(smp("Unet", "tu-convnext_atto"), forms("ts20 dynamo23")),
    "unet_swin": Network(smp("Unet", "tu-swin_tiny_patch4_window7_224", img_size=128, window_size=4),
                         forms("ts17 dynamoraw20 dynamo20"), size=128, free=False),
    "dpt_vit": Network(smp("DPT", "tu-vit_tiny_patch16_224", img_size=64), forms("ts17 dynamo23"), free=False),
    "vit_conv": Network(Vit, forms("ts17 ts20 dynamo23"), free=False, lr=1e-4),
    "vit_mha": Network(lambda: Vit(bundled=True), forms("ts17 dynamo20 dynamoraw23"), free=False, lr=1e-4),
    "linknet_r18": Network(smp("Linknet", "resnet18"), forms("ts11 dynamo18")),
    "varied": Network(Varied, forms("ts17 ts20 dynamo20 dynamo23"), free=False, lr=1e-4),
    "pixel_regression": Network(PixelRegression, forms("ts11 dynamo23"), loss="mse", lr=1e-4),
}


def smooth_image(size, seed=7):
    """[1, 3, size, size]: waves and a little noise, about mean 0 and deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(size) / 64, torch.arange(size) / 64, indexing="ij")
    bands = [torch.sin(7 * x + 3 * b) + torch.cos(5 * y * (b + 1)) + torch.sin(9 * x * y) for b in range(BANDS)]
    return torch.stack(bands)[None] * 0.8 + 0.3 * torch.randn(1, BANDS, size, size, generator=generator)


def last_convolution(model):
    head = getattr(model, "segmentation_head", None) or getattr(model, "head", None) or model
    return [m for m in head.modules() if isinstance(m, nn.Conv2d)][-1]


def vary(model):
    """Changes every parameter whose entries are all alike, and layer scales that all but switch a branch off."""
    for name, tensor in model.named_parameters():
        flat = tensor.data.flatten()
        if flat.numel() == 1 or flat.std() < 1e-3 * flat.abs().mean() or not flat.any():
            if 0 < flat[0] < 1e-2:
                tensor.data.fill_(0.5)
            tensor.data += 0.1 * torch.randn_like(tensor)


def warm_up(model, batches):
    """Gives BatchNorm the running statistics of batches, about. The model is in eval mode afterwards."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    model.train()
    for norm in norms:
        norm.momentum = 0.7
    if norms:
        with torch.no_grad():
            for batch in batches:
                model(batch + 0.2 * torch.randn_like(batch))
    for norm in norms:
        norm.momentum = 0.1
    model.eval()


def balance(model, image):
    """Scales and shifts the last convolution so that every class's logits have mean 0 and deviation 1, or a deviation
    as near to that as five times the weights can reach: with more, training would be unstable."""
    last = last_convolution(model)
    with torch.no_grad():
        logits = model(image)
        mean, std = logits.mean((0, 2, 3)), logits.std((0, 2, 3)).clamp(min=0.2)
        last.weight /= std[:, None, None, None]
        last.bias.copy_((last.bias - mean) / std)


def build(name, network=None):
    """The network in eval mode, the same weights every time."""
    network = network or NETWORKS[name]
    torch.manual_seed(0)
    model = network.make()
    vary(model)
    warm_up(model, [torch.randn(4, BANDS, network.size, network.size), smooth_image(network.size).repeat(4, 1, 1, 1)])
    balance(model, smooth_image(network.size))
    return model


def export(model, path, exporter, opset, size, free=True, batch=2):
    """Writes one form. With `free`, those of TorchScript have free batch, height and width; all else is fixed."""
    image = smooth_image(size).repeat(batch, 1, 1, 1)
    names = dict(input_names=["image"], output_names=["logits"], opset_version=opset)
    if exporter.startswith("dynamo"):
        torch.onnx.export(model, (image,), str(path), dynamo=True, external_data=False, verbose=False,
                          optimize=exporter == "dynamo", **names)
        return
    # what cannot be exported is printed, the whole graph of it, before it is raised
    with contextlib.redirect_stdout(io.StringIO()):
        if exporter == "ts":
            export_for_finetuning(model, path, image, opset, not free)
            return
        axes = {0: "n", 2: "h", 3: "w"}
        merged = dict(do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE) if exporter == "tied" else {}
        torch.onnx.export(model, (image,), str(path), dynamo=False, dynamic_axes={"image": axes, "logits": axes} if free else None,
                          **merged, **names)


def operators(path):
    """Counts of `domain::op` (ai.onnx without domain) over the graph, its subgraphs and its local functions."""
    proto = onnx.load(str(path), load_external_data=False)
    counts = collections.Counter()

    def visit(nodes, place):
        for node in nodes:
            domain = f"{node.domain}::" if node.domain not in ("", "ai.onnx") else ""
            counts[place + domain + node.op_type] += 1
            for attribute in node.attribute:
                for graph in [attribute.g] * attribute.HasField("g") + list(attribute.graphs):
                    visit(graph.node, place + node.op_type + "/")

    visit(proto.graph.node, "")
    for function in proto.functions:
        visit(function.node, f"function {function.domain}::{function.name}/")
    return counts, {f"{o.domain or 'ai.onnx'}": o.version for o in proto.opset_import}


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NETWORKS:
        network = NETWORKS[name]
        model = build(name)
        for exporter, opset in network.forms:
            path = out / f"{name}.{exporter}{opset}.onnx"
            try:
                export(model, path, exporter, opset, network.size, network.free)
            except Exception as error:
                print(f"{path.name}: FAILED {type(error).__name__}: {str(error).strip()[:300]}", flush=True)
                continue
            counts, imports = operators(path)
            listing = " ".join(f"{op}:{n}" for op, n in sorted(counts.items()))
            print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB, {imports}, {listing}", flush=True)


if __name__ == "__main__":
    main()
