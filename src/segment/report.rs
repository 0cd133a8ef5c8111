//! What a job did, and how fast.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// What a job did, and how fast. `--report FILE.json` writes it as JSON with these names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// glebe's version.
    pub glebe: String,
    /// ONNX Runtime's version.
    pub onnxruntime: String,
    /// The model file, where it came from one.
    #[serde(serialize_with = "shown")]
    pub model: Option<PathBuf>,
    /// The raster file, where there was one.
    #[serde(serialize_with = "shown")]
    pub input: Option<PathBuf>,
    /// The file written, where there was one.
    #[serde(serialize_with = "shown")]
    pub output: Option<PathBuf>,
    /// The raster's width in pixels.
    pub width: usize,
    /// The raster's height in pixels.
    pub height: usize,
    /// Pixels of the raster.
    pub pixels: u64,
    /// The map's width and height in pixels; other than the raster's for models of another output scale.
    pub map_size: [usize; 2],
    /// Bands read, from 1; empty for arrays.
    pub bands: Vec<u32>,
    /// `(x / scale − mean) / std`: divisors used.
    pub scale: Vec<f64>,
    /// Means used.
    pub mean: Vec<f64>,
    /// Standard deviations used.
    pub std: Vec<f64>,
    /// Tiles in the plan.
    pub tiles: u64,
    /// Tiles among them that hold no valid pixel and were not run.
    pub tiles_skipped: u64,
    /// Tiles among them that an interrupted job had done; in the order in which they come.
    pub tiles_resumed: u64,
    /// Tiles computed, with those that two lanes share.
    pub tiles_computed: u64,
    /// Lanes of tile columns that the raster was gone through in, to bound the memory.
    pub lanes: usize,
    /// Runs of the model.
    pub batches: u64,
    /// Tiles a run.
    pub batch: usize,
    /// Tile side in pixels of the model's input; the width where `tile_height` differs.
    pub tile: usize,
    /// Tile height in pixels of the model's input.
    pub tile_height: usize,
    /// What neighbouring tiles share along x, in pixels of the model's input.
    pub overlap: usize,
    /// The same along y.
    pub overlap_height: usize,
    /// How overlapping tiles became one map.
    pub blend: String,
    /// Why so: what was asked for, or what the network allows.
    pub blend_reason: String,
    /// Pixels computed for one of the map: 1 where none is computed twice.
    pub recomputed: f64,
    /// What the model saw past the raster's edge.
    pub padding: String,
    /// What was written: `classes`, `probabilities`, `logits`.
    pub product: String,
    /// How the output became probabilities.
    pub activation: String,
    /// Number of classes.
    pub classes: usize,
    /// Pixels of each class; `null` where no classes are written.
    pub class_pixels: Option<Vec<u64>>,
    /// Pixels written as nodata; `null` where no classes are written.
    pub nodata_pixels: Option<u64>,
    /// Sample type written.
    pub data_type: String,
    /// What invalid pixels got; `null` stands for NaN.
    pub nodata: f64,
    /// Where the model ran.
    pub provider: String,
    /// Threads of the model.
    pub threads: usize,
    /// How precisely the model computed: `model`, `fp16`.
    pub precision: String,
    /// Share of equal labels with those of the model as it is, over the pixels with data of the first batches; `null` where
    /// nothing was compared.
    pub label_agreement: Option<f64>,
    /// Pixels that were compared.
    pub label_pixels: u64,
    /// What the model's graph did of the work around it: `nothing`, `samples`, `samples and classes`.
    pub fused: String,
    /// Batches at the model at the same time.
    pub in_flight: usize,
    /// Seconds from the start of the job to the finished output.
    pub wall_s: f64,
    /// Seconds until the first tile: preparing the model for its provider, choosing tiles.
    pub setup_s: f64,
    /// Seconds in which the model was at work. The next four went on at the same time, each on a thread of its own.
    pub model_s: f64,
    /// Seconds reading and decoding.
    pub read_s: f64,
    /// Seconds normalising.
    pub prepare_s: f64,
    /// Seconds deciding and blending.
    pub place_s: f64,
    /// Seconds staging finished blocks.
    pub write_s: f64,
    /// Seconds making the file of them, and reading it back.
    pub finish_s: f64,
    /// The stage that was busy longest while tiles were scored: `model`, `reading`, `placing`, `writing`.
    pub bottleneck: String,
    /// How busy each stage was.
    pub busy: Busyness,
    /// `model_s` of `wall_s`.
    pub model_share: f64,
    /// Pixels decoded over those of the raster; `null` for arrays and for jobs that were resumed.
    pub read_amplification: Option<f64>,
    /// Bytes decoded; `null` for arrays.
    pub bytes_read: Option<u64>,
    /// Bytes of the file written; `null` where there is none.
    pub bytes_written: Option<u64>,
    /// Bytes that the job's data might take, in MiB.
    pub memory_budget_mib: f64,
    /// Bytes that they were expected to take at most, in MiB.
    pub memory_predicted_mib: f64,
    /// Raster megapixels a second of `wall_s`, of the share of tiles that no interrupted job had done.
    pub mpx_per_s: f64,
    /// Largest resident set of the process so far, in MiB; `null` where the system does not tell.
    pub peak_rss_mib: Option<f64>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Shares of the time in which tiles were scored, 0 to 1: how long each stage was at work.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Busyness {
    /// Reading, decoding, normalising.
    pub reading: f64,
    /// The model.
    pub model: f64,
    /// Deciding and blending.
    pub placing: f64,
    /// Staging finished blocks.
    pub writing: f64,
}

/// A path as it is shown: one that is no UTF-8 would leave nothing of the whole report.
fn shown<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

impl Report {
    /// Shares of the classes among the valid pixels, in per cent, and of the invalid pixels among all; `None` where
    /// no classes are written.
    /// A class without one in `names` appears by its number.
    pub fn class_shares(&self, names: &[String]) -> Option<String> {
        let classes = self.class_pixels.as_ref()?;
        let valid: u64 = classes.iter().sum();
        let invalid = self.nodata_pixels.unwrap_or(0);
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        let mut shares: Vec<String> = classes
            .iter()
            .enumerate()
            .filter(|(_, pixels)| **pixels > 0)
            .map(|(class, pixels)| {
                let name = names.get(class).map_or_else(|| class.to_string(), Clone::clone);
                format!("{name}: {:.1} %", percent(*pixels, valid))
            })
            .collect();
        if invalid > 0 {
            shares.push(format!("nodata: {:.1} % of all", percent(invalid, valid + invalid)));
        }
        Some(shares.join(", "))
    }

    /// The report as a JSON object with line breaks.
    pub fn to_json(&self) -> String {
        // Plain numbers, strings and lists: serialising cannot fail, and NaN becomes null.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}
