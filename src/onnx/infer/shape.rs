//! The same elements under another shape, and shapes as values.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Reshape" => reshape,
        "Flatten" => flatten,
        "Transpose" => transpose,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Expand" => expand,
        "Shape" => shape,
        "Size" => size,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        _ => return None,
    })
}

/// 0 keeps a size (unless `allowzero`), -1 stands for what is left.
fn reshape(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, wanted) = (call.kind(0)?, call.needed_ints(1)?);
    let keeps = call.node.int_or("allowzero", 0) == 0;
    let misfit = || call.node.invalid(format!("shape {:?} to {wanted:?}", kind.shape));
    let mut open = None;
    let mut shape = Vec::with_capacity(wanted.len());
    for (index, &dim) in wanted.iter().enumerate() {
        shape.push(match dim {
            -1 if open.is_none() => {
                open = Some(index);
                1
            }
            0 if keeps => *kind.shape.get(index).ok_or_else(misfit)?,
            dim if dim >= 0 => resolved::size(call.node, dim)?,
            _ => return Err(misfit()),
        });
    }
    let (before, after) = (call.count(&kind.shape)?, call.count(&shape)?);
    if let Some(open) = open {
        if after == 0 || before % after != 0 {
            return Err(misfit());
        }
        shape[open] = before / after;
    } else if before != after {
        return Err(misfit());
    }
    one(kind.element, shape)
}

fn flatten(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let rank = kind.shape.len() as i64;
    let axis = call.node.int_or("axis", 1);
    let index = if axis < 0 { axis + rank } else { axis };
    if !(0..=rank).contains(&index) {
        return Err(call.node.invalid(format!("axis {axis} of {rank} dimensions")));
    }
    let (rows, columns) = kind.shape.split_at(index as usize);
    one(kind.element, [call.count(rows)?, call.count(columns)?])
}

fn transpose(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let order = order(call, kind.shape.len())?;
    one(kind.element, order.iter().map(|&axis| kind.shape[axis]).collect::<Vec<_>>())
}

/// The attribute `perm`; backwards where it is absent.
fn order(call: &Call<'_>, rank: usize) -> Result<Vec<usize>> {
    let Some(given) = call.node.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let axes = resolved::distinct_axes(call.node, given, rank)?;
    if axes.len() != rank || given.iter().any(|&axis| axis < 0) {
        return Err(call.node.invalid(format!("perm {given:?} of {rank} dimensions")));
    }
    Ok(given.iter().map(|&axis| axis as usize).collect())
}

fn squeeze(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    // An empty list of axes is as none, as in ONNX Runtime, which runs the graph.
    let gone: Vec<usize> = match call.ints(1)?.filter(|axes| !axes.is_empty()) {
        Some(axes) => resolved::distinct_axes(call.node, &axes, kind.shape.len())?,
        None => (0..kind.shape.len()).filter(|&axis| kind.shape[axis] == 1).collect(),
    };
    if gone.iter().any(|&axis| kind.shape[axis] != 1) {
        return Err(call.node.invalid(format!("axes {gone:?} of {:?} are not all of size 1", kind.shape)));
    }
    let kept = (0..kind.shape.len()).filter(|axis| !gone.contains(axis)).map(|axis| kind.shape[axis]);
    one(kind.element, kept.collect::<Vec<_>>())
}

fn unsqueeze(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, axes) = (call.kind(0)?, call.needed_ints(1)?);
    let rank = kind.shape.len() + axes.len();
    let new = resolved::distinct_axes(call.node, &axes, rank)?;
    let mut old = kind.shape.iter();
    let shape = (0..rank).map(|axis| if new.contains(&axis) { 1 } else { old.next().copied().unwrap_or(1) });
    one(kind.element, shape.collect::<Vec<_>>())
}

fn expand(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    one(kind.element, call.together(&kind.shape, &call.sizes(1)?)?)
}

fn shape(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let rank = call.shape(0)?.len() as i64;
    let bound = |name: &str, default: i64| {
        let at = call.node.int_or(name, default);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank)
    };
    let count = (bound("end", rank) - bound("start", 0)).max(0);
    one(ElementType::Int64, [count as usize])
}

fn size(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.count(call.shape(0)?)?;
    one(ElementType::Int64, [])
}

fn block(call: &Call<'_>) -> Result<usize> {
    match call.node.int_or("blocksize", 0) {
        block if block > 0 => resolved::size(call.node, block),
        block => Err(call.node.invalid(format!("a block of {block}"))),
    }
}

fn depth_to_space(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (shape, block) = (call.shape_of_rank(0, 4)?, block(call)?);
    let area = call.product(block, block)?;
    if shape[1] % area != 0 {
        return Err(call.node.invalid(format!("blocks of {block} out of {} channels", shape[1])));
    }
    let (height, width) = (call.product(shape[2], block)?, call.product(shape[3], block)?);
    one(call.element(0)?, [shape[0], shape[1] / area, height, width])
}

fn space_to_depth(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (shape, block) = (call.shape_of_rank(0, 4)?, block(call)?);
    if shape[2] % block != 0 || shape[3] % block != 0 {
        return Err(call.node.invalid(format!("blocks of {block} in shape {shape:?}")));
    }
    let channels = call.count(&[shape[1], block, block])?;
    one(call.element(0)?, [shape[0], channels, shape[2] / block, shape[3] / block])
}
