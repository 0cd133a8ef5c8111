#!/usr/bin/env python3
"""Whole scoring jobs, GeoTIFF to GeoTIFF, alternately by glebe and by a peer on the same scene, as ratios of medians.

The peers are programs that print JSON with wall_s in their last line: `rasterio_ort.py MODEL IN OUT --mode halo|blend`
and, where its packages are installed, `geo_inference_peer.py MODEL.pt IN WORK`. Their start (imports, sessions) does not
count; glebe's wall_s has everything but the start of the process. Peak memory is that of the processes.

MODELS holds tiny.onnx, tiny.dynamic.onnx, deeplab_mnv2.onnx ... of 3 bands, fed (x / 255 - 0.5) / 0.25; SCENES holds
4096.tif and 2048.tif. What misses its target is marked with "!".

usage: end_to_end.py GLEBE MODELS SCENES --python PYTHON --peers FOLDER [--rounds 3] [--threads 2] [--work NAME]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NORMALISED = ["--scale", "255", "--mean", "0.5", "--std", "0.25"]

# Name: scene, glebe's model and options, the peer and its options, and the ratio of times that is wanted.
WORKS = {
    "tiny, halo": (4096, "tiny.onnx", ["--blend", "crop", "--overlap", "128"], ["halo", "tiny.onnx"], 3.0),
    "tiny, exact tiles of the same size": (4096, "tiny.onnx", ["--blend", "exact"], ["halo", "tiny.onnx"], None),
    "tiny, blend": (4096, "tiny.onnx", ["--blend", "gaussian", "--overlap", "128"], ["blend", "tiny.onnx"], 3.5),
    "tiny, exact and auto": (4096, "tiny.dynamic.onnx", ["--blend", "exact", "--tile", "auto"], ["halo", "tiny.onnx"], 5.0),
    "deeplab_mnv2": (2048, "deeplab_mnv2.onnx", ["--blend", "crop", "--overlap", "128"], ["halo", "deeplab_mnv2.onnx"], None),
    "segformer_b0": (2048, "segformer_b0.onnx", ["--blend", "crop", "--overlap", "128"], ["halo", "segformer_b0.onnx"], None),
    "unet_r18": (2048, "unet_r18.onnx", ["--blend", "crop", "--overlap", "128"], ["halo", "unet_r18.onnx"], None),
    "deeplab_mnv2 as it comes, geo-inference": (2048, "deeplab_mnv2.onnx", [], ["geo", "deeplab_mnv2.pt"], 3.0),
    "deeplab_mnv2, geo-inference": (2048, "deeplab_mnv2.onnx", ["--blend", "hann", "--overlap", "256"], ["geo", "deeplab_mnv2.pt"], 3.0),
}
# The model alone: as many runs as there are tiles, after one that does not count, in a session like the peer's.
ALONE = ["deeplab_mnv2", "segformer_b0", "unet_r18"]
BARE = """
import json, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tile = np.random.default_rng(0).standard_normal((1, 3, 512, 512), dtype=np.float32)
name = session.get_inputs()[0].name
session.run(None, {name: tile})
start = time.perf_counter()
for _ in range(int(sys.argv[2])):
    session.run(None, {name: tile})
print(json.dumps({"wall_s": time.perf_counter() - start}))
"""


def run(command):
    """Seconds, peak memory in MiB, and what was printed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {err.decode()[-400:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, out.decode()


def glebe(arguments, model, scene, options, folder):
    report = folder / "report.json"
    command = [arguments.glebe, "-q", "segment", arguments.models / model, scene, "-o", folder / "map.tif", "--overwrite"]
    command += ["--threads", str(arguments.threads), "--format", "gtiff", "--report", report] + NORMALISED + options
    report.unlink(missing_ok=True)
    _, memory, _ = run(command)
    done = json.loads(report.read_text())
    return done["wall_s"], memory, done["model_s"] / done["wall_s"], done


def bare(arguments, model, tiles):
    command = [arguments.python, "-c", BARE, arguments.models / model, str(tiles), str(arguments.threads)]
    return json.loads(run(command)[2].strip().splitlines()[-1])["wall_s"]


def peer(arguments, options, scene, folder):
    mode, model = options
    if mode == "geo":
        command = [arguments.python, arguments.peers / "geo_inference_peer.py", arguments.models / model, scene, folder / "geo"]
        _, memory, out = run(command + ["--threads", str(arguments.threads)])
        return json.loads(out.strip().splitlines()[-1])["wall_s"], memory
    command = [arguments.python, arguments.peers / "rasterio_ort.py", arguments.models / model, scene, folder / "peer.tif"]
    _, memory, out = run(command + ["--mode", mode, "--threads", str(arguments.threads)])
    done = json.loads(out.strip().splitlines()[-1])
    return done["wall_s"], memory


def main():
    parser = argparse.ArgumentParser()
    for name in ("glebe", "models", "scenes"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--python", required=True), parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3), parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", action="append", choices=WORKS, help="only this one; may be given several times")
    arguments = parser.parse_args()
    chosen = arguments.work or list(WORKS)
    print("| work | glebe s | Mpx/s | model's share | MiB | peer s | MiB | faster | memory | target |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    alone = []
    for name in chosen:
        size, model, options, other, target = WORKS[name]
        scene = arguments.scenes / f"{size}.tif"
        own, theirs, runs = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for _ in range(arguments.rounds):
                own.append(glebe(arguments, model, scene, options, folder))
                theirs.append(peer(arguments, other, scene, folder))
                if name in ALONE:
                    runs.append(bare(arguments, model, own[-1][3]["tiles"]))
        wall, memory, share = (statistics.median(run[at] for run in own) for at in range(3))
        peer_wall, peer_memory = (statistics.median(run[at] for run in theirs) for at in range(2))
        ratio = peer_wall / wall
        if runs:
            runs = statistics.median(runs)
            setup = statistics.median(run[3]["setup_s"] for run in own)
            alone.append(f"| {name} | {wall:.2f} | {setup:.2f} | {runs:.2f} | {wall / runs:.2f} | {(wall - setup) / runs:.2f} |")
        mark = "" if target is None else f">= {target}" + ("" if ratio >= target else " !")
        print(f"| {name} | {wall:.2f} | {size * size / wall / 1e6:.2f} | {share:.2f} | {memory:.0f} | {peer_wall:.2f} "
              f"| {peer_memory:.0f} | {ratio:.2f} | {memory / peer_memory:.2f} | {mark} |", flush=True)
    if alone:
        print("\n| work | glebe s | of it setup | runs alone s | wall over runs | without setup |")
        print("|---|---|---|---|---|---|")
        print("\n".join(alone))


if __name__ == "__main__":
    main()
