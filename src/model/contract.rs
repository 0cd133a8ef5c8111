//! What a model takes and gives.

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Size};
use crate::model::Normalisation;
use crate::model::metadata::Metadata;
use crate::onnx::{Activation, Dim, Document, Facts, Port};

/// What a model takes and gives, as far as its file tells.
///
/// A model can score rasters if it has one input `[N, C, H, W]` of `float32` or `float16`, and an output
/// `[N, C, H, W]` or `[N, H, W]` of either.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    input: String,
    output: String,
    batch: Option<usize>,
    channels: Option<usize>,
    tile: (Option<usize>, Option<usize>),
    declared_output: Option<(usize, Size)>,
    output_channels: Option<usize>,
    has_activation: bool,
    metadata: Metadata,
}

impl Contract {
    /// The contract of a model file, for the output of this name or the first.
    ///
    /// # Errors
    /// [`ErrorKind::ModelUnsupported`] where the model cannot score rasters; [`ErrorKind::InvalidArgument`] for an
    /// unknown output; [`ErrorKind::ModelInvalid`] for metadata that cannot be understood.
    pub fn of(document: &Document, facts: &Facts, output: Option<&str>) -> Result<Contract> {
        let unsupported = |message: String| Error::new(ErrorKind::ModelUnsupported, message);
        let [input] = &facts.inputs[..] else {
            let names: Vec<_> = facts.inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(unsupported(format!(
                "expected a model with one input, got {}{}{}",
                names.len(),
                if names.is_empty() { "" } else { ": " },
                names.join(", ")
            )));
        };
        check_type(input, "input")?;
        let shape = input.shape.as_deref();
        if let Some(shape) = shape
            && shape.len() != 4
        {
            return Err(unsupported(format!("expected an input [N, C, H, W], got {}", shown(shape)))
                .at_tensor(&input.name));
        }
        let fixed = |index: usize| shape.and_then(|shape| dimension(&shape[index]));
        let (batch, channels, height, width) = (fixed(0), fixed(1), fixed(2), fixed(3));
        if [batch, channels, height, width].contains(&Some(0)) {
            return Err(unsupported("the input has a dimension of 0".into()).at_tensor(&input.name));
        }

        let port = match output {
            None => facts.outputs.first().ok_or_else(|| unsupported("the model has no output".into()))?,
            Some(name) => facts.outputs.iter().find(|port| port.name == name).ok_or_else(|| {
                let names: Vec<_> = facts.outputs.iter().map(|port| port.name.as_str()).collect();
                Error::invalid(format!(
                    "the model has no output {name:?}: expected one of {}",
                    names.join(", ")
                ))
            })?,
        };
        let activation = document.final_activation(&port.name)?;
        if activation == Activation::ArgMax {
            return Err(unsupported(
                "the output holds class numbers (ArgMax), not scores: export the model without it".into(),
            )
            .at_tensor(&port.name));
        }
        check_type(port, "output")?;
        let out = port.shape.as_deref();
        if let Some(out) = out
            && !(3..=4).contains(&out.len())
        {
            return Err(unsupported(format!(
                "expected an output [N, C, H, W] or [N, H, W], got {}",
                shown(out)
            ))
            .at_tensor(&port.name));
        }
        let output_channels = out.and_then(|out| match out {
            [_, c, _, _] => dimension(c).filter(|c| *c > 0),
            [_, _, _] => Some(1),
            _ => None,
        });
        let declared = out.and_then(|out| match out {
            [_, c, h, w] => Some((dimension(c)?, Size::new(dimension(w)?, dimension(h)?))),
            [_, h, w] => Some((1, Size::new(dimension(w)?, dimension(h)?))),
            _ => None,
        });
        Ok(Contract {
            input: input.name.clone(),
            output: port.name.clone(),
            batch,
            channels,
            tile: (height, width),
            // Sizes written for a free input are those of the example that it was exported with.
            declared_output: declared
                .filter(|(c, size)| height.is_some() && width.is_some() && *c > 0 && size.pixels() > 0),
            output_channels,
            // Softmax of logarithms of probabilities gives these, so a LogSoftmax counts as raw scores.
            has_activation: matches!(activation, Activation::Softmax | Activation::Sigmoid),
            metadata: Metadata::of(&facts.metadata)?,
        })
    }

    /// The input's name.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The name of the output that is taken.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Tiles a run, where it is fixed.
    pub fn batch(&self) -> Option<usize> {
        self.batch
    }

    /// Channels of the input, where they are fixed.
    pub fn channels(&self) -> Option<usize> {
        self.channels
    }

    /// Height and width of the input, each where it is fixed.
    pub fn tile(&self) -> (Option<usize>, Option<usize>) {
        self.tile
    }

    /// Channels and size of the output, where the file fixes them.
    pub fn declared_output(&self) -> Option<(usize, Size)> {
        self.declared_output
    }

    /// Channels of the output, where the file says: those of an input of any size too.
    pub fn output_channels(&self) -> Option<usize> {
        self.output_channels
    }

    /// Whether the graph turns its scores into probabilities itself.
    pub fn has_activation(&self) -> bool {
        self.has_activation
    }

    /// Bands wanted, in the order of the channels, where the metadata says.
    pub fn bands(&self) -> Option<&[Band]> {
        self.metadata.bands.as_deref()
    }

    /// Normalisation wanted; samples as they are where the metadata says nothing.
    pub fn normalisation(&self) -> &Normalisation {
        &self.metadata.normalisation
    }

    /// Names of the classes, where the metadata says.
    pub fn class_names(&self) -> Option<&[String]> {
        self.metadata.class_names.as_deref()
    }

    /// The tile that the model was trained with, where the metadata says.
    pub fn suggested_tile(&self) -> Option<usize> {
        self.metadata.tile
    }

    /// Bands that it is fed, as far as the file tells: those that it fixes, those that its metadata lists, else 3.
    pub fn likely_channels(&self) -> usize {
        self.channels().or_else(|| self.bands().map(<[Band]>::len)).unwrap_or(3)
    }

    /// Checks that the model takes this many channels.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`].
    pub fn check_channels(&self, channels: usize) -> Result<()> {
        match self.channels {
            Some(wanted) if wanted != channels => Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "the model expects {wanted} bands, got {channels}{}",
                    if channels > wanted { ": choose which by number" } else { "" }
                ),
            )
            .at_tensor(&self.input)),
            _ => Ok(()),
        }
    }
}

fn check_type(port: &Port, what: &str) -> Result<()> {
    if matches!(port.r#type.as_str(), "float32" | "float16") {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ModelUnsupported,
        format!("expected an {what} of float32 or float16, got {}", port.r#type),
    )
    .at_tensor(&port.name))
}

fn dimension(dim: &Dim) -> Option<usize> {
    dim.fixed().and_then(|size| usize::try_from(size).ok())
}

fn shown(shape: &[Dim]) -> String {
    let dims: Vec<_> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}
