#!/usr/bin/env python3
"""The loss curve of `glebe finetune` beside that of a PyTorch script on the same batches.

The batches are written as rasters with a list, one image a sample, so that they take the way that a user's data take:
list, reading, normalisation, sampling, trainer, `batch_losses.csv`. Needs numpy, rasterio, and what PEER needs.

usage: finetune.py GLEBE MODEL.train.onnx -- PYTHON torch_train.py NAME WEIGHTS.safetensors
                   [--steps 20] [--batch 4] [--size 256] [--lr 1e-4] [--tolerance 1e-3]   (before the --)
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio


def write(path: Path, block: np.ndarray) -> None:
    bands, height, width = block.shape
    with rasterio.open(path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=block.dtype) as file:
        file.write(block)


def main() -> int:
    at = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("glebe")
    parser.add_argument("model")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--lr", default="1e-4")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--threads", default="2")
    own = parser.parse_args(sys.argv[1:at])
    peer = sys.argv[at + 1 :]
    random = np.random.default_rng(7)
    shape = (own.steps, own.batch)
    images = random.standard_normal((*shape, 3, own.size, own.size), dtype=np.float32)
    # Labels that can be learned: which of three blurred bands is largest, and two classes of their sum.
    soft = images.copy()
    for axis in (-2, -1):
        soft = sum(np.roll(soft, shift, axis) for shift in range(-4, 5)) / 9
    labels = soft.argmax(2)
    labels[soft.sum(2) > 0.25] = 3
    labels[soft.sum(2) < -0.25] = 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "batches.npz", images=images, labels=labels.astype(np.int64))
        lines = []
        for step, image in np.ndindex(shape):
            stem = f"{step:03}_{image}"
            write(folder / f"{stem}.tif", images[step, image])
            write(folder / f"{stem}_labels.tif", labels[step, image].astype(np.uint8)[None])
            lines.append(f"{stem}.tif;{stem}_labels.tif\n")
        (folder / "list.csv").write_text("".join(lines))
        command = [own.glebe, "finetune", "--model", own.model, "--train", folder / "list.csv", "--epochs", "1"]
        command += ["--batch", str(own.batch), "--size", str(own.size), "--lr", own.lr, "--augment", "none"]
        command += ["--set", "sampling.shuffle=false", "--threads", own.threads, "--out", folder / "run", "--json"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        with open(folder / "run" / "batch_losses.csv") as file:
            ours = [float(row["loss"]) for row in csv.DictReader(file)]
        command = [*peer, "--batch", str(own.batch), "--size", str(own.size), "--lr", own.lr, "--threads", own.threads]
        command += ["--steps", str(own.steps), "--data", str(folder / "batches.npz")]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    theirs = found["losses"]
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    for step, (a, b) in enumerate(zip(ours, theirs), 1):
        print(f"step {step:2}  glebe {a:.6f}  PyTorch {b:.6f}  {abs(a - b) / abs(b):.1e}")
    print(f"largest relative difference over {len(ours)} steps: {worst:.1e} (at most {own.tolerance:.0e})")
    print(f"waiting for data: {100 * report['wait_s'] / report['fit_s']:.1f} % of {report['fit_s']:.1f} s")
    return int(worst > own.tolerance)


if __name__ == "__main__":
    sys.exit(main())
