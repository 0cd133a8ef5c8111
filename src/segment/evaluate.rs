//! Scoring labelled images.

use std::time::Instant;

use crate::data::{Dataset, DatasetOptions, LabelOptions, LabelledImage, ListItem};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Band;
use crate::metrics::{ConfusionMatrix, Scores, peak_rss_mib};
use crate::raster::Raster;
use crate::segment::comparison::Comparison;
use crate::segment::evaluation::{Evaluation, ImageEvaluation};
use crate::segment::file::{FileOptions, at_raster};
use crate::segment::options::Product;
use crate::segment::segmenter::Segmenter;
use crate::segment::sink::named_classes;
use crate::segment::source::FileSource;

/// A matrix an image is kept; with more classes they would be what fills the memory.
const MOST_CLASSES: usize = 1024;

impl Segmenter<'_> {
    /// Labelled images as a data set with the classes, bands and normalisation that this segmenter has, to be
    /// [evaluated](Segmenter::evaluate). Of the files' options count those of the input.
    ///
    /// Number of classes: channels of the model's output, 2 for one channel. Where the file does not say, the model is run
    /// once on zeros.
    ///
    /// # Errors
    /// As [`Dataset::open`]; those of loading and running the model; [`ErrorKind::LimitExceeded`] for a model of more than
    /// 1024 classes.
    pub fn dataset(
        &mut self,
        items: Vec<ListItem>,
        labels: &LabelOptions,
        files: &FileOptions,
    ) -> Result<Dataset> {
        let Some(first) = items.first() else {
            return Err(Error::invalid("expected at least one labelled image, got none"));
        };
        let bands = self.bands();
        // The bands matter for models only that say neither what they take nor what they give.
        let channels = match (self.model.contract().channels(), &bands) {
            (Some(channels), _) => channels,
            (None, Some(bands)) => bands.len(),
            (None, None) => {
                let raster = Raster::open(&first.image, &files.open).map_err(|error| first.locate(error))?;
                raster.color_bands().len()
            }
        };
        let classes = self.classes(channels)?;
        if classes > MOST_CLASSES {
            let message =
                format!("a model of {classes} classes: expected at most {MOST_CLASSES} to evaluate");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        let mut options = DatasetOptions::new(classes, self.normalisation()?);
        options.bands = bands;
        options.nodata_rule = files.nodata_rule;
        options.labels = labels.clone();
        options.open = files.open.clone();
        Dataset::open(items, options)
    }

    /// Scores every image of `dataset` as [`file`](Segmenter::file) would with the same options, but compares the classes
    /// with the labels, window by window, instead of writing them. Nothing is written.
    ///
    /// A pixel counts where its label counts (in a part of a divided data set: where it belongs to the part) and the map has
    /// a class, that is where the image has data. Bands and normalisation are those of the segmenter and the model; of the
    /// data set's options count those of images and labels. `class_names`: default those of the model's metadata, else
    /// numbers.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for another product than classes, for names of another number than the classes, and
    /// where no pixel counts in any image; [`ErrorKind::ModelUnsupported`] for a model whose output is at another scale than
    /// its input; [`ErrorKind::Mismatch`] where model, images and labels do not fit together or a label is no class;
    /// everything else that [`file`](Segmenter::file) gives for input and model. Errors name the list and the line.
    pub fn evaluate(&mut self, dataset: &Dataset, class_names: Option<&[String]>) -> Result<Evaluation> {
        let start = Instant::now();
        if self.options.product != Product::Classes {
            let message = format!("product {}: expected classes, which labels are", self.options.product);
            return Err(Error::invalid(message));
        }
        let classes = dataset.options().classes;
        let names = class_names.or_else(|| self.model.contract().class_names());
        let class_names = named_classes(names, classes)?
            .unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect());

        let mut images = Vec::with_capacity(dataset.images());
        let mut matrix = ConfusionMatrix::new(classes)?;
        for (index, item) in dataset.items().enumerate() {
            self.image = (index, dataset.images());
            let done = dataset.image(index).and_then(|opened| {
                // Errors of opening name the line already.
                self.compare(opened, item, dataset).map_err(|error| match error.kind() {
                    ErrorKind::Cancelled | ErrorKind::ProviderUnavailable => error,
                    _ => item.locate(error),
                })
            });
            self.image = (0, 1);
            let done = done?;
            matrix.merge(&done.matrix)?;
            images.push(done);
        }
        let scores = Scores::of(&matrix);
        let evaluation =
            Evaluation { class_names, images, matrix, scores, wall_s: start.elapsed().as_secs_f64() };
        if evaluation.pixels() == 0 {
            return Err(nothing(&evaluation, dataset));
        }
        Ok(evaluation)
    }

    fn compare(
        &mut self,
        opened: LabelledImage,
        item: &ListItem,
        dataset: &Dataset,
    ) -> Result<ImageEvaluation> {
        let start = Instant::now();
        let LabelledImage { raster, bands, truth } = opened;
        let (size, path) = (raster.size(), item.image.as_path());
        let bands = self.bands().unwrap_or(bands);
        let source = FileSource::new(raster, bands, self.options.padding, dataset.options().nodata_rule);
        let mut source = source.map_err(|error| error.at_path(path))?;
        let mut sink = Comparison::new(truth, size, dataset.options().classes)?;
        let done = self.run(source.bands.len(), &mut source, &mut sink);
        let mut report = done.map_err(|error| at_raster(error, path))?;
        let wall = start.elapsed().as_secs_f64();
        report.wall_s = wall;
        report.mpx_per_s = report.pixels as f64 / 1e6 / wall.max(1e-9);
        report.peak_rss_mib = peak_rss_mib();
        report.bands = source.bands.iter().copied().map(Band::number).collect();
        report.input = Some(path.into());
        Ok(ImageEvaluation {
            image: item.image.clone(),
            labels: item.labels.clone(),
            area: item.area.clone(),
            unlabelled: sink.unlabelled,
            nodata: sink.nodata_pixels,
            matrix: sink.matrix,
            report,
        })
    }
}

/// The error where no pixel counts.
fn nothing(evaluation: &Evaluation, dataset: &Dataset) -> Error {
    let mut message = format!(
        "no pixel can be compared: {} have a label that does not count and {} no data",
        evaluation.unlabelled(),
        evaluation.nodata()
    );
    if dataset.ignores_label_nodata() {
        message.push_str(
            " (labels that are their file's nodata value do not count, unless they are background)",
        );
    }
    Error::invalid(message)
}
