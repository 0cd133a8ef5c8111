#!/usr/bin/env python3
"""Time and memory of a training step, alternately by glebe and by a PyTorch peer, as ratios of medians.

    make bench-finetune MODELS=FOLDER [PEER='PYTHON torch_train.py']

MODELS holds NETWORK.train.onnx (and NETWORK.safetensors for the peer); NETWORKS names those to run. The peer is a command
that takes `NETWORK WEIGHTS --train all|decoder|head --batch N --size S --steps K` and prints JSON with step_ms and
peak_rss_mib in its last line. Without a peer glebe is measured alone, which the table says.

Beside the time of a step stands the processor time that it takes, which tells more on a machine that others use too; a
peer that is a Python program is run with a clock that notes it. What is above a target is marked with "!".

usage: finetune.py GLEBE MODELS [--peer COMMAND] [--networks A,B] [--rounds 3] [--steps 6] [--batch 4] [--size 256] [--threads 2]
"""
import argparse
import array
import json
import os
import random
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# Step time and peak memory as shares of the peer's, for each of what is trained.
TARGETS = {"all": (0.9, 0.7), "decoder": (0.8, 0.6), "head": (0.7, 0.5), "head, cached": (0.1, None)}

# Runs a program that reads time.perf_counter before and after every step, and notes the processor time there.
TIMED = """
import json, runpy, statistics, sys, time
clock, log = time.perf_counter, []
def timed():
    now = clock()
    log.append(time.process_time())
    return now
time.perf_counter = timed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
steps = [after - before for before, after in zip(log[::2], log[1::2])]
print(json.dumps(dict(step_cpu_ms=1e3 * statistics.mean(steps[1:]))))
"""


def batches(path, batch, size):
    """One batch of noise with random labels of five classes, as a safetensors file."""
    numbers = random.Random(1)
    images = array.array("f", (numbers.gauss(0, 1) for _ in range(batch * 3 * size * size)))
    labels = bytes(numbers.randrange(5) for _ in range(batch * size * size))
    head = {
        "images": {"dtype": "F32", "shape": [1, batch, 3, size, size], "data_offsets": [0, 4 * len(images)]},
        "labels": {"dtype": "U8", "shape": [1, batch, size, size], "data_offsets": [4 * len(images), 4 * len(images) + len(labels)]},
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + images.tobytes() + labels)


def run(command, threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("glebe"), parser.add_argument("models", type=Path)
    parser.add_argument("--peer", default=""), parser.add_argument("--networks", default="unet_r18,deeplab_mnv2,segformer_b0")
    for name, default in dict(rounds=3, steps=6, batch=4, size=256, threads=2).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    own = parser.parse_args()
    print(f"batch {own.batch} x {own.size}², {own.threads} threads, median of {own.rounds} runs of {own.steps} steps, the first of each not counted"
          + ("" if own.peer else "; no peer was given: glebe alone"))
    print("| network | trained | step, ms | peer, ms | ratio | processor, ms | peer, ms | ratio | peak, MiB | peer, MiB | ratio | build, ms |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    program = shlex.split(own.peer or "")
    if len(program) == 2 and program[1].endswith(".py"):
        program[1:1] = ["-c", TIMED]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "batches.safetensors"
        batches(data, own.batch, own.size)
        for network in own.networks.split(","):
            for trained in ("all", "decoder", "head", "head, cached"):
                what, cache = trained.partition(",")[0], "," in trained
                command = [own.glebe, "step", own.models / f"{network}.train.onnx", "--batches", data, "--params", what, "--ignore-index", "255",
                           "--threads", str(own.threads), "--steps", str(own.steps), "--json", *(["--cache-memory", "2GiB"] if cache else [])]
                peer = [*program, network, own.models / f"{network}.safetensors", "--train", what, "--batch", str(own.batch),
                        "--size", str(own.size), "--steps", str(own.steps)] if own.peer else None
                found, others = [], []
                for _ in range(own.rounds):
                    found.append(run(command, own.threads))
                    if peer:
                        others.append(run(peer, own.threads))
                middle = lambda results, key: statistics.median(values) if (values := [one[key] for one in results if one.get(key)]) else None
                row = [network, trained]
                for key, target in zip(("step_ms", "step_cpu_ms", "peak_rss_mib"), (TARGETS[trained][0], None, TARGETS[trained][1])):
                    mine, theirs = middle(found, key), middle(others, key)
                    ratio = None if mine is None or theirs is None else mine / theirs
                    mark = "!" if target and ratio and ratio > target else ""
                    row += ["" if mine is None else f"{mine:.0f}", "" if theirs is None else f"{theirs:.0f}", "" if ratio is None else f"{ratio:.2f}{mark}"]
                print("|", " | ".join([*row, f"{middle(found, 'build_ms'):.0f}"]), "|", flush=True)


main()
