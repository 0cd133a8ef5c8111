//! Where the frozen part of a model ends: what it gives is the same in every epoch.

use std::collections::HashSet;

use crate::autodiff::compile::{Prepared, prepare};
use crate::autodiff::{BatchNorm, StepOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::Document;
use crate::onnx::graph::{Graph, ValueId};

/// A value that the frozen part hands to the trained one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    /// Its name, in both graphs.
    pub(crate) name: String,
    /// Its shape for one image, `[1, ...]`.
    pub(crate) shape: Vec<usize>,
}

/// A model cut in two where the frozen part ends.
#[derive(Debug)]
pub(crate) struct Cut {
    /// From one image `[1, C, H, W]` to the features, frozen.
    pub(crate) frozen: Graph,
    /// What the frozen part gives and the trained part takes, in order.
    pub(crate) features: Vec<Feature>,
    /// The trained part, whose inputs are the features of all images of a batch.
    pub(crate) prepared: Prepared,
}

/// Cuts the model of `document` at the last values that no trained tensor has a part in.
///
/// # Errors
/// As [`prepare`]; `InvalidArgument` where the trained part begins at the image; `NotSupported` with batch statistics,
/// and where a feature mixes the images of a batch.
pub(crate) fn cut(document: &Document, options: &StepOptions) -> Result<Cut> {
    let refused =
        |message: &str| Error::new(ErrorKind::NotSupported, format!("no features can be kept: {message}"));
    if options.batch_norm == BatchNorm::Train {
        return Err(refused("with batch statistics they depend on the other images of a batch"));
    }
    let whole = prepare(document, options)?;
    let alone = match prepare(document, &StepOptions { batch: 1, ..options.clone() }) {
        Err(error) if error.kind() == ErrorKind::Mismatch && options.batch > 1 => {
            let message = format!(
                "they are computed image by image, and the file fixes a batch of {}: export it with a free batch axis",
                options.batch
            );
            return Err(refused(&message).caused_by(error));
        }
        other => other?.graph,
    };
    let image = *whole.graph.inputs().first().ok_or_else(|| Error::internal("a model without input"))?;
    let targets: Vec<ValueId> = whole.chosen.iter().map(|&index| whole.parameters[index].id).collect();
    let frontier = frontier(&whole.graph, image, &targets);
    if frontier == [image] {
        return Err(Error::invalid(
            "no features can be kept: the trained part begins at the image, train parameters after it only",
        ));
    }
    let prepared = after(whole, &frontier, &targets)?;
    let mut features = Vec::with_capacity(frontier.len());
    let mut outputs = Vec::with_capacity(frontier.len());
    for &id in prepared.graph.inputs() {
        let (name, shape) = (prepared.graph.name(id), prepared.graph.shape(id));
        let own =
            alone.find(name).ok_or_else(|| refused(&format!("{name:?} is not there for a single image")))?;
        let one = alone.shape(own);
        if shape.first() != Some(&options.batch) || one.first() != Some(&1) || one[1..] != shape[1..] {
            return Err(refused(&format!("{name:?} {shape:?} mixes the images of a batch")));
        }
        features.push(Feature { name: name.to_owned(), shape: one.to_vec() });
        outputs.push(own);
    }
    let mut frozen = alone;
    frozen.set_outputs(outputs);
    Ok(Cut { frozen, features, prepared })
}

/// The values that follow from the image and from no trained tensor, and that something uses which follows from one.
fn frontier(graph: &Graph, image: ValueId, targets: &[ValueId]) -> Vec<ValueId> {
    let (of_image, trained) = (graph.depends_on(&[image]), graph.depends_on(targets));
    let mut found = Vec::new();
    for index in graph.needed_for(graph.outputs()) {
        let node = &graph.nodes()[index];
        let is_trained = node.outputs.iter().flatten().any(|id| trained[id.index()]);
        for &id in node.inputs.iter().flatten() {
            if is_trained && of_image[id.index()] && !trained[id.index()] && !found.contains(&id) {
                found.push(id);
            }
        }
    }
    // An output without a trained tensor, as an auxiliary head may be, is a feature itself.
    for &id in graph.outputs() {
        if !trained[id.index()] && !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

/// The part behind the frontier, with inputs in its place.
fn after(whole: Prepared, frontier: &[ValueId], targets: &[ValueId]) -> Result<Prepared> {
    let Prepared { graph, mut parameters, chosen, adapters } = whole;
    let (of_image, trained) = (graph.depends_on(graph.inputs()), graph.depends_on(targets));
    let cut: HashSet<ValueId> = frontier.iter().copied().collect();
    let (mut new, map) = graph.rebuild(|rebuild, _, node| {
        let is_after = node.outputs.iter().flatten().any(|id| trained[id.index()] || !of_image[id.index()]);
        if is_after {
            return rebuild.keep(node);
        }
        let made = node.outputs.iter().map(|output| {
            let id = output.filter(|id| cut.contains(id))?;
            Some(rebuild.new.add_input(graph.name(id), graph.kind(id).clone()))
        });
        Ok(made.collect())
    })?;
    new.drop_unused_inputs();
    for own in &mut parameters {
        own.id = map.get(own.id).ok_or_else(|| Error::internal(format!("{:?} is lost", own.name)))?;
    }
    if new.inputs().len() != frontier.len() {
        return Err(Error::internal("the trained part needs more than its features"));
    }
    Ok(Prepared { graph: new, parameters, chosen, adapters })
}
