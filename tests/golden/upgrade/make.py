"""Makes the models of this folder, and those of `../decompose`, with the `onnx` package (1.20 or later).

    python tests/golden/upgrade/make.py

Every model of this folder is one form that an operator has had in some operator set, or an operator of ONNX Runtime's
own domain, as a network from `x` (float32, four axes) to `y`. The tests bring each into canonical form and compare what
the runtime computes with what it computes of the file as it is. Those of `../decompose` are composite operators; the
tests take them apart and compare likewise. The files are committed.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDERS = {"upgrade": Path(__file__).parent, "decompose": Path(__file__).parent.parent / "decompose"}
MICROSOFT = helper.make_opsetid("com.microsoft", 1)
CASES = {}


def node(kind, inputs, outputs=("y",), domain="", **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), domain=domain, name=f"{kind} to {outputs[0]}", **attributes)


def ms(kind, inputs, outputs=("y",), **attributes):
    return node(kind, inputs, outputs, "com.microsoft", **attributes)


def case(name, opset, nodes, shape=(2, 4, 5, 6), functions=(), half=False, imports=(), **initializers):
    """`y` gets whatever shape it has; weights are drawn from the name, so a file does not depend on the others."""
    tensors = []
    for key, value in initializers.items():
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float16 if half else np.float32)
        tensors.append(numpy_helper.from_array(value, key))
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes if isinstance(nodes, list) else [nodes],
        name,
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset), *imports]
    if any(each.domain == "com.microsoft" for each in graph.node):
        opsets.append(MICROSOFT)
    CASES[name] = helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 21 else 10,
                                    functions=functions, producer_name="glebe tests")


def weights(name, *shape, low=-1.0, high=1.0):
    rng = np.random.default_rng(sum(map(ord, name)))
    return rng.uniform(low, high, shape).astype(np.float64)


def i64(*values):
    return np.array(values, np.int64)


def axes():
    for kind in "Sum Mean Max Min Prod L1 L2 LogSumExp SumSquare".split():
        case(f"reduce_{kind.lower()}_11", 11, node(f"Reduce{kind}", ["x"], axes=[1, -1], keepdims=0))
    case("reduce_mean_all_11", 11, node("ReduceMean", ["x"]))
    case("reduce_sum_13", 13, node("ReduceSum", ["x", "a"]), a=i64(-2))
    case("reduce_sum_nothing_13", 13, node("ReduceSum", ["x"], noop_with_empty_axes=1))
    case("reduce_sum_empty_13", 13, node("ReduceSum", ["x", "a"]), a=i64())
    case("reduce_max_18", 18, node("ReduceMax", ["x", "a"], keepdims=0), a=i64(2))
    case("squeeze_11", 11, [node("Squeeze", ["x"], ["s"], axes=[-3]), node("Relu", ["s"])], (2, 1, 5, 1))
    case("squeeze_all_11", 11, [node("Squeeze", ["x"], ["s"]), node("Relu", ["s"])], (2, 1, 5, 1))
    case("squeeze_13", 13, [node("Squeeze", ["x", "a"], ["s"]), node("Relu", ["s"])], (2, 1, 5, 1), a=i64(1, 3))
    case("unsqueeze_11", 11, [node("Unsqueeze", ["x"], ["s"], axes=[0, 3]), node("Relu", ["s"])])
    case("unsqueeze_negative_11", 11, [node("Unsqueeze", ["x"], ["s"], axes=[-1]), node("Relu", ["s"])])
    case("top_k_9", 9, node("TopK", ["x"], ["y", "i"], k=3, axis=1))
    case("top_k_10", 10, node("TopK", ["x", "k"], ["y", "i"]), k=i64(2))
    case("top_k_11", 11, node("TopK", ["x", "k"], ["y", "i"], largest=0), k=i64(2))


def pieces():
    add = node("Concat", ["b", "a"], axis=1)
    case("split_11", 11, [node("Split", ["x"], ["a", "b"], axis=1, split=[1, 3]), add])
    case("split_equal_11", 11, [node("Split", ["x"], ["a", "b"], axis=1), add])
    case("split_13", 13, [node("Split", ["x", "s"], ["a", "b"], axis=1), add], s=i64(3, 1))
    case("split_equal_13", 13, [node("Split", ["x"], ["a", "b"], axis=-3), add])
    case("split_uneven_18", 18, [node("Split", ["x"], ["a", "b", "c"], axis=2, num_outputs=3),
                                 node("Concat", ["c", "a", "b"], axis=2)])
    case("slice_9", 9, node("Slice", ["x"], axes=[1, -1], starts=[1, -4], ends=[99, -1]))
    case("slice_all_9", 9, node("Slice", ["x"], starts=[0, 1], ends=[1, 3]))
    case("slice_10", 10, node("Slice", ["x", "s", "e", "a", "t"]), s=i64(-1), e=i64(-99), a=i64(3), t=i64(-2))
    case("pad_10", 10, node("Pad", ["x"], pads=[0, 0, 1, 2, 0, 1, 0, -1], value=0.5))
    case("pad_reflect_10", 10, node("Pad", ["x"], mode="reflect", pads=[0, 0, 1, 2, 0, 0, 2, 1]))
    case("pad_13", 13, node("Pad", ["x", "p", "v"]), p=i64(0, 0, 1, 2, 0, 1, 0, 1), v=2.5)
    case("pad_edge_13", 13, node("Pad", ["x", "p"], mode="edge"), p=i64(0, 0, 1, 2, 0, 1, 0, 1))
    case("pad_axes_18", 18, node("Pad", ["x", "p", "", "a"]), p=i64(1, 2, 3, 0), a=i64(-1, 1))
    case("scatter_9", 9, node("Scatter", ["x", "i", "u"], axis=1), i=i64(3, 0).reshape(1, 2, 1, 1),
         u=weights("u", 1, 2, 1, 1))


def softmax():
    for kind in ("Softmax", "LogSoftmax", "Hardmax"):
        case(f"{kind.lower()}_flat_11", 11, node(kind, ["x"]))
        case(f"{kind.lower()}_last_11", 11, node(kind, ["x"], axis=-1))
        case(f"{kind.lower()}_13", 13, node(kind, ["x"], axis=1))
        case(f"{kind.lower()}_default_13", 13, node(kind, ["x"]))
    case("softmax_alone_11", 11, node("Softmax", ["x"]), (2, 5, 1, 1))
    case("softmax_first_11", 11, node("Softmax", ["x"], axis=0), (2, 3, 4, 1))


def resize():
    for mode in ("nearest", "linear"):
        factors = [1.0, 1.0, 2.0, 3.0]
        case(f"upsample_{mode}_7", 7, node("Upsample", ["x"], scales=factors, mode=mode))
        case(f"upsample_{mode}_9", 9, node("Upsample", ["x", "s"], mode=mode), s=factors)
        case(f"resize_{mode}_10", 10, node("Resize", ["x", "s"], mode=mode), s=factors)
        case(f"resize_{mode}_down_10", 10, node("Resize", ["x", "s"], mode=mode), (1, 2, 7, 9), s=[1.0, 1.0, 0.6, 0.4])
        case(f"resize_{mode}_mixed_10", 10, node("Resize", ["x", "s"], mode=mode), (1, 2, 7, 9), s=[1.0, 1.0, 0.6, 1.7])
        case(f"resize_{mode}_11", 11, node("Resize", ["x", "r", "s"], mode=mode), r=weights("r", 0), s=factors)
        case(f"resize_{mode}_sizes_11", 11, node("Resize", ["x", "r", "r", "n"], mode=mode,
                                                 coordinate_transformation_mode="align_corners"),
             r=weights("r", 0), n=i64(2, 4, 11, 7))
        case(f"resize_{mode}_13", 13, node("Resize", ["x", "", "", "n"], mode=mode), n=i64(2, 4, 11, 7))
        case(f"resize_{mode}_axes_18", 18, node("Resize", ["x", "", "s"], mode=mode, axes=[3, 2]), s=[1.5, 2.0])
        case(f"resize_{mode}_axes_sizes_18", 18, node("Resize", ["x", "", "", "n"], mode=mode, axes=[-1]), n=i64(9))
    case("resize_tf_11", 11, node("Resize", ["x", "r", "s"], nearest_mode="floor",
                                  coordinate_transformation_mode="tf_half_pixel_for_nn"),
         r=weights("r", 0), s=[1.0, 1.0, 1.5, 2.4])
    case("resize_crop_13", 13, node("Resize", ["x", "r", "", "n"], mode="linear",
                                    coordinate_transformation_mode="tf_crop_and_resize"),
         r=[0, 0, 0.2, 0.1, 1, 1, 0.7, 0.9], n=i64(2, 4, 4, 4))
    # A factor among the weights decides a size.
    case("resize_computed_11", 11, [
        node("Shape", ["x"], ["s"]), node("Cast", ["s"], ["f"], to=1), node("Mul", ["f", "k"], ["g"]),
        node("Floor", ["g"], ["h"]), node("Cast", ["h"], ["n"], to=7), node("Resize", ["x", "r", "r", "n"])],
         k=[1.0, 1.0, 2.0, 1.5], r=weights("r", 0))
    case("roi_align_10", 10, node("RoiAlign", ["x", "b", "i"], output_height=3, output_width=2, sampling_ratio=2),
         b=np.array([[0, 0, 4, 3], [1, 1, 5, 5]], np.float64), i=i64(0, 1))


def normalisation():
    c = dict(s=weights("s", 4), b=weights("b", 4), m=weights("m", 4), v=weights("v", 4, low=0.5))
    for opset in (9, 14, 15):
        case(f"batch_norm_{opset}", opset, node("BatchNormalization", ["x", "s", "b", "m", "v"], epsilon=1e-3), **c)
    case("batch_norm_training_8", 8, node("BatchNormalization", ["x", "s", "b", "m", "v"], spatial=1), **c)
    case("group_norm_18", 18, node("GroupNormalization", ["x", "s", "b"], num_groups=2, epsilon=1e-3),
         s=weights("s", 2), b=weights("b", 2))
    case("group_norm_21", 21, node("GroupNormalization", ["x", "s", "b"], num_groups=2), s=c["s"], b=c["b"])
    case("layer_norm_11", 11, node("LayerNormalization", ["x", "s", "b"], axis=-1), s=weights("s", 6), b=weights("b", 6))
    case("simplified_16", 16, node("SimplifiedLayerNormalization", ["x", "s"], axis=-1), s=weights("s", 6))
    case("simplified_23", 23, node("SimplifiedLayerNormalization", ["x", "s"], axis=-1), s=weights("s", 6))
    case("skip_layer_norm", 17, [node("Reshape", ["x", "n"], ["t"]), node("Mul", ["t", "t"], ["q"]),
                                 ms("SkipLayerNormalization", ["t", "q", "s", "b", "c"], ["a", "", "", "z"]),
                                 node("Add", ["a", "z"])],
         n=i64(2, 20, 6), s=weights("s", 6), b=weights("b", 6), c=weights("c", 6))
    case("skip_simplified", 17, [node("Reshape", ["x", "n"], ["t"]), node("Mul", ["t", "t"], ["q"]),
                                 ms("SkipSimplifiedLayerNormalization", ["t", "q", "s", "c"], epsilon=1e-3)],
         n=i64(2, 20, 6), s=weights("s", 6), c=weights("c", 6))


def fused():
    w = dict(w=weights("w", 3, 4, 3, 3), b=weights("b", 3))
    for kind, parameters in (("Relu", []), ("LeakyRelu", [0.1]), ("Clip", [-0.2, 0.7]), ("HardSigmoid", [0.3, 0.4])):
        extra = dict(activation_params=parameters) if parameters else {}
        case(f"fused_conv_{kind.lower()}", 17,
             ms("FusedConv", ["x", "w", "b"], activation=kind, pads=[1, 1, 1, 1], **extra), **w)
    case("fused_conv_sum", 17, ms("FusedConv", ["x", "w", "b", "z"], activation="Relu", kernel_shape=[3, 3]),
         z=weights("z", 2, 3, 3, 4), **w)
    case("fused_gemm", 17, [node("Flatten", ["x"], ["f"]), ms("FusedGemm", ["f", "w", "b"], transB=1, alpha=0.5,
                                                              activation="LeakyRelu", activation_alpha=0.2)],
         w=weights("w", 3, 120), b=weights("b", 3))
    case("fused_matmul", 17, ms("FusedMatMul", ["x", "w"], transA=1, transB=1, alpha=0.25), w=weights("w", 7, 5))
    case("fused_matmul_batch", 17, ms("FusedMatMul", ["x", "w"], transBatchA=1, transBatchB=0), (5, 2, 4, 6),
         w=weights("w", 2, 4, 6, 3))
    case("fused_matmul_batch_both", 17, ms("FusedMatMul", ["x", "w"], transBatchA=1, transA=1), (6, 2, 4, 5),
         w=weights("w", 2, 4, 6, 3))
    for opset in (17, 20):
        case(f"gelu_{opset}", opset, ms("Gelu", ["x"]))
        case(f"bias_gelu_{opset}", opset, ms("BiasGelu", ["x", "b"]), b=weights("b", 6))
        case(f"fast_gelu_{opset}", opset, ms("FastGelu", ["x", "b"]), b=weights("b", 6))
        case(f"quick_gelu_{opset}", opset, ms("QuickGelu", ["x"], alpha=1.5))


def others():
    case("clip_6", 9, node("Clip", ["x"], min=-0.25, max=0.5))
    case("clip_low_6", 9, node("Clip", ["x"], min=-0.25))
    case("clip_high_6", 9, node("Clip", ["x"], max=0.25))
    case("clip_12", 12, node("Clip", ["x", "", "h"]), h=0.25)
    case("dropout_9", 9, [node("Dropout", ["x"], ["d"], ratio=0.9), node("Relu", ["d"])])
    case("dropout_mask_12", 12, [node("Dropout", ["x"], ["d", "m"]), node("Not", ["m"], ["n"]),
                                 node("Where", ["n", "x", "d"], ["z"]), node("Relu", ["z"])])
    case("cast_like_15", 15, [node("Shape", ["x"], ["s"]), node("ReduceSum", ["s"], ["t"]),
                              node("CastLike", ["t", "x"], ["u"]), node("Add", ["x", "u"])])
    case("gemm_11", 11, [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], transB=1)], w=weights("w", 3, 120))
    for name, value in dict(value_float=0.5, value_floats=[0.5] * 6, value_int=2, value_ints=[2] * 6).items():
        nodes = [node("Constant", [], ["c"], **{name: value}), node("Cast", ["c"], ["d"], to=1), node("Add", ["x", "d"])]
        case(f"constant_{name}", 12, nodes)
    filled = node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.array([1.5], np.float32)))
    case("constant_of_shape", 11, [node("Shape", ["x"], ["s"]), filled, node("Add", ["x", "c"])])
    # The same in half precision: what is computed in float32 is near.
    half = [node("Shape", ["x"], ["s"]),
            node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.array([1.5], np.float16))),
            node("Add", ["x", "c"], ["a"]), node("Cast", ["a"], ["f"], to=1), node("Sqrt", ["e"], ["g"]),
            node("Mul", ["f", "g"], ["m"]), node("Cast", ["m"], ["o"], to=10), node("Conv", ["o", "w"])]
    case("half", 17, half, half=True, w=weights("w", 3, 4, 1, 1), e=np.float32(2.0))


def structure():
    condition = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "i"], ["d"], axis=0), node("Equal", ["d", "n"], ["q"])]
    tensor = helper.make_tensor_value_info
    then = helper.make_graph([node("Add", ["x", "k"], ["t"])], "then", [], [tensor("t", 1, None)],
                             [numpy_helper.from_array(np.float32(3), "k")])
    other = helper.make_graph([node("NonZero", ["x"], ["z"]), node("Cast", ["z"], ["o"], to=1)], "else", [],
                              [tensor("o", 1, None)])
    choice = helper.make_node("If", ["q"], ["r"], then_branch=then, else_branch=other)
    case("if_true", 13, [*condition, choice, node("Relu", ["r"])], i=i64(1)[0], n=i64(4)[0])
    swapped = helper.make_node("If", ["q"], ["r"], then_branch=other, else_branch=then)
    case("if_false", 13, [*condition, swapped, node("Relu", ["r"])], i=i64(1)[0], n=i64(5)[0])

    def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opset=13):
        return helper.make_function("own", name, inputs, outputs, nodes,
                                    [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)],
                                    list(attributes), list(defaults))

    def reference(made, name, of):
        attribute = made.attribute.add()
        attribute.name, attribute.type, attribute.ref_attr_name = name, onnx.AttributeProto.FLOAT, of
        return made

    own = [helper.make_opsetid("own", 1)]
    leaky = function("Leaky", ["a"], ["b"], [reference(node("LeakyRelu", ["a"], ["b"]), "alpha", "slope")], ["slope"])
    steep = function("Steep", ["a"], ["b"], [reference(node("LeakyRelu", ["a"], ["b"]), "alpha", "slope")], [],
                     [helper.make_attribute("slope", 0.75)])
    outer = function("Outer", ["a", "low", "high"], ["c"], [
        reference(node("Leaky", ["a"], ["b"], "own"), "slope", "outer"), node("Clip", ["b", "low", "high"], ["c"])], ["outer"])
    case("function", 13, node("Leaky", ["x"], domain="own", slope=0.25), functions=[leaky], imports=own)
    case("function_default", 13, node("Steep", ["x"], domain="own"), functions=[steep], imports=own)
    case("function_nested", 13, node("Outer", ["x", "", "h"], domain="own", outer=0.5), functions=[leaky, outer],
         imports=own, h=0.5)
    # A function of its own operator set, in which the axes are still an attribute.
    older = function("Older", ["a"], ["b"], [node("ReduceMean", ["a"], ["b"], axes=[2])], opset=13)
    case("function_older", 13, node("Older", ["x"], domain="own"), functions=[older], imports=own)
    # A branch in a function that looks at the attributes and arguments of the function.
    inner = helper.make_graph([reference(node("LeakyRelu", ["a"], ["t"]), "alpha", "slope")], "then", [], [tensor("t", 1, None)])
    same = helper.make_graph([node("Neg", ["a"], ["o"])], "else", [], [tensor("o", 1, None)])
    choosing = function("Choosing", ["a"], ["b"], [
        node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["b"], then_branch=inner, else_branch=same)], ["slope"])
    case("function_branch", 13, node("Choosing", ["x"], domain="own", slope=0.5), functions=[choosing], imports=own)
    # One tensor, three names.
    case("tied", 13, [node("Identity", ["w"], ["w2"]), node("Identity", ["i"], ["i2"]), node("Conv", ["x", "w"], ["a"]),
                      node("Conv", ["a", "w2"], ["b"]), node("Gather", ["b", "i2"], axis=1)],
         w=weights("w", 4, 4, 1, 1), i=i64(2, 0))


def attention():
    def self_attention(name, shape=(2, 4, 5, 6), mask=None, keys=None, values=None, opset=23, **attributes):
        """Queries are `x`; keys and values are initializers, or made of `x`."""
        extra = dict(k=keys) if keys is not None else {}
        extra.update(dict(v=values) if values is not None else {})
        nodes = []
        for key, factor in (("k", -0.5), ("v", 2.0)):
            if key not in extra:
                extra[f"{key}_factor"] = np.float64(factor)
                nodes.append(node("Mul", ["x", f"{key}_factor"], [key]))
        inputs = ["x", "k", "v"]
        if mask is not None:
            extra["mask"] = mask
            inputs.append("mask")
        case(f"attention_{name}", opset, [*nodes, node("Attention", inputs, **attributes)], shape, **extra)

    def flat(name, heads, shared, mask=None, **attributes):
        """Of three axes, with `heads` heads of queries and `shared` ones of keys."""
        hidden = 24
        w = dict(n=i64(2, 20, 6), q=weights("q", 6, hidden), k=weights("k", 6, hidden // heads * shared),
                 v=weights("v", 6, 5 * shared))
        nodes = [node("Reshape", ["x", "n"], ["t"])]
        nodes += [node("MatMul", ["t", key], [key + key]) for key in "qkv"]
        inputs = ["qq", "kk", "vv"]
        if mask is not None:
            w["mask"] = mask
            inputs.append("mask")
        case(f"attention_{name}", 23, [*nodes, node("Attention", inputs, q_num_heads=heads, kv_num_heads=shared,
                                                   **attributes)], **w)

    some = weights("some", 5, 5) > 0
    some[:, 1] = True
    self_attention("plain")
    self_attention("scale", scale=0.3)
    self_attention("softcap", softcap=0.5, scale=2.0)
    self_attention("causal", is_causal=1)
    self_attention("boolean", mask=some)
    self_attention("boolean_causal", mask=some | np.eye(5, dtype=bool), is_causal=1)
    self_attention("float", mask=weights("mask", 2, 1, 5, 5), softcap=1.5)
    self_attention("float_causal", mask=weights("mask", 4, 5, 5), is_causal=1)
    low = np.where(some, 0.0, -np.inf)
    self_attention("float_infinite", mask=low)
    self_attention("cross", keys=weights("keys", 2, 4, 7, 6), values=weights("values", 2, 4, 7, 3),
                   mask=weights("mask", 5, 7))
    self_attention("grouped", keys=weights("keys", 2, 2, 7, 6), values=weights("values", 2, 2, 7, 3),
                   mask=weights("mask", 2, 4, 5, 7))
    self_attention("multi_query", keys=weights("keys", 2, 1, 5, 6), values=weights("values", 2, 1, 5, 6), is_causal=1)
    flat("flat", 4, 4)
    flat("flat_grouped", 4, 2, mask=weights("mask", 20, 20))
    flat("flat_causal", 2, 1, is_causal=1, scale=0.1)


def rotary():
    def turned(name, opset=23, shape=(2, 3, 5, 8), positions=None, cache=(2, 5, 4), flat=False, **attributes):
        inputs, w, nodes = ["x", "c", "s"], dict(c=weights("c", *cache), s=weights("s", *cache)), []
        if positions is not None:
            inputs.append("p")
            w["p"] = positions
        if flat:
            nodes, inputs[0], w["n"] = [node("Reshape", ["x", "n"], ["t"])], "t", i64(2, 5, 24)
        case(f"rotary_{name}", opset, [*nodes, node("RotaryEmbedding", inputs, **attributes)], shape, **w)

    places = i64(4, 0, 1, 2, 3, 6, 5, 4, 3, 2).reshape(2, 5)
    turned("plain")
    turned("interleaved", interleaved=1)
    turned("places", positions=places, cache=(7, 4))
    turned("partial", positions=places, cache=(7, 2), rotary_embedding_dim=4)
    turned("partial_interleaved", cache=(2, 5, 3), rotary_embedding_dim=6, interleaved=1)
    turned("flat", flat=True, num_heads=3)
    turned("flat_places", flat=True, positions=places, cache=(7, 4), num_heads=3, interleaved=1)


def einsum():
    def equation(name, text, shape=(2, 3, 4, 5), **operands):
        operands = {key: weights(key + name, *value) for key, value in operands.items()}
        case(f"einsum_{name}", 13, node("Einsum", ["x", *operands], equation=text), shape, **operands)

    equation("linear", "bhwc,cd->bhwd", w=(5, 6))
    equation("scores", "bhid,bhjd->bhij", w=(2, 3, 6, 5))
    equation("mixed", "bhid,bhdj->bihj", w=(2, 3, 5, 6))
    equation("channels_last", "bchw,oc->bhwo", w=(6, 3))
    equation("outer", "abcd,ef->abefcd", w=(2, 3))
    equation("elementwise", "abcd,bd->dcab", w=(3, 5))
    equation("sum_first", "abcd,be->ae", w=(3, 6))
    equation("sum_all", "abcd,abcd->", w=(2, 3, 4, 5))
    equation("permute", "abcd->dbca")
    equation("reduce", "abcd->db")
    equation("diagonal", "abcc->abc", shape=(2, 3, 4, 4))
    equation("trace", "aabb->", shape=(3, 3, 4, 4))
    equation("diagonal_product", "aibb,bb->ia", shape=(2, 3, 4, 4), w=(4, 4))
    equation("dots", "...ij,...jk->...ik", w=(2, 3, 5, 6))
    equation("dots_one", "...ij,...jk->...ik", w=(2, 1, 5, 6))
    equation("dots_end", "b...,bk->k...", w=(2, 6))
    equation("implicit", "bacd,de", w=(5, 6))
    equation("implicit_dots", "...ij,jk", w=(5, 6))
    equation("three", "abcd,de,ef->abcf", w=(5, 6), v=(6, 3))
    equation("three_shared", "abcd,bd,ad->cd", w=(3, 5), v=(2, 5))
    equation("four", "abcd,be,ce,de->ae", w=(3, 6), v=(4, 6), u=(5, 6))
    equation("capitals", "bHWc, cD -> bDHW", w=(5, 6))


def norms():
    case("mean_variance", 13, node("MeanVarianceNormalization", ["x"]))
    case("mean_variance_axes", 13, node("MeanVarianceNormalization", ["x"], axes=[1, -1]))
    for p in (1, 2):
        case(f"lp_norm_{p}", 13, node("LpNormalization", ["x"], p=p, axis=1))
    case("lp_norm_zero", 13, [node("Relu", ["x"], ["r"]), node("LpNormalization", ["r"], p=2, axis=3)], (2, 3, 9, 2))
    for size in (1, 3, 5):
        case(f"lrn_{size}", 13, node("LRN", ["x"], size=size, alpha=0.5, beta=0.6, bias=1.5))


def pools():
    for name, attributes in dict(
        plain=dict(kernel_shape=[2, 3], dilations=[2, 1]),
        pads=dict(kernel_shape=[3, 2], dilations=[2, 2], pads=[1, 0, 2, 1], strides=[2, 1]),
        counted=dict(kernel_shape=[3, 2], dilations=[2, 2], pads=[1, 0, 2, 1], strides=[2, 1], count_include_pad=1),
        ceil=dict(kernel_shape=[2, 2], dilations=[2, 3], strides=[2, 2], ceil_mode=1),
    ).items():
        case(f"average_dilated_{name}", 19, node("AveragePool", ["x"], **attributes), (2, 3, 9, 8))
    for p in (1, 2, 3):
        case(f"lp_pool_{p}", 18, node("LpPool", ["x"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], p=p),
             (2, 3, 9, 8))
        case(f"global_lp_pool_{p}", 18, node("GlobalLpPool", ["x"], p=p))
    case("lp_pool_zero", 18, [node("Relu", ["x"], ["r"]), node("LpPool", ["r"], kernel_shape=[1, 2])], (2, 3, 9, 8))


def main():
    parts = dict(upgrade=[axes, pieces, softmax, resize, normalisation, fused, others, structure],
                 decompose=[attention, rotary, einsum, norms, pools])
    for folder, makers in parts.items():
        CASES.clear()
        for part in makers:
            part()
        FOLDERS[folder].mkdir(exist_ok=True)
        for name, model in CASES.items():
            onnx.save(model, FOLDERS[folder] / f"{name}.onnx")
        print(len(CASES), "models in", FOLDERS[folder])


if __name__ == "__main__":
    main()
