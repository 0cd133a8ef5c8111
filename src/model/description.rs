//! A model file as JSON.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::model::Contract;
use crate::onnx::{Document, Facts, ReceptiveField};

/// What a model file is and whether it can score rasters: the object of `glebe inspect --json`.
///
/// # Errors
/// As [`Document::fingerprint`].
pub fn describe(
    document: &Document,
    facts: &Facts,
    contract: Result<&Contract, &Error>,
    path: Option<&Path>,
) -> Result<Value> {
    let mut value =
        serde_json::to_value(facts).map_err(|error| Error::internal("cannot write JSON").caused_by(error))?;
    let Some(object) = value.as_object_mut() else { return Ok(value) };
    object.insert("kind".into(), json!("model"));
    object.insert("file".into(), json!(path.map(Path::to_string_lossy)));
    object.insert("fingerprint".into(), json!(document.fingerprint()?));
    // Whether it can score rasters is a fact about a model, not a fault of the file.
    object.insert("can_segment".into(), json!(contract.is_ok()));
    object.insert("problem".into(), json!(contract.err().map(Error::one_line)));
    if let Ok(contract) = contract {
        let normalisation = contract.normalisation();
        object.insert(
            "contract".into(),
            json!({
                "input": contract.input(),
                "output": contract.output(),
                "batch": contract.batch(),
                "channels": contract.channels(),
                "tile": [contract.tile().1, contract.tile().0],
                "has_activation": contract.has_activation(),
                "bands": contract.bands().map(|bands| bands.iter().map(|band| band.number()).collect::<Vec<_>>()),
                "scale": normalisation.scale(),
                "mean": normalisation.mean(),
                "std": normalisation.std(),
                "class_names": contract.class_names(),
            }),
        );
        let field = ReceptiveField::of(document, Some(contract.output()), contract.likely_channels());
        object.insert("locality".into(), locality(&field));
    }
    Ok(value)
}

/// What is known of the output's dependence on the tile; `problem` says why nothing is.
fn locality(field: &Result<ReceptiveField>) -> Value {
    match field {
        Ok(field) => json!({
            "is_local": field.is_local(),
            "rows": field.rows,
            "columns": field.columns,
            "whole_tile": field.whole,
        }),
        Err(error) => json!({ "is_local": null, "problem": error.one_line() }),
    }
}
