//! `glebe inspect MODEL --seams RASTER`: how much a map depends on its tiles.

use std::path::{Path, PathBuf};

use clap::Args;
use glebe::Result;
use glebe::model::{Model, ModelOptions};
use glebe::raster::OpenOptions;
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::{FileOptions, Seams, SegmentOptions, Segmenter, Tiling};
use glebe::tiling::{Blend, Overlap};

use crate::args::Arguments;
use crate::interrupt;
use crate::normalisation::NormalisationArguments;
use crate::scoring::{Tile, tile};
use crate::table::Table;

/// Which raster, and how it is scored.
#[derive(Debug, Args)]
#[command(next_help_heading = "Seams")]
pub(crate) struct SeamArguments {
    /// Scores the middle of a raster with two tilings, and prints how far the probabilities and the classes are apart
    #[arg(long = "seams", value_name = "RASTER", conflicts_with = "params")]
    pub(crate) raster: Option<PathBuf>,

    /// How tiles become a map, as of segment
    #[arg(long, default_value_t, value_name = "MODE", requires = "raster")]
    blend: Blend,

    /// Tile in pixels: 512 or 512x256 (width x height), or auto
    #[arg(long, value_name = "PIXELS", default_value = "auto", value_parser = tile, requires = "raster")]
    tile: Tile,

    /// What neighbouring tiles share, in pixels or per cent of the tile
    #[arg(long, default_value = "25%", value_name = "PIXELS", requires = "raster")]
    overlap: Overlap,

    #[command(flatten)]
    normalisation: NormalisationArguments,
}

impl SeamArguments {
    /// Scores and prints.
    pub(crate) fn run(
        &self,
        model: &Path,
        raster: &Path,
        drivers: &[String],
        as_json: bool,
        all: &Arguments,
    ) -> Result<()> {
        let token = interrupt::token()?;
        let mut runtime = RuntimeOptions::default();
        if let Some(path) = &all.runtime {
            runtime = runtime.library(path);
        }
        let model = Model::open(&Runtime::load(&runtime)?, model, &ModelOptions::default())?;
        let mut options = SegmentOptions::default();
        (options.blend, options.tile, options.overlap) = (self.blend, self.tile.0, self.overlap);
        options.bands.clone_from(&self.normalisation.bands);
        options.scale.clone_from(&self.normalisation.scale);
        options.mean.clone_from(&self.normalisation.mean);
        options.std.clone_from(&self.normalisation.std);
        let mut files = FileOptions::default();
        files.open = drivers.iter().fold(OpenOptions::default(), |open, name| open.with_driver(name));
        let found = Segmenter::new(&model, options)?.cancel_with(&token).seams(raster, &files)?;
        if as_json {
            let cannot = |error| glebe::Error::internal("cannot write JSON").caused_by(error);
            return crate::out::line(serde_json::to_string_pretty(&found).map_err(cannot)?);
        }
        show(&found)
    }
}

fn show(found: &Seams) -> Result<()> {
    let [x, y, width, height] = found.sample;
    let tiling = |own: &Tiling| {
        let ([width, height], [across, down]) = (own.tile, own.overlap);
        let plural = if own.tiles == 1 { "" } else { "s" };
        format!(
            "{} tile{plural} of {width} x {height} that share {across} x {down}, {}",
            own.tiles, own.blend
        )
    };
    let apart = &found.differences;
    let mut table = Table::default();
    table.row("sample", format!("{width} x {height} pixels at ({x}, {y}), {} with data", apart.pixels));
    table.row("tiling 1", tiling(&found.tilings[0]));
    table.row("tiling 2", tiling(&found.tilings[1]));
    table.row(
        "probabilities",
        format!("differ by {:.2e} at most, {:.2e} in the mean", apart.max_difference, apart.mean_difference),
    );
    table.row("classes", format!("differ at {:.4} % of the pixels", 100.0 * apart.disagreement));
    table.print()
}
