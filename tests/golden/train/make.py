#!/usr/bin/env python3
"""Makes the golden files of this folder: small networks, and how PyTorch trains them for five steps.

  batches.safetensors      what all networks are trained on: `images` [5, 2, 3, 32, 32] f32, `labels` [5, 2, 32, 32] u8
                           (classes 0 to 4, and 255 for pixels that count for nothing). The targets of `regression` are
                           the images' second and first band, [5, 2, 2, 32, 32]
  NETWORK.FORM.onnx        the networks of minis.py; forms and their names as in tests/parity/networks.py: exporter
                           and opset (what the exporters note about source lines is removed). Further forms:
                           tied      ts of a network whose norms are equal, as before any training: TorchScript then keeps
                                     one initializer and gives the others by Identity. PyTorch trains each by itself;
                                     gradients have the names of those Identities' outputs
                           function  ts, with each BatchNormalization and Relu as a call of one local function
                           external  ts, with its weights in NETWORK.FORM.data
                           ort       tsfold, optimised by ONNX Runtime (extended): fused operators of com.microsoft
  NETWORK.FORM.safetensors what PyTorch makes of it:
    losses [5] f64                   loss of every step of AdamW (lr in the metadata, weight decay 0.01), norms with frozen statistics
    gradient.INITIALIZER             gradient of the first step, in the layout of the file's initializer
    train.losses, train.gradient.*   the same with BatchNorm in training; train.running.* the statistics after 5 steps,
                                     train.first_running.* after the first
                                     (where BatchNorm is in the file, in one form of every network)
    its metadata                     network, form, loss (ce: cross-entropy, ignore index 255; mse), lr, weight_decay,
                                     opset, torch: the version; params: what is trained, as `--params` takes it;
                                     frozen: floating initializers that hold no parameter of PyTorch's;
                                     float32_losses, float32_gradient: how far PyTorch's own float32 is from the rest,
                                     largest relative difference of a loss, and of a gradient by L2 norm
                                     (float32_train_*: with BatchNorm in training)

All reference numbers are of float64 runs from the float32 weights in the file, so that they are better than what
float32 can reach. The error of a gradient is meant as in gradient_errors of tests/parity/parameters.py: the L2 norm of
the difference by that of the gradient, or by a thousandth of the whole gradient's norm where that is more; gradients
that are zero but for rounding (below 1e-6 of the whole, as of a bias before BatchNorm in training) by a hundredth.

needs: numpy, onnx, onnxruntime, onnxscript, safetensors, torch
usage: make.py [NETWORK ...]    and losses.py, lora.py, optimizers.py for the other files
"""
import copy
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper
from torch import nn
from torch.nn import functional as F

here = Path(__file__).parent
sys.path.insert(0, str(here / "../../parity"))
sys.path.insert(0, str(here))
import parameters  # noqa: E402
from minis import BANDS, CLASSES, MINIATURES  # noqa: E402
from networks import balance, export, forms, smooth_image, vary, warm_up  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
STEPS, BATCH, SIZE, LR, DECAY = 5, 2, 32, 1e-2, 0.01
# where 1e-2 is so high that rounding grows from step to step
RATES = {"deeplab": 3e-3}


def batches():
    """Waves and noise; classes that follow from the image, so that there is something to learn."""
    generator = torch.Generator().manual_seed(11)
    images = torch.stack([torch.cat([smooth_image(SIZE, 10 * s + n) for n in range(BATCH)]) for s in range(STEPS)])
    images = images + 0.5 * torch.randn(STEPS, BATCH, BANDS, 1, 1, generator=generator)
    score = images[:, :, 0] + 0.5 * images[:, :, 1] * images[:, :, 2]
    labels = torch.bucketize(score, torch.tensor([-1.5, -0.5, 0.5, 1.5])).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = 255
    labels[1, 0, :8] = 255
    return images.contiguous(), labels, images[:, :, [1, 0]]


def build(make, tied=False):
    torch.manual_seed(3)
    model = make()
    norms = (nn.BatchNorm2d,)
    equal = {n for n, m in model.named_modules() if isinstance(m, norms)} if tied else set()
    kept = {f"{n}.{leaf}": model.get_parameter(f"{n}.{leaf}").data.clone() for n in equal for leaf in ("weight", "bias")}
    vary(model)
    with torch.no_grad():
        for name, value in kept.items():
            model.get_parameter(name).copy_(value)
        warm_up(model, [torch.cat([smooth_image(SIZE, 4 * i + n) for n in range(4)]) for i in range(3)])
    balance(model, smooth_image(SIZE))
    return model


def train(model, trained, data, loss, lr, norm_in_training=False):
    """(losses, first gradients, running statistics after the first and the last step) of the model's own precision."""
    model = copy.deepcopy(model)
    precision = next(model.parameters()).dtype
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(norm_in_training)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=DECAY)
    losses, gradients = [], {}
    for image, label, target in zip(*data):
        optimiser.zero_grad()
        output = model(image.to(precision))
        value = (F.cross_entropy(output, label.long(), ignore_index=255) if loss == "ce" else
                 F.mse_loss(output, target.to(precision)))
        value.backward()
        if not losses:
            gradients = {n: p.grad.double().numpy().copy() for n, p in model.named_parameters() if p.grad is not None}
        if not losses:
            first = statistics(model)
        optimiser.step()
        losses.append(value.item())
    return np.array(losses), gradients, (first, statistics(model))


def statistics(model):
    return {n: b.float().numpy().copy() for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var"))}


def largest(found, wanted):
    return max(parameters.gradient_errors(found, wanted).values())


def lighten(path, raw):
    """Removes notes about source lines, and in unoptimised files the shapes in between, which are many."""
    proto = onnx.load(path)
    del proto.graph.metadata_props[:], proto.metadata_props[:]
    if raw:
        del proto.graph.value_info[:]
    for item in [*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        del item.metadata_props[:]
        item.doc_string = ""
    onnx.save(proto, path)


def as_functions(path):
    """BatchNormalization and the Relu after it become calls of one local function."""
    proto = onnx.load(path)
    graph, opset = proto.graph, proto.opset_import[0].version
    nodes, calls, gone = list(graph.node), 0, set()
    relus = {n.input[0]: n for n in nodes if n.op_type == "Relu"}
    del graph.node[:]
    for node in nodes:
        relu = relus.get(node.output[0]) if node.op_type == "BatchNormalization" else None
        if relu is not None:
            gone.add(relu.name)
            graph.node.append(helper.make_node("NormRelu", node.input, relu.output, node.name, domain="local", epsilon=1e-5))
            calls += 1
        elif node.name not in gone:
            graph.node.append(node)
    norm = helper.make_node("BatchNormalization", list("xsbmv"), ["y"])
    norm.attribute.append(onnx.AttributeProto(name="epsilon", ref_attr_name="epsilon", type=onnx.AttributeProto.FLOAT))
    proto.functions.append(helper.make_function(
        "local", "NormRelu", list("xsbmv"), ["z"], [norm, helper.make_node("Relu", ["y"], ["z"])],
        [helper.make_opsetid("", opset)], ["epsilon"]))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    assert calls > 2
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def write(model, path, exporter, opset, free):
    source = {"function": "ts", "external": "ts", "ort": "tsfold"}.get(exporter, exporter)
    export(model, path, source, opset, SIZE, free)
    if exporter == "function":
        as_functions(path)
    elif exporter == "external":
        data = path.with_suffix(".data")
        data.unlink(missing_ok=True)
        onnx.save(onnx.load(path), path, save_as_external_data=True, location=data.name, size_threshold=256)
    elif exporter == "ort":
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    else:
        lighten(path, exporter.startswith("dynamo"))


def make_one(name, exporter, opset, data, with_training):
    make, _ = MINIATURES[name]
    loss = "mse" if name == "regression" else "ce"
    lr = RATES.get(name, LR)
    tied = exporter == "tied"
    model = build(make, tied)
    path = here / f"{name}.{exporter}{opset}.onnx"
    free = name in ("unet", "unetpp", "deeplab", "linknet", "mobile", "regression")
    write(model, path, exporter, opset, free)
    model = build(make, tied)
    parameters.fold(model, smooth_image(SIZE), path)
    image = data[0][0]
    with torch.no_grad():
        wanted = model(image).numpy()
    found = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": image.numpy()})[0]
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4), np.abs(found - wanted).max()
    matched = parameters.match(path, model)
    trained = {parameter for parameter, _ in matched.trained.values()}
    frozen = sorted(matched.others)
    exact = copy.deepcopy(model).double()
    losses, gradients, _ = train(exact, trained, data, loss, lr)
    near_losses, near_gradients, _ = train(model, trained, data, loss, lr)
    unused = [n for n in trained if n not in gradients]
    golden = {"losses": losses}
    golden |= {f"gradient.{k}": v.astype(np.float32) for k, v in matched.in_file_layout(gradients).items()}
    has_norm = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    if has_norm and with_training:
        t_losses, t_gradients, t_running = train(exact, trained, data, loss, lr, True)
        golden["train.losses"] = t_losses
        near_losses_t, near_t, _ = train(model, trained, data, loss, lr, True)
        in_training = dict(float32_train_losses=f"{np.max(np.abs(near_losses_t / t_losses - 1)):.1e}",
                           float32_train_gradient=f"{largest(near_t, t_gradients):.1e}")
        golden |= {f"train.gradient.{k}": v.astype(np.float32) for k, v in matched.in_file_layout(t_gradients).items()}
        for when, found in zip(("first_running", "running"), t_running):
            golden |= {f"train.{when}.{k}": v for k, v in found.items()}
    else:
        in_training = {}
    patterns = "all" if not frozen else "all," + ",".join(f"!{n}" for n in frozen)
    notes = dict(network=name, form=f"{exporter}{opset}", opset=opset, torch=torch.__version__, loss=loss, lr=lr, weight_decay=DECAY,
                 params=patterns, frozen=json.dumps(frozen), not_in_file=json.dumps(sorted(matched.missing)),
                 float32_losses=f"{np.max(np.abs(near_losses / losses - 1)):.1e}", float32_gradient=f"{largest(near_gradients, gradients):.1e}", **in_training)
    parameters.save(golden, path.with_suffix(".safetensors"), {k: str(v) for k, v in notes.items()})
    norms = sorted(np.linalg.norm(g) for g in gradients.values())
    print(f"{path.name} {path.stat().st_size / 1024:.0f} KiB, golden {path.with_suffix('.safetensors').stat().st_size / 1024:.0f} KiB, "
          f"{sum(p.numel() for p in model.parameters())} weights, loss {losses[0]:.3f} -> {losses[-1]:.3f}, "
          f"gradient norms {norms[0]:.1e} {norms[len(norms) // 2]:.1e} {norms[-1]:.1e}, below 1e-3: {[n for n, g in gradients.items() if np.linalg.norm(g) < 1e-3]}, float32 {notes['float32_losses']} "
          f"{notes['float32_gradient']}, {in_training}, frozen {frozen}, missing {matched.missing}, unused {unused}", flush=True)


def main():
    data = batches()
    parameters.save({"images": data[0].numpy(), "labels": data[1].numpy()}, here / "batches.safetensors")
    for name in sys.argv[1:] or MINIATURES:
        for index, (exporter, opset) in enumerate(forms(MINIATURES[name][1])):
            make_one(name, exporter, opset, data, index == 0 or exporter == "tied")


if __name__ == "__main__":
    main()
