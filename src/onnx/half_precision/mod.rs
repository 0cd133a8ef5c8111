//! A float32 model in half precision.

mod kinds;
mod rules;
mod weights;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::edit::Edit;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, TypeValue, is_default_domain};
use crate::onnx::{Document, ElementType, order, place};
use kinds::{Kind, Kinds};
use weights::{Constants, Halves};

/// A model in half precision, made by [`HalfPrecision::of`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HalfPrecision {
    /// The file.
    pub bytes: Vec<u8>,
    /// Weights that are `float16` now.
    pub weights: u64,
    /// Nodes that compute in `float16`.
    pub nodes: u64,
    /// Nodes that still compute in `float32`, by operator.
    pub kept: BTreeMap<String, u64>,
    /// Conversions between the two that were put in.
    pub casts: u64,
    /// Weights beyond ±65,504, which became that.
    pub clamped: u64,
    /// Weights other than 0 that became 0: nearer to it than 2⁻²⁵.
    pub flushed: u64,
}

impl HalfPrecision {
    /// The model with weights and values between its nodes in `float16`, for devices that compute faster so. Inputs and
    /// outputs keep their types; an input beyond ±65,504 is taken as that. Other outputs than labels differ in the third
    /// digit.
    ///
    /// These stay in `float32`, with conversions around them:
    ///
    /// * whatever is not known to be safe: operators of other domains, sums and means over axes (`Reduce…`,
    ///   `GlobalAveragePool`, `InstanceNormalization`, `GroupNormalization`, `CumSum`), whose sums overflow 65,504;
    ///   `Exp`, `Pow`, `Log`, `Sqrt`, `Reciprocal`, `Softplus`, which leave the range or lose the digits near 0; `Range`,
    ///   `ConstantOfShape`, `NonMaxSuppression`, `TopK`, `RoiAlign`, `GridSample`, `Min`, `Max`, `Upsample`, recurrent
    ///   and quantised operators, which runtimes lack in half precision or which count;
    /// * what is computed from sizes alone, such as the scales of a Resize: whole numbers above 2,048 have gaps there;
    /// * a node with a single number as constant that half precision does not have: an epsilon that would become 0, a
    ///   number above 65,504; and any but a weighted sum with a constant above 65,504;
    /// * what an output ends in: Softmax, Sigmoid, Resize, and what only moves values. Probabilities near 1 would be
    ///   equal otherwise, and so decide for the lowest class.
    ///
    /// A model without `float32` comes back as it is, apart from its encoding.
    ///
    /// ```
    /// use glebe::onnx::{Dim, Document, ElementType, GraphBuilder, HalfPrecision, Limits};
    ///
    /// let shape = [Dim::Fixed(1), Dim::Fixed(3), "height".into(), "width".into()];
    /// let mut graph = GraphBuilder::new("bands");
    /// let x = graph.input("x", ElementType::Float32, &shape);
    /// let w = graph.initializer_f32("w", &[3, 3, 1, 1], &[0.5, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 1e6, 1e-9]);
    /// let logits = graph.node("Conv", &[&x, &w]).output("logits");
    /// let y = graph.node("Softmax", &[&logits]).int("axis", 1).output("y");
    /// graph.output(&y, ElementType::Float32, &shape);
    /// let document = Document::from_bytes(graph.finish()?, &Limits::default())?;
    ///
    /// let half = HalfPrecision::of(&document)?;
    /// assert_eq!((half.weights, half.nodes, half.kept["Softmax"]), (9, 1, 1));
    /// assert_eq!((half.clamped, half.flushed), (1, 1));
    /// # Ok::<(), glebe::Error>(())
    /// ```
    ///
    /// # Errors
    /// `ModelUnsupported` for nodes with bodies (If, Loop, Scan) and operators older than set 11; `LimitExceeded` from
    /// 2 GiB on; errors of weights in other files.
    pub fn of(document: &Document) -> Result<HalfPrecision> {
        let mut edit = Edit::of(document)?;
        edit.opset(11, "half precision")?;
        let order = order(&edit.graph)?;
        for &index in &order {
            let node = &edit.graph.node[index];
            if node.attribute.iter().any(|attribute| attribute.subgraphs().next().is_some()) {
                let message =
                    format!("{}: nodes with a body have no half-precision form", place(index, node));
                return Err(Error::new(ErrorKind::ModelUnsupported, message));
            }
        }
        let nodes = std::mem::take(&mut edit.graph.node);
        let mut nodes: Vec<NodeProto> = {
            let mut nodes: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
            order.into_iter().filter_map(|index| nodes[index].take()).collect()
        };
        let constants = Constants::take(&mut edit.graph, &mut nodes);
        let kinds = Kinds::of(&edit.graph, &nodes, &constants);
        let halved = decide(&edit.graph, &nodes, &kinds, &constants);
        Conversion::new(&mut edit, &nodes, &kinds, constants, &halved).run(&nodes, &halved, edit)
    }
}

/// Which nodes compute in half precision.
fn decide(graph: &GraphProto, nodes: &[NodeProto], kinds: &Kinds, constants: &Constants) -> Vec<bool> {
    let last = rules::ends(graph, nodes);
    let fits = |(index, node): (usize, &NodeProto)| {
        let Some(rule) = rules::rule(node) else { return false };
        let mut any = false;
        let good = node.input.iter().enumerate().all(|(at, name)| {
            if name.is_empty() || !rule.halves_input(at) {
                return true;
            }
            any = true;
            kinds.of_value(name) == Kind::Float
                && !kinds.is_of_sizes(name)
                && constants.get(name).is_none_or(|constant| constant.fits(rule.is_weighted_sum()))
        });
        any && good && !last.contains(&index)
    };
    nodes.iter().enumerate().map(fits).collect()
}

/// The graph on its way: where each float32 value is to be had in which precision.
struct Conversion<'a> {
    kinds: &'a Kinds,
    constants: Constants,
    /// Names under which values are there in half precision.
    half: HashMap<String, String>,
    /// Names under which values are there in single precision.
    single: HashMap<String, String>,
    /// Constants that are used in single precision.
    wanted_single: HashSet<String>,
    nodes: Vec<NodeProto>,
    halves: Halves,
    casts: u64,
}

impl<'a> Conversion<'a> {
    fn new(
        edit: &mut Edit,
        nodes: &[NodeProto],
        kinds: &'a Kinds,
        constants: Constants,
        halved: &[bool],
    ) -> Conversion<'a> {
        let mut single = HashMap::new();
        for input in &edit.graph.input {
            single.insert(input.name.clone(), input.name.clone());
        }
        let mut wanted_single: HashSet<String> =
            edit.graph.output.iter().map(|output| output.name.clone()).collect();
        for (node, halved) in nodes.iter().zip(halved) {
            let rule = rules::rule(node).filter(|_| *halved);
            for (at, name) in node.input.iter().enumerate() {
                if !rule.is_some_and(|rule| rule.halves_input(at)) {
                    wanted_single.insert(name.clone());
                }
            }
        }
        let halves = Halves::default();
        let (half, nodes) = (HashMap::new(), Vec::new());
        Conversion { kinds, constants, half, single, wanted_single, nodes, halves, casts: 0 }
    }

    fn run(mut self, nodes: &[NodeProto], halved: &[bool], mut edit: Edit) -> Result<HalfPrecision> {
        let outputs: HashSet<String> = edit.graph.output.iter().map(|output| output.name.clone()).collect();
        let mut kept = BTreeMap::new();
        for (node, halved) in nodes.iter().zip(halved) {
            let rule = rules::rule(node).filter(|_| *halved);
            let mut node = node.clone();
            let is_either = rule.is_none() && rules::takes_either(&node);
            for (at, name) in node.input.iter_mut().enumerate() {
                if self.kinds.of_value(name) != Kind::Float {
                    continue;
                }
                *name = match rule {
                    Some(rule) if rule.halves_input(at) => self.in_half(&mut edit, name),
                    _ if is_either => self.in_either(&mut edit, name),
                    _ => self.in_single(&mut edit, name),
                };
            }
            let mut wanted = Vec::new();
            for (at, name) in node.output.iter_mut().enumerate().filter(|(_, name)| !name.is_empty()) {
                if self.kinds.of_value(name) != Kind::Float {
                    continue;
                }
                let value = name.clone();
                if rule.is_none_or(|rule| !rule.halves_output(at)) {
                    self.single.insert(value.clone(), value);
                    continue;
                }
                if outputs.contains(name) {
                    // The output's name is that of the value in single precision.
                    *name = edit.fresh(&format!("{value}_half"));
                    wanted.push(value.clone());
                }
                self.half.insert(value, name.clone());
            }
            if rule.is_none() && node.output.iter().any(|name| self.kinds.of_value(name) == Kind::Float) {
                *kept.entry(shown_operator(&node)).or_default() += 1;
            }
            self.nodes.push(node);
            for value in wanted {
                let half = self.half[&value].clone();
                self.cast(half, ElementType::Float32, value.clone());
                self.single.insert(value.clone(), value);
            }
        }
        let changed: HashSet<&String> =
            self.half.iter().filter(|(value, name)| value == name).map(|(value, _)| value).collect();
        for value in edit.graph.value_info.iter_mut().filter(|value| changed.contains(&value.name)) {
            if let Some(TypeValue::Tensor(tensor)) =
                value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            {
                tensor.elem_type = ElementType::Float16.number();
            }
        }
        edit.graph.input.retain(|input| !changed.contains(&input.name));
        let unused = self.constants.rest(&self.wanted_single);
        edit.graph.initializer.extend(unused);
        edit.graph.initializer.append(&mut self.halves.tensors);
        edit.graph.node = self.nodes;
        let nodes = halved.iter().filter(|halved| **halved).count() as u64;
        let Halves { weights, clamped, flushed, .. } = self.halves;
        Ok(HalfPrecision { bytes: edit.finish()?, weights, nodes, kept, casts: self.casts, clamped, flushed })
    }

    /// The name under which a float32 value of the model is there in half precision.
    fn in_half(&mut self, edit: &mut Edit, value: &str) -> String {
        if let Some(name) = self.half.get(value) {
            return name.clone();
        }
        let name = if let Some(constant) = self.constants.get(value) {
            let name = match self.wanted_single.contains(value) {
                true => edit.fresh(&format!("{value}_half")),
                false => value.to_owned(),
            };
            self.halves.add(&name, constant);
            name
        } else {
            let name = edit.fresh(&format!("{value}_half"));
            let mut from = self.in_single(edit, value);
            if edit.graph.input.iter().any(|input| input.name == value) {
                from = self.clip(edit, from);
            }
            self.cast(from, ElementType::Float16, name.clone());
            name
        };
        self.half.insert(value.to_owned(), name.clone());
        name
    }

    /// The name under which a float32 value of the model is there in single precision.
    fn in_single(&mut self, edit: &mut Edit, value: &str) -> String {
        if let Some(name) = self.single.get(value) {
            return name.clone();
        }
        let name = match self.half.get(value).cloned() {
            Some(half) if self.constants.get(value).is_none() => {
                let name = edit.fresh(&format!("{value}_single"));
                self.cast(half, ElementType::Float32, name.clone());
                name
            }
            _ => value.to_owned(),
        };
        self.single.insert(value.to_owned(), name.clone());
        name
    }

    /// The name under which a float32 value of the model is there, in half precision where it is.
    fn in_either(&mut self, edit: &mut Edit, value: &str) -> String {
        match self.half.get(value) {
            Some(name) if self.constants.get(value).is_none() => name.clone(),
            _ => self.in_single(edit, value),
        }
    }

    /// An input kept to what half precision holds: an infinity would spread through the network.
    fn clip(&mut self, edit: &mut Edit, value: String) -> String {
        let largest = half::f16::MAX.to_f32();
        let mut inputs = vec![value.clone()];
        for (what, end) in [("least", -largest), ("most", largest)] {
            let name = edit.fresh(&format!("{value}_{what}"));
            edit.graph.initializer.push(TensorProto::from_f32(&name, &[], &[end]));
            inputs.push(name);
        }
        let name = edit.fresh(&format!("{value}_kept"));
        self.nodes.push(NodeProto {
            op_type: "Clip".to_owned(),
            input: inputs,
            output: vec![name.clone()],
            ..NodeProto::default()
        });
        name
    }

    fn cast(&mut self, from: String, to: ElementType, name: String) {
        self.casts += 1;
        self.nodes.push(NodeProto {
            op_type: "Cast".to_owned(),
            input: vec![from],
            output: vec![name],
            attribute: vec![AttributeProto::int("to", i64::from(to.number()))],
            ..NodeProto::default()
        });
    }
}

fn shown_operator(node: &NodeProto) -> String {
    if is_default_domain(&node.domain) {
        node.op_type.clone()
    } else {
        format!("{}.{}", node.domain, node.op_type)
    }
}
