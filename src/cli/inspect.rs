//! `glebe inspect`: what a file is and what it needs.

use std::io::Read as _;
use std::path::Path;

use glebe::model::{Contract, describe};
use glebe::onnx::{Dim, Document, Facts, Limits, Port, ReceptiveField};
use glebe::raster::{Mask, OpenOptions, Raster, RasterInfo};
use glebe::weights::checkpoint::{Checkpoint, Container};
use glebe::weights::description;
use glebe::{Error, Result};
use serde_json::json;

use crate::args::{Arguments, InspectArguments};
use crate::out::printable;
use crate::preflight::Report;
use crate::table::Table;

pub(crate) fn run(arguments: &InspectArguments, all: &Arguments) -> Result<()> {
    let path = &arguments.file;
    // A pipe would have everyone wait who looks into it.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(
            Error::invalid("is not a regular file: expected a model, checkpoint or raster").at_path(path)
        );
    }
    if looks_like_checkpoint(path)? {
        if arguments.training.params.is_some() {
            return Err(Error::invalid("a checkpoint is no network: --params is for models").at_path(path));
        }
        if arguments.seams.raster.is_some() {
            return Err(Error::invalid("a checkpoint is no network: --seams is for models").at_path(path));
        }
        return checkpoint_facts(&Checkpoint::open(path)?, arguments.json);
    }
    if looks_like_raster(path)? {
        if arguments.training.params.is_some() {
            return Err(Error::invalid("a raster has nothing to train: --params is for models").at_path(path));
        }
        if arguments.seams.raster.is_some() {
            let message =
                "a raster has no seams of its own: --seams is for models, glebe inspect MODEL --seams RASTER";
            return Err(Error::invalid(message).at_path(path));
        }
        let open =
            arguments.drivers.iter().fold(OpenOptions::default(), |open, driver| open.with_driver(driver));
        let raster = Raster::open(path, &open)?;
        return raster_facts(raster.info(), arguments.json);
    }
    if let Some(raster) = &arguments.seams.raster {
        return arguments.seams.run(path, raster, &arguments.drivers, arguments.json, all);
    }
    let document = Document::open(path, &Limits::default())?;
    if arguments.training.params.is_some() {
        return training_facts(path, &document, arguments, all);
    }
    model_facts(path, &document, arguments.json)
}

/// By the first bytes, unless the extension says that it is something else.
fn looks_like_checkpoint(path: &Path) -> Result<bool> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("onnx" | "tif" | "tiff" | "png" | "jpg" | "jpeg" | "jp2" | "vrt") => return Ok(false),
        // What has such a name and is none is told so.
        Some("ckpt" | "pth" | "pt" | "safetensors") => return Ok(true),
        _ if path.is_dir() => return Ok(false),
        _ => {}
    }
    let file = std::fs::File::open(path).map_err(|error| Error::io("open", path, error))?;
    let mut head = Vec::new();
    file.take(64).read_to_end(&mut head).map_err(|error| Error::io("read", path, error))?;
    Ok(Container::of_head(&head).is_some())
}

fn checkpoint_facts(checkpoint: &Checkpoint, as_json: bool) -> Result<()> {
    if as_json {
        return crate::out::line(format_args!("{:#}", description::describe(checkpoint)));
    }
    let tensors = checkpoint.tensors();
    let parameters: usize = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    let origin = checkpoint.origin();
    let mut table = Table::default();
    table.row("file", checkpoint.path().display());
    table.row("kind", format!("checkpoint ({}, {})", checkpoint.format(), checkpoint.container()));
    let message = origin.message();
    if !message.is_empty() {
        table.row("when loaded", printable(&message));
    }
    for (name, value) in origin.values() {
        table.row(name, printable(&value.to_string()));
    }
    for key in checkpoint.keys() {
        table.row("key", format!("{} ({})", key.name.escape_debug(), key.summary));
    }
    table.row("tensors", format!("{} ({parameters} elements)", tensors.len()));
    for tensor in tensors {
        let name = tensor.name.escape_debug();
        table.row("tensor", format!("{name} {} {:?}", tensor.element, tensor.shape));
    }
    for other in checkpoint.others() {
        table.row("other", format!("{} ({})", other.name.escape_debug(), other.summary));
    }
    table.print()
}

/// By the extension, and without a telling one by the first bytes.
fn looks_like_raster(path: &Path) -> Result<bool> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("onnx") => return Ok(false),
        Some("tif" | "tiff" | "png" | "jpg" | "jpeg" | "jp2" | "vrt") => return Ok(true),
        _ => {}
    }
    if path.is_dir() {
        return Err(Error::invalid("is a folder: expected a model or raster file").at_path(path));
    }
    let mut file = std::fs::File::open(path).map_err(|error| Error::io("open", path, error))?;
    let mut head = [0u8; 4];
    let length = file.read(&mut head).map_err(|error| Error::io("read", path, error))?;
    let head = &head[..length];
    Ok([&b"II"[..], b"MM", b"\x89PNG", b"\xff\xd8"].iter().any(|magic| head.starts_with(magic)))
}

/// What training the model would mean, and what the file is beside it in JSON. Where it cannot be trained so, that is an
/// error behind the report.
fn training_facts(
    path: &Path,
    document: &Document,
    arguments: &InspectArguments,
    all: &Arguments,
) -> Result<()> {
    let facts = Facts::of(document);
    let report = Report::of(path, document, &facts, &arguments.training, all)?;
    if arguments.json {
        let contract = Contract::of(document, &facts, None);
        let mut value = describe(document, &facts, contract.as_ref(), Some(path))?;
        if let Some(object) = value.as_object_mut() {
            object.insert("training".into(), report.json()?);
        }
        crate::out::line(format_args!("{value:#}"))?;
    } else {
        report.print(path, all.verbose > 0)?;
    }
    report.checked(path)
}

fn model_facts(path: &Path, document: &Document, as_json: bool) -> Result<()> {
    let facts = Facts::of(document);
    // Whether it can score rasters is a fact about a model, not a fault of the file.
    let contract = Contract::of(document, &facts, None);
    if as_json {
        let value = describe(document, &facts, contract.as_ref(), Some(path))?;
        crate::out::line(format_args!("{value:#}"))?;
        return Ok(());
    }
    let mut table = Table::default();
    table.row("file", path.display());
    table.row("kind", "ONNX model");
    for (name, ports) in [("input", &facts.inputs), ("output", &facts.outputs)] {
        for port in ports {
            table.row(name, shown(port));
        }
    }
    let opsets: Vec<_> = facts.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    table.row("opset", opsets.join(", "));
    table.row("ir version", facts.ir_version);
    table.row("producer", format!("{} {}", facts.producer_name, facts.producer_version).trim());
    table.row("parameters", format!("{} ({} bytes)", facts.parameters, facts.parameter_bytes));
    let operators: Vec<_> = facts.operators.iter().map(|(name, count)| format!("{name} {count}")).collect();
    table.row("nodes", format!("{} ({})", facts.nodes, operators.join(", ")));
    if facts.external_data {
        table.row("weights", "in other files of the folder");
    }
    for (key, value) in &facts.metadata {
        table.row(format!("metadata {key}"), value);
    }
    match &contract {
        Ok(contract) => {
            table.row("scores rasters", "yes");
            if !contract.normalisation().is_identity() {
                let n = contract.normalisation();
                table.row("normalisation", format!("(x / {:?} - {:?}) / {:?}", n.scale(), n.mean(), n.std()));
            }
            if let Some(names) = contract.class_names() {
                table.row("classes", names.join(", "));
            }
            let field = ReceptiveField::of(document, Some(contract.output()), contract.likely_channels());
            locality(&mut table, &field);
        }
        Err(error) => {
            table.row("scores rasters", format!("no: {}", error.one_line()));
        }
    }
    table.print()
}

/// What an output depends on.
fn locality(table: &mut Table, field: &Result<ReceptiveField>) {
    let field = match field {
        Ok(field) => field,
        Err(error) => {
            table.row("receptive field", format!("unknown: {}", printable(&error.one_line())));
            return;
        }
    };
    if let (Some(rows), Some(columns)) = (&field.rows, &field.columns) {
        let seen = format!(
            "{} pixels above, {} below, {} left, {} right",
            rows.before, rows.after, columns.before, columns.after
        );
        let more = if field.is_local() { "" } else { ", and the whole tile" };
        table.row("receptive field", format!("{seen}{more}"));
        table.row("stride", format!("{} x {} pixels (height x width)", rows.stride, columns.stride));
        table
            .row("scale", format!("{} of the output for {} of the input", rows.output_step, rows.input_step));
    }
    if field.is_local() {
        table.row("local", "yes: tiles can be exact (--blend exact)");
        return;
    }
    let whole = field.whole.iter().map(|own| format!("{} {}", own.node, own.reason));
    let nodes = whole.collect::<Vec<_>>().join("\n");
    table.row(
        "local",
        format!("no: of its nodes\n{}", nodes.lines().map(printable).collect::<Vec<_>>().join("\n")),
    );
}

fn shown(port: &Port) -> String {
    let shape = match &port.shape {
        None => "shape unknown".into(),
        Some(dims) => format!("[{}]", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ")),
    };
    format!("{} {} {shape}", port.name, port.r#type)
}

fn raster_facts(info: &RasterInfo, as_json: bool) -> Result<()> {
    if as_json {
        let mut value = serde_json::to_value(info)
            .map_err(|error| Error::internal("cannot write JSON").caused_by(error))?;
        if let Some(object) = value.as_object_mut() {
            object.insert("kind".into(), json!("raster"));
        }
        crate::out::line(format_args!("{value:#}"))?;
        return Ok(());
    }
    let mut table = Table::default();
    table.row("file", info.path.display());
    table.row("kind", format!("raster ({})", info.driver));
    table.row("size", info.size);
    for (index, band) in info.bands.iter().enumerate() {
        let mut text = format!("{} {}", band.data_type, band.color_interpretation);
        if let Some(nodata) = band.nodata {
            text.push_str(&format!(", nodata {nodata}"));
        }
        match band.mask {
            Mask::Dataset | Mask::Band => text.push_str(", mask"),
            Mask::Alpha => text.push_str(", alpha"),
            _ => {}
        }
        text.push_str(&format!(", blocks of {}", band.block));
        table.row(format!("band {}", index + 1), text);
    }
    match info.georeference.transform {
        Some(t) => {
            table.row("origin", format!("{}, {}", t[0], t[3]));
            if t[2] == 0.0 && t[4] == 0.0 {
                table.row("pixel", format!("{} x {}", t[1], t[5]));
            } else {
                // One step along x, one along y.
                table.row("pixel", format!("{} x {}, rotated", t[1].hypot(t[4]), t[2].hypot(t[5])));
                table.row("transform", format!("{t:?}"));
            }
        }
        None => {
            table.row("georeferencing", "none");
        }
    }
    if let Some(crs) = &info.georeference.crs_wkt {
        let name = crs.split('"').nth(1).unwrap_or("unnamed");
        table.row("crs", name);
    }
    table.print()
}
