//! What a scoring job is asked to do.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::geometry::{Band, Padding, Size};
use crate::runtime::Provider;
use crate::tensor::DataType;
use crate::tiling::{Blend, Overlap};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Product {
    /// One band of class numbers: the channel with the greatest value, the lowest on ties; for a one-channel model
    /// 1 where the probability is greater than the threshold, else 0.
    #[default]
    Classes,
    /// One band a class with its probability.
    Probabilities,
    /// One band a channel with the model's raw output.
    Logits,
}

impl Product {
    /// All products.
    pub const ALL: [Product; 3] = [Product::Classes, Product::Probabilities, Product::Logits];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Product::Classes => "classes",
            Product::Probabilities => "probabilities",
            Product::Logits => "logits",
        }
    }
}

/// How the model's output becomes probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Activation {
    /// None where the graph ends in a softmax or sigmoid of its own; else sigmoid for one channel, softmax for more.
    #[default]
    Auto,
    /// Softmax over the channels.
    Softmax,
    /// Sigmoid of each channel.
    Sigmoid,
    /// The output is probabilities already.
    None,
}

impl Activation {
    /// All activations.
    pub const ALL: [Activation; 4] =
        [Activation::Auto, Activation::Softmax, Activation::Sigmoid, Activation::None];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Auto => "auto",
            Activation::Softmax => "softmax",
            Activation::Sigmoid => "sigmoid",
            Activation::None => "none",
        }
    }
}

/// How precisely the model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precision {
    /// As the model's file has it, which is `float32` as a rule.
    #[default]
    Model,
    /// Weights and values between the nodes in `float16`, for devices that compute faster so
    /// ([`HalfPrecision`](crate::onnx::HalfPrecision)). The report says how far the labels agree with those of the model
    /// as it is.
    Fp16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 2] = [Precision::Model, Precision::Fp16];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::Model => "model",
            Precision::Fp16 => "fp16",
        }
    }
}

macro_rules! named {
    ($kind:ident, $what:literal) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<$kind> {
                $kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
                    let names: Vec<_> = $kind::ALL.iter().map(|kind| kind.name()).collect();
                    Error::invalid(format!(
                        "unknown {} {text:?}: expected one of {}",
                        $what,
                        names.join(", ")
                    ))
                })
            }
        }
    };
}
named!(Product, "product");
named!(Activation, "activation");
named!(Precision, "precision");

/// What a scoring job is asked to do. `None` means: as the model's metadata says, else the default given.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// The raster's bands in the order of the model's channels. Default: all bands that are not alpha.
    pub bands: Option<Vec<Band>>,
    /// Divisor of the samples, one value or one a band. Default 1.
    pub scale: Option<Vec<f64>>,
    /// Mean in scaled units, one value or one a band. Default 0.
    pub mean: Option<Vec<f64>>,
    /// Standard deviation in scaled units, one value or one a band. Default 1.
    pub std: Option<Vec<f64>>,
    /// Tile in pixels of the model's input. Default: the model's own where it is fixed; else, where tiles are exact, the one
    /// that computes the fewest pixels twice within 1 GiB; else 512. Along an axis on
    /// which the raster is smaller than the tile and the model's size is free, the tile is the raster's size if the
    /// model takes it (and gives a map of that size), else the next multiple of 32 if it takes that.
    pub tile: Option<Size>,
    /// What neighbouring tiles share; without effect where they are exact, which need what the network looks at.
    pub overlap: Overlap,
    /// How overlapping tiles become one map.
    pub blend: Blend,
    /// What the model sees past the raster's edge, where a tile does not fit into the raster.
    pub padding: Padding,
    /// Tiles a run. Default: the model's own where it is fixed, else 1 on the processor and 4 on a device.
    pub batch: Option<usize>,
    /// Where the model runs. Strict: no fallback.
    pub provider: Provider,
    /// Threads of the model; 0 is one a processor.
    pub threads: usize,
    /// How precisely the model computes.
    pub precision: Precision,
    /// Whether conversion and normalisation of the samples become part of the model's graph, and the decision on classes
    /// too where no blending needs the scores ([`fused`](crate::onnx::fused)): a tile then goes to the device with one or two bytes
    /// a sample and comes back with one or two a pixel. The labels are the same. `Some(true)` is an error where it cannot
    /// be done: samples other than `uint8`, `uint16` and `int16`, and models that `fused` refuses. Default: on devices,
    /// where it can be done.
    pub fuse: Option<bool>,
    /// Batches at the model at the same time, 1 to 16, each with a session of its own: the weights are in memory as often. On a
    /// device, one is uploaded and another downloaded while a third is computed. On the processor they share the threads.
    /// Default: 2 on a device and, where there are several threads, for models so small that the threads of one run would wait
    /// for each other; else 1.
    pub in_flight: Option<usize>,
    /// Bytes that the job's data may take, 1 MiB or more: tiles, tensors of the model's runs, what is kept of the raster, sums,
    /// queues, GDAL's blocks, making the file; not the program, its libraries and the model's weights. A job that cannot fit is
    /// refused with the smallest number that would do. Default: a quarter of what is free, at most 2 GiB.
    pub memory: Option<u64>,
    /// How the model's output becomes probabilities.
    pub activation: Activation,
    /// What is written.
    pub product: Product,
    /// Sample type of the output. Classes: `uint8` (default; `uint16` where the class numbers need it) or
    /// `uint16`; probabilities: `float32` (default), or `uint8`/`uint16` in steps of 1/254 or 1/65534; logits:
    /// `float32`.
    pub data_type: Option<DataType>,
    /// A one-channel model's class 1 begins above this probability, 0 to 1.
    pub threshold: f64,
    /// What invalid pixels get. Default: the largest value of an integer type (255, 65535), NaN for `float32`.
    pub nodata: Option<f64>,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        SegmentOptions {
            bands: None,
            scale: None,
            mean: None,
            std: None,
            tile: None,
            overlap: Overlap::default(),
            blend: Blend::default(),
            padding: Padding::default(),
            batch: None,
            provider: Provider::default(),
            threads: 0,
            precision: Precision::default(),
            fuse: None,
            in_flight: None,
            memory: None,
            activation: Activation::default(),
            product: Product::default(),
            data_type: None,
            threshold: 0.5,
            nodata: None,
        }
    }
}

impl SegmentOptions {
    /// Threads of the model: one a processor where none are asked for.
    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// Largest tile side accepted, in pixels: beyond it a tile's buffers alone are gigabytes.
pub(super) const LARGEST_TILE: usize = 16_384;
/// Most batches at the model at the same time.
const MOST_IN_FLIGHT: usize = 16;
/// Less memory is a mistaken unit: no job fits into it.
const LEAST_MEMORY: u64 = 1 << 20;
/// Largest batch accepted.
pub(super) const LARGEST_BATCH: usize = 1024;

impl SegmentOptions {
    /// Checks what can be checked without model and raster.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the option.
    pub fn check(&self) -> Result<()> {
        if let Some(tile) = self.tile
            && (tile.width == 0 || tile.height == 0 || tile.width.max(tile.height) > LARGEST_TILE)
        {
            return Err(Error::invalid(format!(
                "tile {tile}: expected sides from 1 to {LARGEST_TILE} pixels"
            )));
        }
        // Also where it will have no effect.
        if let Overlap::Share(_) = self.overlap {
            self.overlap.pixels(LARGEST_TILE)?;
        }
        if let Some(tile) = self.tile {
            self.overlap.pixels(tile.width)?;
            self.overlap.pixels(tile.height)?;
        }
        if let Some(batch) = self.batch
            && !(1..=LARGEST_BATCH).contains(&batch)
        {
            return Err(Error::invalid(format!("batch {batch}: expected 1 to {LARGEST_BATCH}")));
        }
        if let Some(number) = self.in_flight
            && !(1..=MOST_IN_FLIGHT).contains(&number)
        {
            return Err(Error::invalid(format!(
                "in flight {number}: expected 1 to {MOST_IN_FLIGHT} batches"
            )));
        }
        if let Some(bytes) = self.memory
            && bytes < LEAST_MEMORY
        {
            return Err(Error::invalid(format!("memory limit {bytes} bytes: expected 1 MiB or more")));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::invalid(format!("threshold {}: expected 0 to 1", self.threshold)));
        }
        if let Padding::Constant(value) = self.padding
            && !value.is_finite()
        {
            return Err(Error::invalid(format!("padding value {value}: expected a finite number")));
        }
        if self.bands.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid("bands: expected at least one, got none"));
        }
        if self.threads > 1024 {
            return Err(Error::invalid(format!("threads {}: expected 0 to 1024", self.threads)));
        }
        let allowed: &[DataType] = match self.product {
            Product::Classes => &[DataType::U8, DataType::U16],
            Product::Probabilities => &[DataType::F32, DataType::U8, DataType::U16],
            Product::Logits => &[DataType::F32],
        };
        if let Some(kind) = self.data_type
            && !allowed.contains(&kind)
        {
            let names: Vec<_> = allowed.iter().map(|kind| kind.name()).collect();
            return Err(Error::invalid(format!(
                "{} cannot be written as {kind}: expected {}",
                self.product,
                names.join(" or ")
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound() {
        assert!(SegmentOptions::default().check().is_ok());
    }

    #[test]
    fn each_wrong_option_is_named() {
        type Change = fn(&mut SegmentOptions);
        let wrong: [(&str, Change); 14] = [
            ("overlap", |o| o.overlap = Overlap::Share(1.0)),
            ("overlap", |o| {
                o.tile = Some(Size::new(8, 64));
                o.overlap = Overlap::Pixels(8);
            }),
            ("tile", |o| o.tile = Some(Size::new(0, 5))),
            ("tile", |o| o.tile = Some(Size::new(5, 1 << 20))),
            ("batch", |o| o.batch = Some(0)),
            ("in flight", |o| o.in_flight = Some(0)),
            ("in flight", |o| o.in_flight = Some(17)),
            ("memory limit 512 bytes", |o| o.memory = Some(512)),
            ("threshold", |o| o.threshold = f64::NAN),
            ("threshold", |o| o.threshold = 1.5),
            ("padding", |o| o.padding = Padding::Constant(f64::NAN)),
            ("bands", |o| o.bands = Some(vec![])),
            ("classes", |o| o.data_type = Some(DataType::F32)),
            ("logits", |o| {
                o.product = Product::Logits;
                o.data_type = Some(DataType::U8);
            }),
        ];
        for (name, change) in wrong {
            let mut options = SegmentOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
