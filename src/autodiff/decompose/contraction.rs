//! Einsum by transpositions, sums and products of matrices.

use crate::autodiff::decompose::{Composite, Decomposition};
use crate::autodiff::emit::Emit;
use crate::error::{Error, Result};
use crate::onnx::graph::{Constant, ValueId, ValueType};
use crate::onnx::resolved::Einsum;

pub(super) fn rule(op_type: &str) -> Option<Decomposition> {
    (op_type == "Einsum").then_some(einsum)
}

/// An operand on its way: what each of its axes is called. No label comes twice, and none of size 1 stands for a
/// larger one.
struct Operand {
    id: ValueId,
    labels: Vec<usize>,
}

/// Operands are multiplied two by two from the left. Labels that neither the result nor a later operand has are summed
/// over as early as can be.
fn einsum(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let equation = Einsum::of(op.graph, &op.node)?;
    let mut operands = Vec::with_capacity(equation.operands.len());
    for (index, labels) in equation.operands.iter().enumerate() {
        let id = op.x(index)?;
        operands.push(plain(op, id, labels, &equation.sizes)?);
    }
    let mut rest = operands.into_iter();
    let mut left = rest.next().ok_or_else(|| Error::internal("an Einsum of nothing"))?;
    while let Some(right) = rest.next() {
        let later = || rest.as_slice().iter().flat_map(|operand| &operand.labels);
        let kept = |label: &usize| equation.output.contains(label) || later().any(|other| other == label);
        let right_labels = right.labels.clone();
        let left_labels = left.labels.clone();
        left = summed(op, left, |label| kept(label) || right_labels.contains(label))?;
        let right = summed(op, right, |label| kept(label) || left_labels.contains(label))?;
        left = product(op, &left, &right, &equation.sizes, kept)?;
    }
    let left = summed(op, left, |label| equation.output.contains(label))?;
    Ok(Some(ordered(op, &left, &equation.output)?))
}

/// Without diagonals and without axes that only broadcast.
fn plain(op: &mut Composite<'_>, id: ValueId, labels: &[usize], sizes: &[usize]) -> Result<Operand> {
    let shape = op.shape(id);
    let real: Vec<usize> = (0..labels.len()).filter(|&axis| shape[axis] == sizes[labels[axis]]).collect();
    let dims: Vec<usize> = real.iter().map(|&axis| shape[axis]).collect();
    let id = op.reshape(id, &dims)?;
    let mut operand = Operand { id, labels: real.iter().map(|&axis| labels[axis]).collect() };
    while let Some((first, second)) = repeated(&operand.labels) {
        // The diagonal: everything else times 0, and summed over one of the two axes.
        let size = sizes[operand.labels[first]];
        let mut dims = vec![1; operand.labels.len()];
        (dims[first], dims[second]) = (size, size);
        let unit: Vec<f64> = (0..size * size).map(|at| f64::from(u8::from(at % (size + 1) == 0))).collect();
        let kind = ValueType::new(op.graph.kind(operand.id).element, dims);
        let unit = op.graph.add_constant("unit", Constant::from_f64(kind, &unit)?);
        let masked = op.times(operand.id, unit)?;
        operand.id = op.reduce("ReduceSum", masked, &[second], false)?;
        operand.labels.remove(second);
    }
    Ok(operand)
}

/// Two axes with the same label.
fn repeated(labels: &[usize]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|first| {
        let second = (first + 1..labels.len()).find(|&second| labels[second] == labels[first])?;
        Some((first, second))
    })
}

/// Summed over the labels that are not kept.
fn summed(op: &mut Composite<'_>, operand: Operand, keep: impl Fn(&usize) -> bool) -> Result<Operand> {
    let gone: Vec<usize> = (0..operand.labels.len()).filter(|&axis| !keep(&operand.labels[axis])).collect();
    let id = op.reduce("ReduceSum", operand.id, &gone, false)?;
    Ok(Operand { id, labels: operand.labels.into_iter().filter(|label| keep(label)).collect() })
}

/// Transposed to `labels`, which are those of the operand in another order.
fn ordered(op: &mut Composite<'_>, operand: &Operand, labels: &[usize]) -> Result<ValueId> {
    let place = |label: &usize| operand.labels.iter().position(|own| own == label);
    let order: Option<Vec<usize>> = labels.iter().map(place).collect();
    let order = order.filter(|order| order.len() == operand.labels.len());
    let order = order.ok_or_else(|| Error::internal("the labels of an Einsum do not fit"))?;
    op.transpose(operand.id, &order)
}

/// Labels of both operands that are kept are batches, those that are not are contracted; each operand has further ones
/// of its own, all of them kept.
fn product(
    op: &mut Composite<'_>,
    left: &Operand,
    right: &Operand,
    sizes: &[usize],
    kept: impl Fn(&usize) -> bool,
) -> Result<Operand> {
    let both = |label: &usize| right.labels.contains(label);
    let pick = |labels: &[usize], choose: &dyn Fn(&usize) -> bool| -> Vec<usize> {
        labels.iter().copied().filter(|label| choose(label)).collect()
    };
    let batch = pick(&left.labels, &|label| both(label) && kept(label));
    let inner = pick(&left.labels, &|label| both(label) && !kept(label));
    let rows = pick(&left.labels, &|label| !both(label));
    let columns = pick(&right.labels, &|label| !left.labels.contains(label));
    let dims = |labels: &[usize]| -> Vec<usize> { labels.iter().map(|&label| sizes[label]).collect() };
    let count = |labels: &[usize]| -> usize { dims(labels).iter().product() };
    let labels = [batch.clone(), rows.clone(), columns.clone()].concat();
    if inner.is_empty() {
        // Nothing to sum: element by element, each repeated along what only the other has.
        let a = ordered(op, left, &[batch.clone(), rows.clone()].concat())?;
        let a = op.reshape(a, &[dims(&batch), dims(&rows), vec![1; columns.len()]].concat())?;
        let b = ordered(op, right, &[batch.clone(), columns.clone()].concat())?;
        let b = op.reshape(b, &[dims(&batch), vec![1; rows.len()], dims(&columns)].concat())?;
        return Ok(Operand { id: op.times(a, b)?, labels });
    }
    let lead: Vec<usize> = if batch.is_empty() { Vec::new() } else { vec![count(&batch)] };
    let a = ordered(op, left, &[batch.clone(), rows.clone(), inner.clone()].concat())?;
    let a = op.reshape(a, &[lead.clone(), vec![count(&rows), count(&inner)]].concat())?;
    let b = ordered(op, right, &[batch.clone(), inner.clone(), columns.clone()].concat())?;
    let b = op.reshape(b, &[lead, vec![count(&inner), count(&columns)]].concat())?;
    let c = op.matmul(a, b)?;
    Ok(Operand { id: op.reshape(c, &dims(&labels))?, labels })
}
