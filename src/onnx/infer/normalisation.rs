//! Normalisations.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, broadcast, one};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "BatchNormalization" => batch,
        "InstanceNormalization" => instance,
        "GroupNormalization" => group,
        "LayerNormalization" => layer,
        "RMSNormalization" => rms,
        // ONNX Runtime keeps its own operator in the default domain.
        "SimplifiedLayerNormalization" => simplified_layer,
        _ => return None,
    })
}

/// Channels are axis 1; of a vector, which counts as one channel, there are none.
fn channels(call: &Call<'_>) -> Result<usize> {
    match call.shape(0)? {
        [] => Err(call.node.invalid("a scalar has no channels")),
        [_] => Ok(1),
        [_, channels, ..] => Ok(*channels),
    }
}

/// With running mean and variance where it trains.
fn batch(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let channels = channels(call)?;
    for index in 1..5 {
        call.input(index)?;
        call.expect(index, &[channels])?;
    }
    let mut types = vec![call.kind(0)?.clone()];
    if call.node.int_or("training_mode", 0) != 0 {
        let statistic = ValueType::new(call.element(3)?, [channels]);
        types.extend([statistic.clone(), statistic]);
    }
    Ok(types)
}

fn instance(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let channels = channels(call)?;
    for index in 1..3 {
        call.input(index)?;
        call.expect(index, &[channels])?;
    }
    Ok(vec![call.kind(0)?.clone()])
}

/// Scale and bias are of the channels (since set 21) or of the groups (set 18).
fn group(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let channels = channels(call)?;
    let groups = call.node.int_or("num_groups", 0);
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0 && channels.is_multiple_of(groups));
    let groups = groups.ok_or_else(|| call.node.invalid(format!("groups of {channels} channels")))?;
    for index in 1..3 {
        let shape = call.shape(index)?;
        if shape != [channels] && shape != [groups] {
            let message = format!("input {index}: {shape:?} for {channels} channels in {groups} groups");
            return Err(call.node.invalid(message));
        }
    }
    Ok(vec![call.kind(0)?.clone()])
}

/// Shape of the statistics: 1 from the axis on.
fn statistics(call: &Call<'_>) -> Result<Vec<usize>> {
    let shape = call.shape(0)?;
    let axis = call.axis_attribute(-1, shape.len())?;
    for index in 1..call.node.inputs.len().min(3) {
        let fits = |id| broadcast(shape, call.graph.shape(id)).as_deref() == Some(shape);
        if !call.node.input(index).is_none_or(fits) {
            return Err(call.node.invalid(format!("input {index} does not fit {shape:?}")));
        }
    }
    Ok(shape.iter().enumerate().map(|(index, &dim)| if index < axis { dim } else { 1 }).collect())
}

/// With mean and inverse deviation.
pub(super) fn layer(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.input(1)?;
    let statistic = ValueType::new(stash(call)?, statistics(call)?);
    Ok(vec![call.kind(0)?.clone(), statistic.clone(), statistic])
}

fn rms(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.input(1)?;
    statistics(call)?;
    one(call.element(1)?, call.shape(0)?)
}

/// With the inverse root of the mean square.
pub(super) fn simplified_layer(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.input(1)?;
    Ok(vec![call.kind(0)?.clone(), ValueType::new(stash(call)?, statistics(call)?)])
}

/// The attribute `stash_type`: in what the statistics are computed.
fn stash(call: &Call<'_>) -> Result<ElementType> {
    let number = i32::try_from(call.node.int_or("stash_type", 1)).ok();
    match number.and_then(ElementType::from_number) {
        // Halves are widened on import, doubles keep their precision.
        Some(ElementType::Float16 | ElementType::Bfloat16 | ElementType::Float32) => Ok(call.element(0)?),
        Some(element) => Ok(element),
        None => Err(call.node.invalid("unknown stash_type")),
    }
}
