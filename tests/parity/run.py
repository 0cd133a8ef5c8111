#!/usr/bin/env python3
"""Compares training by `glebe step` with training by PyTorch, network by network.

For every network and form: exports it, writes batches, trains it with PyTorch (reference.py) and with glebe, and
compares, with BatchNorm frozen and, where the file has any, in training:

  gradient    of the first step: relative L2 error of every parameter, at most 1e-4, or twice what PyTorch's own float32
              is from its float64 on the calmest batch, if that is more (twice, as each of two float32 programs is that
              far from float64; the table says where). Gradients that are small or zero for their cancelling terms are
              judged by the norm of all together: gradient_errors in parameters.py.
  losses      of 20 steps of AdamW: relative difference, at each step at most 1e-3, or ten times what PyTorch's own
              losses have differed by so far when the images are changed by rounding, if that is more (which is only
              looked at where it matters)
  statistics  with BatchNorm in training, after one step: means and deviations, in units of the channel's deviation
              (root mean square over the channels), at most 1e-3

ReLU, max pooling and clipping have kinks. Among a million activations some lie so near to one that float32's rounding
decides on which side; where two programs decide differently, the gradients of everything before differ by up to some
percent in small deep maps, and neither is wrong: PyTorch's own float32 gradients differ so from its float64 ones on
about every second batch. So the gradient is compared on a batch that is calm (there PyTorch's float32 gradients, also
with the images changed by a millionth, agree with float64's), and if a parameter fails on it, on further ones. A wrong
rule fails on all of them. The results say how many batches were needed. And
training amplifies small differences in most networks with random weights, with any optimizer: two runs of PyTorch whose
images differ by rounding are apart by per cents after some steps. So the networks are trained a little before
(reference.settled), as those are that people finetune, and the learning rate is low; the results say how far the losses
moved by it, and how far PyTorch's runs are apart. Deep networks with ReLU6 and BatchNorm in training (MobileNetV2) have no calm batch:
normalising by the batch multiplies rounding from layer to layer, until some activations lie on the other side of a kink
on every batch. There PyTorch's own error is all that can be asked for; what frozen statistics and the other networks in
training say of the same operators is sharper.

Parameters of other names in the file (transposed weights of MatMul, folded convolutions) are found by their values.
Floating initializers that hold no parameter are left out of training (`--params all,!NAME,...`).

needs: torch and what networks.py needs
usage: run.py GLEBE [NETWORK ...] [--forms first|all|FORM,...] [--out DIR] [--page FILE.md] [--steps 20] [--keep] [--add]
Exits with 1 if anything fails. With --add what the results in DIR say already is kept, and only what is not in them or
failed is run. GLEBE may hold arguments: "python stand_in.py".
"""
import argparse
import copy
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

import networks
import parameters
import reference
from parameters import save

GRADIENT, LOSS, STATISTICS, DRIFT = 1e-4, 1e-3, 1e-3, 10
# batches that the gradient may be tried on; how many are looked at for calm ones; what PyTorch's own error is in those
BATCHES, CANDIDATES, CALM = 8, 8, 3e-5


class Failure(Exception):
    """What went wrong, for people."""


class Case:
    """One network in one form: its file, and which parameters it holds under which names."""

    def __init__(self, name, exporter, opset, out):
        self.name, self.form, self.network = name, f"{exporter}{opset}", networks.NETWORKS[name]
        self.path = out / f"{name}.{self.form}.onnx"
        self.model = copy.deepcopy(reference.settled(name))
        networks.export(copy.deepcopy(self.model), self.path, exporter, opset, self.network.size, self.network.free, self.network.batch)
        parameters.fold(self.model, networks.smooth_image(self.network.size), self.path)
        self.match = parameters.match(self.path, self.model)
        self.trained = {parameter for parameter, _ in self.match.trained.values()}
        self.has_norm = "BatchNormalization" in networks.operators(self.path)[0]
        patterns = ["all"] + [f"!{n}" for n, shape in self.match.others.items() if shape]
        self.patterns = ",".join(patterns)

    def reference(self, data, norm_in_training):
        return reference.run(self.model, data, self.network.loss, norm_in_training, self.trained, self.network.lr)

    def starts(self, data, norm_in_training):
        """Steps to begin with and PyTorch's own error there: the first whose batch is calm, or the calmest, then others."""
        own = {}
        for start in range(min(len(data[0]), CANDIDATES)):
            one = tuple(x[start] for x in data)
            own[start] = reference.own_error(self.model, one, self.network.loss, norm_in_training, self.trained)
            if own[start] <= CALM:
                yield start, own.pop(start)
        yield from sorted(own.items(), key=lambda item: item[1])


def step(glebe, case, data, bn, out):
    """Runs glebe; (its JSON, its gradients, its weights)."""
    batches, gradients, weights = (out / f"{case.name}.{kind}.safetensors" for kind in ("batches", "gradients", "weights"))
    for stale in (gradients, weights):
        stale.unlink(missing_ok=True)
    save({"images": data[0].numpy(), "labels": data[1].numpy()}, batches)
    loss = ["--loss", "ce", "--ignore-index", "255"] if case.network.loss == "ce" else ["--loss", case.network.loss]
    command = [*shlex.split(glebe), "step", str(case.path), "--batches", str(batches), "--params", case.patterns, *loss,
               "--optimizer", "adamw", "--lr", str(case.network.lr), "--weight-decay", str(reference.DECAY), "--bn", bn,
               "--gradients", str(gradients), "--weights", str(weights), "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Failure(f"exit {done.returncode}: {last[:300]}")
    try:
        answer = json.loads(done.stdout[done.stdout.index("{"):])
        losses = [float(x) for x in answer["losses"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"its JSON is not understood: {error!r}: {done.stdout[:200]!r}")
    if len(losses) != len(data[0]):
        raise Failure(f"{len(losses)} losses of {len(data[0])} steps")
    answer["losses"], answer["seconds"] = losses, round(time.perf_counter() - started, 2)
    if not gradients.exists():
        raise Failure("no gradients were written")
    return answer, load_file(gradients), load_file(weights) if weights.exists() else {}


def compare_gradients(case, found, wanted):
    """(initializer -> error, complaints)."""
    wanted = case.match.in_file_layout(wanted)
    complaints = []
    known, used = set(case.match.trained), {}
    extra = sorted(set(found) - known)
    if extra:
        complaints.append(f"gradients of what holds no parameter: {', '.join(extra[:5])} ({len(extra)})")
    for name, gradient in wanted.items():
        if name not in found:
            if np.any(gradient):
                complaints.append(f"no gradient of {name}")
        elif found[name].shape != gradient.shape:
            complaints.append(f"gradient of {name} is {found[name].shape}, expected {gradient.shape}")
        elif not np.isfinite(found[name]).all():
            complaints.append(f"gradient of {name} is not finite")
        else:
            used[name] = gradient
    if not used:
        raise Failure("; ".join(complaints) or "nothing to compare")
    if len(complaints) > 6:
        complaints = [*complaints[:6], f"and {len(complaints) - 6} more"]
    return parameters.gradient_errors(found, used), complaints


def compare_statistics(weights, running):
    """(largest error of a BatchNorm's means or deviations, in units of its channels' deviations; where)."""
    worst, where = 0.0, ""
    for name, wanted in running.items():
        if name not in weights:
            raise Failure(f"{name} is not among the weights")
        deviation = np.sqrt(running[name.rpartition(".")[0] + ".running_var"] + 1e-5)
        found = weights[name].reshape(wanted.shape)
        if name.endswith("var"):
            found, wanted = np.sqrt(np.maximum(found, 0) + 1e-5), np.sqrt(wanted + 1e-5)
        error = float(np.sqrt(np.mean(np.square((found - wanted) / deviation))))
        if not error <= worst:
            worst, where = error, name
    return worst, where


def rotated(data, by):
    return tuple(torch.roll(x, -by, 0) for x in data)


def check(glebe, case, bn, steps, out):
    """One row of the results."""
    in_training = bn == "train"
    row = dict(network=case.name, form=case.form, bn=bn, size=case.network.size, batch=case.network.batch, initializers=len(case.match.trained),
               not_in_file=case.match.missing, left_out=sorted(case.match.others), failures=[])
    data = reference.batches(case.network, steps)
    starts = case.starts(data, in_training)
    first, least = next(starts)
    batches, data = data, rotated(data, first)
    wanted = case.reference(data, in_training)
    row["losses"], row["lr"] = wanted.losses, case.network.lr
    try:
        answer, found, _ = step(glebe, case, data, bn, out)
        row |= dict(glebe_losses=answer["losses"], step_ms=answer.get("step_ms"), peak_rss_mib=answer.get("peak_rss_mib"), seconds=answer["seconds"])
        errors, complaints = compare_gradients(case, found, wanted.gradients)
        tries = 1
        while max(errors.values()) > GRADIENT and tries < BATCHES and (other := next(starts, None)):
            start, own = other
            least = min(least, own)
            one = tuple(x[start:start + 1] for x in batches)
            again, _ = compare_gradients(case, step(glebe, case, one, bn, out)[1], case.reference(one, in_training).gradients)
            errors = {name: min(error, again.get(name, error)) for name, error in errors.items()}
            tries += 1
        worst, allowed = max(errors, key=errors.get), max(GRADIENT, 2 * least)
        row |= dict(own_gradient_error=least, gradient_error=errors[worst], gradient_worst=worst, gradient_batches=tries,
                    gradient_median=float(np.median(list(errors.values()))))
        row["failures"] += complaints
        if not errors[worst] <= allowed:
            bad = sum(not e <= allowed for e in errors.values())
            row["failures"].append(f"gradient error {errors[worst]:.1e} > {allowed:.0e} at {worst} ({bad} of {len(errors)} parameters, on each of {tries} batches)")
        difference = np.abs(np.array(answer["losses"]) - wanted.losses) / np.maximum(np.abs(wanted.losses), 1e-6)
        row["loss_error"] = float(difference.max())
        still = reference.untrained_losses(case.model, data, case.network.loss, in_training)
        row["moved"] = float(np.max(np.abs(np.array(wanted.losses) / np.maximum(still, 1e-6) - 1)))
        row["steps_within"] = int((difference <= LOSS).sum())
        allowed = np.full(len(difference), LOSS)
        if not (difference <= allowed).all():
            own = reference.spread(case.model, data, wanted, case.network.loss, in_training, case.trained, case.network.lr)
            row["own_loss_error"] = float(own[-1])
            allowed = np.maximum(LOSS, DRIFT * own)
        if not (difference <= allowed).all():
            at = int(np.argmax(~(difference <= allowed)))
            row["failures"].append(f"loss error {difference[at]:.1e} > {allowed[at]:.1e} at step {at + 1}: {answer['losses'][at]:.6g}, expected {wanted.losses[at]:.6g}")
        if in_training:
            one = tuple(x[:1] for x in data)
            running = case.reference(one, True).running_in(case.match)
            row["statistics_error"], where = compare_statistics(step(glebe, case, one, bn, out)[2], running)
            if not row["statistics_error"] <= STATISTICS:
                row["failures"].append(f"statistics error {row['statistics_error']:.1e} > {STATISTICS:.0e} at {where}")
    except Failure as failure:
        row["failures"].append(str(failure))
    row["ok"] = not row["failures"]
    return row


def line(row):
    def number(key):
        return f"{row[key]:.1e}" if row.get(key) is not None else "-"
    text = (f"{row['network']:18} {row['form']:13} {row['bn']:6} {'ok' if row['ok'] else 'FAILED':6} "
            f"gradient {number('gradient_error')} (PyTorch's own {number('own_gradient_error')}) losses {number('loss_error')} (PyTorch's own {number('own_loss_error')})")
    if row["bn"] == "train":
        text += f" statistics {number('statistics_error')}"
    return "\n    ".join([text, *row["failures"]])


def verdict(row):
    """Whether it passes, and by what."""
    if not row["ok"]:
        return "fails: " + "; ".join(row["failures"])
    by_own = [what for what, key, limit in (("gradient", "gradient_error", GRADIENT), ("losses", "loss_error", LOSS)) if row[key] > limit]
    return "passes" + (f" ({' and '.join(by_own)}: PyTorch's own allowed)" if by_own else "")


def table(rows):
    head = ["| network | form | BatchNorm | gradient: worst | median | PyTorch's own | losses: worst | PyTorch's own | moved | statistics | |",
            "|---|---|---|---|---|---|---|---|---|---|---|"]

    def number(row, key):
        return f"{row[key]:.1e}" if row.get(key) is not None else ""
    keys = ("gradient_error", "gradient_median", "own_gradient_error", "loss_error", "own_loss_error", "moved", "statistics_error")
    body = [f"| {r['network']} | {r['form']} | {r['bn']} | {' | '.join(number(r, key) for key in keys)} | {verdict(r)} |" for r in rows]
    return "\n".join(head + body) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("glebe")
    p.add_argument("networks", nargs="*")
    p.add_argument("--forms", default="first")
    p.add_argument("--out", type=Path, default=Path("parity"))
    p.add_argument("--page", type=Path, help="replaces the table in this page")
    p.add_argument("--steps", type=int, default=reference.STEPS)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--add", action="store_true", help="keep the results in DIR and run what is missing there")
    p.add_argument("--keep", action="store_true", help="keep models and batches")
    a = p.parse_args()
    unknown = set(a.networks) - set(networks.NETWORKS)
    if unknown:
        p.error(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(networks.NETWORKS)}")
    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    results = a.out / "results.json"
    rows = [row for row in json.loads(results.read_text()) if row["ok"]] if a.add and results.exists() else []
    done = {(row["network"], row["form"], row["bn"]) for row in rows}
    for name in a.networks or networks.NETWORKS:
        every = networks.NETWORKS[name].forms
        for exporter, opset in every[:1] if a.forms == "first" else every:
            if a.forms not in ("first", "all") and f"{exporter}{opset}" not in a.forms.split(","):
                continue
            if all((name, f"{exporter}{opset}", bn) in done for bn in ("frozen", "train")):
                continue
            try:
                case = Case(name, exporter, opset, a.out)
            except Exception as error:  # an exporter's fault is reported like any other failure
                rows.append(dict(network=name, form=f"{exporter}{opset}", bn="", ok=False, failures=[f"not exported: {type(error).__name__}: {str(error)[:200]}"]))
                print(line(rows[-1]), flush=True)
                continue
            for bn in ("frozen", "train") if case.has_norm else ("frozen",):
                if (name, case.form, bn) in done:
                    continue
                rows.append(check(a.glebe, case, bn, a.steps, a.out))
                print(line(rows[-1]), flush=True)
                results.write_text(json.dumps(rows, indent=1))
            if not a.keep:
                for file in a.out.glob(f"{name}.*"):
                    file.unlink()
    order = list(networks.NETWORKS)
    rows.sort(key=lambda row: order.index(row["network"]))
    results.write_text(json.dumps(rows, indent=1))
    (a.out / "table.md").write_text(table(rows))
    if a.page:
        a.page.write_text(re.sub(r"^\| network \|.*?(?=^[^|]|\Z)", lambda _: table(rows), a.page.read_text(), flags=re.M | re.S))
    failed = [r for r in rows if not r["ok"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} pass" + (f"; failed: {', '.join(sorted({r['network'] for r in failed}))}" if failed else ""))
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
