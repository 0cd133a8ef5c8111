//! Pictures of what a model makes of chosen batches.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use ndarray::{Array3, ArrayView3};

use crate::error::{Error, Result};
use crate::file::remove_leftovers;
use crate::hooks::builtin::image_metrics::images_of;
use crate::hooks::{Callback, Context, Phase};
use crate::picture::{ClassMap, Legend, Palette, Panel, Quicklook, Stretch};
use crate::tensor::SamplesView;

/// The number of a pixel that does not count, in the pictures.
const NO_CLASS: u16 = u16::MAX;

/// Writes PNG files of input, label and prediction side by side, for chosen batches of evaluations and of training:
/// `epoch-003/val_batch-001_image-2.png` (epoch, batch and image count from 1).
#[derive(Debug)]
pub struct Visualisations {
    folder: PathBuf,
    batches: Range<u64>,
    step: u64,
    every: u64,
    training: bool,
    bands: Option<[usize; 3]>,
    class_names: Vec<String>,
}

impl Visualisations {
    /// Pictures of the first batch of every validation and test, in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Visualisations {
        Visualisations {
            folder: folder.into(),
            batches: 0..1,
            step: 1,
            every: 1,
            training: false,
            bands: None,
            class_names: Vec::new(),
        }
    }

    /// Every `step`-th of these batches, from 0 (geo-deep-learning's `vis_batch_range`).
    pub fn batches(mut self, batches: Range<u64>, step: u64) -> Visualisations {
        (self.batches, self.step) = (batches, step.max(1));
        self
    }

    /// After every so many epochs only, 1 or more.
    pub fn every(mut self, epochs: u64) -> Visualisations {
        self.every = epochs.max(1);
        self
    }

    /// Training batches too, which costs a copy of their logits.
    pub fn training(mut self, wanted: bool) -> Visualisations {
        self.training = wanted;
        self
    }

    /// Channels to show as red, green and blue, from 0.
    pub fn bands(mut self, bands: [usize; 3]) -> Visualisations {
        self.bands = Some(bands);
        self
    }

    /// Names of all classes, which also choose their colours.
    pub fn class_names(mut self, names: &[impl AsRef<str>]) -> Visualisations {
        self.class_names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        self
    }

    fn is_wanted(&self, context: &Context<'_>) -> bool {
        let state = &context.state;
        let batch = state.batch.saturating_sub(1);
        self.batches.contains(&batch)
            && (batch - self.batches.start).is_multiple_of(self.step)
            && (state.phase == Phase::Test || state.epoch.is_multiple_of(self.every))
    }

    fn draw(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let folder = self.folder.join(format!("epoch-{:03}", context.state.epoch));
        fs::create_dir_all(&folder).map_err(|error| Error::io("make", &folder, error))?;
        let batch = context.state.batch;
        let access = context.access()?;
        let scored = images_of(access)?;
        let shape = access.image_shape();
        let [channels, height, width] = [1, 2, 3].map(|axis| shape.get(axis).copied().unwrap_or(1));
        let samples = access.batch()?.images;
        let len = channels * height * width;
        for (index, own) in scored.iter().enumerate() {
            // A batch whose features are kept comes without images.
            let Some(image) = samples.get(index * len..(index + 1) * len) else { continue };
            let image = ArrayView3::from_shape((channels, height, width), image)
                .map_err(|error| Error::internal("an image of another shape").caused_by(error))?;
            let mut stretch = Stretch::new();
            if let Some(bands) = self.bands {
                stretch = stretch.bands(bands);
            }
            let palette = match self.class_names.len() == own.classes {
                true => Palette::for_names(&self.class_names),
                false => Palette::for_classes(own.classes),
            };
            let numbers: Vec<String> = (0..own.classes).map(|class| class.to_string()).collect();
            let names = if self.class_names.len() == own.classes { &self.class_names } else { &numbers };
            let label = own.truth.iter().map(|class| u16::try_from(*class).unwrap_or(NO_CLASS)).collect();
            let label = class_map(label, own.size)?;
            let prediction = class_map(own.predicted.clone(), own.size)?;
            let path = folder.join(format!("{name}_batch-{batch:03}_image-{}.png", index + 1));
            remove_leftovers(&path);
            Quicklook::new()
                .panel(Panel::new("input", stretch.render(SamplesView::from(image))?)?)
                .panel(Panel::new("label", label.render(&palette))?)
                .panel(Panel::new("prediction", prediction.render(&palette))?)
                .legend(Legend::of(&prediction, &palette, names))
                .save(path, true)?;
        }
        Ok(())
    }
}

fn class_map(classes: Vec<u16>, size: [usize; 2]) -> Result<ClassMap> {
    let map = Array3::from_shape_vec((1, size[0], size[1]), classes)
        .map_err(|error| Error::internal("a map of another shape").caused_by(error))?;
    ClassMap::new(SamplesView::from(map.view()), Some(NO_CLASS))
}

impl Callback for Visualisations {
    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        if self.training && context.state.phase == Phase::Train && self.is_wanted(context) {
            context.access()?.want_logits(true);
        }
        Ok(())
    }

    fn backward_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if self.training && self.is_wanted(context) { self.draw(context, "train") } else { Ok(()) }
    }

    fn metrics_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if !self.is_wanted(context) {
            return Ok(());
        }
        let name = if context.state.phase == Phase::Test { "test" } else { "val" };
        self.draw(context, name)
    }

    fn name(&self) -> &str {
        "visualisations"
    }
}
