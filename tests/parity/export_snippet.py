"""Exports a segmentation model of PyTorch for finetuning by glebe.

Shown in docs/exporting-for-finetuning.md; the tests run it where PyTorch is present.
"""
import json

import onnx
import torch


def export_for_finetuning(model, path, image, opset=17, fixed=False, **metadata):
    """`image`: [N, C, H, W], an example; `fixed`: of the only size that the network takes; `metadata`: bands=[1, 2, 3], ..."""
    free = {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        model.eval(), (image,), str(path), dynamo=False, opset_version=opset, input_names=["image"], output_names=["logits"],
        dynamic_axes=None if fixed else {"image": free, "logits": free},
        training=torch.onnx.TrainingMode.PRESERVE,  # keep BatchNorm (in eval mode all the same)
        do_constant_folding=False,                  # keep names: folding transposes weights and renames them
        keep_initializers_as_inputs=True)           # keep equal weights apart: else they become one
    file = onnx.load(path)
    weights = {tensor.name for tensor in file.graph.initializer}
    inputs = [i for i in file.graph.input if i.name not in weights]
    del file.graph.input[:]
    file.graph.input.extend(inputs)
    onnx.helper.set_model_props(file, {f"glebe.{key}": json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(file)
    onnx.save(file, path)
