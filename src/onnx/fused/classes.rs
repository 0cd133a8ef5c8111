//! From scores to class numbers.

use super::{Chain, FusedClasses, MOST_FUSED_CLASSES, cast_to, dims, element, fixed, float, set_element};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::edit::Edit;
use crate::onnx::proto::{AttributeProto, DimensionValue, TensorProto};
use crate::tensor::DataType;
use crate::tensor::activation::sigmoid;

/// Lets the graph decide on classes.
pub(super) fn decide(edit: &mut Edit, output: &str, classes: &FusedClasses) -> Result<()> {
    let opset = edit.opset(12, "deciding on classes in the graph")?;
    check(classes)?;
    let mut port = edit.output(output)?.clone();
    let given = float(&port)?;
    let channels = classes.channels as i64;
    if let Some(shape) = dims(&mut port) {
        let found = match &mut shape[..] {
            [_, found, _, _] => {
                let size = fixed(found);
                found.value = Some(DimensionValue::Value(1));
                size
            }
            [_, _, _] => Some(1),
            _ => {
                let message =
                    format!("expected an output [N, C, H, W] or [N, H, W], got {} axes", shape.len());
                return Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(output));
            }
        };
        if found.is_some_and(|found| found != channels) {
            let found = found.unwrap_or(0);
            let message = format!("the model gives {found} channels, expected {channels}");
            return Err(Error::new(ErrorKind::Mismatch, message).at_tensor(output));
        }
    }
    if edit.graph.producer(output).is_none() {
        let message = "the output is a constant";
        return Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(output));
    }

    let scores = edit.fresh(&format!("{output}_scores"));
    edit.rename(output, &scores);
    // What is written there about the value was about the scores.
    edit.graph.value_info.retain(|value| value.name != output);
    let mut chain = Chain { edit, nodes: Vec::new() };
    if channels == 1 {
        let scores = if given == ElementType::Float16 {
            let like = format!("{output}_half");
            let half = chain.node("Split", &[&scores], Chain::one_part(opset), &like);
            chain.cast(&half, ElementType::Float32, &format!("{output}_wide"))
        } else {
            scores
        };
        exceeds(&mut chain, &scores, output, classes);
    } else {
        let scores = channel_by_channel(&mut chain, &scores, output, classes.channels, (given, opset));
        greatest(&mut chain, &scores, output, classes);
    }
    let nodes = std::mem::take(&mut chain.nodes);
    edit.graph.node.extend(nodes);
    for found in edit.graph.output.iter_mut().filter(|found| found.name == output) {
        *found = port.clone();
        set_element(found, element(classes.data_type));
    }
    Ok(())
}

fn check(classes: &FusedClasses) -> Result<()> {
    let FusedClasses { channels, data_type, nodata, .. } = *classes;
    let top = match data_type {
        DataType::U8 => u16::from(u8::MAX),
        DataType::U16 => u16::MAX,
        _ => return Err(Error::invalid(format!("classes in {data_type}: expected uint8 or uint16"))),
    };
    let numbers = if channels == 1 { 2 } else { channels };
    if channels == 0 || nodata > top || usize::from(nodata) < numbers {
        let message =
            format!("nodata {nodata}: expected a {data_type} beside the numbers of {numbers} classes");
        return Err(Error::invalid(message));
    }
    if channels > MOST_FUSED_CLASSES {
        let message = format!("{channels} classes: at most {MOST_FUSED_CLASSES} are decided on in the graph");
        return Err(Error::new(ErrorKind::ModelUnsupported, message));
    }
    Ok(())
}

/// The numbers of classes on their way: ONNX Runtime chooses between `uint8` and between `int32`, not `uint16`.
fn number(classes: &FusedClasses, number: u16) -> TensorProto {
    match classes.data_type {
        DataType::U8 => TensorProto::raw("", ElementType::Uint8, &[1, 1, 1, 1], vec![number as u8]),
        _ => {
            let bytes = i32::from(number).to_le_bytes().to_vec();
            TensorProto::raw("", ElementType::Int32, &[1, 1, 1, 1], bytes)
        }
    }
}

/// Adds the choice that gives the output.
fn choose(chain: &mut Chain<'_>, inputs: [&str; 3], output: &str, classes: &FusedClasses) {
    if classes.data_type == DataType::U8 {
        chain.node_to("Where", &inputs, Vec::new(), &[output]);
    } else {
        let wide = chain.node("Where", &inputs, Vec::new(), &format!("{output}_numbers"));
        chain.node_to("Cast", &[&wide], vec![cast_to(ElementType::Uint16)], &[output]);
    }
}

/// The scores of each channel, in single precision.
fn channel_by_channel(
    chain: &mut Chain<'_>,
    scores: &str,
    output: &str,
    channels: usize,
    (given, opset): (ElementType, i64),
) -> Vec<String> {
    let names: Vec<String> =
        (0..channels).map(|class| chain.edit.fresh(&format!("{output}_score_{class}"))).collect();
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let axis = AttributeProto::int("axis", 1);
    let ones = vec![1i64; channels];
    if opset < 13 {
        chain.node_to("Split", &[scores], vec![axis, AttributeProto::ints("split", &ones)], &parts);
    } else {
        let sizes =
            chain.constant(&format!("{output}_sizes"), TensorProto::from_i64("", &[channels as i64], &ones));
        chain.node_to("Split", &[scores, &sizes], vec![axis], &parts);
    }
    if given == ElementType::Float32 {
        return names;
    }
    names.iter().map(|name| chain.cast(name, ElementType::Float32, &format!("{name}_wide"))).collect()
}

/// Walks from the last class to the first and takes each whose score is at least the best so far: the lowest class wins
/// ties, and a NaN is never at least anything. The walk begins below all numbers, with nodata.
fn greatest(chain: &mut Chain<'_>, scores: &[String], output: &str, classes: &FusedClasses) {
    let lowest = TensorProto::from_f32("", &[1, 1, 1, 1], &[f32::NEG_INFINITY]);
    let mut best = chain.constant(&format!("{output}_lowest"), lowest);
    let mut class = chain.constant(&format!("{output}_nodata"), number(classes, classes.nodata));
    for (index, score) in scores.iter().enumerate().rev() {
        let wins =
            chain.node("GreaterOrEqual", &[score, &best], Vec::new(), &format!("{output}_wins_{index}"));
        let own = chain.constant(&format!("{output}_class_{index}"), number(classes, index as u16));
        if index == 0 {
            choose(chain, [&wins, &own, &class], output, classes);
        } else {
            class =
                chain.node("Where", &[&wins, &own, &class], Vec::new(), &format!("{output}_from_{index}"));
            best = chain.node("Where", &[&wins, score, &best], Vec::new(), &format!("{output}_best_{index}"));
        }
    }
}

/// Class 1 from the first score on whose probability is above the threshold.
fn exceeds(chain: &mut Chain<'_>, scores: &str, output: &str, classes: &FusedClasses) {
    let first = first_above(classes.threshold, classes.sigmoid);
    // Without axes, so that it fits outputs with and without one of channels.
    let scalar = |tensor: TensorProto| TensorProto { dims: Vec::new(), ..tensor };
    let first = chain.constant(&format!("{output}_first"), scalar(TensorProto::from_f32("", &[1], &[first])));
    let [zero, one, nodata] = [("zero", 0), ("one", 1), ("nodata", classes.nodata)]
        .map(|(what, value)| chain.constant(&format!("{output}_{what}"), scalar(number(classes, value))));
    let above = chain.node("GreaterOrEqual", &[scores, &first], Vec::new(), &format!("{output}_above"));
    let class = chain.node("Where", &[&above, &one, &zero], Vec::new(), &format!("{output}_class"));
    let nan = chain.node("IsNaN", &[scores], Vec::new(), &format!("{output}_nan"));
    choose(chain, [&nan, &nodata, &class], output, classes);
}

/// The least score whose probability is greater than the threshold, NaN where none is. The sigmoid is that of scoring, to
/// the bit; it never falls, so halving finds the place.
fn first_above(threshold: f32, is_score: bool) -> f32 {
    let above = |score: f32| {
        let mut probability = [score];
        if is_score {
            sigmoid(&mut probability);
        }
        probability[0] > threshold
    };
    if !above(f32::INFINITY) {
        return f32::NAN;
    }
    if above(f32::NEG_INFINITY) {
        return f32::NEG_INFINITY;
    }
    let (mut low, mut high) = (place(f32::NEG_INFINITY), place(f32::INFINITY));
    while high - low > 1 {
        let middle = (low + high) / 2;
        if above(at(middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    at(high)
}

/// Numbers the floats in their order.
fn place(value: f32) -> i64 {
    let bits = value.to_bits() as i32;
    i64::from(if bits < 0 { bits ^ i32::MAX } else { bits })
}

fn at(place: i64) -> f32 {
    let bits = place as i32;
    f32::from_bits((if bits < 0 { bits ^ i32::MAX } else { bits }) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probability(score: f32) -> f32 {
        let mut row = [score];
        sigmoid(&mut row);
        row[0]
    }

    #[test]
    fn the_first_score_above_a_threshold_parts_all_scores_around_it() {
        for step in 0..500 {
            let threshold = step as f32 / 500.0 + 1e-4;
            let first = first_above(threshold, true);
            for away in 0..500 {
                let (from, below) = (at(place(first) + away), at(place(first) - away - 1));
                assert!(probability(from) > threshold, "{threshold}: {from:e}");
                assert!(probability(below) <= threshold, "{threshold}: {below:e}");
            }
        }
    }

    #[test]
    fn thresholds_at_the_ends() {
        // Half is the probability of scores around 0 too, not of 0 alone.
        let first = first_above(0.5, true);
        assert!(first > 0.0 && probability(first) > 0.5 && probability(first.next_down()) == 0.5);
        assert!(first_above(1.0, true).is_nan() && first_above(f32::NAN, true).is_nan());
        assert_eq!(first_above(-0.5, true), f32::NEG_INFINITY);
        assert_eq!(first_above(0.0, true), -88.722_83);
        assert_eq!(first_above(0.5, false), 0.5f32.next_up());
        assert_eq!(first_above(-0.0, false), f32::from_bits(1));
        assert_eq!(first_above(f32::MAX, false), f32::INFINITY);
        assert!(first_above(f32::INFINITY, false).is_nan());
        for value in [f32::NEG_INFINITY, -1.0, -0.0, 0.0, f32::MIN_POSITIVE, f32::INFINITY] {
            assert_eq!(at(place(value)).to_bits(), value.to_bits());
        }
    }
}
