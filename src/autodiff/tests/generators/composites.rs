//! Operators that are taken apart before gradients are emitted; the differences are those of the operator itself.

use super::products::Sliding;
use super::{Generator, cases, check_all};
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("Einsum", einsum).times(2),
    cases("Attention", attention).times(2),
    cases("RotaryEmbedding", rotary),
    cases("LRN", |c| {
        let mut case = Case::new();
        let shape = [c.within(1, 2), c.within(1, 6), c.within(1, 3), c.within(1, 3)];
        let attributes = [
            AttributeProto::int("size", c.within(1, 5) as i64),
            AttributeProto::float("alpha", c.one(&[1e-4, 0.3])),
            AttributeProto::float("beta", c.one(&[0.75, 0.6])),
            AttributeProto::float("bias", c.one(&[1.0, 1.5])),
        ];
        let x = case.x(c.floats(&shape, -2.0, 2.0));
        case.op("LRN", &[Some(x)], &attributes)
    }),
    cases("MeanVarianceNormalization", |c| {
        let mut case = Case::new();
        let shape = [c.within(2, 3), c.within(1, 3), c.within(1, 3), c.within(2, 3)];
        let axes = c.one(&[&[0, 2, 3][..], &[0, 3], &[3, 0, 1]]);
        let attributes = if c.flip() { vec![AttributeProto::ints("axes", axes)] } else { vec![] };
        let x = case.x(c.distinct(&shape));
        case.op("MeanVarianceNormalization", &[Some(x)], &attributes)
    }),
    cases("LpPool", |c| {
        let mut case = Case::new();
        let mut sliding = Sliding::new(c, false);
        let shape = [&[c.within(1, 2), c.within(1, 2)], &sliding.size[..]].concat();
        sliding.attributes.push(AttributeProto::int("p", c.one(&[2, 1, 3])));
        sliding.attributes.push(AttributeProto::int("ceil_mode", c.below(2) as i64));
        let x = case.x(c.apart(&shape, &[0.0]).map(|x| x + 0.3 * x.signum()));
        case.op("LpPool", &[Some(x)], &sliding.attributes)
    }),
    cases("GlobalLpPool", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(3, 5);
        let p = AttributeProto::int("p", c.one(&[2, 1, 3]));
        let x = case.x(c.apart(&shape, &[0.0]).map(|x| x + 0.3 * x.signum()));
        case.op("GlobalLpPool", &[Some(x)], &[p])
    }),
];

#[test]
fn composites_have_the_gradients_of_differences() {
    check_all(ALL);
}

/// Sizes are those of the letters.
fn einsum(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let equation = c.one(&[
        "ij,jk->ik",
        "bij,bjk->bik",
        "bhqd,bhkd->bhqk",
        "bhwc,hkc->bhwk",
        "ij->ji",
        "ij->",
        "ij->j",
        "i,j->ij",
        "ij,ij->i",
        "ij,jk",
        "ii->i",
        "ijk,jl,km->ilm",
        "bi,ij,bj->b",
    ]);
    let sizes: Vec<usize> = (0..26).map(|_| c.within(1, 3)).collect();
    let left = equation.split("->").next().unwrap_or_default();
    let inputs: Vec<_> = left
        .split(',')
        .map(|term| {
            let shape: Vec<usize> = term.bytes().map(|letter| sizes[usize::from(letter - b'a')]).collect();
            Some(case.x(c.floats(&shape, -1.0, 1.0)))
        })
        .collect();
    case.op("Einsum", &inputs, &[AttributeProto::string("equation", equation)])
}

fn attention(c: &mut Choices) -> Result<Case> {
    let mut case = Case::of_opset(23);
    let (batch, shared, times) = (c.within(1, 2), c.within(1, 2), c.within(1, 2));
    let (queries, keys, size, width) = (c.within(1, 4), c.within(1, 4), c.within(1, 3), c.within(1, 3));
    let count = shared * times;
    let flat = c.flip();
    let shape = |heads: usize, length: usize, size: usize| match flat {
        true => vec![batch, length, heads * size],
        false => vec![batch, heads, length, size],
    };
    let mut inputs = vec![
        Some(case.x(c.floats(&shape(count, queries, size), -1.5, 1.5))),
        Some(case.x(c.floats(&shape(shared, keys, size), -1.5, 1.5))),
        Some(case.x(c.floats(&shape(shared, keys, width), -1.5, 1.5))),
    ];
    let mut attributes = vec![AttributeProto::int("is_causal", c.below(2) as i64)];
    if flat {
        attributes.push(AttributeProto::int("q_num_heads", count as i64));
        attributes.push(AttributeProto::int("kv_num_heads", shared as i64));
    }
    if c.flip() {
        attributes.push(AttributeProto::float("scale", 0.6));
    }
    if c.below(3) == 2 {
        attributes.push(AttributeProto::float("softcap", 1.5));
    }
    let mask = match c.below(4) {
        0 => None,
        1 => Some(vec![queries, keys]),
        2 => Some(vec![batch, 1, queries, keys]),
        _ => Some(vec![batch, count, queries, keys]),
    };
    if let Some(mask) = mask {
        // Added masks may be trained (a bias of relative positions); boolean ones leave at least the first key.
        inputs.push(Some(match c.below(3) {
            0 => case.x(c.floats(&mask, -1.0, 1.0)),
            1 => case.input(c.floats(&mask, -1.0, 1.0)),
            _ => {
                let mut allowed = c.bools(&mask);
                if let crate::autodiff::tests::array::Data::Bools(allowed) = &mut allowed.data {
                    allowed.iter_mut().step_by(keys).for_each(|first| *first = true);
                }
                case.input(allowed)
            }
        }));
    }
    case.op("Attention", &inputs, &attributes)
}

fn rotary(c: &mut Choices) -> Result<Case> {
    let mut case = Case::of_opset(23);
    let (batch, heads, length) = (c.within(1, 2), c.within(1, 2), c.within(1, 3));
    let half = c.within(1, 3);
    let size = 2 * half + if c.flip() { 2 } else { 0 };
    let flat = c.flip();
    let shape = if flat { vec![batch, length, heads * size] } else { vec![batch, heads, length, size] };
    let places = c.flip();
    let angles = if places { vec![4, half] } else { vec![batch, length, half] };
    let mut inputs = vec![
        Some(case.x(c.floats(&shape, -1.0, 1.0))),
        Some(case.input(c.floats(&angles, -1.0, 1.0))),
        Some(case.input(c.floats(&angles, -1.0, 1.0))),
    ];
    if places {
        inputs.push(Some(case.input(c.indices(&[batch, length], 0, 4))));
    }
    let mut attributes = vec![AttributeProto::int("interleaved", c.below(2) as i64)];
    if flat {
        attributes.push(AttributeProto::int("num_heads", heads as i64));
    }
    if size != 2 * half {
        attributes.push(AttributeProto::int("rotary_embedding_dim", 2 * half as i64));
    }
    case.op("RotaryEmbedding", &inputs, &attributes)
}
