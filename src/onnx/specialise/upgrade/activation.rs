//! Clip, and the activations of the runtime's own domain in standard operators.

use crate::error::Result;
use crate::onnx::graph::{Graph, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::pieces::scalar_like;
use crate::onnx::specialise::upgrade::{Made, Rule, op};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    (op_type == "Clip").then_some(clip)
}

/// The bounds became inputs with set 11.
fn clip(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 11 {
        let input = node.needed(0)?;
        node.inputs = vec![Some(input)];
        for name in ["min", "max"] {
            let bound = node.attribute(name).and_then(|attribute| attribute.f);
            let bound = bound.map(|bound| scalar_like(graph, input, f64::from(bound))).transpose()?;
            node.inputs.push(bound);
        }
        while node.inputs.last() == Some(&None) {
            node.inputs.pop();
        }
        node.attributes.clear();
    }
    call.put(graph, node)
}

/// x Φ(x), with Φ by the error function: the operator itself from set 20 on, before that x/2 (1 + erf(x / √2)).
pub(super) fn gelu(graph: &mut Graph, call: &Call<'_>, x: ValueId) -> Made {
    if graph.opset() >= 20 {
        return call.end(graph, "Gelu", &[x], &[]);
    }
    let root = scalar_like(graph, x, std::f64::consts::SQRT_2)?;
    let scaled = op(graph, "Div", &[x, root])?;
    let inner = op(graph, "Erf", &[scaled])?;
    half_of_x_and_one(graph, call, x, inner)
}

/// x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))).
pub(super) fn fast_gelu(graph: &mut Graph, call: &Call<'_>, x: ValueId) -> Made {
    if graph.opset() >= 20 {
        return call.end(graph, "Gelu", &[x], &[AttributeProto::string("approximate", "tanh")]);
    }
    let square = op(graph, "Mul", &[x, x])?;
    let weight = scalar_like(graph, x, 0.044715)?;
    let cubic = op(graph, "Mul", &[square, weight])?;
    let one = scalar_like(graph, x, 1.0)?;
    let factor = op(graph, "Add", &[cubic, one])?;
    let sum = op(graph, "Mul", &[factor, x])?;
    let root = scalar_like(graph, x, (2.0 / std::f64::consts::PI).sqrt())?;
    let scaled = op(graph, "Mul", &[sum, root])?;
    let inner = op(graph, "Tanh", &[scaled])?;
    half_of_x_and_one(graph, call, x, inner)
}

/// x/2 (1 + inner).
fn half_of_x_and_one(graph: &mut Graph, call: &Call<'_>, x: ValueId, inner: ValueId) -> Made {
    let (one, half) = (scalar_like(graph, x, 1.0)?, scalar_like(graph, x, 0.5)?);
    let sum = op(graph, "Add", &[inner, one])?;
    let halved = op(graph, "Mul", &[x, half])?;
    call.end(graph, "Mul", &[halved, sum], &[])
}

/// x σ(α x).
pub(super) fn quick_gelu(graph: &mut Graph, call: &Call<'_>, x: ValueId, alpha: f32) -> Made {
    let alpha = scalar_like(graph, x, f64::from(alpha))?;
    let scaled = op(graph, "Mul", &[x, alpha])?;
    let gate = op(graph, "Sigmoid", &[scaled])?;
    call.end(graph, "Mul", &[x, gate], &[])
}

/// The activation `name` with `parameters`, as fused operators name them.
pub(super) fn named(
    graph: &mut Graph,
    call: &Call<'_>,
    x: ValueId,
    name: &str,
    parameters: &[f32],
) -> Result<Vec<Option<ValueId>>> {
    let parameter = |index: usize| {
        let message = || call.node().invalid(format!("parameter {index} of {name} is missing"));
        parameters.get(index).copied().ok_or_else(message)
    };
    match name {
        "Relu" | "Sigmoid" | "Tanh" | "HardSwish" => call.end(graph, name, &[x], &[]),
        "LeakyRelu" | "Elu" => call.end(graph, name, &[x], &[AttributeProto::float("alpha", parameter(0)?)]),
        "HardSigmoid" => {
            let [alpha, beta] = [parameter(0)?, parameter(1)?];
            let attributes = [AttributeProto::float("alpha", alpha), AttributeProto::float("beta", beta)];
            call.end(graph, name, &[x], &attributes)
        }
        "Clip" => {
            let low = scalar_like(graph, x, f64::from(parameter(0)?))?;
            let high = scalar_like(graph, x, f64::from(parameter(1)?))?;
            call.end(graph, name, &[x, low, high], &[])
        }
        _ => Err(call.node().unsupported(format!("activation {name:?}"))),
    }
}
