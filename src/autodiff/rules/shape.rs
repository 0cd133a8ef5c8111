//! Operators that give the same elements in another arrangement, or several times.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::onnx::graph::Node;
use crate::onnx::proto::AttributeProto;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => reshape,
        "Transpose" => transpose,
        "Expand" => expand,
        "Tile" => tile,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        "Trilu" => trilu,
        "CumSum" => cumulative_sum,
        _ => return None,
    })
}

/// g in the shape of x.
fn reshape(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let shape = vjp.shape(vjp.x(0)?);
    let dx = vjp.reshape(g, &shape)?;
    vjp.only(0, dx)
}

/// The inverse permutation; without `perm` the axes are reversed.
fn transpose(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let rank = vjp.shape(g).len();
    let mut inverse: Vec<usize> = (0..rank).rev().collect();
    if let Some(order) = vjp.node.ints("perm") {
        for (to, &from) in order.iter().enumerate() {
            inverse[crate::onnx::axis_of(&vjp.node, from, rank)?] = to;
        }
    }
    let dx = vjp.transpose(g, &inverse)?;
    vjp.only(0, dx)
}

/// Sums over what was repeated.
fn expand(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let dx = vjp.reduced(0, g)?;
    vjp.only(0, dx)
}

/// Every axis of g is split into copies and size, and summed over the copies.
fn tile(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let (shape, tiled) = (vjp.shape(vjp.x(0)?), vjp.shape(g));
    if tiled.contains(&0) {
        let dx = vjp.zeros(&shape, g)?;
        return vjp.only(0, dx);
    }
    let (mut split, mut copies) = (Vec::new(), Vec::new());
    for (&size, &all) in shape.iter().zip(&tiled) {
        if all != size {
            copies.push(split.len());
            split.push(all / size);
        }
        split.push(size);
    }
    let parts = vjp.reshape(g, &split)?;
    let summed = vjp.sum(parts, &copies)?;
    let dx = vjp.reshape(summed, &shape)?;
    vjp.only(0, dx)
}

/// The way back: SpaceToDepth for `mode = DCR`, of which it is the inverse; for `CRD`, whose channels lie outside the
/// block, by its permutation.
fn depth_to_space(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let (block, shape) = (block_size(&vjp.node), vjp.shape(vjp.x(0)?));
    let dx = match vjp.node.text_or("mode", "DCR") {
        "DCR" => vjp.graph.op("SpaceToDepth", &[g], &[AttributeProto::int("blocksize", block as i64)])?,
        _ => {
            let &[n, c, h, w] = &shape[..] else {
                return Err(vjp.node.invalid(format!("expected 4 dimensions, got shape {shape:?}")));
            };
            let blocks = vjp.reshape(g, &[n, c / (block * block), h, block, w, block])?;
            let moved = vjp.transpose(blocks, &[0, 1, 3, 5, 2, 4])?;
            vjp.reshape(moved, &shape)?
        }
    };
    vjp.only(0, dx)
}

/// The way back: DepthToSpace with its mode `DCR`.
fn space_to_depth(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let block = AttributeProto::int("blocksize", block_size(&vjp.node) as i64);
    let dx = vjp.graph.op("DepthToSpace", &[g], &[block, AttributeProto::string("mode", "DCR")])?;
    vjp.only(0, dx)
}

fn block_size(node: &Node) -> usize {
    node.int_or("blocksize", 1).max(1) as usize
}

/// The same triangle of g.
fn trilu(vjp: &mut Vjp<'_>) -> Gradients {
    let mut inputs = vjp.node.inputs.clone();
    inputs[0] = Some(vjp.g(0)?);
    let node = Node { inputs, attributes: vjp.node.attributes.clone(), ..Node::new("Trilu") };
    let dx = vjp.graph.add_one(node)?;
    vjp.only(0, dx)
}

/// The sum of g from the other end: `reverse` is inverted, `exclusive` stays.
fn cumulative_sum(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, axis) = (vjp.g(0)?, vjp.x(1)?);
    let attributes = [
        AttributeProto::int("exclusive", vjp.node.int_or("exclusive", 0)),
        AttributeProto::int("reverse", 1 - vjp.node.int_or("reverse", 0)),
    ];
    let dx = vjp.graph.op("CumSum", &[g, axis], &attributes)?;
    vjp.only(0, dx)
}
