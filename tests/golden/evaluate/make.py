#!/usr/bin/env python3
"""Writes evaluate.json, the golden numbers of tests/it/evaluate.rs, beside itself.

    python -m venv ENV && ENV/bin/pip install numpy scikit-learn && ENV/bin/python make.py

The rasters are a formula, the same as in the test, so that only numbers are kept. The network is the identity: an image
of K bands has the class of its greatest band, an image of one band class 1 where its value / 255 is above the threshold.
What is compared with what, and which pixels count, is done with numpy on whole arrays; the scores are scikit-learn's.
"""

import json
import sys
from pathlib import Path

import numpy
import sklearn
import sklearn.metrics as reference

# Values of the label files: one to ignore by number, and the file's nodata value.
IGNORED, NODATA = 255, 200

CASES = [
    # A map from values of the file to classes, where there is one, turns them before they are compared.
    {"name": "two classes", "classes": 2, "bands": 2, "sizes": [[61, 83]], "seed": 1},
    {"name": "three classes, two images", "classes": 3, "bands": 3, "sizes": [[90, 70], [33, 128]], "seed": 2},
    {"name": "three classes, one nowhere", "classes": 3, "bands": 3, "sizes": [[64, 64]], "seed": 3, "dropped": [2],
     "weak": [2]},
    {"name": "five classes, one not in the truth, one never predicted", "classes": 5, "bands": 5,
     "sizes": [[75, 101], [40, 37], [128, 31]], "seed": 4, "dropped": [4], "weak": [3]},
    {"name": "five values of which three are classes", "classes": 3, "bands": 3, "sizes": [[70, 90]], "seed": 5,
     "values": 5, "map": {"0": 2, "1": 0, "2": 1, "*": None}},
    {"name": "one channel", "classes": 2, "bands": 1, "sizes": [[66, 67]], "seed": 6, "threshold": 0.5},
    {"name": "one channel, low threshold", "classes": 2, "bands": 1, "sizes": [[66, 67], [20, 21]], "seed": 7,
     "threshold": 0.3},
]


def mix(*numbers):
    """The same 32 bits for the same numbers, here and in the test."""
    state = 0x9E3779B9
    for number in numbers:
        state = ((state ^ number) * 0x85EBCA6B) & 0xFFFFFFFF
        state ^= state >> 15
        state = (state * 0xC2B2AE35) & 0xFFFFFFFF
        state ^= state >> 13
    return state


def truth_at(case, seed, x, y):
    """The value that a pixel is really of: patches of 7 x 5 pixels."""
    value = mix(seed, 1, x // 7, y // 5) % case.get("values", case["classes"])
    return 0 if value in case.get("dropped", []) else value


def label_at(case, seed, x, y):
    """What stands in the label file."""
    if mix(seed, 2, x // 9, y // 11) % 8 == 0:
        return IGNORED
    if mix(seed, 3, x // 13, y // 4) % 9 == 0:
        return NODATA
    return truth_at(case, seed, x, y)


def sample_at(case, seed, band, x, y):
    """The image: noise, and more in the band of the truth; no data (0 in all bands) in some patches."""
    if mix(seed, 4, x // 6, y // 6) % 10 == 0:
        return 0
    noise = mix(seed, 5, band, x, y) % 150
    if case["bands"] == 1:
        return 1 + noise + 100 * truth_at(case, seed, x, y)
    if band in case.get("weak", []):
        return 0 if noise < 75 else 1
    # Above the weak bands, so that these never win; 0 in single bands is data.
    return 2 + noise + (80 if truth_at(case, seed, x, y) == band else 0)


def image(case, number, size):
    height, width = size
    seed = 100 * case["seed"] + number
    places = [(y, x) for y in range(height) for x in range(width)]
    labels = numpy.array([label_at(case, seed, x, y) for y, x in places])
    samples = numpy.array([[sample_at(case, seed, band, x, y) for y, x in places] for band in range(case["bands"])])

    valid = (samples != 0).any(axis=0)
    if case["bands"] == 1:
        predicted = (samples[0] / 255.0 > case["threshold"]).astype(int)
    else:
        predicted = samples.argmax(axis=0)
    labelled = (labels != IGNORED) & (labels != NODATA)
    truth = labels.copy()
    if "map" in case:
        others = case["map"]["*"]
        for value in numpy.unique(labels[labelled]):
            target = case["map"].get(str(value), others)
            if target is None:
                labelled &= labels != value
            else:
                truth[labels == value] = target
    counts = valid & labelled
    found = {"pixels": int(counts.sum()), "unlabelled": int((valid & ~labelled).sum()), "nodata": int((~valid).sum())}
    return found, truth[counts], predicted[counts]


def scores(classes, truth, predicted):
    labels = list(range(classes))
    options = {"labels": labels, "average": None, "zero_division": numpy.nan}
    matrix = reference.confusion_matrix(truth, predicted, labels=labels)
    there = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    iou = reference.jaccard_score(truth, predicted, labels=labels, average=None, zero_division=0)
    # A class that is nowhere has no IoU; scikit-learn has no word for that here.
    iou = numpy.where(there, iou, numpy.nan)
    dice = reference.f1_score(truth, predicted, **options)
    return {
        "matrix": matrix.tolist(),
        "iou": plain(iou),
        "dice": plain(dice),
        "precision": plain(reference.precision_score(truth, predicted, **options)),
        "recall": plain(reference.recall_score(truth, predicted, **options)),
        "accuracy": float(reference.accuracy_score(truth, predicted)),
        "mean_iou": float(numpy.nanmean(iou)),
        "mean_dice": float(numpy.nanmean(dice)),
    }


def plain(values):
    return [None if numpy.isnan(value) else float(value) for value in values]


def main():
    cases = []
    for case in CASES:
        images = [image(case, number, size) for number, size in enumerate(case["sizes"])]
        each = [{**found, **scores(case["classes"], truth, predicted)} for found, truth, predicted in images]
        truth, predicted = (numpy.concatenate([own[part] for own in images]) for part in (1, 2))
        cases.append({**case, "images": each, "all": scores(case["classes"], truth, predicted)})
        print(case["name"], cases[-1]["all"]["mean_iou"])
    versions = {"python": sys.version.split()[0], "numpy": numpy.__version__, "scikit-learn": sklearn.__version__}
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n'
    (Path(__file__).parent / "evaluate.json").write_text(text)


if __name__ == "__main__":
    main()
