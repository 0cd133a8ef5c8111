//! What a model has done to its scores already, so that nobody does it twice.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Dim, Document, shown};

/// The activation that an output comes out of. Serialises in snake case: `log_softmax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// None of the others: plain scores, as far as one can see.
    None,
    /// Probabilities over the channels (axis 1).
    Softmax,
    /// Logarithms of probabilities over the channels (axis 1).
    LogSoftmax,
    /// A probability for every value by itself.
    Sigmoid,
    /// Numbers of classes: the channel (axis 1) with the highest score.
    ArgMax,
}

/// How many nodes back the search goes.
const LONGEST: usize = 64;

impl Activation {
    /// The name in JSON and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::None => "none",
            Activation::Softmax => "softmax",
            Activation::LogSoftmax => "log_softmax",
            Activation::Sigmoid => "sigmoid",
            Activation::ArgMax => "arg_max",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Document {
    /// The activation that `output` comes out of, found by walking back through nodes that leave values as they are
    /// (Identity, Cast, Transpose, and a Resize that averages or repeats).
    ///
    /// Softmax, LogSoftmax and ArgMax count only along the channels, axis 1 of an output `[N, C, H, W]`. Where the
    /// rank is not written down it is taken to be 4. Before operator set 13, Softmax with `axis` 1 was over all axes
    /// from there on and is not over the channels, unless these are last.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where the model has no such output.
    pub fn final_activation(&self, output: &str) -> Result<Activation> {
        let graph = self.graph();
        let Some(port) = graph.output.iter().find(|port| port.name == output) else {
            let names: Vec<String> = graph.output.iter().map(|port| shown(&port.name)).collect();
            return Err(Error::invalid(format!(
                "no output {}, expected one of {}",
                shown(output),
                names.join(", ")
            )));
        };
        let shape = port.tensor_type().and_then(|tensor| tensor.shape.as_ref());
        let rank = shape.map_or(4, |shape| Dim::list(shape).len() as i64);
        Ok(walk(graph, output, rank, self.model().opset("").unwrap_or(1)))
    }
}

fn walk(graph: &GraphProto, output: &str, rank: i64, opset: i64) -> Activation {
    // Where the channels are, on the way back through transpositions.
    let mut channels = 1i64;
    let mut name = output;
    // Every step looks through all nodes; nobody puts more than a few behind an activation.
    for _ in 0..LONGEST {
        let Some(node) = graph.producer(name) else { return Activation::None };
        if !super::proto::is_default_domain(&node.domain) {
            return Activation::None;
        }
        match node.op_type.as_str() {
            // Clip keeps probabilities what they are, Slice gives some of them.
            "Identity" | "Cast" | "Clip" | "Slice" => {}
            "Resize" if averages(node) => {}
            "Transpose" => {
                let perm = node.attribute("perm").map(|perm| &perm.ints[..]);
                channels = match perm {
                    None => rank - 1 - channels,
                    Some(perm) => match usize::try_from(channels).ok().and_then(|axis| perm.get(axis)) {
                        Some(&axis) => axis,
                        None => return Activation::None,
                    },
                };
            }
            "Sigmoid" => return Activation::Sigmoid,
            "Softmax" => return over_channels(node, rank, channels, opset, Activation::Softmax),
            "LogSoftmax" => return over_channels(node, rank, channels, opset, Activation::LogSoftmax),
            "ArgMax" => {
                // Without keepdims the axis that is gone stood at 1, if the others kept their order.
                let kept = node.int("keepdims").unwrap_or(1) != 0;
                let (rank, expected) = if kept { (rank, channels) } else { (rank + 1, 1) };
                let axis = node.int("axis").unwrap_or(0);
                let axis = if axis < 0 { axis + rank } else { axis };
                return if axis == expected { Activation::ArgMax } else { Activation::None };
            }
            _ => return Activation::None,
        }
        match node.input(0) {
            Some(input) => name = input,
            None => return Activation::None,
        }
    }
    Activation::None
}

/// Whether a Resize makes its values by averaging or repeating, so that probabilities stay such.
fn averages(node: &NodeProto) -> bool {
    let mode = node.attribute("mode").map_or(Some("nearest"), |mode| mode.text());
    matches!(mode, Some("nearest" | "linear"))
}

fn over_channels(node: &NodeProto, rank: i64, channels: i64, opset: i64, found: Activation) -> Activation {
    let axis = node.int("axis").unwrap_or(if opset < 13 { 1 } else { -1 });
    let axis = if axis < 0 { axis + rank } else { axis };
    let flattens = opset < 13 && axis != rank - 1;
    if axis == channels && !flattens { found } else { Activation::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{ElementType, GraphBuilder, Limits};

    /// An operator and its attributes.
    type Link<'a> = (&'a str, &'a [(&'a str, &'a [i64])]);

    /// The activation found at the end of a chain of nodes, for an output of this rank.
    fn found(opset: i64, rank: usize, chain: &[Link<'_>]) -> Activation {
        let mut graph = GraphBuilder::new("chain");
        graph.opset(opset);
        let mut value = graph.input("x", ElementType::Float32, &vec![Dim::Unknown; rank]);
        for (op_type, attributes) in chain {
            let mut node = graph.node(op_type, &[&value]);
            for (name, values) in *attributes {
                node = match values {
                    [single] => node.int(name, *single),
                    several => node.ints(name, several),
                };
            }
            value = node.output("v");
        }
        graph.output(&value, ElementType::Float32, &vec![Dim::Unknown; rank]);
        let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
        document.final_activation(&value).unwrap()
    }

    #[test]
    fn activations_are_found_behind_what_keeps_values() {
        let cast: Link<'_> = ("Cast", &[("to", &[1])]);
        assert_eq!(found(17, 4, &[("Softmax", &[("axis", &[1])])]), Activation::Softmax);
        assert_eq!(
            found(17, 4, &[("Softmax", &[("axis", &[-3])]), cast, ("Identity", &[])]),
            Activation::Softmax
        );
        assert_eq!(
            found(17, 4, &[("LogSoftmax", &[("axis", &[1])]), ("Resize", &[])]),
            Activation::LogSoftmax
        );
        assert_eq!(found(17, 4, &[("Sigmoid", &[]), cast]), Activation::Sigmoid);
        assert_eq!(found(17, 4, &[("ArgMax", &[("axis", &[1])])]), Activation::ArgMax);
        assert_eq!(
            found(17, 3, &[("ArgMax", &[("axis", &[1]), ("keepdims", &[0])]), cast]),
            Activation::ArgMax
        );
        assert_eq!(found(17, 4, &[("Softmax", &[("axis", &[1])]), ("Relu", &[])]), Activation::None);
        assert_eq!(found(17, 4, &[]), Activation::None);
    }

    #[test]
    fn only_the_channel_axis_counts() {
        assert_eq!(found(17, 4, &[("Softmax", &[])]), Activation::None);
        assert_eq!(found(17, 4, &[("Softmax", &[("axis", &[2])])]), Activation::None);
        assert_eq!(found(17, 2, &[("Softmax", &[])]), Activation::Softmax);
        assert_eq!(found(17, 4, &[("ArgMax", &[("axis", &[3])])]), Activation::None);
        // Channels last inside, first outside.
        let to_front: Link<'_> = ("Transpose", &[("perm", &[0, 3, 1, 2])]);
        assert_eq!(found(17, 4, &[("Softmax", &[]), to_front]), Activation::Softmax);
        assert_eq!(found(17, 4, &[("Softmax", &[("axis", &[1])]), to_front]), Activation::None);
    }

    #[test]
    fn softmax_flattened_before_operator_set_13() {
        let to_front: Link<'_> = ("Transpose", &[("perm", &[0, 3, 1, 2])]);
        assert_eq!(found(12, 4, &[("Softmax", &[("axis", &[1])])]), Activation::None);
        assert_eq!(found(12, 4, &[("Softmax", &[("axis", &[3])]), to_front]), Activation::Softmax);
        assert_eq!(found(12, 2, &[("Softmax", &[])]), Activation::Softmax);
    }
}
