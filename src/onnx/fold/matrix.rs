//! Products of matrices, and triangles of them.

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements, broadcast_places};
use crate::onnx::fold::{Evaluation, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MatMul" => matmul,
        "Trilu" => triangle,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

fn matmul(evaluation: &Evaluation<'_>) -> Made {
    let (a, b) = (evaluation.input(0)?, evaluation.input(1)?);
    // As matrices in batches: a vector is a row on the left and a column on the right.
    let (batch_a, rows, inner) = match &a.shape[..] {
        [inner] => (&[][..], 1, *inner),
        [batch @ .., rows, inner] => (batch, *rows, *inner),
        [] => return Ok(None),
    };
    let (batch_b, columns) = match &b.shape[..] {
        [_] => (&[][..], 1),
        [batch @ .., _, columns] => (batch, *columns),
        [] => return Ok(None),
    };
    let matrix_axes = usize::from(a.shape.len() > 1) + usize::from(b.shape.len() > 1);
    let shape = evaluation.shape();
    let batch = &shape[..shape.len() - matrix_axes];
    let pairs: Vec<(usize, usize)> =
        broadcast_places(batch_a, batch).into_iter().zip(broadcast_places(batch_b, batch)).collect();
    fn product<T: Copy>(
        (a, b): (&[T], &[T]),
        (rows, inner, columns): (usize, usize, usize),
        zero: T,
        add_product: fn(T, T, T) -> T,
        pairs: &[(usize, usize)],
    ) -> Vec<T> {
        let mut made = Vec::with_capacity(pairs.len() * rows * columns);
        for (left, right) in pairs {
            let (a, b) = (&a[left * rows * inner..], &b[right * inner * columns..]);
            for row in 0..rows {
                for column in 0..columns {
                    made.push((0..inner).fold(zero, |sum, at| {
                        add_product(sum, a[row * inner + at], b[at * columns + column])
                    }));
                }
            }
        }
        made
    }
    let sizes = (rows, inner, columns);
    let made = match (&a.elements, &b.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => {
            let term = |sum: i64, a: i64, b: i64| sum.wrapping_add(a.wrapping_mul(b));
            Array::ints(shape, product((a, b), sizes, 0, term, &pairs))
        }
        (Elements::Floats(a), Elements::Floats(b)) => {
            Array::floats(shape, product((a, b), sizes, 0.0, |sum, a, b| sum + a * b, &pairs))
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![made]))
}

/// Zeros below (`upper`) or above diagonal k of the last two axes.
fn triangle(evaluation: &Evaluation<'_>) -> Made {
    let mut made = evaluation.input(0)?.clone();
    let [.., rows, columns] = made.shape[..] else {
        return Err(evaluation.node.invalid(format!("no matrices: shape {:?}", made.shape)));
    };
    let diagonal = match evaluation.inputs.get(1).and_then(Option::as_ref) {
        None => 0,
        Some(k) => match k.as_ints() {
            Some(&[k]) => k,
            _ => return Ok(None),
        },
    };
    let upper = evaluation.node.int_or("upper", 1) != 0;
    for place in 0..made.len() {
        let (row, column) = (place / columns % rows, place % columns);
        let from_diagonal = (column as i64 - row as i64).saturating_sub(diagonal);
        if if upper { from_diagonal < 0 } else { from_diagonal > 0 } {
            match &mut made.elements {
                Elements::Ints(ints) => ints[place] = 0,
                Elements::Floats(floats) => floats[place] = 0.0,
            }
        }
    }
    Ok(Some(vec![made]))
}
