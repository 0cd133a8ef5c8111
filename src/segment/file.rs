//! Files: a raster in, a GeoTIFF out.

use std::path::Path;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::file::same_file;
use crate::metrics::peak_rss_mib;
use crate::raster::{CacheLimit, Compression, Format, NodataRule, OpenOptions, Raster};
use crate::segment::memory::Memory;
use crate::segment::report::Report;
use crate::segment::segmenter::Segmenter;
use crate::segment::sink::FileSink;
use crate::segment::source::FileSource;
use crate::segment::staging::Staging;

/// How files are read and written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FileOptions {
    /// What may be opened.
    pub open: OpenOptions,
    /// When nodata values make a pixel invalid.
    pub nodata_rule: NodataRule,
    /// The output's format.
    pub format: Format,
    /// The output's compression.
    pub compression: Compression,
    /// Strength of the compression; see `level` of [`WriteSpec`](crate::raster::WriteSpec).
    pub level: Option<u8>,
    /// Whether an existing output is replaced, and what an interrupted job has left is thrown away.
    pub overwrite: bool,
    /// Whether a job goes on with what an interrupted one has left beside the output, instead of refusing it. Together
    /// with `overwrite`: it goes on, and an existing output is replaced.
    pub resume: bool,
    /// Names of the classes, in order. Default: those of the model's metadata.
    pub class_names: Option<Vec<String>>,
}

/// What becomes of the work that an interrupted job has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftovers {
    /// It is left alone: an error.
    Refuse,
    /// The job goes on with it.
    Resume,
    /// It is thrown away.
    Discard,
}

impl FileOptions {
    pub(super) fn leftovers(&self) -> Leftovers {
        match (self.resume, self.overwrite) {
            (true, _) => Leftovers::Resume,
            (false, true) => Leftovers::Discard,
            (false, false) => Leftovers::Refuse,
        }
    }
}

impl Segmenter<'_> {
    /// Scores the raster at `input` and writes the result to `output`, which appears complete or not at all.
    ///
    /// Work in progress is in a folder beside it, `OUTPUT.part`. A job that ends before its time (cancelled, killed, a full
    /// disk, a raster that cannot be read to its end) leaves it there, and one with [`FileOptions::resume`] goes on with it:
    /// the finished file has the bytes that it would have had otherwise. Until then, or until the folder is removed or
    /// overwritten, the output's name is taken. A job in which not one batch was finished leaves nothing, nor does one whose
    /// raster was changed meanwhile.
    ///
    /// The output has the input's georeferencing, and its size where the model's output is not at another scale.
    ///
    /// # Errors
    /// Everything that [`Raster::open`], [`Raster::read`] and [`encode`](crate::raster::encode) give;
    /// [`ErrorKind::InvalidArgument`] where input and output are the same file, a band is unknown, or an option does
    /// not fit the model's output; [`ErrorKind::AlreadyExists`] also for the work of an interrupted job, and of one that is
    /// at it; [`ErrorKind::Mismatch`] where model and raster do not fit together, where the raster was changed meanwhile, and
    /// to resume a job of another model, raster or options; [`ErrorKind::ProviderUnavailable`], [`ErrorKind::Runtime`], [`ErrorKind::OutOfMemory`],
    /// [`ErrorKind::Cancelled`].
    pub fn file(
        &mut self,
        input: impl AsRef<Path>,
        output: impl AsRef<Path>,
        options: &FileOptions,
    ) -> Result<Report> {
        let start = Instant::now();
        let (input, output) = (input.as_ref(), output.as_ref());
        let raster = Raster::open(input, &options.open)?;
        if same_file(input, output) {
            return Err(Error::invalid("input and output are the same file").at_path(output));
        }
        if self.model.path().is_some_and(|model| same_file(model, output)) {
            return Err(Error::invalid("model and output are the same file").at_path(output));
        }
        // A file must not claim to be what it is not.
        if let Some(extension) = output.extension()
            && !["tif", "tiff"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        {
            let text =
                format!("output is a GeoTIFF: expected .tif or .tiff, got .{}", extension.to_string_lossy());
            return Err(Error::invalid(text).at_path(output));
        }
        // Told before hours of work, not after; the writer checks again.
        Staging::check(output, options.leftovers(), options.overwrite)?;

        let bands = self.bands().unwrap_or_else(|| raster.color_bands());
        let georeference = raster.info().georeference.clone();
        let source = FileSource::new(raster, bands, self.options.padding, options.nodata_rule);
        let mut source = source.map_err(|error| error.at_path(input))?;
        let mut sink = FileSink::new(output, options, georeference);
        sink.class_names = options
            .class_names
            .clone()
            .or_else(|| self.model.contract().class_names().map(<[String]>::to_vec));
        sink.model =
            self.model.path().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        sink.facts = source.facts();
        sink.facts.push(("nodata rule", options.nodata_rule.to_string()));
        sink.threads = self.options.threads();
        // GDAL's own cache is process-wide; what a job reads it keeps itself.
        let budget = self.options.budget();
        let cache = CacheLimit::new(Memory::cache(budget));
        sink.budget = budget.saturating_sub(cache.bytes());
        let channels = source.bands.len();
        let done = self.run(channels, &mut source, &mut sink).map_err(|error| at_raster(error, input));
        let finished = done.and_then(|report| {
            source.check_unchanged()?;
            let close = Instant::now();
            source.clear();
            let token = self.cancel_token().clone();
            sink.finish(&mut |_| !token.is_cancelled())?;
            Ok((report, close.elapsed()))
        });
        let (mut report, close) = match finished {
            Ok(done) => done,
            // Half of one raster and half of another.
            Err(error) if source.check_unchanged().is_err() => {
                sink.discard();
                return Err(error);
            }
            Err(error) => return Err(sink.abandon(error)),
        };
        report.peak_rss_mib = peak_rss_mib();
        let wall = start.elapsed().as_secs_f64();
        report.finish_s = close.as_secs_f64();
        report.mpx_per_s *= report.wall_s / wall.max(1e-9);
        report.wall_s = wall;
        report.model_share = report.model_s / wall.max(1e-9);
        report.bands = source.bands.iter().map(|band| band.number()).collect();
        report.bytes_written = std::fs::metadata(output).ok().map(|about| about.len());
        report.input = Some(input.into());
        report.output = Some(output.into());
        Ok(report)
    }
}

/// Model and raster that do not fit together: the raster is what the user has at hand.
pub(super) fn at_raster(error: Error, raster: &Path) -> Error {
    if error.kind() == ErrorKind::Mismatch && error.tensor().is_some() {
        error.at_path(raster)
    } else {
        error
    }
}
