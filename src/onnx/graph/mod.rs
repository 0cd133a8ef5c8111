//! A graph with static shapes, for compilers.
//!
//! A [`Graph`] is what [`specialise`](crate::onnx::specialise) makes of a file for chosen input shapes: every value
//! has an element type and a static shape, what depends on constants alone is folded, operators have the form of
//! operator set 18 or later whatever the file's was, and functions and branches are inlined.
//!
//! Nodes are kept in an order in which each comes after those whose results it uses. They are only ever appended
//! ([`Graph::add`]), and adding one infers the types of its outputs and folds it where it can; so a pass that builds a
//! graph finds its own mistakes at once, and shapes are at hand everywhere.

mod constant;
mod node;
mod value;
mod write;

use std::collections::{HashMap, HashSet};

pub use constant::Constant;
pub use node::Node;
pub use value::{Origin, Value, ValueId, ValueType};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::proto::AttributeProto;
use crate::onnx::{fold, infer};

/// Operators of this set are what nodes of a [`Graph`] mean, unless the file's set is later.
pub const CANONICAL_OPSET: i64 = 18;

/// A graph with static shapes. See the [module](self).
#[derive(Debug, Clone)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    names: HashSet<String>,
    counters: HashMap<String, u64>,
    interned: HashMap<(ValueType, Vec<u8>), ValueId>,
    untied: Vec<(String, String)>,
    opset: i64,
}

impl Default for Graph {
    fn default() -> Graph {
        Graph::new(CANONICAL_OPSET)
    }
}

impl Graph {
    /// An empty graph of an operator set, at least [`CANONICAL_OPSET`].
    pub fn new(opset: i64) -> Graph {
        Graph {
            values: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            names: HashSet::new(),
            counters: HashMap::new(),
            interned: HashMap::new(),
            untied: Vec::new(),
            opset: opset.max(CANONICAL_OPSET),
        }
    }

    /// Operator set of the default domain.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// All values; a [`ValueId`] is an index into them.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(index, value)| (ValueId(index as u32), value))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Name of a value.
    pub fn name(&self, id: ValueId) -> &str {
        &self.value(id).name
    }

    /// Type of a value.
    pub fn kind(&self, id: ValueId) -> &ValueType {
        &self.value(id).kind
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.value(id).kind.shape
    }

    /// The value of that name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|value| value.name == name).map(|index| ValueId(index as u32))
    }

    /// Nodes, each after those whose results it uses.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that makes a value, with its index.
    pub fn producer(&self, id: ValueId) -> Option<(usize, &Node)> {
        match self.value(id).origin {
            Origin::Node { node, .. } => Some((node, &self.nodes[node])),
            _ => None,
        }
    }

    /// Elements that are known for good: of a constant, and not of a parameter.
    pub fn constant(&self, id: ValueId) -> Option<&Constant> {
        match &self.value(id).origin {
            Origin::Constant(constant) => Some(constant),
            _ => None,
        }
    }

    /// Elements of a constant or of a parameter as the file has them. For inputs that operators treat like attributes
    /// (bounds of Clip, scales of Resize), which are never trained.
    pub fn known(&self, id: ValueId) -> Option<&Constant> {
        match &self.value(id).origin {
            Origin::Constant(constant) | Origin::Parameter(constant) => Some(constant),
            _ => None,
        }
    }

    /// Values that the caller gives.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Values that the caller gets.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Parameters: floating point tensors of the file that may be trained.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values().filter(|(_, value)| matches!(value.origin, Origin::Parameter(_)))
    }

    /// Adds an input.
    pub fn add_input(&mut self, name: &str, kind: ValueType) -> ValueId {
        let id = self.push(name, kind, Origin::Input);
        self.inputs.push(id);
        id
    }

    /// Makes `id` an output. A value may be an output once.
    pub fn add_output(&mut self, id: ValueId) {
        if !self.outputs.contains(&id) {
            self.outputs.push(id);
        }
    }

    /// Takes an input away that nothing uses.
    pub fn remove_input(&mut self, id: ValueId) {
        self.inputs.retain(|input| *input != id);
    }

    /// Takes inputs away that no output needs.
    pub fn drop_unused_inputs(&mut self) {
        let needed = self.needed_for(&self.outputs);
        let mut used: HashSet<ValueId> = self.outputs.iter().copied().collect();
        used.extend(needed.into_iter().flat_map(|index| self.nodes[index].inputs.iter().flatten()));
        self.inputs.retain(|id| used.contains(id));
    }

    /// Makes exactly these the outputs.
    pub fn set_outputs(&mut self, outputs: Vec<ValueId>) {
        self.outputs = outputs;
    }

    /// Adds a parameter.
    pub fn add_parameter(&mut self, name: &str, constant: Constant) -> ValueId {
        self.push(name, constant.kind().clone(), Origin::Parameter(constant))
    }

    /// Adds a parameter that begins with the elements of another initializer of the file and goes its own way from
    /// then on; see [`Graph::untied`].
    pub fn add_untied(&mut self, name: &str, initializer: &str, constant: Constant) -> ValueId {
        let id = self.add_parameter(name, constant);
        self.untied.push((self.name(id).to_owned(), initializer.to_owned()));
        id
    }

    /// Parameters that the file has not by their own name: the parameter, and the initializer whose elements it has.
    ///
    /// An exporter that keeps equal tensors once writes `Identity(initializer)` for the others; here each of them is
    /// a parameter named as the output of the Identity, so that training can tell them apart. A file to hold them
    /// needs a tensor in the place of that Identity.
    pub fn untied(&self) -> &[(String, String)] {
        &self.untied
    }

    /// Makes an input of a parameter: its elements come from the caller from now on. Returns what they were.
    ///
    /// # Errors
    /// `Internal` where `id` is no parameter.
    pub fn parameter_to_input(&mut self, id: ValueId) -> Result<Constant> {
        match std::mem::replace(&mut self.values[id.index()].origin, Origin::Input) {
            Origin::Parameter(constant) => {
                self.inputs.push(id);
                Ok(constant)
            }
            origin => {
                self.values[id.index()].origin = origin;
                Err(Error::internal(format!("{:?} is no parameter", self.name(id))))
            }
        }
    }

    /// A constant; one of the same type and elements is shared.
    pub fn add_constant(&mut self, name: &str, constant: Constant) -> ValueId {
        // Long ones are rarely equal and would be kept twice.
        let key =
            (constant.bytes().len() <= 4096).then(|| (constant.kind().clone(), constant.bytes().to_vec()));
        if let Some(id) = key.as_ref().and_then(|key| self.interned.get(key)) {
            return *id;
        }
        let id = self.push(name, constant.kind().clone(), Origin::Constant(constant));
        if let Some(key) = key {
            self.interned.insert(key, id);
        }
        id
    }

    /// A one-dimensional `int64` constant.
    ///
    /// # Errors
    /// None in practice; see [`Constant::from_i64`].
    pub fn ints(&mut self, values: &[i64]) -> Result<ValueId> {
        Ok(self.add_constant("ints", Constant::from_i64([values.len()], values)?))
    }

    /// A scalar `float32` constant.
    ///
    /// # Errors
    /// None in practice; see [`Constant::from_f32`].
    pub fn scalar(&mut self, value: f32) -> Result<ValueId> {
        Ok(self.add_constant("scalar", Constant::from_f32([], &[value])?))
    }

    /// Adds operator `op_type` of the default domain with one output.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn op(
        &mut self,
        op_type: &str,
        inputs: &[ValueId],
        attributes: &[AttributeProto],
    ) -> Result<ValueId> {
        let mut node = Node::new(op_type);
        node.inputs = inputs.iter().copied().map(Some).collect();
        node.attributes = attributes.to_vec();
        self.add_one(node)
    }

    /// Adds a node with its first output only.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add_one(&mut self, node: Node) -> Result<ValueId> {
        let made = self.add(node, &[Some("")])?;
        made.first().copied().flatten().ok_or_else(|| Error::internal("a node without output"))
    }

    /// Adds a node. `outputs` names those outputs that are asked for; an empty name is made up. The types of the
    /// outputs are inferred; where all inputs are constants and the operator can be evaluated, the outputs are
    /// constants and no node is added.
    ///
    /// # Errors
    /// `ModelInvalid` for inputs and attributes that the operator does not allow; `ModelUnsupported` for operators
    /// whose types cannot be inferred, and where a size depends on data.
    pub fn add(&mut self, mut node: Node, outputs: &[Option<&str>]) -> Result<Vec<Option<ValueId>>> {
        let count = outputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let types = infer::infer(self, &node, count)?;
        if types.len() < count {
            return Err(node.invalid(format!("has {} outputs, {count} are asked for", types.len())));
        }
        for kind in &types {
            if kind.checked_elements().is_none_or(|count| count as u64 > MOST_ELEMENTS) {
                return Err(node.error(ErrorKind::LimitExceeded, format!("makes a tensor of {kind}")));
            }
        }
        if let Some(constants) = fold::fold(self, &node, &types)? {
            let made = outputs.iter().zip(constants).map(|(name, constant)| {
                name.map(|name| self.add_constant(if name.is_empty() { "folded" } else { name }, constant))
            });
            return Ok(made.collect());
        }
        let index = self.nodes.len();
        let ids: Vec<Option<ValueId>> = outputs
            .iter()
            .zip(types)
            .enumerate()
            .map(|(output, (name, kind))| {
                name.map(|name| {
                    let like = if name.is_empty() { node.op_type.as_str() } else { name };
                    self.push(like, kind, Origin::Node { node: index, output })
                })
            })
            .collect();
        node.outputs = ids.clone();
        self.nodes.push(node);
        Ok(ids)
    }

    /// Asks a node for a further output, for instance the indices of a MaxPool; the output that is there already is
    /// given back.
    ///
    /// # Errors
    /// `ModelInvalid` where the operator has no such output.
    pub fn require_output(&mut self, node: usize, output: usize) -> Result<ValueId> {
        if let Some(id) = self.nodes[node].output(output) {
            return Ok(id);
        }
        let types = infer::infer(self, &self.nodes[node], output + 1)?;
        let kind = types.into_iter().nth(output);
        let kind = kind.ok_or_else(|| self.nodes[node].invalid(format!("has no output {output}")))?;
        let like = format!("{}_output{output}", self.nodes[node].op_type);
        let id = self.push(&like, kind, Origin::Node { node, output });
        let outputs = &mut self.nodes[node].outputs;
        outputs.resize(outputs.len().max(output + 1), None);
        outputs[output] = Some(id);
        Ok(id)
    }

    /// Gives a value another name, made unique.
    pub fn rename(&mut self, id: ValueId, name: &str) {
        let fresh = self.fresh(name);
        self.values[id.index()].name = fresh;
    }

    /// Indices of the nodes that `targets` depend on, in order.
    pub fn needed_for(&self, targets: &[ValueId]) -> Vec<usize> {
        let mut needed = vec![false; self.nodes.len()];
        let mut stack: Vec<ValueId> = targets.to_vec();
        while let Some(id) = stack.pop() {
            if let Origin::Node { node, .. } = self.value(id).origin
                && !std::mem::replace(&mut needed[node], true)
            {
                stack.extend(self.nodes[node].inputs.iter().flatten());
            }
        }
        (0..needed.len()).filter(|&index| needed[index]).collect()
    }

    /// Marks, for every value, whether it depends on one of `sources` (which depend on themselves).
    pub fn depends_on(&self, sources: &[ValueId]) -> Vec<bool> {
        let mut depends = vec![false; self.values.len()];
        for id in sources {
            depends[id.index()] = true;
        }
        for node in &self.nodes {
            if node.inputs.iter().flatten().any(|id| depends[id.index()]) {
                for id in node.outputs.iter().flatten() {
                    depends[id.index()] = true;
                }
            }
        }
        depends
    }

    /// Builds another graph out of this one, node by node: `change` adds what takes a node's place (by default the
    /// node itself, [`Rebuild::keep`]) and says which new values stand for the node's outputs. Nodes that the outputs
    /// do not need are left out; inputs stay, in their order.
    ///
    /// # Errors
    /// Whatever `change` and [`Graph::add`] give.
    pub fn rebuild(
        &self,
        mut change: impl FnMut(&mut Rebuild<'_>, usize, &Node) -> Result<Vec<Option<ValueId>>>,
    ) -> Result<(Graph, ValueMap)> {
        let mut rebuild =
            Rebuild { old: self, new: Graph::new(self.opset), map: ValueMap(vec![None; self.values.len()]) };
        rebuild.new.untied = self.untied.clone();
        for &id in &self.inputs {
            let value = self.value(id);
            let new = rebuild.new.add_input(&value.name, value.kind.clone());
            rebuild.map.0[id.index()] = Some(new);
        }
        for (id, value) in self.values() {
            if matches!(value.origin, Origin::Parameter(_)) {
                rebuild.value(id)?;
            }
        }
        for index in self.needed_for(&self.outputs) {
            let node = &self.nodes[index];
            let made = change(&mut rebuild, index, node)?;
            for (old, new) in node.outputs.iter().zip(made) {
                if let Some(old) = old {
                    rebuild.map.0[old.index()] = new;
                }
            }
        }
        for &id in &self.outputs {
            let new = rebuild.value(id)?;
            rebuild.new.outputs.push(new);
        }
        Ok((rebuild.new, rebuild.map))
    }

    fn fresh(&mut self, like: &str) -> String {
        let like = if like.is_empty() { "value" } else { like };
        if self.names.insert(like.to_owned()) {
            return like.to_owned();
        }
        let counter = self.counters.entry(like.to_owned()).or_default();
        loop {
            *counter += 1;
            let name = format!("{like}_{counter}");
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }

    fn push(&mut self, name: &str, kind: ValueType, origin: Origin) -> ValueId {
        let name = self.fresh(name);
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { name, kind, origin });
        id
    }
}

/// Most elements of one value: 2^33, more than a machine for finetuning has room for.
pub(in crate::onnx) const MOST_ELEMENTS: u64 = 1 << 33;

/// Which value of the new graph stands for a value of the old one.
#[derive(Debug, Clone)]
pub struct ValueMap(Vec<Option<ValueId>>);

impl ValueMap {
    /// The new value, where there is one.
    pub fn get(&self, old: ValueId) -> Option<ValueId> {
        self.0.get(old.index()).copied().flatten()
    }
}

/// The state of [`Graph::rebuild`].
#[derive(Debug)]
pub struct Rebuild<'a> {
    old: &'a Graph,
    /// The graph that is being built.
    pub new: Graph,
    map: ValueMap,
}

impl Rebuild<'_> {
    /// The new value that stands for `old`.
    ///
    /// # Errors
    /// `Internal` for a value that a change forgot.
    pub fn value(&mut self, old: ValueId) -> Result<ValueId> {
        if let Some(new) = self.map.get(old) {
            return Ok(new);
        }
        let value = self.old.value(old);
        let new = match &value.origin {
            Origin::Parameter(constant) => self.new.add_parameter(&value.name, constant.clone()),
            Origin::Constant(constant) => self.new.add_constant(&value.name, constant.clone()),
            _ => return Err(Error::internal(format!("no value stands for {:?}", value.name))),
        };
        self.map.0[old.index()] = Some(new);
        Ok(new)
    }

    /// The new values of a node's inputs.
    ///
    /// # Errors
    /// As [`Rebuild::value`].
    pub fn inputs(&mut self, node: &Node) -> Result<Vec<Option<ValueId>>> {
        node.inputs.iter().map(|input| input.map(|id| self.value(id)).transpose()).collect()
    }

    /// Adds the node as it is.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn keep(&mut self, node: &Node) -> Result<Vec<Option<ValueId>>> {
        let inputs = self.inputs(node)?;
        let names: Vec<Option<&str>> =
            node.outputs.iter().map(|output| output.map(|id| self.old.name(id))).collect();
        self.new.add(Node { inputs, outputs: Vec::new(), ..node.clone() }, &names)
    }
}
