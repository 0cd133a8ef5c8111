#!/usr/bin/env python3
"""Makes the golden files of this folder: networks, an image, and what Python's onnxruntime makes of it in one run.

needs: numpy, onnx, onnxruntime 1.31.1
usage: make.py [NAIP.tif]     with the raster (and rasterio) its labels are written too

  image.png            150 x 131 RGB, made here: smooth ramps, stripes and noise
  conv.onnx            two 3 x 3 convolutions, 3 bands in, 5 classes out, free height and width
  conv.labels.png      class numbers of the whole image in one run, (x / 255 - 0.5) / 0.25
  conv.logits.bin      the logits of rows 40 to 49, float32 [5, 10, 150]
  stride.onnx          as conv.onnx, but at a quarter of the resolution (stride 4), 3 classes
  stride.labels.png    its class numbers for the image's first 128 rows and 148 columns
  valid.onnx           two 3 x 3 convolutions without padding (margin 2), 1 channel: binary
  valid.labels.png     its classes at threshold 0.5 for the image reflected by 2 pixels on every side
  naip.labels.png      conv.onnx on bands 1, 2, 3 of the raster given, in one run
"""
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

here = Path(__file__).parent
rng = np.random.default_rng(20260101)


def write_png(path, array):
    """8 bits, grey [H, W] or RGB [H, W, 3]."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + array[y].tobytes() for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if array.ndim == 3 else 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def image():
    y, x = np.mgrid[0:131, 0:150]
    ramps = np.stack([x * 255 / 149, y * 255 / 130, (x + y) * 255 / 279])
    stripes = 40 * np.sin(x / 5.0) + 30 * np.cos(y / 7.0) + 20 * np.sin((x * y) / 90.0)
    noise = rng.normal(0, 25, (3, 131, 150))
    return np.clip(ramps + stripes + noise, 0, 255).astype(np.uint8)


def network(name, classes, pads, strides, hidden=8):
    weights = {
        "w1": rng.normal(0, 0.4, (hidden, 3, 3, 3)), "b1": rng.normal(0, 0.3, hidden),
        "w2": rng.normal(0, 0.4, (classes, hidden, 3, 3)), "b2": rng.normal(0, 0.3, classes),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], pads=[pads] * 4, strides=[strides[0]] * 2),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "w2", "b2"], ["logits"], pads=[pads] * 4, strides=[strides[1]] * 2),
    ]
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes, "oh", "ow"])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def run(model, pixels):
    x = (pixels.astype(np.float32) / 255 - 0.5) / 0.25
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x[None].astype(np.float32)})[0][0]


def balanced(model, pixels):
    """Shifts and scales the last layer so that every class wins somewhere; else wrong labels would go unseen."""
    logits = run(model, pixels)
    mean, std = logits.mean((1, 2)), logits.std((1, 2))
    for i, tensor in enumerate(model.graph.initializer):
        value = numpy_helper.to_array(tensor)
        if tensor.name == "w2":
            value = value / std[:, None, None, None]
        elif tensor.name == "b2":
            value = (value - mean) / std
        else:
            continue
        model.graph.initializer[i].CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    return model


pixels = image()
write_png(here / "image.png", np.ascontiguousarray(pixels.transpose(1, 2, 0)))

conv = balanced(network("conv", 5, 1, (1, 1)), pixels)
onnx.save(conv, here / "conv.onnx")
logits = run(conv, pixels)
write_png(here / "conv.labels.png", logits.argmax(0).astype(np.uint8))
np.ascontiguousarray(logits[:, 40:50]).astype("<f4").tofile(here / "conv.logits.bin")

part = pixels[:, :128, :148]
stride = balanced(network("stride", 3, 1, (2, 2)), part)
onnx.save(stride, here / "stride.onnx")
write_png(here / "stride.labels.png", run(stride, part).argmax(0).astype(np.uint8))

reflected = np.pad(pixels, ((0, 0), (2, 2), (2, 2)), mode="reflect")
valid = balanced(network("valid", 1, 0, (1, 1)), reflected)
onnx.save(valid, here / "valid.onnx")
probability = 1 / (1 + np.exp(-run(valid, reflected)[0]))
write_png(here / "valid.labels.png", (probability > 0.5).astype(np.uint8))

if len(sys.argv) > 1:
    import rasterio
    with rasterio.open(sys.argv[1]) as src:
        write_png(here / "naip.labels.png", run(conv, src.read([1, 2, 3])).argmax(0).astype(np.uint8))
