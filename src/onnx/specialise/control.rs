//! Functions and branches, inlined.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::ValueId;
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, is_default_domain, opset};
use crate::onnx::specialise::Import;

/// Functions within functions and branches within branches.
const DEEPEST: usize = 32;

/// Puts the body of a called function, or the branch that a constant condition chooses, in the place of `node`; `None`
/// for any other node.
pub(super) fn inline(
    import: &mut Import<'_>,
    node: &NodeProto,
    inputs: &[Option<ValueId>],
) -> Result<Option<Vec<Option<ValueId>>>> {
    if node.is("If") {
        return branch(import, node, inputs).map(Some);
    }
    let called = import.document.model().functions.iter().find(|function| {
        function.name == node.op_type
            && function.overload == node.overload
            && (function.domain == node.domain
                || is_default_domain(&function.domain) && is_default_domain(&node.domain))
    });
    called.map(|function| call(import, function, node, inputs)).transpose()
}

fn branch(
    import: &mut Import<'_>,
    node: &NodeProto,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    let condition = inputs.first().copied().flatten().and_then(|id| import.graph.known(id)?.to_ints());
    let Some(&[condition]) = condition.as_deref() else {
        let message = "the condition of this If depends on data: control flow cannot be trained through";
        return Err(Error::new(ErrorKind::ModelUnsupported, message));
    };
    let name = if condition != 0 { "then_branch" } else { "else_branch" };
    let body = node.attribute(name).and_then(|attribute| attribute.g.as_deref());
    let body = body.ok_or_else(|| Error::new(ErrorKind::ModelInvalid, format!("If without {name}")))?;
    // A body sees the values around it.
    import.scopes.push(HashMap::new());
    let made = body
        .initializer
        .iter()
        .try_for_each(|tensor| {
            let id = import.initializer(tensor)?;
            import.bind(&tensor.name, Some(id));
            Ok(())
        })
        .and_then(|()| {
            run(import, body, &body.output.iter().map(|output| output.name.as_str()).collect::<Vec<_>>())
        });
    import.scopes.pop();
    made
}

fn call(
    import: &mut Import<'_>,
    function: &FunctionProto,
    node: &NodeProto,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    // Arguments that the caller leaves out are left out in the body too.
    let argument = |(index, name): (usize, &String)| (name.clone(), inputs.get(index).copied().flatten());
    let arguments: HashMap<_, _> = function.input.iter().enumerate().map(argument).collect();
    let body = GraphProto {
        node: function.node.iter().map(|inner| bound(function, node, inner)).collect(),
        ..GraphProto::default()
    };
    let asked: Vec<&str> = function.output.iter().take(node.output.len()).map(String::as_str).collect();
    // A function sees nothing but its own arguments.
    let outer = std::mem::replace(&mut import.scopes, vec![arguments]);
    let tensors = std::mem::take(&mut import.tensors);
    let outer_opset = import.opset;
    import.opset = opset(&function.opset_import, "").unwrap_or(outer_opset);
    let made = run(import, &body, &asked);
    import.scopes = outer;
    import.tensors = tensors;
    import.opset = outer_opset;
    made
}

/// Adds the nodes of a body; its values called `outputs`.
fn run(import: &mut Import<'_>, body: &GraphProto, outputs: &[&str]) -> Result<Vec<Option<ValueId>>> {
    import.depth += 1;
    if import.depth > DEEPEST {
        let message = format!("functions or branches lie more than {DEEPEST} deep in each other");
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    import.walk(body, outputs)?;
    let made = outputs.iter().map(|name| import.operand(name)).collect();
    import.depth -= 1;
    made
}

/// A copy of a body's node in which references to the function's attributes are replaced by what the caller gives, or
/// by the function's default, or left out; in the branches of the node too.
fn bound(function: &FunctionProto, caller: &NodeProto, inner: &NodeProto) -> NodeProto {
    let mut node = inner.clone();
    node.name = match (caller.name.as_str(), inner.name.as_str()) {
        ("", name) => name.to_owned(),
        (outer, name) => format!("{outer}/{name}"),
    };
    node.attribute = inner
        .attribute
        .iter()
        .filter_map(|attribute| {
            let mut attribute = attribute.clone();
            if !attribute.ref_attr_name.is_empty() {
                let given = caller.attribute(&attribute.ref_attr_name);
                let default = || {
                    function.attribute_proto.iter().find(|default| default.name == attribute.ref_attr_name)
                };
                let value = given.or_else(default)?;
                return Some(AttributeProto { name: attribute.name, ..value.clone() });
            }
            for body in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                body.node = body.node.iter().map(|node| bound(function, caller, node)).collect();
            }
            Some(attribute)
        })
        .collect();
    node
}
