//! What moves elements by their place alone.

use super::{Call, Operator, axis_of};
use crate::autodiff::tests::array::{Array, Data, broadcast_shape, each};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Reshape" => reshape,
        "Flatten" => |call| {
            let x = call.x(0);
            let axis = call.node.int_or("axis", 1);
            let axis = (if axis < 0 { axis + x.rank() as i64 } else { axis }) as usize;
            let outer: usize = x.shape[..axis].iter().product();
            vec![x.reshaped(&[outer, x.shape[axis..].iter().product()])]
        },
        "Transpose" => |call| {
            let x = call.x(0);
            let order: Vec<usize> = match call.node.ints("perm") {
                Some(perm) => perm.iter().map(|&axis| axis as usize).collect(),
                None => (0..x.rank()).rev().collect(),
            };
            vec![x.transposed(&order)]
        },
        "Squeeze" => |call| {
            let x = call.x(0);
            let axes: Vec<usize> = match call.ints(1) {
                Some(axes) => axes.iter().map(|&axis| axis_of(axis, x.rank())).collect(),
                None => (0..x.rank()).filter(|&axis| x.shape[axis] == 1).collect(),
            };
            let left = (0..x.rank()).filter(|axis| !axes.contains(axis));
            vec![x.reshaped(&left.map(|axis| x.shape[axis]).collect::<Vec<_>>())]
        },
        "Unsqueeze" => |call| {
            let x = call.x(0);
            let axes = call.ints(1).unwrap();
            let rank = x.rank() + axes.len();
            let axes: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
            let mut own = x.shape.iter();
            let shape: Vec<usize> =
                (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { *own.next().unwrap() }).collect();
            vec![x.reshaped(&shape)]
        },
        "Expand" => |call| {
            let wanted: Vec<usize> = call.x(1).i().iter().map(|&dim| dim as usize).collect();
            vec![call.x(0).broadcast(&broadcast_shape(&call.x(0).shape, &wanted))]
        },
        "Tile" => |call| {
            let x = call.x(0);
            let repeats = call.x(1).i();
            let shape: Vec<usize> =
                x.shape.iter().zip(repeats).map(|(dim, &count)| dim * count as usize).collect();
            vec![x.picked(&shape, |at| {
                let own: Vec<usize> = at.iter().zip(&x.shape).map(|(at, dim)| at % dim).collect();
                Some(x.place(&own))
            })]
        },
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => |call| {
            let x = call.x(0);
            let (n, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
            let block = call.node.int("blocksize").unwrap() as usize;
            let y = x.reshaped(&[n, c, h / block, block, w / block, block]).transposed(&[0, 3, 5, 1, 2, 4]);
            vec![y.reshaped(&[n, c * block * block, h / block, w / block])]
        },
        "Trilu" => |call| {
            let x = call.x(0);
            let k = call.get(1).map_or(0, |k| k.i()[0]);
            let upper = call.node.int_or("upper", 1) == 1;
            vec![x.picked(&x.shape, |at| {
                let (row, column) = (at[at.len() - 2] as i64, at[at.len() - 1] as i64);
                let keep = if upper { column - row >= k } else { column - row <= k };
                keep.then(|| x.place(at))
            })]
        },
        "Shape" => |call| {
            let x = call.x(0);
            let rank = x.rank() as i64;
            let bound = |name: &str, default: i64| {
                let at = call.node.int_or(name, default);
                (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize
            };
            let (start, end) = (bound("start", 0), bound("end", rank));
            let dims: Vec<i64> = x.shape[start..end.max(start)].iter().map(|&dim| dim as i64).collect();
            vec![Array::ints(&[dims.len()], dims)]
        },
        "Size" => |call| vec![Array::ints(&[], vec![call.x(0).len() as i64])],
        "ConstantOfShape" => |call| {
            let shape: Vec<usize> = call.x(0).i().iter().map(|&dim| dim as usize).collect();
            let value = call.node.attribute("value").and_then(|attribute| attribute.t.as_deref());
            let value = match value {
                Some(tensor) => Array::constant(&crate::onnx::graph::Constant::from_proto(tensor).unwrap()),
                None => Array::floats(&[1], vec![0.0]),
            };
            vec![value.picked(&shape, |_| Some(0))]
        },
        "Range" => |call| {
            if call.x(0).is_float() {
                let (start, limit, step) = (call.x(0).f()[0], call.x(1).f()[0], call.x(2).f()[0]);
                let count = ((limit - start) / step).ceil().max(0.0) as usize;
                return vec![Array::of_floats(&[count], |at| start + at[0] as f64 * step)];
            }
            let (start, limit, step) = (call.x(0).i()[0], call.x(1).i()[0], call.x(2).i()[0]);
            let mut values = Vec::new();
            let mut at = start;
            while if step > 0 { at < limit } else { at > limit } {
                values.push(at);
                at += step;
            }
            vec![Array::ints(&[values.len()], values)]
        },
        _ => return None,
    })
}

/// Elements of several arrays as those of one.
pub(super) fn joined(parts: &[&Array]) -> Array {
    let count = parts.iter().map(|part| part.len()).sum();
    let data = match &parts[0].data {
        Data::Floats(_) => Data::Floats(parts.iter().flat_map(|part| part.f().to_vec()).collect()),
        Data::Ints(_) => Data::Ints(parts.iter().flat_map(|part| part.i().to_vec()).collect()),
        Data::Bools(_) => Data::Bools(parts.iter().flat_map(|part| part.b().to_vec()).collect()),
    };
    Array { shape: vec![count], data }
}

fn concat(call: &Call<'_>) -> Vec<Array> {
    let parts: Vec<&Array> = (0..call.inputs.len()).map(|index| call.x(index)).collect();
    let axis = axis_of(call.node.int("axis").unwrap(), parts[0].rank());
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    let all = joined(&parts);
    vec![all.picked(&shape, |at| {
        let (mut own, mut before) = (at.to_vec(), 0);
        for part in &parts {
            if own[axis] < part.shape[axis] {
                return Some(before + part.place(&own));
            }
            own[axis] -= part.shape[axis];
            before += part.len();
        }
        unreachable!()
    })]
}

/// Sizes as an input, or equal parts of which the last may be smaller.
fn split(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.node.int_or("axis", 0), x.rank());
    let sizes: Vec<usize> = match call.ints(1) {
        Some(sizes) => sizes.iter().map(|&size| size as usize).collect(),
        None => {
            let count = call.node.int("num_outputs").unwrap_or(call.outputs as i64) as usize;
            let size = x.shape[axis].div_ceil(count);
            (0..count).map(|part| size.min(x.shape[axis] - (size * part).min(x.shape[axis]))).collect()
        }
    };
    let mut start = 0;
    sizes
        .iter()
        .map(|&size| {
            let mut shape = x.shape.clone();
            shape[axis] = size;
            let part = x.picked(&shape, |at| {
                let mut own = at.to_vec();
                own[axis] += start;
                Some(x.place(&own))
            });
            start += size;
            part
        })
        .collect()
}

/// From `start` to before `end` by `step`, bounds counted from the end where negative and brought inside.
fn slice(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let (starts, ends) = (call.x(1).i(), call.x(2).i());
    let axes = call.ints(3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints(4).unwrap_or_else(|| vec![1; starts.len()]);
    let mut kept: Vec<Vec<usize>> = x.shape.iter().map(|&dim| (0..dim).collect()).collect();
    for (index, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, x.rank());
        let (size, step) = (x.shape[axis] as i64, steps[index]);
        let turned = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (mut at, end) = match step > 0 {
            true => (turned(starts[index]).clamp(0, size), turned(ends[index]).clamp(0, size)),
            false => (turned(starts[index]).clamp(0, size - 1), turned(ends[index]).clamp(-1, size - 1)),
        };
        let mut places = Vec::new();
        while if step > 0 { at < end } else { at > end } {
            places.push(at as usize);
            at += step;
        }
        kept[axis] = places;
    }
    let shape: Vec<usize> = kept.iter().map(Vec::len).collect();
    vec![x.picked(&shape, |at| {
        let own: Vec<usize> = at.iter().zip(&kept).map(|(&at, kept)| kept[at]).collect();
        Some(x.place(&own))
    })]
}

/// 0 is the size of the input, unless `allowzero`; -1 what remains.
fn reshape(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let copy = call.node.int_or("allowzero", 0) == 0;
    let wanted = call.x(1).i().iter().enumerate();
    let dims: Vec<i64> =
        wanted.map(|(axis, &dim)| if dim == 0 && copy { x.shape[axis] as i64 } else { dim }).collect();
    let others: i64 = dims.iter().filter(|&&dim| dim >= 0).product();
    let shape: Vec<usize> =
        dims.iter().map(|&dim| if dim < 0 { x.len() / others as usize } else { dim as usize }).collect();
    vec![x.reshaped(&shape)]
}

fn depth_to_space(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let (n, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
    let block = call.node.int("blocksize").unwrap() as usize;
    let less = c / (block * block);
    let y = match call.node.text_or("mode", "DCR") {
        "CRD" => x.reshaped(&[n, less, block, block, h, w]).transposed(&[0, 1, 4, 2, 5, 3]),
        _ => x.reshaped(&[n, block, block, less, h, w]).transposed(&[0, 3, 4, 1, 5, 2]),
    };
    vec![y.reshaped(&[n, less, h * block, w * block])]
}

/// All indices of a shape.
pub(super) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    each(shape, |at| all.push(at.to_vec()));
    all
}
