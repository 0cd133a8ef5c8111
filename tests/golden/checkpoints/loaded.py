#!/usr/bin/env python3
"""Makes the golden files of this folder that say what a network computes once a checkpoint is loaded into it.

The networks are those of ../train/minis.py, whose exported files are beside it. Here they have other weights, statistics
of BatchNorm included:

  loaded.ckpt              unet, as PyTorch Lightning writes it: names with `model.`, epoch 2, global step 4
  loaded.parallel.pth      the same weights under the names of DataParallel, `module.`; geo-deep-learning's epoch
  loaded.safetensors       the same weights under the network's own names
  loaded.half.pth          the same, in float16 and BatchNorm's in bfloat16
  loaded.head.pth          the same, with a head of 7 classes and an auxiliary head
  loaded.convnext.ckpt     convnext, whose linear layers exporters transpose
  loaded.logits.safetensors
    image [1, 3, 16, 16], image32 [1, 3, 32, 32]
    before                 logits of unet with the weights of the exported file
    loaded                 with those of the checkpoint
    loaded32               the same of image32
    half                   with those of loaded.half.pth, which are rounded
    partial                with those of the checkpoint, and the exported file's head
    convnext               logits of convnext on image32

needs: numpy, safetensors, torch; and what ../train/make.py needs
usage: loaded.py
"""
import collections
import importlib.util
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

here = Path(__file__).parent
sys.path[:0] = [str(here / "../../parity"), str(here / "../train")]
from minis import MINIATURES  # noqa: E402
from networks import smooth_image  # noqa: E402

spec = importlib.util.spec_from_file_location("train_make", here / "../train/make.py")
train_make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train_make)
warnings.filterwarnings("ignore")


def other(name):
    """Weights that are not the exported file's."""
    own = train_make.build(MINIATURES[name][0]).state_dict()
    generator = torch.Generator().manual_seed(17)
    changed = collections.OrderedDict()
    for key, value in own.items():
        if not value.is_floating_point():
            changed[key] = value.clone()
            continue
        noise = torch.rand(value.shape, generator=generator)
        spread = value.std() if value.numel() > 1 else torch.tensor(0.1)
        changed[key] = value * (0.6 + 0.8 * noise) if key.endswith("running_var") else value + spread * (noise - 0.5)
    return changed


def logits(name, weights, image):
    model = train_make.build(MINIATURES[name][0])
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.eval().double()(image.double()).float().contiguous()


def prefixed(prefix, weights):
    return collections.OrderedDict((prefix + key, value) for key, value in weights.items())


def main():
    image, image32 = smooth_image(16, 3), smooth_image(32, 4)
    before, own = train_make.build(MINIATURES["unet"][0]).state_dict(), other("unet")
    torch.save({"epoch": 2, "global_step": 4, "pytorch-lightning_version": "1.6.5", "state_dict": prefixed("model.", own)},
               here / "loaded.ckpt")
    torch.save({"epoch": 11, "model_state_dict": prefixed("module.", own)}, here / "loaded.parallel.pth")
    save_file({key: value for key, value in own.items()}, here / "loaded.safetensors")
    is_norm = {key.rsplit(".", 1)[0] for key in own if key.endswith("running_mean")}
    half = collections.OrderedDict(
        (key, value if not value.is_floating_point() else
         value.bfloat16() if key.rsplit(".", 1)[0] in is_norm else value.half()) for key, value in own.items())
    torch.save(half, here / "loaded.half.pth")
    head = collections.OrderedDict(own)
    generator = torch.Generator().manual_seed(5)
    width = own["head.weight"].shape[1]
    head["head.weight"] = torch.randn(7, *own["head.weight"].shape[1:], generator=generator)
    head["head.bias"] = torch.randn(7, generator=generator)
    head["auxiliary.weight"] = torch.randn(7, width, generator=generator)
    torch.save(head, here / "loaded.head.pth")
    partial = collections.OrderedDict(own)
    partial.update({key: before[key] for key in ("head.weight", "head.bias")})
    convnext = other("convnext")
    torch.save({"epoch": None, "state_dict": prefixed("model.", convnext)}, here / "loaded.convnext.ckpt")
    widened = collections.OrderedDict(
        (key, value.float() if value.is_floating_point() else value) for key, value in half.items())
    save_file({
        "image": image, "image32": image32,
        "before": logits("unet", before, image), "loaded": logits("unet", own, image),
        "half": logits("unet", widened, image), "partial": logits("unet", partial, image),
        "loaded32": logits("unet", own, image32), "convnext": logits("convnext", convnext, image32),
    }, here / "loaded.logits.safetensors")


if __name__ == "__main__":
    main()
