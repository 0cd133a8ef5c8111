//! A GeoTIFF as the end of a job.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Size, Window};
use crate::picture::Palette;
use crate::raster::{Georeference, OverviewResampling, WriteSpec, check_encode, footprint};
use crate::runtime::return_freed_memory;
#[cfg(unix)]
use crate::runtime::trim_heap;
use crate::segment::file::FileOptions;
use crate::segment::staging::{Fingerprint, Staging};
use crate::segment::stream::{Layout, Sink};
use crate::tensor::{DataType, Samples};

/// The raster that a job makes: its blocks are staged, and it is written when all are there.
pub(super) struct FileSink<'a> {
    pub(super) output: &'a Path,
    pub(super) options: &'a FileOptions,
    pub(super) georeference: Georeference,
    pub(super) class_names: Option<Vec<String>>,
    /// File name of the model.
    pub(super) model: Option<String>,
    /// What the samples depend on, of the raster.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) threads: usize,
    /// Bytes that making the file should fit into, besides GDAL's cache.
    pub(super) budget: u64,
    work: Option<Work>,
}

struct Work {
    spec: WriteSpec,
    staging: Staging,
    steps: u64,
}

impl<'a> FileSink<'a> {
    pub(super) fn new(
        output: &'a Path,
        options: &'a FileOptions,
        georeference: Georeference,
    ) -> FileSink<'a> {
        FileSink {
            output,
            options,
            georeference,
            class_names: None,
            model: None,
            facts: Vec::new(),
            threads: 1,
            budget: u64::MAX,
            work: None,
        }
    }

    /// Makes the raster of what was staged.
    pub(super) fn finish(&mut self, go_on: &mut dyn FnMut(f64) -> bool) -> Result<()> {
        let work = self.work.as_mut().ok_or_else(|| Error::internal("a job without output"))?;
        // Tiles and sums are gone; GDAL's buffers are to come into their place, not beside it.
        return_freed_memory();
        #[cfg(unix)]
        trim_heap();
        work.staging.finish(&work.spec, self.options.overwrite, go_on)
    }

    /// After a failure: what is worth going on with stays, and the error says so.
    pub(super) fn abandon(&mut self, error: Error) -> Error {
        match self.work.take() {
            Some(work) => work.staging.abandon(error, work.steps),
            None => error,
        }
    }

    /// After a failure that makes the work worthless.
    pub(super) fn discard(&mut self) {
        if let Some(mut work) = self.work.take() {
            work.staging.remove();
        }
    }

    /// What making the file depends on, with as many threads as fit into the budget: its bytes do not depend on them.
    fn making(&self, (size, bands, data_type): (Size, usize, DataType)) -> WriteSpec {
        let mut spec = WriteSpec::new(size, bands, data_type);
        spec.format = self.options.format;
        spec.compression = self.options.compression;
        spec.level = self.options.level;
        spec.block = block_side(bands, data_type);
        spec.threads = self.threads.max(1);
        while spec.threads > 1 && footprint(&spec) > self.budget {
            spec.threads -= 1;
        }
        spec
    }

    fn spec(&self, layout: &Layout) -> Result<WriteSpec> {
        let mut spec = self.making((layout.size, layout.bands, layout.data_type));
        let (output_step, input_step) = layout.scale;
        let scale = output_step as f64 / input_step as f64;
        spec.georeference =
            if scale == 1.0 { self.georeference.clone() } else { self.georeference.scaled(scale, scale) };
        spec.nodata = Some(layout.nodata);
        spec.overwrite = self.options.overwrite;
        spec.metadata = vec![("TIFFTAG_SOFTWARE".into(), format!("glebe {}", env!("CARGO_PKG_VERSION")))];
        if let Some(model) = &self.model {
            spec.metadata.push(("GLEBE_MODEL".into(), model.clone()));
        }
        if let Some(unit) = layout.unit {
            spec.metadata.push(("GLEBE_PROBABILITY_UNIT".into(), unit.to_string()));
        }
        let names = named_classes(self.class_names.as_deref(), layout.classes.unwrap_or(layout.channels))?;
        match layout.classes {
            Some(classes) => {
                spec.overview_resampling = OverviewResampling::Nearest;
                if layout.data_type == DataType::U8 {
                    let palette = match &names {
                        Some(names) => Palette::for_names(names),
                        None => Palette::for_classes(classes),
                    };
                    spec.colors = Some(palette.colors().to_vec());
                }
                spec.categories = names;
            }
            None => {
                spec.overview_resampling = OverviewResampling::Average;
                spec.band_names = match names {
                    // The one band of a binary model is the probability of its class 1.
                    Some(names) if names.len() == layout.bands => names,
                    Some(names) if layout.bands == 1 => names.into_iter().skip(1).take(1).collect(),
                    _ => (0..layout.bands).map(|band| format!("class {band}")).collect(),
                };
            }
        }
        Ok(spec)
    }
}

impl Sink for FileSink<'_> {
    fn asks_for_facts(&self) -> bool {
        true
    }

    fn making_bytes(&self, shape: (Size, usize, DataType)) -> u64 {
        footprint(&self.making(shape))
    }

    fn begin(&mut self, layout: &Layout, seen: &mut dyn FnMut(&Samples)) -> Result<u64> {
        let spec = self.spec(layout)?;
        check_encode(&spec, self.output)?;
        let mut fingerprint = Fingerprint::default();
        for (name, value) in layout.facts.iter().chain(&self.facts) {
            fingerprint.add(name, value);
        }
        let shape = (layout.size, layout.bands, layout.data_type);
        let staging = Staging::open(self.output, self.options.leftovers(), &fingerprint, shape, seen)?;
        let first = staging.steps().min(layout.steps);
        self.work = Some(Work { spec, staging, steps: layout.steps });
        Ok(first)
    }

    fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
        let work = self.work.as_mut().ok_or_else(|| Error::internal("write before begin"))?;
        work.staging.write(window, &samples)
    }

    fn done(&mut self, steps: u64) -> Result<()> {
        let work = self.work.as_mut().ok_or_else(|| Error::internal("write before begin"))?;
        work.staging.done(steps)
    }
}

/// Bytes of a block of the map with all its bands, at most, where blocks of 128 pixels allow it: while the file is made each
/// thread has several in memory.
const MOST_BLOCK: usize = 2 << 20;

/// The side of the map's blocks: 512 pixels, less where there are many bands.
fn block_side(bands: usize, data_type: DataType) -> usize {
    let pixel = bands * data_type.bytes();
    [512, 256].into_iter().find(|side| side * side * pixel <= MOST_BLOCK).unwrap_or(128)
}

/// The names, if there is one a class; a one-channel model may have names for its two classes.
pub(super) fn named_classes(names: Option<&[String]>, classes: usize) -> Result<Option<Vec<String>>> {
    match names {
        None => Ok(None),
        Some(names) if names.len() == classes || (classes == 1 && names.len() == 2) => {
            Ok(Some(names.to_vec()))
        }
        Some(names) => {
            Err(Error::new(ErrorKind::Mismatch, format!("{} class names for {classes} classes", names.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bands_have_small_blocks() {
        // 2 MiB of 512 x 512 are 8 bytes a pixel, of 256 x 256 four times as many.
        let sides = [
            (1, DataType::U8),
            (8, DataType::U8),
            (9, DataType::U8),
            (2, DataType::F32),
            (3, DataType::F32),
            (8, DataType::F32),
        ]
        .map(|(bands, data_type)| block_side(bands, data_type));
        assert_eq!(sides, [512, 512, 256, 512, 256, 256]);
        assert_eq!(block_side(9, DataType::F32), 128);
    }

    #[test]
    fn as_many_threads_make_the_file_as_fit() {
        let options = FileOptions::default();
        let shape = (Size::new(4096, 4096), 5, DataType::F32);
        let mut sink = FileSink::new(Path::new("a.tif"), &options, Georeference::default());
        sink.threads = 8;
        let threads = |sink: &FileSink<'_>| (sink.making(shape).threads, sink.making_bytes(shape));
        let (all, most) = threads(&sink);
        sink.budget = most - 1;
        let (fewer, less) = threads(&sink);
        sink.budget = 0;
        let (one, least) = threads(&sink);
        assert_eq!((all, fewer, one), (8, 7, 1));
        assert!(least < less && less < most, "{least}, {less}, {most}");
    }
}
