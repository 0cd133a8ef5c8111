//! Elements at places between elements.

use crate::error::Result;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved::{self, Resize};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Resize" => resize,
        "Upsample" => upsample,
        "GridSample" => grid_sample,
        "AffineGrid" => affine_grid,
        "CenterCropPad" => center_crop_pad,
        _ => return None,
    })
}

fn resize(call: &Call<'_>) -> Result<Vec<ValueType>> {
    one(call.element(0)?, Resize::of(call.graph, call.node)?.output())
}

/// As Resize with scales in the second input.
fn upsample(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let mut plain = call.node.clone();
    plain.inputs = vec![call.node.input(0), None, call.node.input(1)];
    one(call.element(0)?, Resize::of(call.graph, &plain)?.output())
}

/// X `[N, C, D...]` and grid `[N, D'..., rank]`.
fn grid_sample(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (x, grid) = (call.shape(0)?, call.shape(1)?);
    let fits = x.len() >= 3 && grid.len() == x.len() && grid[0] == x[0] && grid[x.len() - 1] == x.len() - 2;
    if !fits {
        return Err(call.node.invalid(format!("a grid of shape {grid:?} for {x:?}")));
    }
    one(call.element(0)?, [&x[..2], &grid[1..x.len() - 1]].concat())
}

/// theta `[N, 2, 3]` and size `[N, C, H, W]` to `[N, H, W, 2]`; with one more axis the same.
fn affine_grid(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (theta, size) = (call.shape_of_rank(0, 3)?, call.sizes(1)?);
    let rank = size.len().saturating_sub(2);
    if !(2..=3).contains(&rank) || theta != [size[0], rank, rank + 1] {
        return Err(call.node.invalid(format!("theta of shape {theta:?} for size {size:?}")));
    }
    one(call.element(0)?, [&[size[0]], &size[2..], &[rank]].concat())
}

fn center_crop_pad(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, sizes) = (call.kind(0)?, call.sizes(1)?);
    let rank = kind.shape.len();
    let axes: Vec<usize> = match call.node.ints("axes") {
        Some(axes) => {
            resolved::distinct_axes(call.node, axes, rank)?;
            axes.iter().map(|&axis| call.axis(axis, rank)).collect::<Result<_>>()?
        }
        None => (0..rank).collect(),
    };
    if axes.len() != sizes.len() {
        return Err(call.node.invalid(format!("{} sizes for {} axes", sizes.len(), axes.len())));
    }
    let mut shape = kind.shape.clone();
    for (axis, size) in axes.into_iter().zip(sizes) {
        shape[axis] = size;
    }
    one(kind.element, shape)
}
