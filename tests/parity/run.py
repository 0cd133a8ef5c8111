#!/usr/bin/env python3
"""Compares training by `glebe step` with training by PyTorch, network by network.

For every network and form: exports it, writes batches, trains it with PyTorch (reference.py) and with glebe, and
compares, with BatchNorm frozen and, where the file has any, in training:

  gradient    of the first step: relative L2 error of every parameter, at most 1e-4. Gradients that are small or zero
              for their cancelling terms are judged by the norm of all together: gradient_errors in parameters.py.
  losses      of 20 steps of AdamW: largest relative difference, at most 1e-3
  statistics  after the steps, with BatchNorm in training: relative L2 error, at most 1e-3

ReLU, max pooling and clipping have kinks. Among a million activations some lie so near to one that float32's rounding
decides on which side; where two programs decide differently, the gradients of everything before differ by up to some
percent in small deep maps, and neither is wrong: PyTorch's own float32 gradients differ so from its float64 ones on
about every second batch. So the gradient is compared on a batch that is calm (there PyTorch's float32 gradients, also
with the images changed by a millionth, agree with float64's), and if a parameter fails on it, on further ones. A wrong
rule fails on all of them. The results say how many batches were needed.

Parameters of other names in the file (transposed weights of MatMul, folded convolutions) are found by their values.
Floating initializers that hold no parameter are left out of training (`--params all,!NAME,...`).

needs: torch and what networks.py needs
usage: run.py GLEBE [NETWORK ...] [--forms first|all|FORM,...] [--out DIR] [--table FILE.md] [--steps 20] [--keep]
Exits with 1 if anything fails. GLEBE may hold arguments: "python stand_in.py".
"""
import argparse
import json
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

GRADIENT, LOSS, STATISTICS = 1e-4, 1e-3, 1e-3
# batches that the gradient may be tried on; how many are looked at for calm ones; what PyTorch's own error is in those
BATCHES, CANDIDATES, CALM = 4, 20, 3e-5


class Failure(Exception):
    """What went wrong, for people."""


class Case:
    """One network in one form: its file, and which parameters it holds under which names."""

    def __init__(self, name, exporter, opset, out):
        self.name, self.form, self.network = name, f"{exporter}{opset}", networks.NETWORKS[name]
        self.path = out / f"{name}.{self.form}.onnx"
        networks.export(networks.build(name), self.path, exporter, opset, self.network.size, self.network.free, self.network.batch)
        self.model = networks.build(name)
        parameters.fold(self.model, networks.smooth_image(self.network.size), self.path)
        self.match = parameters.match(self.path, self.model)
        self.trained = {parameter for parameter, _ in self.match.trained.values()}
        self.has_norm = "BatchNormalization" in networks.operators(self.path)[0]
        patterns = ["all"] + [f"!{n}" for n, shape in self.match.others.items() if shape]
        self.patterns = ",".join(patterns)

    def reference(self, data, norm_in_training):
        return reference.run(self.model, data, self.network.loss, norm_in_training, self.trained)

    def starts(self, data, norm_in_training):
        """Steps whose batches are calm, the calmest first, then others: (step, PyTorch's own error)."""
        own = {}
        for start in range(min(len(data[0]), CANDIDATES)):
            one = tuple(x[start] for x in data)
            own[start] = reference.own_error(self.model, one, self.network.loss, norm_in_training, self.trained)
            if sum(error <= CALM for error in own.values()) == 2:
                break
        return sorted(own.items(), key=lambda item: item[1])


def step(glebe, case, data, bn, out):
    """Runs glebe; (its JSON, its gradients, its weights)."""
    batches, gradients, weights = (out / f"{case.name}.{kind}.safetensors" for kind in ("batches", "gradients", "weights"))
    for stale in (gradients, weights):
        stale.unlink(missing_ok=True)
    save({"images": data[0].numpy(), "labels": data[1].numpy()}, batches)
    loss = ["--loss", "ce", "--ignore-index", "255"] if case.network.loss == "ce" else ["--loss", case.network.loss]
    command = [*shlex.split(glebe), "step", str(case.path), "--batches", str(batches), "--params", case.patterns, *loss,
               "--optimizer", "adamw", "--lr", str(reference.LR), "--weight-decay", str(reference.DECAY), "--bn", bn,
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
    worst, where = 0.0, ""
    for name, wanted in running.items():
        if name not in weights:
            raise Failure(f"{name} is not among the weights")
        error = float(np.linalg.norm(weights[name].ravel() - wanted.ravel()) / max(np.linalg.norm(wanted), 1e-6))
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
    first, row["own_gradient_error"] = starts[0]
    batches, data = data, rotated(data, first)
    wanted = case.reference(data, in_training)
    row["losses"] = wanted.losses
    try:
        answer, found, weights = step(glebe, case, data, bn, out)
        row |= dict(glebe_losses=answer["losses"], step_ms=answer.get("step_ms"), peak_rss_mib=answer.get("peak_rss_mib"), seconds=answer["seconds"])
        errors, complaints = compare_gradients(case, found, wanted.gradients)
        tries = 1
        for start, _ in starts[1:BATCHES]:
            if max(errors.values()) <= GRADIENT:
                break
            one = tuple(x[start:start + 1] for x in batches)
            again, _ = compare_gradients(case, step(glebe, case, one, bn, out)[1], case.reference(one, in_training).gradients)
            errors = {name: min(error, again.get(name, error)) for name, error in errors.items()}
            tries += 1
        worst = max(errors, key=errors.get)
        row |= dict(gradient_error=errors[worst], gradient_worst=worst, gradient_batches=tries,
                    gradient_median=float(np.median(list(errors.values()))))
        row["failures"] += complaints
        if not errors[worst] <= GRADIENT:
            bad = sum(not e <= GRADIENT for e in errors.values())
            row["failures"].append(f"gradient error {errors[worst]:.1e} > {GRADIENT:.0e} at {worst} ({bad} of {len(errors)} parameters, on each of {tries} batches)")
        difference = np.abs(np.array(answer["losses"]) - wanted.losses) / np.maximum(np.abs(wanted.losses), 1e-6)
        row["loss_error"] = float(difference.max())
        if not row["loss_error"] <= LOSS:
            at = int(np.argmax(~(difference <= LOSS)))
            row["failures"].append(f"loss error {row['loss_error']:.1e} > {LOSS:.0e}, first at step {at + 1}: {answer['losses'][at]:.6g}, expected {wanted.losses[at]:.6g}")
        if in_training:
            row["statistics_error"], where = compare_statistics(weights, wanted.running_in(case.match))
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
            f"gradient {number('gradient_error')} (PyTorch's own {number('own_gradient_error')}) losses {number('loss_error')}")
    if row["bn"] == "train":
        text += f" statistics {number('statistics_error')}"
    return "\n    ".join([text, *row["failures"]])


def table(rows):
    head = ["| network | form | BatchNorm | gradient, worst | median | batches | losses | statistics | |", "|---|---|---|---|---|---|---|---|---|"]

    def number(row, key):
        return f"{row[key]:.1e}" if row.get(key) is not None else ""
    body = [f"| {r['network']} | {r['form']} | {r['bn']} | {number(r, 'gradient_error')} | {number(r, 'gradient_median')} | {r.get('gradient_batches', '')} | "
            f"{number(r, 'loss_error')} | {number(r, 'statistics_error')} | {'passes' if r['ok'] else 'fails: ' + '; '.join(r['failures'])} |" for r in rows]
    return "\n".join(head + body) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("glebe")
    p.add_argument("networks", nargs="*")
    p.add_argument("--forms", default="first")
    p.add_argument("--out", type=Path, default=Path("parity"))
    p.add_argument("--table", type=Path)
    p.add_argument("--steps", type=int, default=reference.STEPS)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--keep", action="store_true", help="keep models and batches")
    a = p.parse_args()
    unknown = set(a.networks) - set(networks.NETWORKS)
    if unknown:
        p.error(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(networks.NETWORKS)}")
    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in a.networks or networks.NETWORKS:
        every = networks.NETWORKS[name].forms
        for exporter, opset in every[:1] if a.forms == "first" else every:
            if a.forms not in ("first", "all") and f"{exporter}{opset}" not in a.forms.split(","):
                continue
            try:
                case = Case(name, exporter, opset, a.out)
            except Exception as error:  # an exporter's fault is reported like any other failure
                rows.append(dict(network=name, form=f"{exporter}{opset}", bn="", ok=False, failures=[f"not exported: {type(error).__name__}: {str(error)[:200]}"]))
                print(line(rows[-1]), flush=True)
                continue
            for bn in ("frozen", "train") if case.has_norm else ("frozen",):
                rows.append(check(a.glebe, case, bn, a.steps, a.out))
                print(line(rows[-1]), flush=True)
                (a.out / "results.json").write_text(json.dumps(rows, indent=1))
            if not a.keep:
                for file in a.out.glob(f"{name}.*"):
                    file.unlink()
    (a.out / "results.json").write_text(json.dumps(rows, indent=1))
    (a.table or a.out / "table.md").write_text(table(rows))
    failed = [r for r in rows if not r["ok"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} pass" + (f"; failed: {', '.join(sorted({r['network'] for r in failed}))}" if failed else ""))
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
