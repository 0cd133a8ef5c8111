//! Operators that pick elements by indices, or put them there.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "ScatterElements" | "ScatterND" => scatter,
        "TopK" => top_k,
        _ => return None,
    })
}

/// A row that is picked this often at most is summed over that many gathers.
const FEW_PICKS: usize = 4;

/// Largest one-hot matrix that is written into the graph, in elements.
const LARGEST_ONE_HOT: usize = 1 << 19;

/// Every row of `data` along the axis gets the sum of the gradients of its copies.
///
/// With indices that are known: neighbours in order are padded into their place; rows that are picked at most
/// [`FEW_PICKS`] times are gathered back; a small table whose rows are picked often (the relative positions of windowed
/// attention) is a product with a constant one-hot matrix. Else, and where indices depend on data, the gradients are
/// scattered with addition.
fn gather(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, data, indices) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let shape = vjp.shape(data);
    let axis = vjp.axis(vjp.node.int_or("axis", 0), shape.len())?;
    let rows = shape[axis];
    if vjp.shape(g).contains(&0) || rows == 0 {
        let dx = vjp.zeros(&shape, g)?;
        return vjp.only(0, dx);
    }
    let Some(known) = vjp.graph.known(indices).and_then(|constant| constant.to_ints()) else {
        let dx = scattered_rows(vjp, g, &shape, axis, indices)?;
        return vjp.only(0, dx);
    };
    let known: Vec<usize> = known
        .into_iter()
        .map(|row| vjp.axis(row, rows).map_err(|_| vjp.node.invalid(format!("index {row} of {rows} rows"))))
        .collect::<Result<_>>()?;
    // One axis of indices, whatever shape they have.
    let count = known.len();
    let mut flat = shape.clone();
    flat[axis] = count;
    let flat_g = vjp.reshape(g, &flat)?;
    if known.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        let (mut begins, mut ends) = (vec![0; shape.len()], vec![0; shape.len()]);
        begins[axis] = known[0] as i64;
        ends[axis] = (rows - known[0] - count) as i64;
        let dx = vjp.pad(flat_g, &begins, &ends)?;
        return vjp.only(0, dx);
    }
    let picks = picks(&known, rows);
    let dx = if picks.len() <= FEW_PICKS {
        gathered_back(vjp, flat_g, axis, &picks)?
    } else if rows.checked_mul(count).is_some_and(|size| size <= LARGEST_ONE_HOT) {
        one_hot_product(vjp, flat_g, axis, rows, &known)?
    } else {
        scattered_rows(vjp, g, &shape, axis, indices)?
    };
    vjp.only(0, dx)
}

/// For the first, second … time that a row is picked: where, for every row; `picked.len()` where it is not.
fn picks(picked: &[usize], rows: usize) -> Vec<Vec<usize>> {
    let mut times = vec![0; rows];
    let mut picks: Vec<Vec<usize>> = Vec::new();
    for (at, &row) in picked.iter().enumerate() {
        if picks.len() == times[row] {
            picks.push(vec![picked.len(); rows]);
        }
        picks[times[row]][row] = at;
        times[row] += 1;
    }
    picks
}

/// Sums, over the times that rows are picked, the gradients gathered back; rows that are not picked find zeros, which
/// are added at the end of the axis.
fn gathered_back(vjp: &mut Vjp<'_>, g: ValueId, axis: usize, picks: &[Vec<usize>]) -> Result<ValueId> {
    let shape = vjp.shape(g);
    let missing = shape[axis];
    let mut source = g;
    if picks.iter().flatten().any(|&at| at == missing) {
        let mut ends = vec![0; shape.len()];
        ends[axis] = 1;
        source = vjp.pad(g, &vec![0; shape.len()], &ends)?;
    }
    let mut sum: Option<ValueId> = None;
    for places in picks {
        let places: Vec<i64> = places.iter().map(|&at| at as i64).collect();
        let places = vjp.graph.ints(&places)?;
        let part = vjp.graph.op("Gather", &[source, places], &[AttributeProto::int("axis", axis as i64)])?;
        sum = Some(match sum {
            Some(sum) => vjp.plus(sum, part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| vjp.node.invalid("picks nothing"))
}

/// The product of g with the matrix that has a 1 where a row is picked.
fn one_hot_product(
    vjp: &mut Vjp<'_>,
    g: ValueId,
    axis: usize,
    rows: usize,
    picked: &[usize],
) -> Result<ValueId> {
    let mut shape = vjp.shape(g);
    let (outer, inner) =
        (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
    let count = picked.len();
    // [rows, count] from the left; where nothing lies within, [count, rows] from the right, one product for all.
    let mut ones = vec![0.0; rows * count];
    for (at, &row) in picked.iter().enumerate() {
        ones[if inner == 1 { at * rows + row } else { row * count + at }] = 1.0;
    }
    let dims = if inner == 1 { [count, rows] } else { [rows, count] };
    let kind = ValueType::new(vjp.graph.kind(g).element, dims);
    let constant = Constant::from_f64(kind, &ones)?;
    let matrix = vjp.graph.add_constant("one_hot", constant);
    let product = if inner == 1 {
        let flat = vjp.reshape(g, &[outer, count])?;
        vjp.matmul(flat, matrix)?
    } else {
        let flat = vjp.reshape(g, &[outer, count, inner])?;
        vjp.matmul(matrix, flat)?
    };
    shape[axis] = rows;
    vjp.reshape(product, &shape)
}

/// Adds the rows of g to zeros at their indices: the axis of the rows comes first, is scattered to, and goes back.
fn scattered_rows(
    vjp: &mut Vjp<'_>,
    g: ValueId,
    shape: &[usize],
    axis: usize,
    indices: ValueId,
) -> Result<ValueId> {
    let picked = vjp.shape(indices);
    let rank = picked.len() + shape.len() - 1;
    let index_axes = axis..axis + picked.len();
    let mut order: Vec<usize> = index_axes.clone().collect();
    order.extend((0..rank).filter(|at| !index_axes.contains(at)));
    let updates = vjp.transpose(g, &order)?;
    let mut rows_first = vec![shape[axis]];
    rows_first.extend((0..shape.len()).filter(|&at| at != axis).map(|at| shape[at]));
    let mut tuples = picked;
    tuples.push(1);
    let indices = vjp.reshape(indices, &tuples)?;
    let indices = vjp.cast(indices, ElementType::Int64)?;
    let summed = added_to_zeros(vjp, &rows_first, indices, updates)?;
    let mut back: Vec<usize> = (1..=axis).collect();
    back.push(0);
    back.extend(axis + 1..shape.len());
    vjp.transpose(summed, &back)
}

/// ScatterND with addition into zeros.
fn added_to_zeros(vjp: &mut Vjp<'_>, shape: &[usize], indices: ValueId, updates: ValueId) -> Result<ValueId> {
    let zeros = vjp.zeros(shape, updates)?;
    vjp.graph.op("ScatterND", &[zeros, indices, updates], &[AttributeProto::string("reduction", "add")])
}

/// g added to zeros at the indices.
fn gather_elements(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, data, indices) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let dx = elements_added(vjp, data, indices, g, vjp.node.int_or("axis", 0))?;
    vjp.only(0, dx)
}

/// ScatterElements with addition into zeros of the shape of `data`.
fn elements_added(
    vjp: &mut Vjp<'_>,
    data: ValueId,
    indices: ValueId,
    updates: ValueId,
    axis: i64,
) -> Result<ValueId> {
    let shape = vjp.shape(data);
    let zeros = vjp.zeros(&shape, updates)?;
    let attributes = [AttributeProto::int("axis", axis), AttributeProto::string("reduction", "add")];
    vjp.graph.op("ScatterElements", &[zeros, indices, updates], &attributes)
}

/// g added to zeros at the indices. With batch dimensions, which a scatter does not have, their coordinates are put
/// before the indices.
fn gather_nd(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, data, mut indices) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let shape = vjp.shape(data);
    if vjp.shape(g).contains(&0) {
        let dx = vjp.zeros(&shape, g)?;
        return vjp.only(0, dx);
    }
    let batch = vjp.node.int_or("batch_dims", 0).max(0) as usize;
    if batch > 0 {
        let mut dims = vjp.shape(indices);
        if let Some(last) = dims.last_mut() {
            *last = batch;
        }
        let each: usize = dims[batch..dims.len() - 1].iter().product();
        let mut coordinates = Vec::with_capacity(dims.iter().product());
        for at in 0..shape[..batch].iter().product::<usize>() {
            let mut tuple = vec![0; batch];
            let mut rest = at;
            for axis in (0..batch).rev() {
                (tuple[axis], rest) = ((rest % shape[axis]) as i64, rest / shape[axis]);
            }
            for _ in 0..each {
                coordinates.extend_from_slice(&tuple);
            }
        }
        let axis = dims.len() - 1;
        let constant = Constant::from_i64(dims, &coordinates)?;
        let coordinates = vjp.graph.add_constant("coordinates", constant);
        indices = vjp.concat(&[coordinates, indices], axis)?;
    }
    let dx = added_to_zeros(vjp, &shape, indices, g)?;
    vjp.only(0, dx)
}

/// Updates get g at their indices. The data get g, but, where updates replace elements, zeros there. Two updates of one
/// element are allowed with `reduction = add` only, and then both get its gradient. Other reductions have no gradient
/// here.
fn scatter(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, indices, updates) = (vjp.g(0)?, vjp.x(1)?, vjp.x(2)?);
    let elements = vjp.node.is("ScatterElements");
    let reduction = vjp.node.text_or("reduction", "none").to_owned();
    let axis: Vec<AttributeProto> = vjp.node.attribute("axis").cloned().into_iter().collect();
    if !matches!(reduction.as_str(), "add" | "none") {
        return Err(vjp.node.unsupported(format!("reduction {reduction:?} has no gradient rule")));
    }
    let data = if !vjp.wants(0) {
        None
    } else if reduction == "add" {
        Some(g)
    } else {
        let shape = vjp.shape(updates);
        let zeros = vjp.zeros(&shape, g)?;
        let op_type = vjp.node.op_type.clone();
        Some(vjp.graph.op(&op_type, &[g, indices, zeros], &axis)?)
    };
    let updates = if vjp.wants(2) {
        let op_type = if elements { "GatherElements" } else { "GatherND" };
        Some(vjp.graph.op(op_type, &[g, indices], &axis)?)
    } else {
        None
    };
    Ok(vec![data, None, updates])
}

/// The gradient of the values goes back to where they came from, which the second output says.
fn top_k(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, data, indices) = (vjp.g(0)?, vjp.x(0)?, vjp.y(1)?);
    let dx = elements_added(vjp, data, indices, g, vjp.node.int_or("axis", -1))?;
    vjp.only(0, dx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_find_every_copy_once() {
        assert_eq!(picks(&[2, 0, 1], 3), [[1, 2, 0]]);
        assert_eq!(picks(&[2, 2, 0], 4), [[2, 3, 0, 3], [3, 3, 1, 3]]);
        let picked = [3, 1, 1, 3, 1];
        let mut seen: Vec<usize> = picks(&picked, 4)
            .iter()
            .flat_map(|places| places.iter().enumerate().filter(|(_, at)| **at < 5))
            .map(|(row, &at)| {
                assert_eq!(picked[at], row);
                at
            })
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}
