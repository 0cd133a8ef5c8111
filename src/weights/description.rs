//! What a checkpoint is, for programs.

use serde_json::{Map, Value, json};

use crate::weights::checkpoint::{Checkpoint, StoredTensor, TopKey};
use crate::weights::message::Scalar;

/// What `glebe inspect CHECKPOINT --json` prints: an object with `file`, `kind` ("checkpoint"), `format`, `container`,
/// `message` (the line that is logged when it is loaded), `origin`, `keys`, `elements`, `tensors` and `others`.
pub fn describe(checkpoint: &Checkpoint) -> Value {
    let tensors = checkpoint.tensors();
    let elements: usize = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    let listed = |keys: &[TopKey]| -> Vec<Value> {
        keys.iter().map(|key| json!({ "name": key.name, "summary": key.summary })).collect()
    };
    let tensor = |tensor: &StoredTensor| json!({ "name": tensor.name, "shape": tensor.shape, "type": tensor.element.to_string() });
    let origin: Map<String, Value> =
        checkpoint.origin().values().map(|(name, value)| (name.to_owned(), scalar(value))).collect();
    json!({
        "file": checkpoint.path().display().to_string(),
        "kind": "checkpoint",
        "format": checkpoint.format().name(),
        "container": checkpoint.container().name(),
        "message": checkpoint.origin().message(),
        "origin": origin,
        "keys": listed(checkpoint.keys()),
        "elements": elements,
        "tensors": tensors.iter().map(tensor).collect::<Vec<_>>(),
        "others": listed(checkpoint.others()),
    })
}

fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::None => Value::Null,
        Scalar::Bool(value) => json!(value),
        Scalar::Int(value) => {
            i64::try_from(*value).map_or_else(|_| json!(value.to_string()), |value| json!(value))
        }
        Scalar::Float(value) => json!(value),
        other => json!(other.to_string()),
    }
}
