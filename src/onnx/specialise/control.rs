//! Functions and branches, inlined.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::ValueId;
use crate::onnx::proto::{AttributeProto, FunctionProto, NodeProto, is_default_domain, opset};
use crate::onnx::specialise::{Import, located};

/// Functions within functions and branches within branches.
const DEEPEST: usize = 32;

/// Puts the body of a called function, or the branch that a constant condition chooses, in the place of `node`; `None`
/// for any other node.
pub(super) fn inline<'a>(
    import: &mut Import<'a>,
    node: &'a NodeProto,
    inputs: &[Option<ValueId>],
) -> Result<Option<Vec<Option<ValueId>>>> {
    if node.is("If") {
        return branch(import, node, inputs).map(Some);
    }
    let document = import.document;
    let called = document.model().functions.iter().find(|function| {
        function.name == node.op_type
            && function.overload == node.overload
            && (function.domain == node.domain
                || is_default_domain(&function.domain) && is_default_domain(&node.domain))
    });
    called.map(|function| call(import, function, node, inputs)).transpose()
}

fn branch<'a>(
    import: &mut Import<'a>,
    node: &'a NodeProto,
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
    deeper(import)?;
    // A body sees the values around it.
    import.scopes.push(HashMap::new());
    for tensor in &body.initializer {
        let id = import.initializer(tensor)?;
        import.bind(&tensor.name, Some(id));
    }
    let named: Vec<&str> = body.output.iter().map(|output| output.name.as_str()).collect();
    let walked = import.walk(body, &named);
    let made = walked.and_then(|()| named.iter().map(|name| import.operand(name)).collect());
    import.scopes.pop();
    import.depth -= 1;
    made
}

fn call<'a>(
    import: &mut Import<'a>,
    function: &'a FunctionProto,
    node: &'a NodeProto,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    deeper(import)?;
    // A function sees nothing but its own arguments.
    let outer = std::mem::take(&mut import.scopes);
    let outer_tensors = std::mem::take(&mut import.tensors);
    let outer_opset = import.opset;
    import.opset = opset(&function.opset_import, "").unwrap_or(outer_opset);
    let mut scope: HashMap<String, Option<ValueId>> = HashMap::new();
    for (index, name) in function.input.iter().enumerate() {
        scope.insert(name.clone(), inputs.get(index).copied().flatten());
    }
    import.scopes = vec![scope];
    let walked = function.node.iter().enumerate().try_for_each(|(index, inner)| {
        let inner = bound(function, node, inner);
        own_node(import, &inner).map_err(|error| located(error, index, &inner))
    });
    let made = walked
        .and_then(|()| function.output.iter().map(|name| import.lookup(name)).collect::<Result<Vec<_>>>());
    import.scopes = outer;
    import.tensors = outer_tensors;
    import.opset = outer_opset;
    import.depth -= 1;
    made
}

/// A node of a function's body. Optional arguments that the caller left out are left out here too.
fn own_node(import: &mut Import<'_>, node: &NodeProto) -> Result<()> {
    if node.attribute.iter().any(|attribute| attribute.subgraphs().next().is_some()) {
        let message = "control flow in a function cannot be trained through";
        return Err(Error::new(ErrorKind::ModelUnsupported, message));
    }
    let mut inputs = Vec::with_capacity(node.input.len());
    for name in &node.input {
        inputs.push(if name.is_empty() { None } else { import.lookup(name)? });
    }
    let document = import.document;
    let called = document.model().functions.iter().find(|function| {
        function.name == node.op_type && function.domain == node.domain && function.overload == node.overload
    });
    let made = match called {
        // The body's node is a copy with its attributes bound; what it calls is bound in turn.
        Some(function) => nested(import, function, node, &inputs)?,
        None => {
            let call = super::Call { proto: node, inputs, opset: import.opset };
            super::upgrade::add(&mut import.graph, &call)?
        }
    };
    for (index, name) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        import.bind(name, made.get(index).copied().flatten());
    }
    Ok(())
}

fn nested(
    import: &mut Import<'_>,
    function: &FunctionProto,
    node: &NodeProto,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    deeper(import)?;
    let outer = std::mem::take(&mut import.scopes);
    let mut scope: HashMap<String, Option<ValueId>> = HashMap::new();
    for (index, name) in function.input.iter().enumerate() {
        scope.insert(name.clone(), inputs.get(index).copied().flatten());
    }
    import.scopes = vec![scope];
    let walked = function.node.iter().try_for_each(|inner| own_node(import, &bound(function, node, inner)));
    let made = walked
        .and_then(|()| function.output.iter().map(|name| import.lookup(name)).collect::<Result<Vec<_>>>());
    import.scopes = outer;
    import.depth -= 1;
    made
}

/// A copy of a body's node in which references to the function's attributes are replaced by what the caller gives, or
/// by the function's default, or left out.
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
            if attribute.ref_attr_name.is_empty() {
                return Some(attribute.clone());
            }
            let given = caller.attribute(&attribute.ref_attr_name);
            let default =
                || function.attribute_proto.iter().find(|default| default.name == attribute.ref_attr_name);
            let value = given.or_else(default)?;
            Some(AttributeProto { name: attribute.name.clone(), ..value.clone() })
        })
        .collect();
    node
}

fn deeper(import: &mut Import<'_>) -> Result<()> {
    import.depth += 1;
    if import.depth > DEEPEST {
        let message = format!("functions or branches lie more than {DEEPEST} deep in each other");
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    Ok(())
}
