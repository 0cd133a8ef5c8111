"""Which initializer of an exported file is which parameter of the PyTorch network.

Exporters rename (`onnx::MatMul_123`, `val_45`), transpose, reshape, fold BatchNorm into the convolution before it, and
compute new constants out of parameters (a class token expanded over the batch, a gathered bias table). Only an
initializer that holds a parameter's very numbers, in whatever layout, can be trained as PyTorch trains the parameter.
"""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.numpy import save as serialize
from torch import nn


@dataclass
class Match:
    """`trained`: initializer -> (parameter, whether transposed); `others`: floating initializers that hold no
    parameter or buffer, with their shapes; `missing`: parameters that no initializer holds."""
    trained: dict
    others: dict
    missing: list
    shapes: dict

    def complete(self):
        return not self.missing

    def in_file_layout(self, tensors):
        """Arrays by parameter name -> arrays by initializer name, as the file holds them."""
        out = {}
        for initializer, (name, transposed) in self.trained.items():
            if name in tensors:
                array = np.asarray(tensors[name])
                array = array.T if transposed else array
                out[initializer] = np.ascontiguousarray(array.reshape(self.shapes[initializer]))
        return out


def save(tensors, path, notes=None):
    """Writes arrays by name as safetensors, the same bytes every time (the package's own order of notes varies)."""
    data = serialize({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    head = json.dumps({"__metadata__": dict(sorted((notes or {}).items())), **header}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    Path(path).write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length:])


def initializers(path):
    """By name; what an Identity of one gives counts as one: so TorchScript writes a parameter that equals another."""
    graph = onnx.load(str(path)).graph
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    return arrays


def alike(a, b):
    """Equal up to the rounding of folding."""
    return np.allclose(a, b, rtol=1e-4, atol=1e-6 * max(float(np.abs(b).max(initial=0)), 1e-30))


def match(path, model):
    arrays = {k: v for k, v in initializers(path).items() if v.dtype == np.float32}
    parameters = {k: v.detach().float().numpy() for k, v in model.named_parameters()}
    buffers = {k: v.detach().float().numpy() for k, v in model.named_buffers()}
    trained, others = {}, {}
    for initializer, array in arrays.items():
        names = [initializer] if initializer in parameters else []
        names += [n for n, p in parameters.items() if p.size == array.size and n != initializer]
        for name in names:
            value = parameters[name]
            if value.size != array.size:
                continue
            if alike(array.ravel(), value.ravel()):
                trained[initializer] = (name, False)
                break
            if value.ndim == 2 and array.shape[-2:] == value.T.shape and alike(array.ravel(), value.T.ravel()):
                trained[initializer] = (name, True)
                break
        else:
            if not any(b.size == array.size and alike(array.ravel(), b.ravel()) for b in buffers.values()):
                others[initializer] = list(array.shape)
    found = [name for name, _ in trained.values()]
    twice = {n for n in found if found.count(n) > 1}
    if twice:
        raise ValueError(f"held by two initializers: {sorted(twice)}")
    return Match(trained, others, [n for n in parameters if n not in found], {k: v.shape for k, v in arrays.items()})


def gradient_errors(found, wanted):
    """Relative L2 error of each parameter's gradient.

    Where the terms of a gradient cancel (a scalar, say), float32 leaves fewer digits: a parameter whose gradient's norm
    is below a thousandth of the norm of all gradients together is measured by that, so that an error of 1e-4 is one of
    1e-7 of the whole, float32's last bit. Gradients that are zero but for rounding (a bias before BatchNorm in training,
    the bias of an attention key), below a millionth of the whole, are measured by a hundredth of it.
    """
    whole = np.sqrt(sum(np.square(np.float64(g)).sum() for g in wanted.values()))

    def one(name):
        a, b = np.float64(found[name]).ravel(), np.float64(wanted[name]).ravel()
        size = np.linalg.norm(b)
        size = 1e-2 * whole if size < 1e-6 * whole else max(size, 1e-3 * whole)
        return float(np.linalg.norm(a - b) / size) if size > 0 else float(np.linalg.norm(a))

    return {name: one(name) for name in wanted}


def fold(model, image, path):
    """Folds BatchNorm into convolutions if the file has none. Names of the convolutions stay."""
    proto = onnx.load(str(path), load_external_data=False)
    if any(node.op_type == "BatchNormalization" for part in (proto.graph, *proto.functions) for node in part.node):
        return []
    made, pairs, hooks = {}, [], []

    def after(name, module):
        def hook(_, inputs, output):
            if isinstance(module, nn.BatchNorm2d):
                pairs.append((made.get(id(inputs[0])), name))
            else:
                made[id(output)] = name
                alive.append(output)
        return hook

    alive = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            hooks.append(module.register_forward_hook(after(name, module)))
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    for convolution, norm in pairs:
        if convolution is None:
            raise ValueError(f"no convolution before {norm}")
        a, b = model.get_submodule(convolution), model.get_submodule(norm)
        with torch.no_grad():
            scale = b.weight / torch.sqrt(b.running_var + b.eps)
            shape = [1] * a.weight.ndim
            if isinstance(a, nn.ConvTranspose2d):
                # [in, out / groups, kh, kw]: the scale of a group's outputs goes to that group's inputs
                g = a.groups
                weight = a.weight.reshape(g, -1, *a.weight.shape[1:]) * scale.reshape(g, 1, -1, 1, 1)
                weight = weight.reshape(a.weight.shape)
            else:
                shape[0] = -1
                weight = a.weight * scale.reshape(shape)
            bias = a.bias if a.bias is not None else torch.zeros_like(scale)
            a.weight.copy_(weight)
            a.bias = nn.Parameter((bias - b.running_mean) * scale + b.bias)
        parent, _, leaf = norm.rpartition(".")
        # timm's BatchNormAct2d holds the activation too
        setattr(model.get_submodule(parent) if parent else model, leaf, getattr(b, "act", None) or nn.Identity())
    return pairs
