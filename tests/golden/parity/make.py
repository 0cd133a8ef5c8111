#!/usr/bin/env python3
"""Makes the golden files of this folder: the full networks of tests/parity/networks.py, and how PyTorch trains them.

Their weights would be gigabytes, so most numbers are generated, by Rust (tests/train/full.rs) as here (generated.py):

  NETWORK.onnx         the first form of the network (initializers named as in the state_dict), with short names for the
                       values between nodes. An initializer with a `doc_string` has no elements: the text gives the
                       offset, the scale and the period of generated.weight, by its name. Mean (0 for weights of two axes
                       and more) and deviation are those of what the network began with, or see STEADY. Elements are
                       there of what has no more than 16, of BatchNorm's running statistics, and of the last
                       convolution: calibrated with networks.warm_up and networks.balance once the others were generated
  NETWORK.safetensors  what PyTorch makes of it:
    losses [3] f64                losses of three steps of AdamW (weight decay 0.01), norms with frozen statistics
    gradients [P, 13] f32         of the first step's gradient of every parameter, in the layout of the file: its L2 norm,
                                  generated.projections (4), and the entries at generated.places (8; 0 where there are fewer)
    train.losses, train.gradients the same with BatchNorm in training; where the file has any, and PyTorch's own float32
                                  keeps the bounds
    train.statistics [R, 5] f32   after the first of those steps: by BatchNorm, the norm of its channels' deviations and
                                  the projections of the running means; then the same with those of the deviations
    its metadata                  batch, train.batch: number of the first batch (generated.batch), the next two follow;
                                  count, size: images of a batch and their sides; loss, params, lr, weight_decay;
                                  gradients, statistics: JSON lists of initializers, the rows' names; weights, images:
                                  checksums of all generated weights together and of the first batch's images;
                                  float32, train.float32: how far PyTorch's own float32 is from the rest, largest
                                  relative difference of a loss, of a gradient by its projections, and of an entry
                                  in root mean squares of the gradient

All reference numbers are of float64 runs from the float32 weights. The batches are calm: no activation is so near to the
kink of a ReLU that rounding decides on its side. PyTorch's float32 gradients are within 3e-5 of float64's there, and
within 5e-5 with images changed by a millionth and weights by a third of that, at random, as often as DRAWS says. The
learning rate is the highest of RATES at which PyTorch's float32 losses, also with images changed by rounding, stay within
1e-5. A network without a calm batch gets no golden, and what it has not in training is left out; the script says so.

needs: numpy, onnx, onnxruntime, safetensors, segmentation_models_pytorch, timm, torch
usage: make.py [NETWORK ...]
"""
import copy
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

here = Path(__file__).parent
sys.path.insert(0, str(here / "../../parity"))
sys.path.insert(0, str(here))
import generated  # noqa: E402
import networks  # noqa: E402
import parameters  # noqa: E402
import reference  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
STEPS, FEW = 3, 16
# batches that are looked at for a calm one; what PyTorch's own float32 may be from float64: gradients by parameter, the
# same with weights and images shaken, their entries in root mean squares of the gradient, and losses
CANDIDATES, DRAWS, CALM, SHAKEN, ENTRY, LOSS = 16, 12, 3e-5, 5e-5, 3e-4, 1e-5
# the loss may rise by a tenth, not more: else there is little left of what a network with these weights is like
RATES, RISE = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6), 1.1
# Networks with so many ReLUs that no batch is calm otherwise. What their norms give (by weight and bias) has deviation 0.4
# and mean 1.35, or -1.35 in every fourth channel, the same ones everywhere, so that sums are no nearer to 0: there are three
# deviations between mean and kink, and activations near it a hundredth of what they were. Some are still beyond it.
STEADY = {"unet_r18", "segformer_b0", "unetpp_r34", "fpn_effb0", "pan_r18", "deeplab3_r18", "unet_mnv3", "manet_r18", "unet_scse",
          "upernet_convnext", "deeplab_mnv2", "unet_convnext", "unet_swin", "dpt_vit", "linknet_r18"}
STEADY_WEIGHT, STEADY_BIAS = (0.4, 0.05, 0), (1.35, 0.15, 4)


def batches(network, first):
    """As the functions of reference.py take them."""
    made = [generated.batch(first + step, network.batch, network.size) for step in range(STEPS)]
    images, labels = (np.stack(part) for part in zip(*made))
    images = torch.from_numpy(images)
    return images, images[:, :, [1, 0]].contiguous() if network.loss == "mse" else torch.from_numpy(labels).long()


def generate(proto, model, steady):
    """Generates the large initializers, here and in the model; their offsets, scales and periods by name. Those that hold
    no parameter stay."""
    norms = {n: m for n, m in model.named_modules() if steady and isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))}
    last = networks.last_convolution(model)
    kept = {name for name, p in model.named_parameters() if any(p is own for own in last.parameters())}
    tensors, fills = dict(model.named_parameters()), {}
    for initializer in proto.graph.initializer:
        parameter = tensors.get(initializer.name)
        if parameter is None or parameter.numel() <= FEW or initializer.name in kept:
            continue
        assert list(initializer.dims) == list(parameter.shape), initializer.name
        norm, _, leaf = initializer.name.rpartition(".")
        values = parameter.detach().double()
        how = (float(values.mean()) if values.ndim < 2 else 0.0, float(values.std()) * 3**0.5, 0)
        if norm in norms:
            how = STEADY_WEIGHT if leaf == "weight" else STEADY_BIAS
        how = (np.float32(how[0]), np.float32(how[1]), how[2])
        made = generated.weight(initializer.name, tuple(initializer.dims), *how)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(made))
        fills[initializer.name] = how
    return fills


def fill(proto, model):
    """Puts the model's numbers into the initializers of their names."""
    state = model.state_dict()
    for initializer in proto.graph.initializer:
        if initializer.name in state:
            array = state[initializer.name].numpy()
            assert list(initializer.dims) == list(array.shape), initializer.name
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))


def shorten(proto):
    """Removes notes and the names of nodes, and gives values between nodes short names."""
    graph = proto.graph
    kept = {v.name for v in [*graph.input, *graph.output, *graph.initializer]} | {""}
    short = {}
    del graph.value_info[:], graph.metadata_props[:], proto.metadata_props[:]
    for node in graph.node:
        assert not any(a.HasField("g") or a.graphs for a in node.attribute)
        for field in ("name", "doc_string"):
            node.ClearField(field)
        del node.metadata_props[:]
        for names in (node.input, node.output):
            names[:] = [n if n in kept else short.setdefault(n, f"_{len(short)}") for n in names]
    for item in [*graph.input, *graph.output, *graph.initializer]:
        item.ClearField("doc_string")
        del item.metadata_props[:]


def build(name, network):
    """(the filled file, the model, how what was generated)"""
    exporter, opset = network.forms[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        networks.export(networks.build(name), path, exporter, opset, network.size, network.free, network.batch)
        proto = onnx.load(path)
    shorten(proto)
    model = networks.build(name)
    fills = generate(proto, model, name in STEADY)
    torch.manual_seed(0)
    images = [torch.from_numpy(generated.batch(10**6 + k, 4, network.size)[0]) for k in range(3)]
    networks.warm_up(model, images)
    networks.balance(model, images[0])
    fill(proto, model)
    return proto, model, fills


def summary(match, gradients):
    """Name -> norm, projections, entries; in float64."""
    out = {}
    for name, gradient in match.in_file_layout(gradients).items():
        entries = np.zeros(generated.PLACES)
        found = gradient.ravel()[generated.places(name, gradient.size)]
        entries[: len(found)] = found
        out[name] = np.array([np.linalg.norm(np.float64(gradient)), *generated.projections(name, gradient), *entries])
    return out


def apart(found, wanted, sizes):
    """(largest error by projections, largest of an entry), as tests/train/full.rs measures them."""
    whole = np.sqrt(sum(row[0] ** 2 for row in wanted.values()))
    errors, entries = [], []
    for name, row in wanted.items():
        norm = 1e-2 * whole if row[0] < 1e-6 * whole else max(row[0], 1e-3 * whole)
        off = np.abs(found[name] - row)
        errors.append(max(np.sqrt(np.mean(off[1:5] ** 2)), off[0]) / norm)
        entries.append(off[5:].max() / norm * np.sqrt(sizes[name]))
    return max(errors), max(entries)


def statistics(running):
    """Rows by BatchNorm's buffer, after one step."""
    rows = {}
    for name, variance in running.items():
        if not name.endswith("running_var"):
            continue
        deviation = np.sqrt(np.float64(variance) + 1e-5)
        mean = name.removesuffix("var") + "mean"
        for row, values in ((mean, running[mean]), (name, deviation)):
            rows[row] = np.array([np.linalg.norm(deviation), *generated.projections(row, values)])
    return rows


def train(case, data, norm_in_training, lr):
    """(exact, and two in float32, of which one with changed images)"""
    model, network, trained = case
    images, labels = data
    runs = ((model.double(), images.double()), (model, images), (model, shaken(images, 3e-7, 1)))
    out = []
    for own, pixels in runs:
        own = copy.deepcopy(own).double() if pixels.dtype == torch.float64 else copy.deepcopy(own).float()
        out.append(reference.run(own, (pixels, labels), network.loss, norm_in_training, trained, lr))
    model.float()
    return out


def shaken(tensor, by, seed):
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
    return tensor * (1 + by * noise)


def own_error(case, image, label, norm_in_training):
    """(the largest error of a parameter's gradient in float32, the same of DRAWS networks and images that differ by a little
    more than rounding, as other programs would). Given up as soon as the latter is sure to be more than SHAKEN: one of two
    is at least half as far from the truth as they are apart."""
    model, network, trained = case

    def gradients(pixels, seed=None):
        one = copy.deepcopy(model).to(pixels.dtype)
        if seed is not None:
            with torch.no_grad():
                for index, parameter in enumerate(one.parameters()):
                    parameter.copy_(shaken(parameter, 3e-7, 1000 * seed + index))
        reference.prepare(one, trained, norm_in_training)
        reference.loss_of(one(pixels), label, network.loss).backward()
        return reference.gradients_of(one)

    def largest(found, wanted):
        return max(parameters.gradient_errors(found, wanted).values())

    found = [gradients(image)]
    for seed in range(DRAWS):
        found.append(gradients(shaken(image, 1e-6, seed), seed))
        error = largest(found[-1], found[0]) / 2
        if error > SHAKEN:
            return np.inf, error
    exact = gradients(image.double())
    errors = [largest(other, exact) for other in found]
    return errors[0], max(errors)


def calm(case, norm_in_training):
    """Number of the first calm batch and PyTorch's own error there, or the least error."""
    least = np.inf
    for number in range(CANDIDATES):
        images, labels = batches(case[1], number)
        own = own_error(case, images[0], labels[0], norm_in_training)
        if own[0] <= CALM and own[1] <= SHAKEN:
            return number, own[1]
        least = min(least, own[1])
    return None, least


def one_mode(case, match, sizes, norm_in_training):
    """(arrays, notes), or a complaint."""
    model, network, trained = case
    number, own = calm(case, norm_in_training)
    if number is None:
        return f"no calm batch, own error {own:.1e}"
    data = batches(network, number)
    for lr in RATES:
        exact, *others = train(case, data, norm_in_training, lr)
        losses = np.array(exact.losses)
        loss = max(np.max(np.abs(np.array(other.losses) / losses - 1)) for other in others)
        if loss <= LOSS and losses.max() <= RISE * losses[0]:
            break
    else:
        return f"losses differ by {loss:.1e}: {losses}"
    wanted = summary(match, exact.gradients)
    found = [apart(summary(match, other.gradients), wanted, sizes) for other in others]
    error, entry = (max(column) for column in zip(*found))
    if error > CALM or entry > ENTRY:
        return f"projections differ by {error:.1e}, entries by {entry:.1e}"
    arrays = {"losses": losses, "gradients": np.array(list(wanted.values()), np.float32)}
    notes = {"batch": number, "lr": lr, "images": generated.checksum(data[0][0].numpy()),
             "float32": f"{loss:.1e} {error:.1e} {entry:.1e}"}
    if norm_in_training:
        one = tuple(x[:1] for x in data)
        exact = copy.deepcopy(model).double()
        running = reference.run(exact, (one[0].double(), one[1]), network.loss, True, trained, lr).running_in(match)
        rows = statistics(running)
        arrays["statistics"] = np.array(list(rows.values()), np.float32)
        notes["statistics"] = json.dumps(list(rows))
    return arrays, notes, list(wanted)


def make(name):
    started = time.perf_counter()
    network = networks.NETWORKS[name]
    proto, model, fills = build(name, network)
    image = batches(network, 0)[0][0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(proto, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        found = session.run(None, {"image": image.numpy()})[0]
        match = parameters.match(path, model)
    with torch.no_grad():
        wanted = model(image).numpy()
    assert np.allclose(found, wanted, rtol=1e-3, atol=1e-3), np.abs(found - wanted).max()
    assert all(name == parameter and not transposed for name, (parameter, transposed) in match.trained.items())
    missing = set(fills) - set(match.trained)
    assert not missing, missing
    sizes = {name: int(np.prod(match.shapes[name])) for name in match.trained}
    case = (model, network, set(match.trained))

    weights = 0
    for initializer in proto.graph.initializer:
        if initializer.name in fills:
            array = numpy_helper.to_array(initializer)
            how = fills[initializer.name]
            assert np.array_equal(array, generated.weight(initializer.name, array.shape, *how))
            weights = (weights + generated.checksum(array)) % 2**64
            initializer.ClearField("raw_data")
            initializer.doc_string = " ".join(map(str, how))
    left_out = [f"!{n}" for n, shape in match.others.items() if shape]
    notes = dict(network=name, form="".join(map(str, network.forms[0])), torch=torch.__version__, loss=network.loss, count=network.batch,
                 size=network.size, weight_decay=reference.DECAY, params=",".join(["all", *left_out]), weights=weights)
    golden, has_norm = {}, any(node.op_type == "BatchNormalization" for node in proto.graph.node)
    for prefix, in_training in (("", False), ("train.", True))[: 1 + has_norm]:
        answer = one_mode(case, match, sizes, in_training)
        if isinstance(answer, str):
            print(f"{name}: {prefix or 'frozen.'} {answer}", flush=True)
            if not in_training:
                return
            continue
        arrays, further, rows = answer
        golden |= {prefix + key: value for key, value in arrays.items()}
        notes |= {prefix + key: value for key, value in further.items()}
        assert notes.setdefault("gradients", json.dumps(rows)) == json.dumps(rows)
    path = here / f"{name}.onnx"
    onnx.save(proto, path)
    parameters.save(golden, path.with_suffix(".safetensors"), {k: str(v) for k, v in notes.items()})
    figures = "; ".join(f"{mode or 'frozen '}batch {notes[mode + 'batch']} lr {notes[mode + 'lr']:g} own {notes[mode + 'float32']} losses "
                        + " ".join(f"{x:.5f}" for x in golden[mode + "losses"]) for mode in ("", "train.") if mode + "batch" in notes)
    print(f"{name}: {path.stat().st_size / 1024:.0f} + {path.with_suffix('.safetensors').stat().st_size / 1024:.0f} KiB, "
          f"{len(match.trained)} parameters, {len(fills)} generated, left out {left_out}, missing {match.missing}; {figures}; "
          f"{time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or networks.NETWORKS:
        make(name)
