//! Attention and the rotary embedding of positions.

use crate::autodiff::decompose::{Composite, Decomposition};
use crate::autodiff::emit::Emit;
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;

pub(super) fn rule(op_type: &str) -> Option<Decomposition> {
    Some(match op_type {
        "Attention" => attention,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

/// `y = softmax(cap(scale q kᵀ) + mask) v` with q `[B, H, L, D]`, k `[B, G, S, D]`, v `[B, G, S, E]`, each also as
/// `[B, length, heads size]`; H is a multiple of G, and query head h goes with head `h / (H / G)` of k and v. `cap(x) = c
/// tanh(x / c)`. A mask of booleans leaves out the scores where it is false, and so does `is_causal` where j > i; a
/// query that nothing is left to gets 0.
fn attention(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    if op.node.inputs.iter().skip(4).any(Option::is_some) {
        return Err(op.node.unsupported("no gradient flows through keys and values of earlier calls"));
    }
    let flat = op.shape(op.x(0)?).len() == 3;
    let q = heads(op, 0, "q_num_heads")?;
    let k = heads(op, 1, "kv_num_heads")?;
    let v = heads(op, 2, "kv_num_heads")?;
    let ([batch, own, queries, size], [_, shared, keys, _]) = (four(op, q)?, four(op, k)?);
    let [_, _, _, width] = four(op, v)?;
    if shared == 0 || own % shared != 0 {
        return Err(op.node.invalid(format!("{own} heads of queries for {shared} of keys")));
    }
    // Heads that share keys lie one after the other: as further queries of one head, nothing has to be repeated.
    let folded = own / shared * queries;
    let scale = f64::from(op.node.float_or("scale", 0.0));
    let has_scale = op.node.attribute("scale").is_some();
    let scale = if has_scale { scale } else { 1.0 / (size as f64).sqrt() };
    let q = op.scaled(q, scale)?;
    let q = op.reshape(q, &[batch, shared, folded, size])?;
    let k = op.transpose_last(k)?;
    let mut scores = op.matmul(q, k)?;
    let cap = f64::from(op.node.float_or("softcap", 0.0));
    if cap > 0.0 {
        let inner = op.scaled(scores, 1.0 / cap)?;
        let inner = op.unary("Tanh", inner)?;
        scores = op.scaled(inner, cap)?;
    }
    let full = [batch, own, queries, keys];
    let mask = Mask::of(op, queries, keys)?;
    if let Some(added) = mask.added {
        let apart = op.reshape(scores, &full)?;
        scores = op.plus(apart, added)?;
    }
    if let Some(allowed) = mask.allowed {
        let apart = op.reshape(scores, &full)?;
        // Finite, so that a row without any key has no NaN.
        let least = op.number_like(apart, f64::from(f32::MIN))?;
        scores = op.choose(allowed, apart, least)?;
    }
    let mut weights = op.graph.op("Softmax", &[scores], &[AttributeProto::int("axis", -1)])?;
    if let (Some(allowed), false) = (mask.allowed, mask.every_row) {
        weights = op.masked(allowed, weights)?;
    }
    let weights = op.reshape(weights, &[batch, shared, folded, keys])?;
    let y = op.matmul(weights, v)?;
    let y = op.reshape(y, &[batch, own, queries, width])?;
    if !flat {
        return Ok(Some(y));
    }
    let y = op.transpose(y, &[0, 2, 1, 3])?;
    Ok(Some(op.reshape(y, &[batch, queries, own * width])?))
}

fn four(op: &Composite<'_>, id: ValueId) -> Result<[usize; 4]> {
    let shape = op.shape(id);
    let message = || op.node.invalid(format!("expected 4 dimensions, got {shape:?}"));
    <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| message())
}

/// Input `index` as `[batch, heads, length, size]`.
fn heads(op: &mut Composite<'_>, index: usize, count: &str) -> Result<ValueId> {
    let x = op.x(index)?;
    let [batch, length, hidden] = op.shape(x)[..] else { return Ok(x) };
    split(op, x, [batch, length, hidden], count)
}

/// `[batch, length, hidden]` as `[batch, heads, length, size]`; attribute `count` is the number of heads.
fn split(
    op: &mut Composite<'_>,
    x: ValueId,
    [batch, length, hidden]: [usize; 3],
    count: &str,
) -> Result<ValueId> {
    let heads = usize::try_from(op.node.int_or(count, 0)).unwrap_or_default();
    if heads == 0 || !hidden.is_multiple_of(heads) {
        return Err(op.node.invalid(format!("{count}: {heads} heads of {hidden} channels")));
    }
    let apart = op.reshape(x, &[batch, length, heads, hidden / heads])?;
    op.transpose(apart, &[0, 2, 1, 3])
}

/// What is added to the scores, and which of them count.
struct Mask {
    added: Option<ValueId>,
    allowed: Option<ValueId>,
    /// Whether it is known that every query has a key.
    every_row: bool,
}

impl Mask {
    fn of(op: &mut Composite<'_>, queries: usize, keys: usize) -> Result<Mask> {
        let mut mask = Mask { added: None, allowed: None, every_row: true };
        if let Some(given) = op.node.input(3) {
            let boolean = op.graph.kind(given).element == ElementType::Bool;
            let shape = op.shape(given);
            let last = shape.last().copied().unwrap_or(1);
            // One that ends early leaves out the keys after it; a single column is repeated.
            let short = last != 1 && last < keys;
            let given = if short { lengthened(op, given, &shape, keys)? } else { given };
            if boolean {
                let known = op.graph.constant(given).and_then(Constant::to_ints);
                mask.every_row = known.is_some_and(|known| {
                    known.chunks(last.max(1)).all(|row| row.iter().any(|&allowed| allowed != 0))
                });
                mask.allowed = Some(given);
            } else {
                mask.added = Some(given);
            }
        }
        if op.node.int_or("is_causal", 0) != 0 {
            let places = (0..queries).flat_map(|query| (0..keys).map(move |key| i64::from(key <= query)));
            let kind = ValueType::new(ElementType::Bool, [queries, keys]);
            let constant = Constant::from_ints(kind, &places.collect::<Vec<_>>())?;
            let causal = op.graph.add_constant("causal", constant);
            mask.allowed = Some(match mask.allowed {
                Some(given) => {
                    // Each may leave a key to a query, and both together none.
                    mask.every_row = false;
                    op.binary("And", given, causal)?
                }
                None => causal,
            });
        }
        Ok(mask)
    }
}

/// A mask that is continued to `keys` columns which do not count.
fn lengthened(op: &mut Composite<'_>, mask: ValueId, shape: &[usize], keys: usize) -> Result<ValueId> {
    let mut rest = shape.to_vec();
    if let Some(last) = rest.last_mut() {
        *last = keys - *last;
    }
    let element = op.graph.kind(mask).element;
    let out = if element == ElementType::Bool { 0.0 } else { f64::NEG_INFINITY };
    let constant = Constant::from_f64(ValueType::new(element, []), &[out])?;
    let out = op.graph.add_constant("left_out", constant);
    let rest = op.expand(out, &rest)?;
    op.concat(&[mask, rest], shape.len() - 1)
}

/// Pairs (a, b) of a head's channels, turned by the angle of their place: `(a cos - b sin, a sin + b cos)`. The pairs are
/// neighbours where `interleaved`, else the two halves; channels beyond `rotary_embedding_dim` stay.
fn rotary(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let (x, cos, sin) = (op.x(0)?, op.x(1)?, op.x(2)?);
    let before = op.shape(x);
    let x = match before[..] {
        [batch, length, hidden] => split(op, x, [batch, length, hidden], "num_heads")?,
        _ => x,
    };
    let [batch, count, length, size] = four(op, x)?;
    let turned = match usize::try_from(op.node.int_or("rotary_embedding_dim", 0)) {
        Ok(0) => size,
        Ok(turned) if turned <= size && turned.is_multiple_of(2) => turned,
        _ => return Err(op.node.invalid("rotary_embedding_dim does not fit the head")),
    };
    let half = turned / 2;
    let cos = angles(op, cos, [batch, length, half])?;
    let sin = angles(op, sin, [batch, length, half])?;
    let part = |op: &mut Composite<'_>, from: usize, to: usize, step: i64| {
        if (from, to, step) == (0, size, 1) {
            return Ok(x);
        }
        op.slice(x, &[3], &[from as i64], &[to as i64], &[step])
    };
    let interleaved = op.node.int_or("interleaved", 0) != 0;
    let (a, b) = if interleaved {
        (part(op, 0, turned, 2)?, part(op, 1, turned, 2)?)
    } else {
        (part(op, 0, half, 1)?, part(op, half, turned, 1)?)
    };
    let (a_cos, b_sin) = (op.times(a, cos)?, op.times(b, sin)?);
    let (a_sin, b_cos) = (op.times(a, sin)?, op.times(b, cos)?);
    let (real, imaginary) = (op.minus(a_cos, b_sin)?, op.plus(a_sin, b_cos)?);
    let mut y = if interleaved {
        let pair = [batch, count, length, half, 1];
        let (real, imaginary) = (op.reshape(real, &pair)?, op.reshape(imaginary, &pair)?);
        let pairs = op.concat(&[real, imaginary], 4)?;
        op.reshape(pairs, &[batch, count, length, turned])?
    } else {
        op.concat(&[real, imaginary], 3)?
    };
    if turned < size {
        let rest = part(op, turned, size, 1)?;
        y = op.concat(&[y, rest], 3)?;
    }
    if before.len() == 3 {
        y = op.transpose(y, &[0, 2, 1, 3])?;
        y = op.reshape(y, &before)?;
    }
    Ok(Some(y))
}

/// The cosines or sines of every place as `[batch or 1, 1, length, half]`: rows of `[positions, half]` chosen by the
/// fourth input, or `[batch, length, half]` as they are.
fn angles(op: &mut Composite<'_>, cache: ValueId, [batch, length, half]: [usize; 3]) -> Result<ValueId> {
    let rows = match op.node.input(3) {
        Some(positions) => op.graph.op("Gather", &[cache, positions], &[AttributeProto::int("axis", 0)])?,
        None => cache,
    };
    let shape = op.shape(rows);
    let repeated = shape.first().copied().unwrap_or(1);
    if shape.len() != 3 || shape[1..] != [length, half] || repeated != 1 && repeated != batch {
        let message = format!("angles of shape {shape:?}, expected {:?}", [batch, length, half]);
        return Err(op.node.invalid(message));
    }
    op.reshape(rows, &[repeated, 1, length, half])
}
