#!/usr/bin/env python3
"""Writes the golden files of tests/metrics.rs beside itself.

    python -m venv ENV && ENV/bin/pip install numpy pandas scikit-learn SimpleITK && ENV/bin/python make.py

What stands in a file is what those libraries answer to random input; the seeds are fixed. Values are written as
`Value::to_json` does: {"int": "7"}, {"float": "0.1"}, everything else as JSON has it.
"""

import io
import json
import math
import random
import sys
from pathlib import Path

import numpy
import pandas
import SimpleITK
import sklearn
import sklearn.metrics as reference

HERE = Path(__file__).parent
VERSIONS = {
    "python": sys.version.split()[0],
    "numpy": numpy.__version__,
    "pandas": pandas.__version__,
    "scikit-learn": sklearn.__version__,
    "SimpleITK": SimpleITK.Version_VersionString(),
}


def encode(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": repr(value)}
    return [encode(item) for item in value]


def write(name, cases):
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    text = f'{{"versions":{json.dumps(VERSIONS)},"cases":[\n{lines}\n]}}\n'
    (HERE / name).write_text(text)
    print(name, len(cases), "cases", len(text), "bytes")


# Tables -------------------------------------------------------------------------------------------------------


def flush(records, fixed, tsv):
    """The table of a frame logger, made with pandas."""
    rows = [{**record, **fixed} for record in records]
    frame = pandas.DataFrame.from_records(rows, columns=list(rows[0]) if rows else None)
    out = io.StringIO()
    if tsv:
        frame.to_csv(out, sep="\t", index=False)
    else:
        if "LearningRate" in frame.columns:
            frame["LearningRate"] = frame["LearningRate"].map("{:.6e}".format)
        frame.to_csv(out, sep=",", index=False, float_format="%.6f")
    return out.getvalue()


def random_float(rng):
    kind = rng.randrange(10)
    if kind < 4:
        return rng.uniform(-1, 1)
    if kind < 6:
        return rng.uniform(-1, 1) * 10.0 ** rng.randint(-12, 22)
    if kind == 6:
        # Halves of the last decimal that is written, and what is near them.
        return rng.randint(-4000, 4000) / 128 + rng.choice([0, 0, 5e-7, -5e-7])
    if kind == 7:
        return float(rng.randint(-5, 5))
    return rng.choice([math.nan, math.inf, -math.inf, -0.0, 0.0, 1e300, 5e-324, 1e16, 1e-4, 1e-5, 123456789012345.6])


def random_int(rng):
    kind = rng.randrange(8)
    if kind < 6:
        return rng.randint(-100, 1000)
    edge = rng.choice([2**53, 2**63, 2**64, -(2**63), 10**25, 2**31])
    return edge + rng.randint(-2, 2)


def random_text(rng):
    return "".join(rng.choice("abcé ,\"\n\r\t'/;\\nan01") for _ in range(rng.randrange(6)))


def random_value(rng, kinds):
    kind = rng.choice(kinds)
    if kind == "float":
        return random_float(rng)
    if kind == "int":
        return random_int(rng)
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "text":
        return random_text(rng)
    if kind == "list":
        return [random_value(rng, ["float", "int", "bool", "none", "text"]) for _ in range(rng.randrange(4))]
    return None


def frames():
    rng = random.Random(4)
    cases = []
    names = ["loss", "epoch", "Dice/a", "a,b", 'q"q', "x\ny", "", "LearningRate", "n"]
    for number in range(600):
        tsv = number % 6 == 5
        columns = rng.sample(names, rng.randint(1, 4))
        kinds = {}
        for name in names:
            common = rng.choice([["float"], ["int"], ["float", "int"], ["int", "none"], ["bool"], ["text"]])
            kinds[name] = common if rng.random() < 0.7 else rng.sample(
                ["float", "int", "bool", "text", "list", "none"], rng.randint(1, 3))
        if not tsv:
            kinds["LearningRate"] = ["float", "int"]
        fixed = {}
        if rng.random() < 0.4:
            name = rng.choice(["cross_validation_split_index", "cross_validation_split_index", "epoch", "n"])
            fixed[name] = rng.choice([-1, 3, None, 0.5])
        records = []
        for position in range(rng.randint(1, 4)):
            keys = list(columns)
            if position and rng.random() < 0.3:
                keys.remove(rng.choice(keys))
            if position and rng.random() < 0.2:
                keys = keys + [name for name in rng.sample(names, 1) if name not in keys]
            if position and rng.random() < 0.2:
                rng.shuffle(keys)
            records.append({key: random_value(rng, kinds[key]) for key in keys})
        cases.append({
            "layout": "tsv" if tsv else "csv",
            "fixed": [[name, encode(value)] for name, value in fixed.items()],
            "records": [[[name, encode(value)] for name, value in record.items()] for record in records],
            "text": flush(records, fixed, tsv),
        })
    write("frames.json", cases)


# Scores -------------------------------------------------------------------------------------------------------


def confusion():
    rng = numpy.random.default_rng(5)
    cases = []
    for number in range(80):
        classes = int(rng.integers(2, 7))
        # Some classes are often absent from one side or both.
        present = [c for c in range(classes) if rng.random() < 0.8] or [0]
        foretold = [c for c in range(classes) if rng.random() < 0.8] or [0]
        pixels = int(rng.integers(1, 120))
        truth = rng.choice(present, pixels)
        predicted = numpy.where(rng.random(pixels) < 0.5, truth, rng.choice(foretold, pixels))
        ignored = rng.random(pixels) < (0.2 if number % 2 else 0.0)
        valid = rng.random(pixels) < (0.8 if number % 3 == 0 else 1.1)
        keep = valid & ~ignored
        case = {
            "classes": classes,
            "truth": "".join("x" if skip else str(c) for c, skip in zip(truth, ignored)),
            "predicted": "".join(map(str, predicted)),
            "valid": "".join("1" if v else "0" for v in valid),
        }
        true, guess = truth[keep], predicted[keep]
        if not len(true):
            continue
        labels = list(range(classes))
        case["matrix"] = reference.confusion_matrix(true, guess, labels=labels).flatten().tolist()
        case["accuracy"] = repr(float(reference.accuracy_score(true, guess)))

        def scores(labels, average):
            nan = {"labels": labels, "average": average, "zero_division": numpy.nan}
            values = [
                reference.precision_score(true, guess, **nan),
                reference.recall_score(true, guess, **nan),
                reference.f1_score(true, guess, **nan),
            ]
            return [numpy.atleast_1d(value).astype(float) for value in values]

        # jaccard_score knows no NaN: where a class is nowhere its value means nothing and is taken out here.
        nowhere = numpy.array([not ((true == c).any() or (guess == c).any()) for c in labels])
        iou = numpy.array(reference.jaccard_score(true, guess, labels=labels, average=None, zero_division=0.0))
        iou[nowhere] = numpy.nan
        case["classwise"] = {
            name: [repr(float(v)) for v in values]
            for name, values in zip(["precision", "recall", "f1"], scores(labels, None))
        } | {"iou": [repr(float(v)) for v in iou]}
        for average in ("macro", "micro"):
            values = [repr(float(v[0])) for v in scores(labels, average)]
            case[average] = dict(zip(["precision", "recall", "f1"], values))
        mean = lambda values: float(numpy.nanmean(values)) if not numpy.isnan(values).all() else math.nan
        case["macro"]["iou"] = repr(mean(iou))
        case["micro"]["iou"] = repr(float(reference.jaccard_score(true, guess, labels=labels, average="micro")))
        case["iou_without_background"] = repr(mean(iou[1:]))
        cases.append(case)
    write("confusion.json", cases)


# Distances ----------------------------------------------------------------------------------------------------


def image(mask, spacing):
    out = SimpleITK.GetImageFromArray(mask.astype(numpy.uint8))
    out.SetSpacing(spacing)
    return out


def contour(mask):
    return SimpleITK.GetArrayFromImage(SimpleITK.LabelContour(image(mask, (1.0, 1.0)))) > 0


def unsigned_distances(mask, spacing):
    signed = SimpleITK.SignedMaurerDistanceMap(image(mask, spacing), squaredDistance=False, useImageSpacing=True)
    return numpy.abs(SimpleITK.GetArrayFromImage(signed))


def surfaces():
    rng = numpy.random.default_rng(6)
    cases = []
    while len(cases) < 80:
        height, width = (int(n) for n in rng.integers(3, 13, 2))
        spacing = (float(rng.choice([1.0, 0.5, 2.5])), float(rng.choice([1.0, 1.0, 0.3])))
        masks = []
        for _ in range(2):
            if rng.random() < 0.4:
                masks.append(rng.random((height, width)) < rng.uniform(0.05, 0.9))
            else:
                mask = numpy.zeros((height, width), bool)
                for _ in range(int(rng.integers(1, 4))):
                    y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
                    mask[y:y + int(rng.integers(1, height)), x:x + int(rng.integers(1, width))] = True
                masks.append(mask)
        truth, predicted = masks
        # A shape without surface has no distances there; tests/metrics.rs is about the others.
        if not (contour(truth).any() and contour(predicted).any()):
            continue
        hausdorff = SimpleITK.HausdorffDistanceImageFilter()
        hausdorff.Execute(image(predicted, spacing), image(truth, spacing))
        distances = numpy.concatenate([
            unsigned_distances(truth, spacing)[contour(predicted)],
            unsigned_distances(predicted, spacing)[contour(truth)],
        ])
        text = lambda mask: "".join("1" if v else "0" for v in mask.flatten())
        cases.append({
            "size": [height, width],
            "spacing": [spacing[1], spacing[0]],
            "truth": text(truth),
            "predicted": text(predicted),
            "hausdorff": hausdorff.GetHausdorffDistance(),
            "mean": float(distances.astype(float).mean()),
        })
    write("surfaces.json", cases)


# Images -------------------------------------------------------------------------------------------------------


def describe(frame, total_patients):
    """The aggregates of each structure, and whether a row of equal ones before it makes it drop out."""
    frame = frame.assign(DiceNumeric=frame.Dice)
    columns = ["DiceNumeric", "HausdorffDistance_mm", "MeanDistance_mm"]
    tables = []
    described = frame.groupby("Structure")[columns].describe()
    for column in columns:
        table = described[column][["count", "mean", "std", "min", "max"]]
        table = table.rename(columns={name: f"{column}_{name}" for name in table.columns if name != "count"})
        if column == columns[0]:
            if total_patients:
                table.insert(1, "total_patients", frame.Patient.nunique())
        else:
            table = table.drop(columns="count")
        tables.append(table)
    every = pandas.concat(tables, axis=1)
    two = pandas.concat(tables[:2], axis=1).drop_duplicates()
    return every.to_csv(float_format="%.3f"), every.loc[two.index].to_csv(float_format="%.3f")


def where_order_shows(rng, count):
    """Dice scores whose mean, in three decimals, depends on the order of the additions."""
    while True:
        scores = [round(rng.random(), 3) for _ in range(count)]
        if f"{numpy.array(scores).mean():.3f}" != f"{sum(scores) / count:.3f}":
            return scores


def per_image():
    rng = random.Random(7)
    cases = []
    names = ["Patient", "Structure", "Dice", "HausdorffDistance_mm", "MeanDistance_mm"]
    for number in range(60):
        structures = rng.sample(["lung_r", "lung_l", "a,b", "Water", "x"], rng.randint(1, 4))
        rows = []
        for patient in rng.sample(range(1, 30), rng.randint(1, 20)):
            for structure in structures:
                kind = rng.random()
                if kind < 0.1:
                    values = [math.nan] * 3
                elif kind < 0.2:
                    values = [0.0, math.inf, math.inf]
                else:
                    values = [round(v, 5) for v in (rng.choice([rng.random(), 0.5]), rng.uniform(0, 30), rng.uniform(0, 5))]
                if structure == "x" and number % 4 == 0:
                    values = [math.nan] * 3
                if structure == "Water" and number % 4 == 0:
                    values = [math.nan] * 3
                rows.append([str(patient), structure, *values])
        if number % 2:
            rng.shuffle(rows)
        if number < 6:
            scores = where_order_shows(rng, [8, 12, 16, 100, 128, 160][number])
            rows = [[f"{position:03}", "x", score, 1.0, 0.5] for position, score in enumerate(scores)]
        frame = pandas.DataFrame(rows, columns=names)
        for name in names[2:]:
            frame[name] = frame[name].map(lambda value: float(f"{value:0.3f}"))
        frame = frame.sort_values(by=["Patient", "Structure"])
        total = number % 3 == 0
        every, kept = describe(frame, total)
        cases.append({
            "rows": [[p, s, repr(d), repr(h), repr(m)] for p, s, d, h, m in rows],
            "metrics": frame.sort_values(["Structure", "Dice"]).to_csv(index=False, float_format="%.3f"),
            "total_patients": total,
            "aggregates": every,
            "aggregates_without_equal": kept,
        })
    write("per_image.json", cases)


if __name__ == "__main__":
    frames()
    confusion()
    surfaces()
    per_image()
