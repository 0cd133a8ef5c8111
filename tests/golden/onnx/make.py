"""Makes the golden models of this folder with the `onnx` Python package (any version from 1.20 on).

    python tests/golden/onnx/make.py

The package is an independent reader and writer of the format: what it wrote is what the library has to read.
Run it again only to add a model; the files are committed.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, checker, helper
from onnx import onnx_ml_pb2 as pb

FOLDER = Path(__file__).parent
# Placement on several devices is not represented by the library.
LEFT_OUT = {"device_configurations", "configuration"}


def fill(message, seen):
    """Sets every field; strings say which field they are in, numbers are the field's number."""
    seen.add(message.DESCRIPTOR.name)
    for field in message.DESCRIPTOR.fields:
        if field.name in LEFT_OUT or field.containing_oneof:
            continue
        name = f"{message.DESCRIPTOR.name.removesuffix('Proto')}.{field.name}"
        if field.message_type:
            value = getattr(message, field.name)
            child = value.add() if field.is_repeated else value
            child.SetInParent()
            if field.message_type.name == "TypeProto" and field.is_repeated:
                types(value)
            elif field.message_type.name == "TensorShapeProto":
                shape(child)
            elif field.message_type.name not in seen:
                fill(child, seen)
            continue
        value = {
            field.TYPE_STRING: name,
            field.TYPE_BYTES: name.encode(),
            field.TYPE_ENUM: 1,
        }.get(field.type, field.number)
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)


def types(value):
    """One type of every kind; the first is there already."""
    value[0].tensor_type.elem_type = 1
    shape(value[0].tensor_type.shape)
    value[0].denotation = "Type.denotation"
    value.add().sequence_type.elem_type.tensor_type.elem_type = 2
    kind = value.add().map_type
    kind.key_type = 7
    kind.value_type.tensor_type.elem_type = 3
    kind = value.add().opaque_type
    kind.domain, kind.name = "Opaque.domain", "Opaque.name"
    kind = value.add().sparse_tensor_type
    kind.elem_type = 4
    shape(kind.shape)
    value.add().optional_type.elem_type.tensor_type.elem_type = 5


def shape(value):
    value.dim.add().dim_value = 3
    value.dim.add().dim_param = "Dimension.dim_param"
    value.dim.add().denotation = "Dimension.denotation"


def every_field():
    model = pb.ModelProto()
    fill(model, set())
    return model


def every_type():
    """A tensor of five elements of every type, in the list for the type and, where possible, in bytes."""
    tensors = []
    for name, number in TensorProto.DataType.items():
        if name == "UNDEFINED":
            continue
        values = [b"a", b"b", b"", b"d", b"e"] if name == "STRING" else [1, 0, 1, 1, 0]
        tensor = helper.make_tensor(f"{name}_list", number, [5], values)
        tensors.append(tensor)
        if name != "STRING":
            tensor = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), f"{name}_raw")
            assert tensor.data_type == number and tensor.raw_data
            tensors.append(tensor)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "types", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])


def network():
    """A small network with a body, a function, sparse weights and old-style inputs."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [3, 2, 1, 1], [float(i) for i in range(6)])
    bias = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(helper.make_tensor("b", 1, [3], [1, 2, 3])), "bias")
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [2.0]),
        helper.make_tensor("offset_at", TensorProto.INT64, [1], [1]),
        [1, 3, 1, 1],
    )
    branch = lambda op: helper.make_graph(  # noqa: E731
        [helper.make_node(op, ["scores"], [f"{op}_out"])],
        op,
        [],
        [helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "weight", "bias"], ["c"], name="conv", kernel_shape=[1, 1], pads=[0] * 4),
        helper.make_node("Twice", ["c"], ["t"], domain="com.example"),
        helper.make_node("Add", ["t", "offset"], ["scores"]),
        helper.make_node("If", ["flag"], ["z"], then_branch=branch("Relu"), else_branch=branch("Neg")),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "network",
        [
            value("x", TensorProto.FLOAT, ["batch", 2, "height", None]),
            value("flag", TensorProto.BOOL, []),
            value("weight", TensorProto.FLOAT, [3, 2, 1, 1]),
        ],
        [value("y", TensorProto.FLOAT, ["batch", 3, "height", None])],
        [weight, bias],
        sparse_initializer=[sparse],
    )
    twice = helper.make_function(
        "com.example", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = helper.make_model(
        graph,
        ir_version=9,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)],
        functions=[twice],
        producer_name="make.py",
    )
    helper.set_model_props(model, {"classes": "water,land,other"})
    checker.check_model(model)
    return model


def write(name, model):
    data = model.SerializeToString(deterministic=True)
    assert len(data) < 4096, (name, len(data))
    (FOLDER / f"{name}.onnx").write_bytes(data)
    print(name, len(data))


write("every_field", every_field())
write("every_type", every_type())
write("network", network())
