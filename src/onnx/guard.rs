//! The guard: nothing of a model file is used before it has passed here.
//!
//! First the bytes (size, sound protobuf, depth, memory of decoding), then the decoded messages (names and order,
//! tensors, external data, produced sizes). A runtime that gets a guarded file still has its own defects; what the
//! guard excludes are files that ask for other files, for absurd amounts of memory, or that two readers could
//! understand in two ways.

use std::path::Path;

use prost::Message;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::limits::Limits;
use crate::onnx::proto::{Bytes, ModelProto};
use crate::onnx::scan::{self, exceeded};
use crate::onnx::sniff;
use crate::onnx::wire::Outline;
use crate::onnx::{order, produced, tensors};

/// How much of a file [`sniff::hint`] wants to see.
const HEAD_BYTES: usize = 1024;

/// Checks and decodes a file; `folder` is where its external data may be, `None` for a file that is only bytes.
///
/// The tensors of the result share the memory of `bytes`.
///
/// # Errors
///
/// * `ModelInvalid` where it is damaged, no ONNX model, or contradicts itself;
/// * `LimitExceeded` where it asks for more than `limits` allow;
/// * `ModelUnsupported` where it is sound and cannot be used;
/// * `NotFound`, `PermissionDenied`, `Io` about files with external data.
pub fn decode(bytes: &Bytes, limits: &Limits, folder: Option<&Path>) -> Result<(ModelProto, Outline)> {
    exceeded("size of the model file in bytes", bytes.len() as u64, limits.file_bytes)?;
    let (model, outline) = parse(bytes, limits).map_err(|error| hinted(error, bytes))?;
    check(&model, limits, folder)?;
    Ok((model, outline))
}

/// Checks a decoded (or built) model, whose depth must be known to be within the limits.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn check(model: &ModelProto, limits: &Limits, folder: Option<&Path>) -> Result<()> {
    let Some(graph) = &model.graph else {
        return Err(invalid("not an ONNX model: it has no graph"));
    };
    if model.ir_version < 1 {
        return Err(invalid(format!(
            "expected a version of the file format of 1 or more, got {}",
            model.ir_version
        )));
    }
    // Before version 3 a file did not say which operator sets it uses.
    if model.ir_version >= 3 && model.opset_import.is_empty() {
        return Err(invalid("it names no operator set"));
    }
    if graph.output.is_empty() {
        return Err(invalid("its graph has no output"));
    }
    order::check(graph)?;
    tensors::check(model, limits, folder)?;
    produced::check(model, limits)
}

fn parse(bytes: &Bytes, limits: &Limits) -> Result<(ModelProto, Outline)> {
    if bytes.is_empty() {
        return Err(invalid("not an ONNX model"));
    }
    scan::scan(bytes, limits)?;
    let outline = Outline::read(bytes)?;
    let model = ModelProto::decode(bytes.clone())
        .map_err(|error| invalid("damaged, or not an ONNX model").caused_by(error))?;
    Ok((model, outline))
}

/// The error with what the file seems to be instead. Only for errors that say that it is no ONNX model.
fn hinted(error: Error, bytes: &[u8]) -> Error {
    match sniff::hint(&bytes[..bytes.len().min(HEAD_BYTES)]) {
        Some(hint) if error.kind() == ErrorKind::ModelInvalid => {
            invalid(format!("not an ONNX model: {hint}"))
        }
        _ => error,
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ModelInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Dim, ElementType, GraphBuilder};

    fn model() -> Vec<u8> {
        let mut graph = GraphBuilder::new("tiny");
        let x =
            graph.input("x", ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(2), "h".into(), "w".into()]);
        let w = graph.initializer_f32("w", &[3, 2, 1, 1], &[0.5; 6]);
        let s = graph.initializer_i64("s", &[1], &[4]);
        let y = graph.node("Conv", &[&x, &w]).ints("pads", &[0; 4]).output("y");
        let z = graph.node("ConstantOfShape", &[&s]).output("z");
        graph.metadata("key", "value");
        graph.output(&y, ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(3), "h".into(), "w".into()]);
        graph.output(&z, ElementType::Float32, &[Dim::Fixed(4)]);
        graph.finish().unwrap()
    }

    fn decode(bytes: Vec<u8>) -> Result<(ModelProto, Outline)> {
        super::decode(&bytes.into(), &Limits::default(), None)
    }

    #[test]
    fn every_prefix_is_an_error_or_a_model() {
        let whole = model();
        assert!(decode(whole.clone()).is_ok());
        let mut refused = 0;
        for end in 0..whole.len() {
            match decode(whole[..end].to_vec()) {
                Ok((model, _)) => assert!(model.graph.is_some()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > whole.len() - 10, "{refused} of {}", whole.len());
    }

    #[test]
    fn mutations_never_panic() {
        let whole = model();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (mut good, mut bad) = (0, 0);
        for round in 0..4000 {
            let mut bytes = whole.clone();
            for _ in 0..=round % 4 {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, [0, 0xff, 0x80, 0x7f][random(4)]),
                }
            }
            match decode(bytes) {
                Ok(_) => good += 1,
                Err(error) => {
                    assert!(!error.one_line().contains('\n'));
                    bad += 1;
                }
            }
        }
        assert!(good > 100 && bad > 1000, "{good} good, {bad} bad");
    }

    #[test]
    fn other_files_get_a_hint() {
        let error = |bytes: &[u8]| decode(bytes.to_vec()).unwrap_err();
        assert!(error(b"").message().contains("the file is empty"));
        assert_eq!(
            error(b"PK\x03\x04\x00\x00\x08\x08").message(),
            "not an ONNX model: looks like a PyTorch file (a zip archive); export it to ONNX"
        );
        assert!(error(b"II*\0\x08\0\0\0").message().contains("model and raster may be swapped"));
        assert_eq!(error(b"hello world\n").kind(), ErrorKind::ModelInvalid);
        let noise: Vec<u8> = (0u32..1000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(error(&noise).kind(), ErrorKind::ModelInvalid);
        assert!(error(&[0x08, 0x07]).message().contains("no graph"));
        assert!(error(&[0x08, 0x07, 0x42, 2, 0x10, 17, 0x3a, 0]).message().contains("no output"));
    }

    #[test]
    fn size_and_unknown_fields() {
        let mut bytes = model();
        let limits = Limits { file_bytes: bytes.len() as u64 - 1, ..Limits::default() };
        let error = super::decode(&bytes.clone().into(), &limits, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        // Field 2000, four bytes: from a later version of the format.
        bytes.extend([0x85, 0x7d, 1, 2, 3, 4]);
        let (_, outline) = decode(bytes.clone()).unwrap();
        assert_eq!(outline.model().last().unwrap().number, 2000);
        assert_eq!(outline.splice(&bytes, &Default::default()).unwrap(), bytes);
    }
}
