//! From raw samples to the values that the network was trained on.

use half::f16;

use super::{Chain, Fusion, cast_to, dims, element, fixed, float, set_element};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::edit::Edit;
use crate::onnx::proto::TensorProto;
use crate::tensor::DataType;

/// Lets the graph take raw samples and normalise them.
pub(super) fn feed(edit: &mut Edit, output: &str, fusion: &Fusion) -> Result<()> {
    let opset = edit.opset(11, "feeding raw samples")?;
    let mut port = edit.only_input()?.clone();
    let name = port.name.clone();
    let wanted = float(&port)?;
    let unsupported = |message: String| Error::new(ErrorKind::ModelUnsupported, message).at_tensor(&name);
    if name == output {
        return Err(unsupported("the output is the input itself".into()));
    }
    let shape = dims(&mut port).map(|dims| &*dims);
    if let Some(shape) = shape
        && shape.len() != 4
    {
        return Err(unsupported(format!("expected an input [N, C, H, W], got {} axes", shape.len())));
    }
    let bands = shape.and_then(|shape| fixed(&shape[1]));
    let greatest = check(fusion, bands).map_err(|error| match error.kind() {
        ErrorKind::Mismatch => error.at_tensor(&name),
        _ => error,
    })?;

    let normalised = edit.fresh(&format!("{name}_normalised"));
    edit.rename(&name, &normalised);
    let mut chain = Chain { edit, nodes: Vec::new() };
    let mut value = name.clone();
    let mut steps = vec![("Cast", None)];
    for (op_type, what, values, nothing) in [
        ("Div", "scale", &fusion.scale, 1.0f32),
        ("Sub", "mean", &fusion.mean, 0.0),
        ("Div", "std", &fusion.std, 1.0),
    ] {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        if values.iter().any(|value| value.to_bits() != nothing.to_bits()) {
            let tensor = TensorProto::from_f32("", &[1, values.len() as i64, 1, 1], &values);
            steps.push((op_type, Some(chain.constant(&format!("{name}_{what}"), tensor))));
        }
    }
    let largest = f16::MAX.to_f32();
    if wanted == ElementType::Float16 {
        if greatest > largest {
            steps.push(("Clip", None));
        }
        steps.push(("Cast", None));
        steps.push(("Split", None));
    }
    let last = steps.len() - 1;
    for (at, (op_type, constant)) in steps.into_iter().enumerate() {
        let made =
            if at == last { normalised.clone() } else { chain.edit.fresh(&format!("{name}_step_{at}")) };
        let ends: [String; 2];
        let (inputs, attributes) = match (op_type, &constant) {
            ("Cast", _) => {
                let to = if at == 0 { ElementType::Float32 } else { ElementType::Float16 };
                (vec![value.as_str()], vec![cast_to(to)])
            }
            ("Split", _) => (vec![value.as_str()], Chain::one_part(opset)),
            (_, Some(constant)) => (vec![value.as_str(), constant.as_str()], Vec::new()),
            _ => {
                ends = [("least", -largest), ("most", largest)].map(|(what, end)| {
                    chain.constant(&format!("{name}_{what}"), TensorProto::from_f32("", &[], &[end]))
                });
                (vec![value.as_str(), ends[0].as_str(), ends[1].as_str()], Vec::new())
            }
        };
        chain.node_to(op_type, &inputs, attributes, &[&made]);
        value = made;
    }
    let nodes = std::mem::take(&mut chain.nodes);
    edit.graph.node.splice(0..0, nodes);
    edit.graph.value_info.retain(|value| value.name != name);
    for input in edit.graph.input.iter_mut().filter(|input| input.name == name) {
        set_element(input, element(fusion.samples));
    }
    Ok(())
}

/// Checks the numbers. Gives the greatest magnitude that a sample can become.
fn check(fusion: &Fusion, bands: Option<i64>) -> Result<f32> {
    let (low, high) = match fusion.samples {
        DataType::U8 => (0.0f32, f32::from(u8::MAX)),
        DataType::U16 => (0.0, f32::from(u16::MAX)),
        DataType::I16 => (f32::from(i16::MIN), f32::from(i16::MAX)),
        other => {
            let message = format!("raw samples of {other}: expected uint8, uint16 or int16");
            return Err(Error::invalid(message));
        }
    };
    let lists = [("scale", &fusion.scale), ("mean", &fusion.mean), ("std", &fusion.std)];
    let longest = lists.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    for (what, values) in lists {
        if values.is_empty() || (values.len() != 1 && values.len() != longest) {
            let message =
                format!("{what}: expected 1 value or one for each of {longest} bands, got {}", values.len());
            return Err(Error::invalid(message));
        }
    }
    if let Some(bands) = bands
        && longest > 1
        && longest as i64 != bands
    {
        let message = format!("the model expects {bands} bands, got a normalisation of {longest}");
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let at =
        |values: &[f64], band: usize| values.get(band).or(values.first()).map_or(0.0, |value| *value as f32);
    let mut greatest = 0f32;
    for band in 0..longest {
        let (scale, mean, std) = (at(&fusion.scale, band), at(&fusion.mean, band), at(&fusion.std, band));
        // The formula rises or falls throughout, so all between is finite where its ends are.
        for sample in [low, high] {
            let value = (sample / scale - mean) / std;
            if scale == 0.0 || std == 0.0 || !value.is_finite() || !scale.is_finite() || !std.is_finite() {
                let message = format!(
                    "scale {scale}, mean {mean}, std {std}: expected finite numbers that make finite ones of {}",
                    fusion.samples
                );
                return Err(Error::invalid(message));
            }
            greatest = greatest.max(value.abs());
        }
    }
    Ok(greatest)
}
