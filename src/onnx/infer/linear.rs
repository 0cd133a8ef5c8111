//! Products of matrices.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, broadcast, one};
use crate::onnx::resolved::Einsum;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MatMul" => matmul,
        "Gemm" => gemm,
        "Einsum" => einsum,
        "MatMulInteger" => matmul_integer,
        "Det" => det,
        _ => return None,
    })
}

fn matmul(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.expect_like_first(1)?;
    one(call.element(0)?, product(call, call.shape(0)?, call.shape(1)?)?)
}

fn matmul_integer(call: &Call<'_>) -> Result<Vec<ValueType>> {
    one(ElementType::Int32, product(call, call.shape(0)?, call.shape(1)?)?)
}

/// Of the last two axes, with broadcasting of the others; a vector is a row on the left and a column on the right, and
/// the result lacks that axis.
pub(super) fn product(call: &Call<'_>, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let misfit = || call.node.invalid(format!("shapes {a:?} and {b:?} cannot be multiplied"));
    let (rows, left, a_batch) = match a {
        [] => return Err(misfit()),
        [inner] => (None, *inner, &[][..]),
        [batch @ .., rows, inner] => (Some(*rows), *inner, batch),
    };
    let (columns, right, b_batch) = match b {
        [] => return Err(misfit()),
        [inner] => (None, *inner, &[][..]),
        [batch @ .., inner, columns] => (Some(*columns), *inner, batch),
    };
    if left != right {
        return Err(misfit());
    }
    let mut shape = broadcast(a_batch, b_batch).ok_or_else(misfit)?;
    shape.extend(rows);
    shape.extend(columns);
    Ok(shape)
}

fn gemm(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.expect_like_first(1)?;
    let (a, b) = (call.shape_of_rank(0, 2)?, call.shape_of_rank(1, 2)?);
    let (rows, left) = if call.node.int_or("transA", 0) != 0 { (a[1], a[0]) } else { (a[0], a[1]) };
    let (right, columns) = if call.node.int_or("transB", 0) != 0 { (b[1], b[0]) } else { (b[0], b[1]) };
    if left != right {
        return Err(call.node.invalid(format!("shapes {a:?} and {b:?} cannot be multiplied")));
    }
    let shape = [rows, columns];
    if call.node.input(2).is_some() && broadcast(&shape, call.shape(2)?).as_deref() != Some(&shape) {
        return Err(call.node.invalid(format!("input 2: {:?} does not fit {shape:?}", call.shape(2)?)));
    }
    one(call.element(0)?, shape)
}

fn einsum(call: &Call<'_>) -> Result<Vec<ValueType>> {
    for index in 1..call.node.inputs.len() {
        call.expect_like_first(index)?;
    }
    let einsum = Einsum::of(call.graph, call.node)?;
    one(call.element(0)?, einsum.output.iter().map(|&label| einsum.sizes[label]).collect::<Vec<_>>())
}

fn det(call: &Call<'_>) -> Result<Vec<ValueType>> {
    match call.shape(0)? {
        [batch @ .., rows, columns] if rows == columns => one(call.element(0)?, batch),
        shape => Err(call.node.invalid(format!("no square matrices: {shape:?}"))),
    }
}
