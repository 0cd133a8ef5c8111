//! Options of what a model is fed, for all commands that score rasters or say it in a model's metadata.

use clap::Args;
use glebe::geometry::Band;

/// Bands and normalisation: the model is fed (x / scale - mean) / std.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct NormalisationArguments {
    /// Bands in the order of the model's channels, from 1: 1,2,3 [default: the model's metadata, else all but alpha]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) bands: Option<Vec<Band>>,

    /// Divisor of the samples: one value or one a band [default: the model's metadata, else 1]
    #[arg(long, value_delimiter = ',', value_name = "LIST", allow_hyphen_values = true)]
    pub(crate) scale: Option<Vec<f64>>,

    /// Mean, taken off after scaling: one value or one a band [default: the model's metadata, else 0]
    #[arg(long, value_delimiter = ',', value_name = "LIST", allow_hyphen_values = true)]
    pub(crate) mean: Option<Vec<f64>>,

    /// Standard deviation, divided by last: one value or one a band [default: the model's metadata, else 1]
    #[arg(long, value_delimiter = ',', value_name = "LIST", allow_hyphen_values = true)]
    pub(crate) std: Option<Vec<f64>>,
}
