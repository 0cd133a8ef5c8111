//! Products of matrices.

use std::collections::BTreeMap;

use super::{Call, Operator};
use crate::autodiff::tests::array::{Array, broadcast_shape, each};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "MatMul" => |call| vec![matmul(call.x(0), call.x(1))],
        "Gemm" => gemm,
        "Einsum" => einsum,
        _ => return None,
    })
}

/// Products of the last two axes; a vector is a row on the left and a column on the right.
pub(super) fn matmul(a: &Array, b: &Array) -> Array {
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { a.reshaped(&[1, a.len()]) } else { a.clone() };
    let b = if column { b.reshaped(&[b.len(), 1]) } else { b.clone() };
    let (m, k) = (a.shape[a.rank() - 2], a.shape[a.rank() - 1]);
    let n = b.shape[b.rank() - 1];
    assert_eq!(b.shape[b.rank() - 2], k, "{:?} x {:?}", a.shape, b.shape);
    let batch = broadcast_shape(&a.shape[..a.rank() - 2], &b.shape[..b.rank() - 2]);
    let a = a.broadcast(&[&batch[..], &[m, k]].concat());
    let b = b.broadcast(&[&batch[..], &[k, n]].concat());
    let (x, y) = (a.f(), b.f());
    let mut product = Vec::new();
    for p in 0..batch.iter().product::<usize>() {
        for i in 0..m {
            for j in 0..n {
                product.push((0..k).map(|l| x[(p * m + i) * k + l] * y[(p * k + l) * n + j]).sum());
            }
        }
    }
    let mut shape = batch;
    if !row {
        shape.push(m);
    }
    if !column {
        shape.push(n);
    }
    Array::floats(&shape, product)
}

/// alpha A' B' + beta C.
fn gemm(call: &Call<'_>) -> Vec<Array> {
    let turned = |index: usize, name: &str| match call.node.int_or(name, 0) {
        0 => call.x(index).clone(),
        _ => call.x(index).transposed(&[1, 0]),
    };
    let alpha = call.number("alpha", 1.0);
    let product = matmul(&turned(0, "transA"), &turned(1, "transB")).map(|x| alpha * x);
    let Some(c) = call.get(2) else { return vec![product] };
    let beta = call.number("beta", 1.0);
    vec![product.zip(&c.broadcast(&product.shape), |x, c| x + beta * c)]
}

/// Sums over the letters that the result lacks, by trying all values of all letters. An ellipsis stands for the
/// broadcast axes; without an arrow the result has the letters that occur once, in alphabetical order.
fn einsum(call: &Call<'_>) -> Vec<Array> {
    let equation: String = call.node.text_or("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_owned(), Some(right.to_owned())),
        None => (equation, None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    assert_eq!(terms.len(), call.inputs.len());
    // Axes of the ellipsis get capital letters from 'Z' downwards, the last axis first; terms use small letters here.
    let spread = (0..terms.len())
        .filter(|&index| terms[index].contains("..."))
        .map(|index| call.x(index).rank() - (terms[index].len() - 3))
        .max()
        .unwrap_or(0);
    let dots = |count: usize| -> String { (0..count).rev().map(|at| (b'Z' - at as u8) as char).collect() };
    let names: Vec<Vec<char>> = (0..terms.len())
        .map(|index| {
            let own = call.x(index).rank() + 3 - terms[index].len().min(call.x(index).rank() + 3);
            terms[index].replace("...", &dots(own)).chars().collect()
        })
        .collect();
    let result: Vec<char> = match right {
        Some(right) => right.replace("...", &dots(spread)).chars().collect(),
        None => {
            let all: Vec<char> = names.concat();
            let mut once: Vec<char> = all
                .iter()
                .copied()
                .filter(|c| c.is_lowercase() && all.iter().filter(|d| *d == c).count() == 1)
                .collect();
            once.sort_unstable();
            dots(spread).chars().chain(once).collect()
        }
    };
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    for (index, names) in names.iter().enumerate() {
        for (&name, &size) in names.iter().zip(&call.x(index).shape) {
            let known = sizes.entry(name).or_insert(size);
            *known = (*known).max(size);
        }
    }
    let summed: Vec<char> = sizes.keys().copied().filter(|name| !result.contains(name)).collect();
    let order: Vec<char> = result.iter().chain(&summed).copied().collect();
    let all: Vec<usize> = order.iter().map(|name| sizes[name]).collect();
    let shape = all[..result.len()].to_vec();
    let inner: usize = all[result.len()..].iter().product();
    let places: Vec<Vec<usize>> = names
        .iter()
        .map(|names| names.iter().map(|name| order.iter().position(|other| other == name).unwrap()).collect())
        .collect();
    let mut sums = vec![0.0; shape.iter().product()];
    let mut count = 0;
    each(&all, |at| {
        let product: f64 = places
            .iter()
            .enumerate()
            .map(|(index, places)| {
                let x = call.x(index);
                let own: Vec<usize> =
                    places.iter().zip(&x.shape).map(|(&p, &dim)| if dim == 1 { 0 } else { at[p] }).collect();
                x.at(&own)
            })
            .product();
        sums[count / inner] += product;
        count += 1;
    });
    vec![Array::floats(&shape, sums)]
}
