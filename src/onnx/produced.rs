//! Nodes whose output size is a constant of the file: a few bytes that ask for any amount of memory.
//!
//! onnxruntime#28730: a runtime that folds constants fills such tensors while it loads the model. The check follows
//! sizes through the whole-number operators that exporters put between a constant and its use. It is a net for what
//! is plain to see and no proof: sizes that come out of other operators are the runtime's to refuse.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::limits::Limits;
use crate::onnx::order::order;
use crate::onnx::place;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::scan::exceeded;

/// A list of sizes longer than this is no shape.
const LONGEST: usize = 64;

/// Checks all graphs and functions of a model, whose names must have been checked.
pub(crate) fn check(model: &ModelProto, limits: &Limits) -> Result<()> {
    let mut check = Check { limit: limits.produced_elements, total: 0 };
    if let Some(graph) = &model.graph {
        check.graph(graph, None)?;
    }
    for training in &model.training_info {
        for graph in [&training.initialization, &training.algorithm].into_iter().flatten() {
            check.graph(graph, None)?;
        }
    }
    for function in &model.functions {
        let mut known = Known::default();
        for (index, node) in function.node.iter().enumerate() {
            check.node(index, node, &mut known)?;
        }
    }
    Ok(())
}

/// Small whole-number constants by name; those of the graphs around are found too.
#[derive(Default)]
struct Known<'a> {
    outer: Option<&'a Known<'a>>,
    values: HashMap<&'a str, Vec<i64>>,
    /// Single floating-point numbers, which a Range can have.
    scalars: HashMap<&'a str, f64>,
}

impl<'a> Known<'a> {
    fn get(&self, name: &str) -> Option<&[i64]> {
        let mut known = Some(self);
        while let Some(scope) = known {
            if let Some(values) = scope.values.get(name) {
                return Some(values);
            }
            known = scope.outer;
        }
        None
    }

    fn scalar(&self, node: &NodeProto, index: usize) -> Option<f64> {
        let name = node.input(index)?;
        let mut known = Some(self);
        while let Some(scope) = known {
            if let Some(&value) = scope.scalars.get(name) {
                return Some(value);
            }
            known = scope.outer;
        }
        match self.get(name) {
            Some([value]) => Some(*value as f64),
            _ => None,
        }
    }

    fn add(&mut self, name: &'a str, tensor: &TensorProto) {
        if let Some(values) = small(tensor) {
            self.values.insert(name, values);
        } else if tensor.elements() == Some(1)
            && let Some(values) = tensor.to_f32()
            && let [value] = values[..]
        {
            self.scalars.insert(name, f64::from(value));
        }
    }

    fn input(&self, node: &NodeProto, index: usize) -> Option<&[i64]> {
        node.input(index).and_then(|name| self.get(name))
    }
}

struct Check {
    limit: u64,
    /// Elements produced out of nothing but constants so far.
    total: u64,
}

impl Check {
    /// Recursion is as deep as the graphs, which the scan limits.
    fn graph(&mut self, graph: &GraphProto, outer: Option<&Known<'_>>) -> Result<()> {
        let mut known = Known { outer, ..Known::default() };
        for tensor in &graph.initializer {
            known.add(&tensor.name, tensor);
        }
        for index in order(graph)? {
            self.node(index, &graph.node[index], &mut known)?;
        }
        Ok(())
    }

    fn node<'a>(&mut self, index: usize, node: &'a NodeProto, known: &mut Known<'a>) -> Result<()> {
        let (elements, from_constants) = produced(node, known).map_err(|error| {
            Error::new(error.kind(), format!("{}: {}", place(index, node), error.message()))
        })?;
        if from_constants {
            self.total = self.total.saturating_add(elements);
        }
        let found = if from_constants { self.total } else { elements };
        exceeded(&format!("{}: number of elements made", place(index, node)), found, self.limit)?;
        if let (Some(values), Some(output)) = (fold(node, known), node.output.first())
            && values.len() <= LONGEST
        {
            known.values.insert(output, values);
        } else if let (true, Some(output)) = (node.is("Constant"), node.output.first())
            && let Some(attribute) = node.attribute.first()
        {
            match (&attribute.t, attribute.f) {
                (Some(tensor), _) => known.add(output, tensor),
                (None, Some(value)) => drop(known.scalars.insert(output, f64::from(value))),
                (None, None) => {}
            }
        }
        for body in node.attribute.iter().flat_map(|attribute| attribute.subgraphs()) {
            self.graph(body, Some(known))?;
        }
        Ok(())
    }
}

/// At least how many elements the node's output has by its constant inputs, and whether it needs no other input.
fn produced(node: &NodeProto, known: &Known<'_>) -> Result<(u64, bool)> {
    let nothing = Ok((0, false));
    if !super::proto::is_default_domain(&node.domain) {
        return nothing;
    }
    match node.op_type.as_str() {
        "ConstantOfShape" | "HannWindow" | "HammingWindow" | "BlackmanWindow" => match known.input(node, 0) {
            Some(shape) => Ok((product(shape)?, true)),
            None => nothing,
        },
        "RandomNormal" | "RandomUniform" => match node.attribute("shape") {
            Some(shape) => Ok((product(&shape.ints)?, true)),
            None => nothing,
        },
        "Range" => match [0, 1, 2].map(|index| known.input(node, index)) {
            [Some([start]), Some([limit]), Some([step])] => {
                let step = i128::from(*step);
                if step == 0 {
                    return Err(Error::new(ErrorKind::ModelInvalid, "a range with step 0"));
                }
                let count = (i128::from(*limit) - i128::from(*start)) / step;
                Ok((u64::try_from(count.max(0)).unwrap_or(u64::MAX), true))
            }
            _ => match [0, 1, 2].map(|index| known.scalar(node, index)) {
                // The conversion saturates; what is no number becomes 0.
                [Some(start), Some(limit), Some(step)] => {
                    Ok((((limit - start) / step).max(0.0) as u64, true))
                }
                _ => nothing,
            },
        },
        // A dimension of 0 in the data can make these empty, but no model is written for that.
        "Expand" | "Tile" | "OneHot" | "CenterCropPad" => match known.input(node, 1) {
            Some(sizes) => Ok((product(sizes)?, false)),
            None => nothing,
        },
        "Resize" => match known.input(node, 3) {
            Some(sizes) => Ok((product(sizes)?, false)),
            None => nothing,
        },
        "Pad" => match known.input(node, 1).or(node.attribute("pads").map(|pads| &pads.ints[..])) {
            Some(pads) => {
                // Cropping (a negative pad) apart, an axis is at least as long as its pads.
                let half = pads.len() / 2;
                let axes = (0..half).map(|axis| pads[axis].saturating_add(pads[axis + half]).max(1));
                Ok((product(&axes.collect::<Vec<_>>())?, false))
            }
            None => nothing,
        },
        _ => nothing,
    }
}

fn product(sizes: &[i64]) -> Result<u64> {
    if let Some(size) = sizes.iter().find(|&&size| size < -1) {
        return Err(Error::new(ErrorKind::ModelInvalid, format!("a size of {size}, expected 0 or more")));
    }
    if sizes.contains(&0) {
        return Ok(0);
    }
    Ok(sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size.unsigned_abs())))
}

/// The value of a node that computes with small whole numbers.
fn fold(node: &NodeProto, known: &Known<'_>) -> Option<Vec<i64>> {
    if !super::proto::is_default_domain(&node.domain) {
        return None;
    }
    let pairs = |apply: fn(i64, i64) -> i64| -> Option<Vec<i64>> {
        let (a, b) = (known.input(node, 0)?, known.input(node, 1)?);
        let len = a.len().max(b.len());
        if ![a.len(), b.len()].into_iter().all(|side| side == 1 || side == len) {
            return None;
        }
        Some((0..len).map(|index| apply(a[index.min(a.len() - 1)], b[index.min(b.len() - 1)])).collect())
    };
    match node.op_type.as_str() {
        "Constant" => {
            let attribute = node.attribute.first()?;
            match attribute.name.as_str() {
                "value" => attribute.t.as_deref().and_then(small),
                "value_int" => attribute.i.map(|value| vec![value]),
                "value_ints" => Some(attribute.ints.clone()),
                _ => None,
            }
        }
        "Identity" | "Cast" | "Squeeze" | "Unsqueeze" | "Reshape" => {
            known.input(node, 0).map(<[i64]>::to_vec)
        }
        "Concat" => {
            let mut all = Vec::new();
            for index in 0..node.input.len() {
                all.extend_from_slice(known.input(node, index)?);
                if all.len() > LONGEST {
                    return None;
                }
            }
            Some(all)
        }
        "Add" => pairs(i64::saturating_add),
        "Sub" => pairs(i64::saturating_sub),
        "Mul" => pairs(i64::saturating_mul),
        _ => None,
    }
}

/// The values of a small whole-number tensor.
fn small(tensor: &TensorProto) -> Option<Vec<i64>> {
    let few = tensor.elements()? as usize <= LONGEST;
    few.then(|| tensor.to_i64()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::AttributeProto;

    fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op_type.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn run(constants: &[(&str, &[i64])], nodes: Vec<NodeProto>) -> Result<()> {
        let initializer = constants
            .iter()
            .map(|(name, values)| TensorProto::from_i64(*name, &[values.len() as i64], values));
        let graph = GraphProto { initializer: initializer.collect(), node: nodes, ..GraphProto::default() };
        let model = ModelProto { graph: Some(Box::new(graph)), ..ModelProto::default() };
        check(&model, &Limits::default())
    }

    fn kind(result: Result<()>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn constant_of_shape_is_limited() {
        let fill = || vec![node("ConstantOfShape", &["s"], "y")];
        assert!(run(&[("s", &[1, 64, 512, 512])], fill()).is_ok());
        assert!(run(&[("s", &[])], fill()).is_ok());
        assert!(run(&[("s", &[0, i64::MAX])], fill()).is_ok());
        assert_eq!(kind(run(&[("s", &[1 << 20, 1 << 20, 1 << 20])], fill())), Some(ErrorKind::LimitExceeded));
        assert_eq!(kind(run(&[("s", &[i64::MAX, i64::MAX])], fill())), Some(ErrorKind::LimitExceeded));
        assert_eq!(kind(run(&[("s", &[-7])], fill())), Some(ErrorKind::ModelInvalid));
        let error = run(&[("s", &[1 << 40])], fill()).unwrap_err();
        let expected = "node 0 (ConstantOfShape): number of elements made: expected at most 268435456, got 1099511627776";
        assert_eq!(error.message(), expected);
    }

    #[test]
    fn many_small_bombs_are_one() {
        let fill = |index: usize| node("ConstantOfShape", &["s"], &format!("y{index}"));
        assert!(run(&[("s", &[1 << 26])], (0..4).map(fill).collect()).is_ok());
        assert_eq!(
            kind(run(&[("s", &[1 << 26])], (0..5).map(fill).collect())),
            Some(ErrorKind::LimitExceeded)
        );
    }

    #[test]
    fn sizes_are_followed_through_arithmetic() {
        let nodes = vec![
            node("Cast", &["a"], "b"),
            node("Mul", &["b", "b"], "c"),
            node("Concat", &["c", "c"], "d"),
            node("Unsqueeze", &["d"], "e"),
            node("ConstantOfShape", &["e"], "y"),
        ];
        assert!(run(&[("a", &[10])], nodes.clone()).is_ok());
        assert_eq!(kind(run(&[("a", &[1 << 20])], nodes)), Some(ErrorKind::LimitExceeded));
    }

    #[test]
    fn other_ways_to_ask_for_memory() {
        let mut random = node("RandomNormal", &[], "y");
        random.attribute = vec![AttributeProto::ints("shape", &[1 << 20, 1 << 20])];
        let big = &[1, 1 << 20, 1 << 20][..];
        for (constants, node) in [
            (vec![], random),
            (vec![("n", big)], node("Expand", &["x", "n"], "y")),
            (vec![("n", big)], node("Tile", &["x", "n"], "y")),
            (vec![("n", big)], node("Resize", &["x", "", "", "n"], "y")),
            (vec![("n", &[1 << 20, 1 << 20, 0, 0][..])], node("Pad", &["x", "n"], "y")),
            (vec![("n", &[1 << 40][..])], node("OneHot", &["x", "n", "v"], "y")),
            (vec![("n", &[1 << 40])], node("HannWindow", &["n"], "y")),
            (vec![("a", &[0]), ("b", &[i64::MAX]), ("c", &[1])], node("Range", &["a", "b", "c"], "y")),
        ] {
            let name = node.op_type.clone();
            assert_eq!(kind(run(&constants, vec![node])), Some(ErrorKind::LimitExceeded), "{name}");
        }
    }

    #[test]
    fn ranges_of_fractions_count_too() {
        let range = |limit: f32, step: f32| {
            let scalar = |name: &str, value: f32| TensorProto::from_f32(name, &[], &[value]);
            let mut constant = node("Constant", &[], "c");
            constant.attribute = vec![AttributeProto::float("value_float", step)];
            let graph = GraphProto {
                initializer: vec![scalar("a", 0.0), scalar("b", limit)],
                node: vec![constant, node("Range", &["a", "b", "c"], "y")],
                ..GraphProto::default()
            };
            check(&ModelProto { graph: Some(Box::new(graph)), ..ModelProto::default() }, &Limits::default())
        };
        assert!(range(512.0, 0.5).is_ok() && range(f32::NAN, 1.0).is_ok() && range(1e30, -1.0).is_ok());
        assert_eq!(kind(range(1e30, 1.0)), Some(ErrorKind::LimitExceeded));
        assert_eq!(kind(range(1.0, 0.0)), Some(ErrorKind::LimitExceeded));
    }

    #[test]
    fn bodies_know_outer_constants() {
        let body = GraphProto { node: vec![node("ConstantOfShape", &["s"], "z")], ..GraphProto::default() };
        let mut control = node("If", &["cond"], "y");
        control.attribute = vec![AttributeProto::graph("then_branch", body)];
        assert_eq!(kind(run(&[("s", &[1 << 40])], vec![control])), Some(ErrorKind::LimitExceeded));
    }
}
