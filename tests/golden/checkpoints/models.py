#!/usr/bin/env python3
"""Makes the golden files of this folder that say which tensor of a checkpoint goes where in a model.

  NETWORK.pth              state dicts of the networks of ../train/minis.py, with a wrapper's prefix
  NETWORK.FORM.safetensors the initializers that an exporter makes of them (forms as in tests/parity/networks.py); in the
                           metadata `slots`: [[name, alias, shape, transposed], ...], the alias being the name of the
                           layer's scopes where the exporter made the name up
  foldings.json.gz         {network: {"tensors": [[name, shape], ...], "pairs": {norm: layer}}} of full-size networks of
                           timm, torchvision and segmentation_models_pytorch: which norm follows which convolution, seen
                           when the network runs

needs: onnx, onnxscript, safetensors, segmentation_models_pytorch, timm, torch, torchvision
usage: models.py
"""
import gzip
import importlib.util
import json
import sys
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import nn

here = Path(__file__).parent
sys.path[:0] = [str(here / "../../parity"), str(here / "../train")]
import networks  # noqa: E402
from minis import MINIATURES  # noqa: E402

spec = importlib.util.spec_from_file_location("train_make", here / "../train/make.py")
train_make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train_make)
warnings.filterwarnings("ignore")

FORMS = {"unet": "tsfold17 ts17 dynamo18", "deeplab": "tsfold11", "convnext": "tsfold13"}


def is_made_up(name):
    return "::" in name or name.isdigit() or (name.startswith("val_") and name[4:].isdigit())


def slots(model):
    users = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            users.setdefault(name, (node, place))
    found = []
    for tensor in model.graph.initializer:
        node, place = users.get(tensor.name, (None, 0))
        if tensor.data_type != onnx.TensorProto.FLOAT or node is None or tensor.name.startswith("/") or not tensor.dims:
            continue
        alias, turned = tensor.name, False
        if is_made_up(tensor.name):
            if node.op_type not in ("Conv", "Gemm", "MatMul"):
                continue
            scopes = [scope for scope in node.name.split("/") if scope]
            leaf = "bias" if place == 2 else "weight"
            alias = ".".join(scopes[:-1] if scopes[-1].startswith(node.op_type) else scopes) + "." + leaf
            turned = node.op_type == "MatMul"
        found.append([tensor.name, alias, list(tensor.dims), turned])
    return found


def minis():
    for name, forms in FORMS.items():
        model = train_make.build(MINIATURES[name][0])
        # the same weights as they are in a checkpoint
        torch.save({"state_dict": {"model." + key: value for key, value in model.state_dict().items()}}, here / f"{name}.pth")
        for exporter, opset in networks.forms(forms):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                networks.export(model, path, exporter, opset, train_make.SIZE, exporter == "tsfold")
                exported = onnx.load(path)
            own = slots(exported)
            names = {slot[0] for slot in own}
            tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy())
                       for t in exported.graph.initializer if t.name in names}
            save_file(tensors, here / f"{name}.{exporter}{opset}.safetensors", {"slots": json.dumps(own)})


def pairs(model, size):
    names = {module: name for name, module in model.named_modules()}
    made, found = {}, {}

    def after(module, inputs, output):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            made[id(output)] = (output, names[module])
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and id(inputs[0]) in made:
            found[names[module]] = made[id(inputs[0])][1]

    hooks = [module.register_forward_hook(after) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(2, 3, size, size))
    for hook in hooks:
        hook.remove()
    return found


def full_size():
    import segmentation_models_pytorch as smp
    import timm
    import torchvision
    seg = torchvision.models.segmentation
    plain = dict(weights=None, weights_backbone=None)
    return {
        "unet_resnet18": lambda: smp.Unet("resnet18", encoder_weights=None),
        "unetpp_efficientnet": lambda: smp.UnetPlusPlus("efficientnet-b0", encoder_weights=None),
        "deeplabv3p_mobilenet": lambda: smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None),
        "unet_densenet": lambda: smp.Unet("densenet121", encoder_weights=None),
        "manet_se": lambda: smp.MAnet("se_resnet50", encoder_weights=None),
        "linknet_xception": lambda: smp.Linknet("xception", encoder_weights=None),
        "pan_vgg": lambda: smp.Unet("vgg11_bn", encoder_weights=None),
        "unet_mobilenetv3": lambda: smp.Unet("timm-mobilenetv3_large_100", encoder_weights=None),
        "upernet_regnet": lambda: smp.UPerNet("timm-regnetx_002", encoder_weights=None),
        "segformer_mit": lambda: smp.Segformer("mit_b0", encoder_weights=None),
        "deeplabv3": lambda: seg.deeplabv3_resnet50(aux_loss=True, **plain),
        "lraspp": lambda: seg.lraspp_mobilenet_v3_large(**plain),
        "efficientnet": lambda: timm.create_model("tf_efficientnet_b0"),
        "efficientnetv2": lambda: timm.create_model("efficientnetv2_rw_t"),
        "hrnet": lambda: timm.create_model("hrnet_w18_small"),
        "inception": lambda: timm.create_model("inception_v4"),
        "dla": lambda: timm.create_model("dla34"),
        "ghostnet": lambda: timm.create_model("ghostnet_100"),
        "repvgg": lambda: timm.create_model("repvgg_a0"),
    }


def foldings():
    found = {}
    for name, make in full_size().items():
        try:
            model = make()
        except (KeyError, RuntimeError, ValueError) as error:
            print(name, error)
            continue
        model.eval()
        tensors = [[key, list(value.shape)] for key, value in model.state_dict().items()]
        found[name] = {"tensors": tensors, "pairs": pairs(model, 299 if name == "inception" else 128)}
        print(name, len(tensors), len(found[name]["pairs"]))
    with gzip.GzipFile(here / "foldings.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps(found, separators=(",", ":")).encode())


if __name__ == "__main__":
    minis()
    foldings()
