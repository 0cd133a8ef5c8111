//! Predictions that are kept.

use crate::data::Loader;
use crate::error::{Error, Result};
use crate::finetune::scoring::{ScoreKeeper, Scored, Scoring};
use crate::finetune::trainer::Trainer;
use crate::metrics::nan_mean;

/// The predictions of some images.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Predictions {
    /// Logits `[K, H, W]` of each image.
    pub logits: Vec<Vec<f32>>,
    /// Labels `[H, W]` of each image, -1 where a pixel does not count.
    pub labels: Vec<Vec<i64>>,
    /// Means of the metrics over the virtual batches.
    pub metrics: Vec<(String, f64)>,
}

impl Trainer {
    /// Predicts all images and keeps the outputs, as delira's `predict` does.
    ///
    /// Metrics are computed over virtual batches of `virtual_batch` images, whatever the step's size; the last one is as
    /// small as what is left, so nothing is dropped. Their means give every virtual batch the same weight; one where a
    /// metric is NaN is left out of its mean. `None` takes each image by itself. [`Trainer::test`] scores all images at
    /// once, which is what a result should go by.
    ///
    /// # Errors
    /// `InvalidArgument` for virtual batches of 0 images; as [`Trainer::predict`].
    pub fn predict_all(
        &mut self,
        data: &mut dyn Loader,
        virtual_batch: Option<usize>,
    ) -> Result<Predictions> {
        let size = virtual_batch.unwrap_or(1);
        if size == 0 {
            return Err(Error::invalid("expected virtual batches of 1 image or more, got 0"));
        }
        let mut found = Predictions::default();
        let shape = self.step().logits_shape().to_vec();
        let pixels: usize = shape.iter().skip(2).product();
        let outputs = shape[1] * pixels;
        self.watched(|own| {
            own.prediction(data, &mut |targets, _, images, logits| {
                for image in 0..images {
                    let at = image * pixels..(image + 1) * pixels;
                    found.logits.push(logits[image * outputs..(image + 1) * outputs].to_vec());
                    let classes = targets.classes.get(at.clone()).unwrap_or_default().iter();
                    let labels = classes.zip(&targets.mask[at]);
                    let label = |(class, weight): (&i64, &f32)| if *weight == 0.0 { -1 } else { *class };
                    found.labels.push(labels.map(label).collect());
                }
                Ok(())
            })
        })?;
        if self.scores.is_some() {
            let scoring = self.options.scoring.clone().unwrap_or_default();
            found.metrics = means(&found, &scoring, &shape, size)?;
        }
        Ok(found)
    }
}

/// Metrics of virtual batches, and their means.
fn means(found: &Predictions, scoring: &Scoring, shape: &[usize], size: usize) -> Result<Vec<(String, f64)>> {
    let mut keeper = ScoreKeeper::new(scoring, shape[1])?;
    let mut all: Vec<(String, Vec<f64>)> = Vec::new();
    for (logits, labels) in found.logits.chunks(size).zip(found.labels.chunks(size)) {
        keeper.clear()?;
        let (truth, logits) = (labels.concat(), logits.concat());
        let mask: Vec<f32> = truth.iter().map(|class| f32::from(*class >= 0)).collect();
        let truth: Vec<i64> = truth.into_iter().map(|class| class.max(0)).collect();
        let mut own_shape = shape.to_vec();
        own_shape[0] = labels.len();
        let scored =
            Scored { truth: &truth, mask: &mask, logits: &logits, shape: &own_shape, images: labels.len() };
        keeper.add(&scored)?;
        for (index, (name, value)) in keeper.metrics(Vec::new())?.into_iter().enumerate() {
            match all.get_mut(index) {
                Some((_, values)) => values.push(value),
                None => all.push((name, vec![value])),
            }
        }
    }
    Ok(all.into_iter().map(|(name, values)| (name, nan_mean(values.into_iter()))).collect())
}
