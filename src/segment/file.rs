//! Files: a raster in, a GeoTIFF out.

use std::path::Path;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::file::{StagedFile, same_file};
use crate::geometry::{Band, Padding, Size, Window};
use crate::metrics::peak_rss_mib;
use crate::picture::Palette;
use crate::raster::{
    Compression, Format, Georeference, NodataRule, OpenOptions, OverviewResampling, Raster, RasterWriter,
    WriteSpec,
};
use crate::segment::report::Report;
use crate::segment::segmenter::Segmenter;
use crate::segment::stream::{Block, Layout, Sink, Source};
use crate::tensor::{DataType, Samples};

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
    /// Whether an existing output is replaced.
    pub overwrite: bool,
    /// Names of the classes, in order. Default: those of the model's metadata.
    pub class_names: Option<Vec<String>>,
}

impl Segmenter<'_> {
    /// Scores the raster at `input` and writes the result to `output`, which appears complete or not at all.
    ///
    /// The output has the input's georeferencing, and its size where the model's output is not at another scale.
    ///
    /// # Errors
    /// Everything that [`Raster::open`], [`Raster::read`] and [`RasterWriter`] give;
    /// [`ErrorKind::InvalidArgument`] where input and output are the same file, a band is unknown, or an option does
    /// not fit the model's output; [`ErrorKind::AlreadyExists`]; [`ErrorKind::Mismatch`] where model and raster do
    /// not fit together; [`ErrorKind::ProviderUnavailable`], [`ErrorKind::Runtime`], [`ErrorKind::OutOfMemory`],
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
        drop(StagedFile::new(output, options.overwrite)?);

        let bands = self.bands().unwrap_or_else(|| raster.color_bands());
        let source = FileSource::new(raster, bands, self.options.padding, options.nodata_rule);
        let mut source = source.map_err(|error| error.at_path(input))?;
        let mut sink = FileSink {
            output,
            options,
            georeference: source.raster.info().georeference.clone(),
            class_names: options
                .class_names
                .clone()
                .or_else(|| self.model.contract().class_names().map(<[String]>::to_vec)),
            model: self
                .model
                .path()
                .and_then(Path::file_name)
                .map(|name| name.to_string_lossy().into_owned()),
            writer: None,
        };
        let channels = source.bands.len();
        let done = self.run(channels, &mut source, &mut sink);
        let mut report = done.map_err(|error| at_raster(error, input))?;

        let close = Instant::now();
        let token = self.cancel_token().clone();
        sink.finish(&mut |_| !token.is_cancelled())?;
        report.peak_rss_mib = peak_rss_mib();
        let wall = start.elapsed().as_secs_f64();
        report.write_s += close.elapsed().as_secs_f64();
        report.wall_s = wall;
        report.mpx_per_s = report.pixels as f64 / 1e6 / wall.max(1e-9);
        report.bands = source.bands.iter().map(|band| band.number()).collect();
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

/// A raster that is scored.
pub(super) struct FileSource {
    raster: Raster,
    pub(super) bands: Vec<Band>,
    data_type: DataType,
    nodata: Vec<Option<f64>>,
    padding: Padding,
    rule: NodataRule,
}

impl FileSource {
    /// For these bands of the raster.
    ///
    /// # Errors
    /// `InvalidArgument` for a band that is not there; of [`Raster::common_type`].
    pub(super) fn new(
        raster: Raster,
        bands: Vec<Band>,
        padding: Padding,
        rule: NodataRule,
    ) -> Result<FileSource> {
        let data_type = raster.common_type(&bands)?;
        let nodata = bands.iter().map(|band| raster.info().band(*band).map(|info| info.nodata));
        let nodata = nodata.collect::<Result<Vec<_>>>()?;
        Ok(FileSource { raster, bands, data_type, nodata, padding, rule })
    }
}

impl Source for FileSource {
    fn size(&self) -> Size {
        self.raster.size()
    }

    fn data_type(&self) -> DataType {
        self.data_type
    }

    fn nodata(&self) -> &[Option<f64>] {
        &self.nodata
    }

    fn read(&mut self, window: Window) -> Result<Block> {
        let (samples, valid) =
            self.raster.read_with_validity(&self.bands, window, self.padding, self.rule)?;
        Ok(Block { samples, valid })
    }
}

struct FileSink<'a> {
    output: &'a Path,
    options: &'a FileOptions,
    georeference: Georeference,
    class_names: Option<Vec<String>>,
    model: Option<String>,
    writer: Option<RasterWriter>,
}

impl FileSink<'_> {
    fn finish(&mut self, go_on: &mut dyn FnMut(f64) -> bool) -> Result<()> {
        self.writer.take().ok_or_else(|| Error::internal("a job without output"))?.finish_with(go_on)
    }
}

impl Sink for FileSink<'_> {
    fn begin(&mut self, layout: &Layout) -> Result<()> {
        let mut spec = WriteSpec::new(layout.size, layout.bands, layout.data_type);
        let (output_step, input_step) = layout.scale;
        let scale = output_step as f64 / input_step as f64;
        spec.georeference =
            if scale == 1.0 { self.georeference.clone() } else { self.georeference.scaled(scale, scale) };
        spec.nodata = Some(layout.nodata);
        spec.format = self.options.format;
        spec.compression = self.options.compression;
        spec.overwrite = self.options.overwrite;
        spec.threads = std::thread::available_parallelism().map_or(1, usize::from);
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
        self.writer = Some(RasterWriter::create(self.output, spec)?);
        Ok(())
    }

    fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
        self.writer
            .as_mut()
            .ok_or_else(|| Error::internal("write before begin"))?
            .write(window, samples.view())
            .map_err(|error| error.at_path(self.output))
    }
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
