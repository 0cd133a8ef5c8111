//! From a file to a [`Graph`] with static shapes.
//!
//! One walk over the nodes in order: each is brought into the form of operator set 18 or later ([`upgrade`]), its types
//! are inferred and what is constant is folded, so a shape that later nodes need is known when they are reached.
//! Functions of the file are inlined, and so are branches whose condition is a constant. Identity and Dropout
//! vanish, but for an Identity of an initializer, which exporters write for a tensor that happens to equal another: it
//! becomes a parameter of its own ([`Graph::untied`]). `float16` and `bfloat16` become `float32`: a compiler of training steps computes in the wide type, and the
//! export rounds the weights back.

mod call;
mod control;
mod sequence;
mod sizes;
mod upgrade;

use std::collections::{BTreeMap, HashMap, HashSet};

pub(in crate::onnx) use call::Call;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Constant, Graph, MOST_ELEMENTS, Origin, ValueId, ValueType};
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, opset as opset_of};
use crate::onnx::{Dim, Document, ElementType, Facts, order, place, short, uses};

/// Shapes for the inputs of a model, by their names.
pub type InputShapes = BTreeMap<String, Vec<usize>>;

/// Makes a graph with static shapes out of a file.
///
/// `shapes` gives the shape of every input that the file leaves open, wholly or in part; `outputs` names the values that
/// the graph is to give, by default the file's outputs. Any value of the file may be named, so a softmax at
/// the end can be left out. Nodes that those do not need are not looked at.
///
/// # Errors
/// `Mismatch` where a shape contradicts the file; `InvalidArgument` for an output that the file does not have and an
/// input without a shape; `ModelUnsupported` for operators that the compiler does not know, sizes that depend on data
/// and loops, naming the node; `ModelInvalid` for nodes that the specification does not allow.
pub fn specialise(document: &Document, shapes: &InputShapes, outputs: Option<&[&str]>) -> Result<Graph> {
    let opset = document.model().opset("").unwrap_or(1);
    // A function may be of a later set than the graph that calls it.
    let functions = document.model().functions.iter();
    let latest = functions.filter_map(|function| opset_of(&function.opset_import, "")).fold(opset, i64::max);
    let mut import = Import {
        document,
        opset,
        graph: Graph::new(latest),
        tensors: document.graph().initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        sizes: sizes::deciding(document.graph()),
        scopes: vec![HashMap::new()],
        sequences: HashMap::new(),
        depth: 0,
    };
    for port in &Facts::of(document).inputs {
        let shape = shape_of(&port.name, port.shape.as_deref(), shapes.get(&port.name))?;
        let element = ElementType::ALL.iter().copied().find(|element| element.name() == port.r#type);
        let element = element.ok_or_else(|| {
            Error::new(ErrorKind::ModelUnsupported, "the type of the input is not that of a tensor")
                .at_tensor(short(&port.name))
        })?;
        let kind = ValueType::new(wide(element), shape);
        if kind.checked_elements().is_none_or(|count| count as u64 > MOST_ELEMENTS) {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("an input of {kind}"))
                .at_tensor(short(&port.name)));
        }
        let id = import.graph.add_input(&port.name, kind);
        import.bind(&port.name, Some(id));
    }
    let graph = document.graph();
    let named: Vec<&str> = match outputs {
        Some(names) => names.to_vec(),
        None => graph.output.iter().map(|output| output.name.as_str()).collect(),
    };
    import.walk(graph, &named)?;
    for name in named {
        let id = import
            .lookup(name)?
            .flatten()
            .ok_or_else(|| Error::invalid(format!("the model has no value called {:?}", short(name))))?;
        // An Identity at the end has vanished; its name is the one that callers know.
        let graph = &mut import.graph;
        if matches!(graph.value(id).origin(), Origin::Node { .. })
            && graph.name(id) != name
            && !graph.outputs().contains(&id)
        {
            graph.rename(id, name);
        }
        graph.add_output(id);
    }
    Ok(import.graph)
}

/// The shape of an input: what the file says, completed by what the caller says.
fn shape_of(name: &str, own: Option<&[Dim]>, given: Option<&Vec<usize>>) -> Result<Vec<usize>> {
    let fixed: Option<Vec<usize>> = own.and_then(|dims| {
        dims.iter().map(|dim| dim.fixed().and_then(|dim| usize::try_from(dim).ok())).collect()
    });
    let Some(given) = given else {
        return fixed.ok_or_else(|| {
            Error::invalid("the model leaves the shape of this input open: give it").at_tensor(short(name))
        });
    };
    let Some(own) = own else { return Ok(given.clone()) };
    let fits = own.len() == given.len()
        && own.iter().zip(given).all(|(dim, &size)| dim.fixed().is_none_or(|dim| dim == size as u64));
    if fits {
        return Ok(given.clone());
    }
    let own: Vec<String> = own.iter().map(ToString::to_string).collect();
    Err(Error::new(ErrorKind::Mismatch, format!("expected shape [{}], got {given:?}", own.join(", ")))
        .at_tensor(short(name)))
}

/// The type that elements of `element` have in a graph.
pub(in crate::onnx) fn wide(element: ElementType) -> ElementType {
    match element {
        ElementType::Float16 | ElementType::Bfloat16 => ElementType::Float32,
        other => other,
    }
}

/// The same elements in their [`wide`] type.
fn widened(constant: Constant) -> Result<Constant> {
    let kind = constant.kind();
    if wide(kind.element) == kind.element {
        return Ok(constant);
    }
    let values = constant.to_f64().ok_or_else(|| Error::internal("a half without numbers"))?;
    Constant::from_f64(ValueType::new(wide(kind.element), kind.shape.clone()), &values)
}

/// The state of the walk.
pub(in crate::onnx) struct Import<'a> {
    document: &'a Document,
    /// Operator set of the nodes that are walked over: the file's, or a function's own.
    opset: i64,
    /// What is being built.
    pub(in crate::onnx) graph: Graph,
    tensors: HashMap<&'a str, &'a TensorProto>,
    /// Values of the file that sizes depend on.
    sizes: HashSet<&'a str>,
    /// What the names mean: the innermost function or branch last. `None` is an argument that the caller of a function
    /// left out.
    scopes: Vec<HashMap<String, Option<ValueId>>>,
    /// Sequences of tensors, by their names.
    sequences: HashMap<String, Vec<ValueId>>,
    depth: usize,
}

impl Import<'_> {
    /// Adds the nodes of `graph` that the values called `named` need.
    fn walk(&mut self, graph: &GraphProto, named: &[&str]) -> Result<()> {
        let order = order(graph)?;
        let mut wanted: HashSet<&str> = named.iter().copied().collect();
        let mut needed = Vec::new();
        for &index in order.iter().rev() {
            let node = &graph.node[index];
            if node.output.iter().any(|output| wanted.contains(output.as_str())) {
                wanted.extend(uses(node));
                needed.push(index);
            }
        }
        for index in needed.into_iter().rev() {
            let node = &graph.node[index];
            self.node(node).map_err(|error| located(error, index, node))?;
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeProto) -> Result<()> {
        if sequence::take(self, node)? {
            return Ok(());
        }
        let inputs = node.input.iter().map(|name| self.operand(name)).collect::<Result<Vec<_>>>()?;
        let made = match self.untied(node, &inputs) {
            Some(own) => vec![Some(own)],
            None => match control::inline(self, node, &inputs)? {
                Some(made) => made,
                None => {
                    let call = Call { proto: node, inputs, opset: self.opset };
                    upgrade::add(&mut self.graph, &call)?
                }
            },
        };
        // What a node does not give stays without a meaning, and whoever uses it says so.
        for (name, id) in node.output.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
            if let Some(id) = id {
                self.bind(name, Some(id));
            }
        }
        Ok(())
    }

    /// A parameter of its own for an Identity of an initializer of the file.
    fn untied(&mut self, node: &NodeProto, inputs: &[Option<ValueId>]) -> Option<ValueId> {
        let (&[Some(shared)], [initializer], [name]) = (inputs, &node.input[..], &node.output[..]) else {
            return None;
        };
        // Names in functions and branches are not those of the file.
        if self.depth > 0 || !node.is("Identity") || !self.tensors.contains_key(initializer.as_str()) {
            return None;
        }
        match self.graph.value(shared).origin() {
            Origin::Parameter(constant) => {
                let constant = constant.clone();
                Some(self.graph.add_untied(name, initializer, constant))
            }
            _ => None,
        }
    }

    /// The value of an input's name; `None` for the empty name.
    fn operand(&mut self, name: &str) -> Result<Option<ValueId>> {
        if name.is_empty() {
            return Ok(None);
        }
        self.lookup(name)?.ok_or_else(|| {
            let message =
                "this value is not known to the compiler: its node does not give it in training form";
            Error::new(ErrorKind::ModelUnsupported, message).at_tensor(short(name))
        })
    }

    /// What a name means, where it means something.
    fn lookup(&mut self, name: &str) -> Result<Option<Option<ValueId>>> {
        if let Some(found) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            return Ok(Some(*found));
        }
        let Some(tensor) = self.tensors.get(name).copied() else { return Ok(None) };
        let id = self.initializer(tensor)?;
        if let Some(scope) = self.scopes.first_mut() {
            scope.insert(name.to_owned(), Some(id));
        }
        Ok(Some(Some(id)))
    }

    fn bind(&mut self, name: &str, id: Option<ValueId>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), id);
        }
    }

    /// Floating point tensors are parameters, but for those that only sizes are computed from; all others constants.
    fn initializer(&mut self, tensor: &TensorProto) -> Result<ValueId> {
        let constant = widened(self.elements(tensor)?)?;
        if constant.kind().element == ElementType::Float32 && !self.sizes.contains(tensor.name.as_str()) {
            return Ok(self.graph.add_parameter(&tensor.name, constant));
        }
        Ok(self.graph.add_constant(&tensor.name, constant))
    }

    fn elements(&self, tensor: &TensorProto) -> Result<Constant> {
        if !tensor.is_external() {
            return Constant::from_proto(tensor);
        }
        let raw = self.document.resolve_external(tensor)?;
        let plain = TensorProto {
            raw_data: Some(raw),
            data_location: 0,
            external_data: Vec::new(),
            ..tensor.clone()
        };
        Constant::from_proto(&plain)
    }
}

/// Says which node of the file an error is about, unless it says so already.
fn located(error: Error, index: usize, node: &NodeProto) -> Error {
    if error.message().starts_with("node ") {
        return error;
    }
    let mut located = Error::new(error.kind(), format!("{}: {}", place(index, node), error.message()));
    if let Some(tensor) = error.tensor() {
        located = located.at_tensor(tensor);
    }
    located
}
