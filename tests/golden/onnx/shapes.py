"""Types, shapes and small results of single nodes, as ONNX Runtime gives them: shapes.jsonl beside this file.

Every line is a case: operator, attributes, inputs, and the outputs that the runtime made. An input is `[type, shape]`, or
`[type, shape, elements]` where its elements are known to the compiler. `f` marks a case whose outputs the compiler has to
compute (all inputs are known), `w` one whose outputs tell where windows lie, `e` one that the runtime refuses.

    python shapes.py            # needs numpy, onnx and onnxruntime
"""

import itertools
import json
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

LETTERS = {"f": np.float32, "d": np.float64, "l": np.int64, "i": np.int32, "b": np.bool_, "u": np.uint8, "c": np.int8,
           "s": np.int16}
NAMES = {np.dtype(kind): letter for letter, kind in LETTERS.items()}
rng = np.random.default_rng(7)
cases = []
ort.set_default_logger_severity(4)


class Open:
    """An input that the compiler does not know."""

    def __init__(self, array):
        self.array = array


def F(*shape):
    return Open(rng.normal(size=shape).astype(np.float32))


def I(high, *shape):
    return Open(rng.integers(0, high, size=shape).astype(np.int64))


def B(*shape):
    return Open(rng.integers(0, 2, size=shape).astype(np.bool_))


def L(*values):
    """A known list of integers."""
    return np.array(values, np.int64)


def S(value, kind=np.int64):
    return np.array(value, kind)


def f32(values):
    return np.array(values, np.float32)


def encoded(array, values):
    letter = NAMES[array.dtype]
    if not values:
        return [letter, list(array.shape)]
    flat = array.reshape(-1)
    if letter in "fd":
        flat = [str(v) if not np.isfinite(v) else float(np.format_float_positional(v, trim="0", unique=True)) if
                letter == "f" and abs(v) < 1e12 else float(v) for v in flat]
    else:
        flat = [int(v) for v in flat]
    return [letter, list(array.shape), flat]


def case(op, *inputs, fold=False, windows=False, opset=18, outputs=1, domain="", refused=False, **attributes):
    arrays = [None if x is None else x.array if isinstance(x, Open) else np.asarray(x) for x in inputs]
    names = ["" if a is None else f"x{k}" for k, a in enumerate(arrays)]
    made = [f"y{k}" for k in range(outputs)]
    node = helper.make_node(op, names, made, domain=domain, **attributes)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in zip(names, arrays) if n]
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name=n) for n in made])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    line = {"o": op}
    if domain:
        line["d"] = domain
    if opset != 18:
        line["v"] = opset
    if attributes:
        line["a"] = {n: ({"t": encoded(numpy_helper.to_array(v), True)} if isinstance(v, TensorProto) else v)
                     for n, v in attributes.items()}
    line["i"] = [None if x is None else encoded(a, not isinstance(x, Open)) for x, a in zip(inputs, arrays)]
    try:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        results = session.run(None, {n: a for n, a in zip(names, arrays) if n})
    except Exception as error:
        if not refused:
            raise SystemExit(f"{json.dumps(line)}\n{error}") from None
        line["e"] = 1
        if outputs != 1:
            line["n"] = outputs
        cases.append(line)
        return
    if refused:
        raise SystemExit(f"not refused: {json.dumps(line)} {[r.shape for r in results]}")
    if fold:
        assert not any(isinstance(x, Open) for x in inputs), op
        line["f"] = 1
    if windows:
        line["w"] = 1
    line["y"] = [encoded(np.asarray(r), fold or windows) for r in results]
    cases.append(line)


def shapes():
    for shape in [[4, 6], [-1], [2, -1], [0, -1], [0, 0, 4], [24], [1, 24, 1], [2, 3, 2, 2]]:
        case("Reshape", F(2, 3, 4), L(*shape))
    case("Reshape", F(2, 0, 4), L(0, 4), allowzero=1)
    case("Reshape", F(2, 0, 4), L(0, 0, 2, 2))
    case("Reshape", F(1), L())
    case("Reshape", F(), L(1, 1))
    for shape in [[5, -1], [-1, -1], [7], [0, 0, 0, 24]]:
        case("Reshape", F(2, 3, 4), L(*shape), refused=True)
    for axis in [-3, -1, 0, 1, 2, 3]:
        case("Flatten", F(2, 3, 4), axis=axis)
    case("Flatten", F(), axis=0)
    case("Flatten", F(5))
    case("Flatten", F(2, 3), axis=3, refused=True)
    case("Transpose", F(2, 3, 4))
    case("Transpose", F(2, 3, 4), perm=[1, 2, 0])
    case("Transpose", F(2, 3, 4), perm=[1, 1, 0], refused=True)
    case("Transpose", F())
    case("Squeeze", F(1, 3, 1))
    for axes in [[0], [-1], [0, 2], [-1, 0]]:
        case("Squeeze", F(1, 3, 1), L(*axes))
    case("Squeeze", F(1, 3, 1), L())
    case("Squeeze", F(1, 3, 1), L(1), refused=True)
    for axes in [[0], [-1], [1, 3], [-1, -4], [4, 0]]:
        case("Unsqueeze", F(2, 3, 4), L(*axes))
    case("Unsqueeze", F(), L(0))
    case("Unsqueeze", F(2, 3), L(0, 0), refused=True)
    case("Unsqueeze", F(2, 3), L(3), refused=True)
    for shape in [[2, 3, 4], [3, 1], [1], [5, 1, 3, 4], []]:
        case("Expand", F(3, 1), L(*shape))
    case("Expand", F(3, 2), L(3, 4), refused=True)
    for start, end in [(0, None), (1, 3), (-2, None), (-9, 9), (2, 1), (1, -1)]:
        bounds = {"start": start} | ({} if end is None else {"end": end})
        case("Shape", F(2, 3, 4), **bounds)
    case("Shape", F())
    case("Size", F(2, 3, 4))
    case("Size", F())
    case("DepthToSpace", F(2, 12, 3, 4), blocksize=2)
    case("DepthToSpace", F(1, 9, 2, 2), blocksize=3, mode="CRD")
    case("DepthToSpace", F(1, 9, 2, 2), blocksize=2, refused=True)
    case("SpaceToDepth", F(2, 3, 4, 6), blocksize=2)
    case("SpaceToDepth", F(2, 3, 4, 5), blocksize=2, refused=True)


def pieces():
    case("Concat", F(2, 3), F(2, 4), axis=1)
    case("Concat", F(2, 3), F(5, 3), F(0, 3), axis=-2)
    case("Concat", F(3), axis=0)
    case("Concat", F(2, 3), F(3, 4), axis=1, refused=True)
    case("Concat", F(2, 3), F(2, 3), axis=2, refused=True)
    case("Split", F(6, 4), num_outputs=3, outputs=3)
    case("Split", F(7, 4), num_outputs=3, outputs=3)
    case("Split", F(4, 7), num_outputs=2, outputs=2, axis=-1)
    case("Split", F(4, 7), L(1, 0, 6), outputs=3, axis=1)
    case("Split", F(4, 7), L(1, 5), outputs=2, axis=1, refused=True)
    case("Split", F(4, 7), L(8, -1), outputs=2, axis=1, refused=True)
    big = 2**63 - 1
    bounds = [0, 1, 4, 5, 9, -1, -5, -9, big, -big]
    for start, end, step in itertools.product(bounds, bounds, [1, 2, -1, -3]):
        if (start + end + step) % 3 == 0 or -1 in (start, end):
            case("Slice", F(5, 2), L(start), L(end), L(0), L(step))
    case("Slice", F(5, 6, 7), L(1, 2), L(4, 9))
    case("Slice", F(5, 6), L(4), L(2**31 - 1), L(0), L(-1))
    case("Slice", F(5, 6, 7), L(1, -2), L(4, 9), L(0, -1))
    case("Slice", F(5, 6, 7), L(0, 0), L(5, 6), L(1, 2), L(2, big))
    case("Slice", F(5, 0), L(0), L(9), L(1), L(-1))
    case("Slice", F(5, 6), np.array([1], np.int32), np.array([3], np.int32), np.array([-1], np.int32))
    case("Slice", F(5, 6), L(0), L(1), L(0), L(0), refused=True)
    case("Slice", F(5, 6), L(0), L(1), L(2), refused=True)
    case("Slice", F(5, 6), L(0, 0), L(1, 1), L(1, 1), refused=True)
    case("Pad", F(2, 3, 4, 5), L(0, 0, 1, 2, 0, 0, 3, 4))
    case("Pad", F(2, 3, 4, 5), L(0, 0, -1, 2, 0, 0, 3, -4))
    case("Pad", F(2, 3), L(1, 2), f32(0.5), L(1))
    case("Pad", F(2, 3, 4), L(1, 2, 3, 4), None, L(-1, 0))
    for mode in ["reflect", "edge", "wrap"]:
        case("Pad", F(1, 2, 4, 5), L(0, 0, 2, 1, 0, 0, 3, 2), opset=19, mode=mode)
    case("Pad", F(2, 3), L(0, 0, 0), refused=True)
    case("Pad", F(2, 3), L(-1, 0, -2, 0), refused=True)
    case("Tile", F(2, 3), L(2, 1))
    case("Tile", F(2, 3), L(0, 4))
    case("Tile", F(2, 3), L(2), refused=True)


def indices():
    case("Gather", F(3, 4, 5), I(3, 2, 6))
    case("Gather", F(3, 4, 5), I(4), axis=1)
    case("Gather", F(3, 4, 5), I(5, 1), axis=-1)
    case("Gather", F(3, 4), I(3), axis=2, refused=True)
    case("GatherElements", F(3, 4), I(3, 2, 4))
    case("GatherElements", F(3, 4), I(4, 3, 9), axis=-1)
    case("GatherElements", F(3, 4), I(3, 3), refused=True)
    case("GatherND", F(3, 4, 5), I(3, 2, 2))
    case("GatherND", F(3, 4, 5), I(3, 6, 1))
    case("GatherND", F(3, 4, 5), I(3, 6, 3))
    case("GatherND", F(2, 3, 4), I(3, 2, 5, 1), batch_dims=1)
    case("GatherND", F(2, 3, 4), I(2, 2, 3, 7, 1), batch_dims=2)
    case("GatherND", F(3, 4), I(3, 2, 3), refused=True)
    for reduction in ["none", "add", "mul", "max", "min"]:
        case("ScatterElements", F(3, 4), I(3, 2, 4), F(2, 4), reduction=reduction)
        case("ScatterND", F(3, 4, 5), I(3, 6, 2), F(6, 5), reduction=reduction)
    case("ScatterElements", F(3, 4), I(4, 3, 9), F(3, 9), axis=1)
    case("ScatterElements", F(3, 4), I(3, 2, 4), F(2, 3), refused=True)
    case("ScatterND", F(3, 4, 5), I(3, 6, 2), F(6, 4), refused=True)
    case("OneHot", I(5, 2, 3), S(5), f32([0, 1]))
    case("OneHot", I(5, 2, 3), L(5), f32([0, 1]), axis=1)
    case("OneHot", I(5, 2, 3), S(7), L(3, 9), axis=-3)
    case("TopK", F(3, 6), L(2), outputs=2)
    case("TopK", F(3, 6), L(0), outputs=2, axis=0)
    case("TopK", F(3, 6, 2), L(6), outputs=2, axis=1, largest=0, sorted=0)
    case("TopK", F(3, 6), L(7), outputs=2, refused=True)
    for op in ["ArgMax", "ArgMin"]:
        case(op, F(2, 3, 4))
        case(op, F(2, 3, 4), axis=-2, keepdims=0)
        case(op, F(2, 3, 4), axis=1, select_last_index=1)
    case("ArgMax", F(5), keepdims=0)
    case("NonZero", L(0, 3, 0, 4))
    case("Trilu", F(2, 3, 4))
    case("CumSum", F(2, 3), S(1))
    case("Compress", F(3, 4), np.array([True, False, True]), axis=0)
    case("Compress", F(3, 4), np.array([True, False, True, True, False]))


def generated():
    case("ConstantOfShape", L(2, 3))
    case("ConstantOfShape", L())
    case("ConstantOfShape", L(0, 3))
    case("ConstantOfShape", L(4), value=numpy_helper.from_array(L(-1)))
    case("ConstantOfShape", L(4, -1), refused=True)
    for bounds in [(0, 5, 1), (0, 5, 2), (5, 0, -1), (5, 0, 1), (3, 3, 1), (10, -3, -4)]:
        case("Range", *[S(b) for b in bounds])
        case("Range", *[S(b, np.float32) for b in bounds])
    case("Range", f32(0), f32(1), f32(0.1))
    case("Range", S(0), S(1), S(0), refused=True)
    case("EyeLike", F(3, 4))
    case("EyeLike", F(3, 4), dtype=TensorProto.INT64)
    case("RandomNormalLike", F(3, 4))


def elementwise():
    for op in ["Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
               "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
               "Softmax", "Softplus", "Softsign", "Sqrt", "Tanh", "Celu", "ThresholdedRelu", "Hardmax",
               "LpNormalization", "IsNaN", "IsInf"]:
        case(op, F(2, 3, 4))
    case("Softmax", F(5), axis=0)
    case("Gelu", F(2, 3), opset=20)
    case("Clip", F(2, 3), f32(0), f32(6))
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]:
        case(op, F(2, 1, 4), F(3, 1))
        case(op, F(), F(2, 0))
        case(op, F(2, 3), F(2, 4), refused=True)
    case("And", B(2, 3), B(3))
    case("Not", B(2, 3))
    for op in ["Max", "Min", "Sum", "Mean"]:
        case(op, F(2, 1, 4), F(3, 1), F(1))
        case(op, F(3))
    case("Where", B(2, 1), F(3), F(4, 1, 1))
    case("PRelu", F(2, 3, 4), F(3, 1))
    case("Mod", I(5, 2, 3), Open(L(3)))
    case("Pow", F(2, 3), I(3, 3))
    case("Cast", F(2, 3), to=TensorProto.INT64)
    case("CastLike", F(2, 3), I(3, 1))
    case("LRN", F(1, 4, 3, 3), size=3)
    case("Dropout", F(2, 3), outputs=2)


def products():
    for a, b in [((3, 4), (4, 5)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)),
                 ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (7, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)),
                 ((3, 4), (2, 4, 5)), ((1, 3, 4), (6, 4, 5)), ((0, 4), (4, 5))]:
        case("MatMul", F(*a), F(*b))
    for a, b in [((3, 4), (3, 4)), ((2, 3, 4), (3, 4, 5)), ((3,), (4,))]:
        case("MatMul", F(*a), F(*b), refused=True)
    case("Gemm", F(3, 4), F(4, 5))
    case("Gemm", F(4, 3), F(5, 4), F(5), transA=1, transB=1)
    case("Gemm", F(4, 3), F(4, 5), F(3, 1), transA=1)
    case("Gemm", F(3, 4), F(5, 4), F(), transB=1, alpha=0.5)
    case("Gemm", F(3, 4), F(4, 5), F(4), refused=True)
    case("Gemm", F(3, 4), F(5, 4), refused=True)
    for equation, shapes_ in [("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("...ij,...jk->...ik",
                              [(5, 2, 3), (1, 3, 4)]), ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]), ("ii", [(3, 3)]),
                              ("ii->i", [(3, 3)]), ("ba", [(2, 3)]), ("i,j->ji", [(2,), (3,)]), ("ij->", [(2, 3)]),
                              ("...i->i...", [(2, 3, 4)]), ("i...,...", [(2, 3), (3,)]), (" i j , j k -> i k ",
                              [(2, 3), (3, 4)]), ("bchw,dc->bdhw", [(1, 2, 3, 4), (5, 2)]), ("Ab,bA->A", [(2, 3), (3, 2)])]:
        case("Einsum", *[F(*s) for s in shapes_], equation=equation)
    for equation, shapes_ in [("ij,jk->ik", [(2, 3), (4, 4)]), ("ij->il", [(2, 3)]), ("ijk->i", [(2, 3)]),
                              ("i,j->ij", [(2,)])]:
        case("Einsum", *[F(*s) for s in shapes_], equation=equation, refused=True)
    case("Det", F(2, 3, 3))
    u8 = Open(rng.integers(0, 255, size=(2, 3)).astype(np.uint8))
    case("MatMulInteger", u8, Open(rng.integers(0, 255, size=(3, 4)).astype(np.uint8)))


def convolutions():
    conv = "Conv"
    case(conv, F(2, 3, 8, 9), F(4, 3, 3, 3), F(4))
    case(conv, F(2, 3, 8, 9), F(4, 3, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    case(conv, F(2, 3, 8, 9), F(4, 3, 3, 2), pads=[0, 1, 2, 3], strides=[2, 3], dilations=[2, 3])
    case(conv, F(1, 6, 7, 7), F(4, 3, 3, 3), group=2)
    case(conv, F(1, 6, 7, 7), F(6, 1, 5, 5), group=6, pads=[2, 2, 2, 2])
    case(conv, F(1, 2, 11), F(3, 2, 4), strides=[3])
    case(conv, F(1, 2, 5, 6, 7), F(3, 2, 2, 3, 1), strides=[1, 2, 3], pads=[1, 0, 1, 0, 1, 0])
    for size, kernel, stride in itertools.product([7, 8], [1, 4], [1, 2, 3]):
        for auto in ["SAME_UPPER", "SAME_LOWER"]:
            if kernel >= stride:
                case(conv, F(1, 1, size), F(1, 1, kernel), auto_pad=auto, strides=[stride])
    case(conv, F(1, 1, 6), F(1, 1, 1), auto_pad="SAME_UPPER", strides=[2])
    case(conv, F(1, 2, 8, 8), F(3, 2, 3, 3), auto_pad="VALID", strides=[2, 2])
    case(conv, F(1, 2, 8, 8), F(3, 3, 3, 3), refused=True)
    case(conv, F(1, 2, 8, 8), F(3, 2, 3, 3), group=2, refused=True)
    case(conv, F(1, 2, 8, 8), F(3, 2, 3, 3), kernel_shape=[5, 5], refused=True)
    case(conv, F(1, 2, 8, 8), F(3, 2, 3), refused=True)
    case(conv, F(1, 2, 8, 8), F(3, 2, 9, 9), refused=True)
    case(conv, F(1, 2, 8, 8), F(3, 2, 3, 3), strides=[1], refused=True)
    case(conv, F(1, 2, 8, 8), F(3, 2, 3, 3), pads=[1, 1], refused=True)
    back = "ConvTranspose"
    case(back, F(2, 3, 5, 6), F(3, 4, 2, 2), F(4), strides=[2, 2])
    case(back, F(2, 3, 5, 6), F(3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    case(back, F(2, 4, 5, 6), F(4, 2, 3, 2), group=2, strides=[3, 2], pads=[0, 1, 2, 0], dilations=[2, 1])
    case(back, F(1, 2, 5), F(2, 3, 4), strides=[2])
    case(back, F(1, 2, 3, 4, 5), F(2, 3, 2, 2, 2), strides=[2, 1, 2])
    for size, kernel, stride in itertools.product([4, 5], [1, 4], [1, 2, 3]):
        for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
            case(back, F(1, 1, size), F(1, 1, kernel), auto_pad=auto, strides=[stride])
    for wanted in [9, 10, 11, 12, 13]:
        case(back, F(1, 1, 5, 5), F(1, 1, 3, 3), strides=[2, 2], output_shape=[wanted, 10], refused=wanted == 13)
    case(back, F(1, 1, 5, 5), F(1, 1, 3, 3), strides=[2, 2], output_shape=[10, 10], output_padding=[1, 1])
    case(back, F(1, 2, 5, 5), F(3, 2, 3, 3), refused=True)
    case(back, F(1, 3, 5, 5), F(3, 2, 3, 3), group=2, refused=True)
    u8 = Open(rng.integers(0, 255, size=(1, 2, 5, 5)).astype(np.uint8))
    case("ConvInteger", u8, Open(rng.integers(0, 255, size=(3, 2, 3, 3)).astype(np.uint8)), S(3, np.uint8))
    case("DeformConv", F(1, 2, 5, 5), F(3, 2, 3, 3), F(1, 18, 3, 3), opset=22)
    case("DeformConv", F(1, 4, 5, 5), F(6, 2, 3, 3), F(1, 36, 5, 5), F(6), F(1, 18, 5, 5), opset=22, group=2,
         offset_group=2, pads=[1, 1, 1, 1])
    case("Col2Im", F(1, 5, 5), L(5, 5), L(1, 5))
    case("Col2Im", F(2, 18, 9), L(6, 6), L(3, 3), strides=[2, 2], pads=[1, 1, 0, 0])


def pools():
    for op in ["MaxPool", "AveragePool", "LpPool"]:
        case(op, F(2, 3, 8, 9), kernel_shape=[2, 3])
        case(op, F(2, 3, 8, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        case(op, F(2, 3, 9), kernel_shape=[4], strides=[3])
        case(op, F(1, 2, 5, 6, 7), kernel_shape=[2, 2, 2], strides=[2, 2, 2])
        case(op, F(1, 2, 11, 11), kernel_shape=[3, 2], dilations=[2, 3], opset=19 if op == "AveragePool" else 18)
        for size, kernel, stride in itertools.product([7], [1, 2, 3], [1, 2, 3]):
            if kernel >= stride:
                case(op, F(1, 1, size), kernel_shape=[kernel], strides=[stride], auto_pad="SAME_UPPER")
                case(op, F(1, 1, size), kernel_shape=[kernel], strides=[stride], auto_pad="SAME_LOWER")
            for begin, end in [(0, 0), (0, 1), (1, 0), (1, 1)]:
                if max(begin, end) < kernel:
                    case(op, F(1, 1, size), kernel_shape=[kernel], strides=[stride], pads=[begin, end], ceil_mode=1)
        case(op, F(1, 1, 8, 8), kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID", ceil_mode=1)
        case(op, F(1, 1, 8, 8), kernel_shape=[3], refused=True)
    for op in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]:
        case(op, F(2, 3, 4, 5))
        case(op, F(2, 3, 4))
    case("MaxPool", F(1, 2, 6, 6), kernel_shape=[2, 2], strides=[2, 2], outputs=2)
    case("MaxUnpool", F(1, 1, 2, 3), I(4, 1, 1, 2, 3), kernel_shape=[2, 2], strides=[2, 2])
    case("MaxUnpool", F(1, 1, 2, 2), I(4, 1, 1, 2, 2), L(1, 1, 5, 5), kernel_shape=[2, 2], strides=[2, 2])
    case("RoiAlign", F(1, 2, 6, 6), Open(f32([[0, 0, 3, 3]])), Open(L(0)), output_height=3, output_width=2)


def reductions():
    for op in ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
               "ReduceProd", "ReduceSum", "ReduceSumSquare"]:
        case(op, F(2, 3, 4))
        case(op, F(2, 3, 4), L(1))
        case(op, F(2, 3, 4), L(-1, 0), keepdims=0)
        case(op, F(2, 3, 4), L(), keepdims=0)
        case(op, F(2, 3, 4), L(), noop_with_empty_axes=1)
        case(op, F(2, 3, 4), noop_with_empty_axes=1)
        case(op, F(2, 3, 4), L(3), refused=True)
    case("ReduceSum", F(), keepdims=0)
    case("ReduceSum", F(2, 0), L(1))


def normalisations():
    four = [F(3), F(3), F(3), Open(np.ones(3, np.float32))]
    case("BatchNormalization", F(2, 3, 4, 5), *four)
    case("BatchNormalization", F(2, 3), *four)
    case("BatchNormalization", F(2, 3, 4, 5), *four, training_mode=1, outputs=3)
    case("BatchNormalization", F(2, 4, 5, 5), *four, refused=True)
    for axis in [-1, 1, -2]:
        size = [3, 4, 5][axis:]
        size = (2, 3, 4)[axis:] if axis < 0 else (3, 4)
        case("LayerNormalization", F(2, 3, 4), F(*size), F(*size), axis=axis, outputs=3)
    case("LayerNormalization", F(2, 3, 4), F(4))
    case("InstanceNormalization", F(2, 3, 4, 5), F(3), F(3))
    case("InstanceNormalization", F(2, 4, 4, 5), F(3), F(3), refused=True)
    case("GroupNormalization", F(2, 6, 4, 5), F(6), F(6), num_groups=3, opset=21)
    case("GroupNormalization", F(2, 6, 4, 5), F(3), F(3), num_groups=3)
    case("GroupNormalization", F(2, 6, 4, 5), F(6), F(6), num_groups=4, opset=21, refused=True)
    case("RMSNormalization", F(2, 3, 4), F(4), opset=23)
    case("RMSNormalization", F(2, 3, 4), F(3, 4), opset=23, axis=-2)
    case("SimplifiedLayerNormalization", F(2, 3, 4), F(4), outputs=2)
    case("LpNormalization", F(2, 3), axis=0, p=1)
    case("MeanVarianceNormalization", F(2, 3, 4, 4))


def sampling():
    resize = "Resize"
    for scales in [[1, 1, 2, 2], [1, 1, 0.5, 1.5], [1, 1, 1.7, 0.3], [1, 1, 0.7, 1.1]]:
        for mode in ["nearest", "linear"]:
            case(resize, F(1, 2, 5, 7), None, f32(scales), mode=mode)
    case(resize, F(1, 2, 5, 7), None, None, L(1, 2, 9, 3))
    case(resize, F(1, 2, 5, 7), None, None, L(1, 2, 9, 3), mode="cubic", coordinate_transformation_mode="align_corners")
    case(resize, F(1, 2, 5, 7), f32([]), None, L(1, 2, 9, 3), mode="linear")
    case(resize, F(1, 2, 5, 7), None, f32([2, 3]), axes=[2, 3], mode="linear")
    case(resize, F(1, 2, 5, 7), None, f32([2, 3]), axes=[3, 2])
    case(resize, F(1, 2, 5, 7), None, None, L(4, 8), axes=[-2, -1])
    for policy, sizes in itertools.product(["stretch", "not_larger", "not_smaller"], [(8, 8), (3, 9), (10, 5), (13, 13)]):
        case(resize, F(1, 2, 5, 7), None, None, L(*sizes), axes=[2, 3], keep_aspect_ratio_policy=policy)
    for mode in ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]:
        case(resize, F(1, 2, 5, 7), None, f32([1, 1, 1.3, 2.6]), mode="linear", opset=19, coordinate_transformation_mode=mode)
    crop = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    roi = f32([0, 0, 0.2, 0.1, 1, 1, 0.9, 0.6])
    case(resize, F(1, 2, 5, 7), roi, None, L(1, 2, 3, 3), **crop)
    case(resize, F(1, 2, 5, 7), roi, f32([1, 1, 2, 2]), **crop)
    case(resize, F(1, 2, 6, 8), None, f32([1, 1, 0.5, 0.5]), mode="linear", antialias=1)
    case(resize, F(1, 1, 10), None, f32([1, 1, 2]), mode="linear")
    case(resize, F(1, 1, 4, 4, 4), None, f32([1, 1, 2, 2, 2]), mode="nearest")
    case(resize, F(1, 2, 5, 7), None, f32([2, 3]), refused=True)
    case(resize, F(1, 2, 5, 7), None, f32([1, 1, -2, 3]), refused=True)
    case(resize, F(1, 2, 5, 7), None, None, L(3), refused=True)
    case("GridSample", F(2, 3, 5, 6), F(2, 7, 8, 2))
    case("GridSample", F(2, 3, 4, 5, 6), F(2, 7, 8, 9, 3), opset=20)
    case("GridSample", F(2, 3, 5, 6), F(2, 7, 8, 3), refused=True)
    case("AffineGrid", F(2, 2, 3), L(2, 3, 5, 6), opset=20)
    case("AffineGrid", F(2, 3, 4), L(2, 3, 4, 5, 6), opset=20)
    case("CenterCropPad", F(5, 6, 7), L(3, 9), axes=[0, 2])


def attention():
    case("Attention", F(2, 3, 4, 8), F(2, 3, 6, 8), F(2, 3, 6, 5), opset=23)
    case("Attention", F(2, 4, 24), F(2, 6, 24), F(2, 6, 30), opset=23, q_num_heads=3, kv_num_heads=3)
    case("Attention", F(2, 4, 48), F(2, 6, 16), F(2, 6, 16), opset=23, q_num_heads=6, kv_num_heads=2)
    case("Attention", F(2, 3, 4, 8), F(2, 3, 6, 8), F(2, 3, 6, 5), None, F(2, 3, 2, 8), F(2, 3, 2, 5), opset=23, outputs=3)
    case("Attention", F(2, 3, 4, 8), F(2, 3, 6, 8), F(2, 3, 6, 5), F(4, 6), opset=23, outputs=4)
    case("RotaryEmbedding", F(2, 3, 4, 8), F(10, 4), F(10, 4), I(10, 2, 4), opset=23)
    case("RotaryEmbedding", F(2, 4, 24), F(10, 4), F(10, 4), I(10, 2, 4), opset=23, num_heads=3)


def recurrences():
    case("LSTM", F(5, 2, 3), F(1, 16, 3), F(1, 16, 4), hidden_size=4, outputs=3)
    case("LSTM", F(5, 2, 3), F(2, 16, 3), F(2, 16, 4), hidden_size=4, outputs=3, direction="bidirectional")
    case("GRU", F(5, 2, 3), F(1, 12, 3), F(1, 12, 4), hidden_size=4, outputs=2)
    case("RNN", F(5, 2, 3), F(1, 4, 3), F(1, 4, 4), hidden_size=4, outputs=2)


def quantised():
    case("QuantizeLinear", F(2, 3), f32(0.1), S(3, np.uint8))
    case("QuantizeLinear", F(2, 3), f32(0.1), S(3, np.int8))
    case("QuantizeLinear", F(2, 3), f32(0.1))
    u8 = Open(rng.integers(0, 255, size=(2, 3)).astype(np.uint8))
    case("DequantizeLinear", u8, f32(0.1), S(3, np.uint8))
    case("DynamicQuantizeLinear", F(2, 3), outputs=3)


def contributed():
    ms = {"domain": "com.microsoft"}
    case("FusedConv", F(2, 3, 8, 9), F(4, 3, 3, 3), F(4), **ms, activation="Relu", pads=[1, 1, 1, 1])
    case("FusedMatMul", F(2, 3, 4), F(2, 5, 4), **ms, transB=1, alpha=0.5)
    case("FusedMatMul", F(2, 4, 3), F(2, 4, 5), **ms, transA=1)
    case("FusedMatMul", F(6, 2, 3, 4), F(2, 3, 4, 5), **ms, transBatchA=0, transBatchB=0, refused=True)
    case("FusedMatMul", F(3, 2, 4), F(2, 4, 5), **ms, transBatchA=1)
    case("FusedMatMul", F(3, 2, 6, 4), F(3, 2, 6, 5), **ms, transBatchA=1, transA=1, transBatchB=1)
    case("Gelu", F(2, 3), **ms)
    case("QuickGelu", F(2, 3), **ms)
    case("FastGelu", F(2, 3), F(3), **ms)
    case("BiasGelu", F(2, 3), F(3), **ms)
    case("SkipLayerNormalization", F(2, 3, 4), F(2, 3, 4), F(4), F(4), F(4), **ms)
    case("SkipLayerNormalization", F(2, 3, 4), F(3, 4), F(4), **ms)


def folded():
    a, b = L(7, -7, 5, -5), L(3, 3, -3, -3)
    for op in ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater",
               "GreaterOrEqual"]:
        case(op, a, b, fold=True)
    case("Mod", a, b, fmod=1, fold=True)
    case("Mod", f32([7.5, -7.5]), f32([2, 2]), fmod=1, fold=True)
    x, y = f32([1.5, -2.25, 0.1, 3e8]), f32([[0.3], [-7]])
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Equal", "Less", "Greater"]:
        case(op, x, y, fold=True)
    case("Max", f32([np.nan, 1]), f32([2, np.nan]), fold=True)
    case("Div", f32([1, -1, 0]), f32([0, 0, 0]), fold=True)
    case("Add", np.array([2**31 - 1], np.int32), np.array([1], np.int32), fold=True)
    case("Mul", np.array([100], np.int8), np.array([3], np.int8), fold=True)
    case("Sum", f32(1), f32([2]), f32([5, 6]), fold=True)
    case("Pow", L(2, -3, 5), L(10, 3, 0), fold=True)
    case("Pow", L(4, 9), f32([0.5, 0.5]), fold=True)
    case("Pow", f32([2, 9]), f32([-1, 0.5]), fold=True)
    case("Pow", f32([2, 9]), L(3, 2), fold=True)
    t, u = np.array([True, True, False, False]), np.array([True, False, True, False])
    for op in ["And", "Or", "Xor", "Equal"]:
        case(op, t, u, fold=True)
    case("Not", t, fold=True)
    for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
        case(op, a, b, fold=True)
    case("BitwiseNot", a, fold=True)
    case("Where", t, a, b, fold=True)
    case("Where", np.array([[True], [False]]), f32([1, 2]), f32(9), fold=True)
    halves = f32([-2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, 2.7, -2.7])
    for op in ["Floor", "Ceil", "Round", "Abs", "Neg", "Sign", "Relu", "Sin", "Cos", "Exp", "Tanh", "Sigmoid"]:
        case(op, halves, fold=True)
    for op in ["Sqrt", "Log", "Reciprocal"]:
        case(op, f32([0.5, 2, 100]), fold=True)
    for op in ["Abs", "Neg", "Sign"]:
        case(op, a, fold=True)
    case("Clip", halves, f32(-1), f32(1), fold=True)
    case("Clip", a, None, S(4), fold=True)
    case("IsNaN", f32([np.nan, 1]), fold=True)
    for to in [TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.DOUBLE]:
        case("Cast", halves, to=to, fold=True)
    for to in [TensorProto.FLOAT, TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8]:
        case("Cast", L(0, 1, 300, -3), to=to, fold=True)
    case("Cast", t, to=TensorProto.INT64, fold=True)
    case("CastLike", halves, S(0), fold=True)
    case("Identity", a, fold=True)
    grid = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
    real = (grid / 4).astype(np.float32)
    case("Reshape", grid, L(4, -1), fold=True)
    case("Flatten", grid, fold=True)
    case("Squeeze", grid[:1], L(0), fold=True)
    case("Unsqueeze", a, L(0, -1), fold=True)
    case("Transpose", grid, fold=True)
    case("Transpose", real, perm=[2, 0, 1], fold=True)
    case("Transpose", grid, perm=[1, 0, 2], fold=True)
    case("Expand", f32([[1], [2]]), L(2, 2, 3), fold=True)
    case("Tile", grid[0], L(2, 2), fold=True)
    case("Concat", grid, grid[:, :1], axis=1, fold=True)
    case("Concat", real, real, axis=-1, fold=True)
    case("Concat", a, L(), b, axis=0, fold=True)
    case("Split", grid, L(1, 2), axis=1, outputs=2, fold=True)
    case("Split", grid, num_outputs=2, axis=2, outputs=2, fold=True)
    case("Slice", grid, L(0, 3), L(2, -9), L(1, 2), L(1, -2), fold=True)
    case("Slice", real, L(-1), L(-9), L(1), L(-1), fold=True)
    case("Slice", a, L(1), L(9), fold=True)
    case("DepthToSpace", np.arange(16, dtype=np.float32).reshape(1, 8, 1, 2), blocksize=2, fold=True)
    case("DepthToSpace", np.arange(16, dtype=np.float32).reshape(1, 8, 1, 2), blocksize=2, mode="CRD", fold=True)
    case("SpaceToDepth", np.arange(16, dtype=np.float32).reshape(1, 2, 2, 4), blocksize=2, fold=True)
    case("Pad", grid[0], L(1, 0, 0, 2), fold=True)
    case("Pad", grid[0], L(1, -1, -1, 2), S(9), fold=True)
    case("Pad", real[0], L(1, 2), f32(0.5), L(1), fold=True)
    for mode in ["edge", "reflect", "wrap"]:
        case("Pad", grid[0], L(2, 1, 1, 3), opset=19, mode=mode, fold=True)
    case("Gather", grid, L(2, -1, 0), axis=1, fold=True)
    case("Gather", real, S(-1), axis=2, fold=True)
    case("Gather", a, np.array([[0, 3]], np.int32), fold=True)
    case("Gather", a, L(4), refused=True)
    case("GatherElements", grid[0], np.array([[0, -1], [2, 1]]), axis=1, fold=True)
    case("GatherElements", grid[0], np.array([[0, -1, 1, 0]]), axis=0, fold=True)
    case("GatherND", grid, np.array([[0, 1], [1, -1]]), fold=True)
    case("GatherND", grid, np.array([[[0], [1]], [[2], [-3]]]), batch_dims=1, fold=True)
    for reduction in ["none", "add", "mul", "max", "min"]:
        case("ScatterElements", grid[0], np.array([[0, 1], [0, -1]]), np.array([[50, 3], [7, 2]]), axis=1,
             reduction=reduction, fold=True)
        case("ScatterND", real, np.array([[0, 1], [1, 2]]), f32([[9, 8, 7, 6], [5, 4, 3, 2]]), reduction=reduction, fold=True)
    case("ScatterElements", grid[0], np.array([[0, 1, 2, 0]]), np.array([[50, 3, 7, 2]]), fold=True)
    case("Range", S(3), S(10), S(3), fold=True)
    case("Range", S(3), S(-4), S(-2), fold=True)
    case("Range", f32(0), f32(2), f32(0.25), fold=True)
    case("ConstantOfShape", L(2, 2), fold=True)
    case("ConstantOfShape", L(3), value=numpy_helper.from_array(L(7)), fold=True)
    for op in ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean"]:
        case(op, grid + 1, L(1), fold=True)
        case(op, real, L(0, -1), keepdims=0, fold=True)
        case(op, a, keepdims=0, fold=True)
    case("NonZero", np.array([[0, 3], [4, 0]]), fold=True)
    case("NonZero", np.array([[[True, False], [True, True]]]), fold=True)
    case("NonZero", L(0, 0), fold=True)
    for exclusive, reverse in itertools.product([0, 1], [0, 1]):
        case("CumSum", grid, S(1), exclusive=exclusive, reverse=reverse, fold=True)
        case("CumSum", real, S(-1), exclusive=exclusive, reverse=reverse, fold=True)
    for upper, k in itertools.product([0, 1], [-2, 0, 1, 9]):
        case("Trilu", grid, S(k), upper=upper, fold=True)
    case("Trilu", real, fold=True)
    case("OneHot", L(0, 2, -1, 5), S(3), L(4, 9), fold=True)
    case("OneHot", L(0, 2, -1, 5), S(3), f32([0, 1]), axis=0, fold=True)
    case("OneHot", np.array([[0, 1], [2, 1]]), S(3), L(0, 1), axis=1, fold=True)
    case("EyeLike", grid[0], k=1, fold=True)
    case("EyeLike", real[0], k=-1, fold=True)
    ties = f32([[3, 1, 3, 2], [0, 5, 5, -1]])
    for op in ["ArgMax", "ArgMin"]:
        case(op, ties, axis=1, fold=True)
        case(op, ties, axis=0, keepdims=0, fold=True)
        case(op, ties, axis=-1, select_last_index=1, fold=True)
    case("TopK", ties, L(3), outputs=2, fold=True)
    case("TopK", ties, L(1), axis=0, largest=0, outputs=2, fold=True)
    case("TopK", a, L(4), outputs=2, fold=True)
    case("MatMul", real, real.transpose(0, 2, 1).copy(), fold=True)
    case("MatMul", f32([1, 2]), f32([[1, 2, 3], [4, 5, 6]]), fold=True)
    case("MatMul", f32([[1, 2], [3, 4]]), f32([5, 6]), fold=True)
    case("MatMul", f32([1, 2]), f32([3, 4]), fold=True)
    case("MatMul", np.array([[1, 2], [3, 4]]), np.array([[[1, 0], [0, 1]], [[2, 2], [1, 1]]]), fold=True)
    case("Compress", grid, np.array([True, False, True]), axis=1, fold=True)


def windows():
    """One channel along one axis: elements 1, 2, 3 ... and filters 1, 10, 100 ..., so that sums tell what was added."""
    def x(size):
        return np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, -1)

    def w(kernel):
        return (10 ** np.arange(kernel, dtype=np.float32)).reshape(1, 1, -1)

    def ways(kernel, stride):
        yield {"auto_pad": "VALID"}
        for begin, end in itertools.product(range(min(kernel, 3)), repeat=2):
            yield {"pads": [begin, end]}
        if kernel >= stride:
            yield {"auto_pad": "SAME_UPPER"}
            yield {"auto_pad": "SAME_LOWER"}

    for size, kernel, stride in itertools.product([6], [2, 3], [1, 2, 3]):
        for way in ways(kernel, stride):
            case("Conv", x(size), w(kernel), windows=True, strides=[stride], **way)
            case("MaxPool", x(size), windows=True, kernel_shape=[kernel], strides=[stride], **way)
            case("AveragePool", x(size), windows=True, kernel_shape=[kernel], strides=[stride], **way)
            if "pads" in way:
                case("MaxPool", x(size), windows=True, kernel_shape=[kernel], strides=[stride], ceil_mode=1, **way)
                case("AveragePool", x(size), windows=True, kernel_shape=[kernel], strides=[stride], ceil_mode=1, **way)
                case("AveragePool", x(size), windows=True, kernel_shape=[kernel], strides=[stride], ceil_mode=1,
                     count_include_pad=1, **way)
        for way in ways(kernel, stride):
            if size * stride - stride + kernel > sum(way.get("pads", [])):
                case("ConvTranspose", x(size), w(kernel), windows=True, strides=[stride], **way)
        for more in range(1 - kernel, stride):
            wanted = (size - 1) * stride + kernel + more
            for auto in ["NOTSET", "SAME_UPPER", "SAME_LOWER"]:
                if more <= 0 or auto == "NOTSET":
                    case("ConvTranspose", x(size), w(kernel), windows=True, strides=[stride], output_shape=[wanted],
                         auto_pad=auto)
    for dilation, stride in itertools.product([2, 3], [1, 2]):
        both = {"strides": [stride], "dilations": [dilation], "pads": [1, 2]}
        case("Conv", x(9), w(3), windows=True, **both)
        case("ConvTranspose", x(4), w(3), windows=True, **both)
        case("MaxPool", x(9), windows=True, kernel_shape=[3], ceil_mode=1, **both)
        case("AveragePool", x(9), windows=True, kernel_shape=[3], opset=19, ceil_mode=1, **both)


def main():
    for family in [shapes, pieces, indices, generated, elementwise, products, convolutions, pools, reductions,
                   normalisations, sampling, attention, recurrences, quantised, contributed, folded, windows]:
        family()
    path = pathlib.Path(__file__).with_name("shapes.jsonl")
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in cases))
    print(f"{len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
