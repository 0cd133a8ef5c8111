//! Products of matrices.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::graph::ValueId;
use crate::onnx::proto::AttributeProto;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MatMul" => matmul,
        "Gemm" => gemm,
        _ => return None,
    })
}

/// Y = A B: dA = g Bᵀ and dB = Aᵀ g, summed over the axes along which an operand is repeated. A vector counts as a
/// matrix of one row (A) or one column (B). With a plain matrix B, the usual linear layer, the leading axes of A and g
/// are one axis of rows, so that each gradient is one product and no sum.
fn matmul(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, a, b) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let (a_shape, b_shape) = (vjp.shape(a), vjp.shape(b));
    // Vectors as matrices, in all three.
    let as_matrix = |shape: &[usize], row: bool| match *shape {
        [length] if row => vec![1, length],
        [length] => vec![length, 1],
        _ => shape.to_vec(),
    };
    let (a_full, b_full) = (as_matrix(&a_shape, true), as_matrix(&b_shape, false));
    let mut g_full = vjp.shape(g);
    if a_shape.len() == 1 {
        let at = g_full.len() - usize::from(b_shape.len() > 1);
        g_full.insert(at, 1);
    }
    if b_shape.len() == 1 {
        g_full.push(1);
    }
    let a_matrix = vjp.reshape(a, &a_full)?;
    let b_matrix = vjp.reshape(b, &b_full)?;
    let g_matrix = vjp.reshape(g, &g_full)?;
    if b_full.len() == 2 {
        let (k, n) = (b_full[0], b_full[1]);
        let rows: usize = a_full[..a_full.len() - 1].iter().product();
        let g_rows = vjp.reshape(g_matrix, &[rows, n])?;
        let da = if vjp.wants(0) {
            let da = product(vjp, g_rows, b_matrix, false, true)?;
            Some(vjp.reshape(da, &a_shape)?)
        } else {
            None
        };
        let db = if vjp.wants(1) {
            let a_rows = vjp.reshape(a_matrix, &[rows, k])?;
            let db = product(vjp, a_rows, g_rows, true, false)?;
            Some(vjp.reshape(db, &b_shape)?)
        } else {
            None
        };
        return Ok(vec![da, db]);
    }
    let da = if vjp.wants(0) {
        let turned = vjp.transpose_last(b_matrix)?;
        let da = vjp.matmul(g_matrix, turned)?;
        let da = vjp.sum_to(da, &a_full)?;
        Some(vjp.reshape(da, &a_shape)?)
    } else {
        None
    };
    let db = if vjp.wants(1) {
        let turned = vjp.transpose_last(a_matrix)?;
        let db = vjp.matmul(turned, g_matrix)?;
        let db = vjp.sum_to(db, &b_full)?;
        Some(vjp.reshape(db, &b_shape)?)
    } else {
        None
    };
    Ok(vec![da, db])
}

/// Y = α A' B' + β C, A' and B' transposed where the attributes say so: with A' = A, dA = α g B'ᵀ, else dA = α B' gᵀ;
/// likewise for B; dC = β g, summed to its shape.
fn gemm(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, a, b) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let alpha = f64::from(vjp.node.float_or("alpha", 1.0));
    let beta = f64::from(vjp.node.float_or("beta", 1.0));
    let (turn_a, turn_b) = (vjp.node.int_or("transA", 0) != 0, vjp.node.int_or("transB", 0) != 0);
    let da = if vjp.wants(0) {
        let da = if turn_a { product(vjp, b, g, turn_b, true)? } else { product(vjp, g, b, false, !turn_b)? };
        Some(vjp.scaled(da, alpha)?)
    } else {
        None
    };
    let db = if vjp.wants(1) {
        let db = if turn_b { product(vjp, g, a, true, turn_a)? } else { product(vjp, a, g, !turn_a, false)? };
        Some(vjp.scaled(db, alpha)?)
    } else {
        None
    };
    let mut all = vec![da, db];
    if let Some(c) = vjp.node.input(2) {
        all.push(if vjp.wants(2) {
            let shape = vjp.shape(c);
            let summed = vjp.sum_to(g, &shape)?;
            Some(vjp.scaled(summed, beta)?)
        } else {
            None
        });
    }
    Ok(all)
}

/// A' B' of two matrices, as one Gemm: transposing is free there.
fn product(vjp: &mut Vjp<'_>, a: ValueId, b: ValueId, turn_a: bool, turn_b: bool) -> Result<ValueId> {
    let attributes =
        [AttributeProto::int("transA", i64::from(turn_a)), AttributeProto::int("transB", i64::from(turn_b))];
    vjp.graph.op("Gemm", &[a, b], &attributes)
}
