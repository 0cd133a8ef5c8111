//! The scores of every image of a test.

use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::file::StagedFile;
use crate::hooks::{Access, Callback, Context, Phase, Split};
use crate::metrics::result_files::{
    ExecutionMode, METRICS_AGGREGATES, ModelProcessing, SUBJECT_METRICS, best_epoch_results,
};
use crate::metrics::{
    AggregateRows, PerImageMetrics, StrayLabels, average_dice, decide, image_scores, mean_dice,
    mean_dice_message,
};

/// One image of a batch: what its pixels are, and what they were taken for.
#[derive(Debug)]
pub(super) struct ScoredImage {
    /// What the loader knows it by.
    pub(super) key: Option<u64>,
    /// Classes `[H, W]`, -1 where a pixel does not count.
    pub(super) truth: Vec<i64>,
    /// Classes `[H, W]`.
    pub(super) predicted: Vec<u16>,
    /// H and W.
    pub(super) size: [usize; 2],
    /// How many classes there are.
    pub(super) classes: usize,
}

/// The images of a batch that count; none of a regression, which has no classes.
pub(super) fn images_of(access: &mut dyn Access) -> Result<Vec<ScoredImage>> {
    let shape = access.logits_shape();
    let (classes, size) = (
        shape.get(1).copied().unwrap_or(1).max(2),
        [shape.get(2).copied().unwrap_or(1), shape.get(3).copied().unwrap_or(1)],
    );
    if access.truth().is_err() {
        return Ok(Vec::new());
    }
    let mut predicted = Vec::new();
    decide(access.logits()?, &shape, &mut predicted);
    let (images, pixels) = (access.images(), size[0] * size[1]);
    let keys: Option<Vec<u64>> = access.batch()?.keys.map(<[u64]>::to_vec);
    let truth = access.truth()?;
    let images = (0..images).map(|image| {
        let at = image * pixels..(image + 1) * pixels;
        let labels = truth.classes[at.clone()].iter().zip(&truth.mask[at.clone()]);
        ScoredImage {
            key: keys.as_ref().and_then(|keys| keys.get(image).copied()),
            truth: labels.map(|(class, weight)| if *weight == 0.0 { -1 } else { *class }).collect(),
            predicted: predicted[at].to_vec(),
            size,
            classes,
        }
    });
    Ok(images.collect())
}

/// Writes `metrics.csv` (a row an image and class) and `metrics_aggregates.csv` of tests and of inferences over splits,
/// into `best_validation_epoch/Test` and so on, as InnerEye does.
///
/// Classes count from 1; 0 is background. Hausdorff and mean surface distance are computed with a
/// [spacing](ImageMetrics::spacing) only.
#[derive(Debug)]
pub struct ImageMetrics {
    outputs: PathBuf,
    class_names: Vec<String>,
    spacing: Option<[f64; 2]>,
    rows: PerImageMetrics,
    averages: Vec<f64>,
}

impl ImageMetrics {
    /// Files below the folder `outputs`; classes are named by their numbers.
    pub fn new(outputs: impl Into<PathBuf>) -> ImageMetrics {
        ImageMetrics {
            outputs: outputs.into(),
            class_names: Vec::new(),
            spacing: None,
            rows: PerImageMetrics::new(),
            averages: Vec::new(),
        }
    }

    /// Names of all classes, background first.
    pub fn class_names(mut self, names: &[impl AsRef<str>]) -> ImageMetrics {
        self.class_names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        self
    }

    /// Distances too, in the unit of the size of a pixel along y and x that is given.
    pub fn spacing(mut self, spacing: [f64; 2]) -> ImageMetrics {
        self.spacing = Some(spacing);
        self
    }

    fn begin(&mut self) {
        self.rows = PerImageMetrics::new();
        self.averages.clear();
    }

    fn add(&mut self, context: &mut Context<'_>) -> Result<()> {
        for image in images_of(context.access()?)? {
            let (classes, spacing) = (image.classes, self.spacing);
            let scores = image_scores(
                &image.truth,
                &image.predicted,
                image.size,
                classes,
                Some(-1),
                StrayLabels::Ignore,
                spacing,
            )?;
            let name = image.key.unwrap_or(self.averages.len() as u64).to_string();
            for own in &scores {
                let class = own.class.to_string();
                let structure = self.class_names.get(own.class).unwrap_or(&class);
                let distances = &own.distances;
                self.rows.add(&name, structure, own.dice, distances.hausdorff, distances.mean);
            }
            self.averages.push(average_dice(&scores));
        }
        Ok(())
    }

    fn write(&self, mode: ExecutionMode) -> Result<()> {
        if self.averages.is_empty() {
            return Ok(());
        }
        let folder = self.outputs.join(best_epoch_results(mode, ModelProcessing::Single));
        fs::create_dir_all(&folder).map_err(|error| Error::io("make", &folder, error))?;
        let aggregates = self.rows.aggregates_csv(false, AggregateRows::default());
        for (name, text) in [(SUBJECT_METRICS, self.rows.metrics_csv()), (METRICS_AGGREGATES, aggregates)] {
            let path = folder.join(name);
            let staged = StagedFile::replacing(&path)?;
            fs::write(staged.path(), text).map_err(|error| Error::io("write", &path, error))?;
            staged.commit(true)?;
        }
        tracing::info!("{}", mean_dice_message(mean_dice(&self.averages)));
        Ok(())
    }
}

impl Callback for ImageMetrics {
    fn test_start(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.begin();
        Ok(())
    }

    fn metrics_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.phase == Phase::Test { self.add(context) } else { Ok(()) }
    }

    fn test_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.write(ExecutionMode::Test)
    }

    fn predict_start(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.begin();
        Ok(())
    }

    fn prediction_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.split.is_some() { self.add(context) } else { Ok(()) }
    }

    fn predict_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        match context.state.split {
            Some(Split::Train) => self.write(ExecutionMode::Train),
            Some(Split::Val) => self.write(ExecutionMode::Val),
            Some(Split::Test) => self.write(ExecutionMode::Test),
            None => Ok(()),
        }
    }

    fn name(&self) -> &str {
        "image_metrics"
    }
}
