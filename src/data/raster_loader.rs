//! Batches straight from rasters.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::data::batch::{Batch, Labels};
use crate::data::counts::Counts;
use crate::data::dataset::Dataset;
use crate::data::grid::{Cell, blocks, windows};
use crate::data::labels::Outside;
use crate::data::loader::Loader;
use crate::data::loader_options::LoaderOptions;
use crate::data::maker::{Epoch, Maker, Places, Plan, Sample, key};
use crate::data::prefetch::Prefetch;
use crate::data::sampling::{Picker, Sampling, kept};
use crate::data::survey::survey;
use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::random::SplitMix64;

/// What a loader found in its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// Images.
    pub images: usize,
    /// Windows of the grid, or blocks for random and balanced sampling.
    pub windows: usize,
    /// Those of them in which no label counts: no data, or nothing labelled.
    pub without_labels: usize,
    /// Those of them with too small an annotated share.
    pub too_few: usize,
    /// Images of an epoch.
    pub samples: usize,
    /// Pixels of each class in the windows that are used.
    pub class_pixels: Vec<u64>,
}

/// Where an image of a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoaderWindow<'a> {
    /// What batches know it by.
    pub key: u64,
    /// The file.
    pub image: &'a Path,
    /// Its pixels in the file; where they are beyond its edge the image is padded.
    pub window: Window,
}

/// Cuts labelled rasters into batches, window by window, with threads that work ahead.
///
/// All follows from the seed that an epoch begins with: the windows, their order and what augmentation does are the same
/// whatever the number of threads.
///
/// The last batch of an epoch is filled up with images whose pixels do not count, so that none is left out.
#[derive(Debug)]
pub struct RasterLoader {
    options: LoaderOptions,
    found: Found,
    plan: Arc<Plan>,
    source: Prefetch<Sample, Epoch>,
    /// Batch that comes next from the source.
    next: usize,
    seed: u64,
    images: Vec<f32>,
    labels: Vec<i32>,
    mask: Vec<u8>,
    keys: Vec<u64>,
}

impl RasterLoader {
    /// Looks through the labels and begins to make samples of the first epoch when that begins.
    ///
    /// # Errors
    /// `InvalidArgument` for options out of range, and where no window has labels that count; of reading images and labels,
    /// with list and line.
    pub fn new(dataset: &Dataset, options: LoaderOptions) -> Result<RasterLoader> {
        options.check()?;
        let size = Size::new(options.size[1], options.size[0]);
        let stride = options.stride.map_or(size, |[y, x]| Size::new(x, y));
        let is_grid = options.sampling == Sampling::Grid;
        let cells: Vec<Vec<Cell>> = dataset
            .scenes
            .iter()
            .map(|scene| {
                let cells =
                    if is_grid { windows(scene.size, size, stride) } else { blocks(scene.size, size) };
                let cells = if options.once { cells } else { whole(cells) };
                // Windows of another part of the data are not this part's.
                let area = scene.area.as_ref();
                let is_own = |cell: &Cell| area.is_none_or(|area| area.touches(cell.own));
                cells.into_iter().filter(is_own).collect()
            })
            .collect();
        let mut counts = survey(dataset, &cells)?;
        let whole = dataset.options.labels.outside == Outside::Ignore;
        let is_enough = |own: &Counts| {
            let pixels = own.window.size().pixels();
            own.counted() > 0 && own.annotated(pixels, whole) >= options.min_annotated
        };
        let mut found = judge(dataset, &counts, is_enough);
        if found.windows == found.without_labels + found.too_few {
            return Err(nothing(dataset, &found, &options));
        }
        let places = if is_grid {
            Places::Grid(kept(&cells, &counts, is_enough))
        } else {
            for own in counts.iter_mut().flatten().filter(|own| !is_enough(own)) {
                own.classes.clear();
            }
            let balanced = options.sampling == Sampling::Balanced;
            let classes = dataset.options.classes;
            Places::Picked(Picker::new(&counts, balanced, &options.class_shares, classes)?)
        };
        found.samples = options.samples.unwrap_or(found.windows - found.without_labels - found.too_few);
        let plan = Arc::new(Plan::new(dataset, &options, places)?);
        let maker_plan = Arc::clone(&plan);
        let make = move || {
            let mut maker = Maker::new(Arc::clone(&maker_plan));
            Ok(move |epoch: &Epoch, index: usize| maker.make(index, epoch))
        };
        let source = Prefetch::new(options.threads, options.ahead * options.batch, make)?;
        Ok(RasterLoader {
            options,
            found,
            plan,
            source,
            next: 0,
            seed: 0,
            images: Vec::new(),
            labels: Vec::new(),
            mask: Vec::new(),
            keys: Vec::new(),
        })
    }

    /// What was found in the data.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Windows of a grid in its own order, which is the order of an epoch that is not shuffled, each with the key that its
    /// image has in a [`Batch`]. None for random and balanced sampling.
    pub fn windows(&self) -> impl Iterator<Item = LoaderWindow<'_>> {
        self.plan.windows().iter().filter_map(|(scene, cell)| {
            let (key, window) = (key(*scene, cell.window), cell.window);
            Some(LoaderWindow { key, image: self.plan.image(*scene)?, window })
        })
    }

    /// How it cuts.
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// How long batches were waited for, in all.
    pub fn waited(&self) -> Duration {
        self.source.waited_in_all()
    }

    /// Starts to make the samples of an epoch from a batch on.
    fn start(&mut self, batch: usize) -> Result<()> {
        self.next = batch;
        let order = self.plan.order(self.seed, self.found.samples);
        self.source.start((self.seed, order), batch * self.options.batch..self.found.samples)
    }
}

impl Loader for RasterLoader {
    fn batches(&self) -> usize {
        self.found.samples.div_ceil(self.options.batch)
    }

    fn begin(&mut self, seed: u64) -> Result<()> {
        self.seed = seed;
        self.start(0)
    }

    fn batch(&mut self, index: usize) -> Result<Batch<'_>> {
        if index >= self.batches() {
            return Err(Error::invalid(format!("expected a batch below {}, got {index}", self.batches())));
        }
        if index != self.next {
            self.start(index)?;
        }
        self.images.clear();
        self.labels.clear();
        self.mask.clear();
        self.keys.clear();
        let count = self.options.batch.min(self.found.samples - index * self.options.batch);
        for _ in 0..count {
            let sample = self.source.take()?;
            self.images.extend_from_slice(&sample.image);
            self.mask.extend(sample.labels.iter().map(|label| u8::from(*label >= 0)));
            self.labels.extend(sample.labels.iter().map(|label| (*label).max(0)));
            self.keys.push(sample.key);
        }
        let (image, labels) = (self.images.len() / count, self.labels.len() / count);
        for _ in count..self.options.batch {
            self.images.extend_from_within(..image);
            self.labels.extend_from_within(..labels);
            self.mask.resize(self.mask.len() + labels, 0);
            self.keys.push(self.keys[0]);
        }
        self.next = index + 1;
        // Only what comes again is worth being kept.
        let keys = self.plan.is_repeated().then_some(&self.keys[..]);
        Ok(Batch { images: &self.images, labels: Labels::I32(&self.labels), mask: Some(&self.mask), keys })
    }

    fn samples(&self) -> Option<usize> {
        Some(self.found.samples)
    }

    fn images(&self, index: usize) -> Option<usize> {
        Some(self.options.batch.min(self.found.samples.saturating_sub(index * self.options.batch)))
    }
}

/// Cells of which everything is their own.
fn whole(cells: Vec<Cell>) -> Vec<Cell> {
    cells.into_iter().map(|cell| Cell { window: cell.window, own: cell.window }).collect()
}

fn judge(dataset: &Dataset, counts: &[Vec<Counts>], is_enough: impl Fn(&Counts) -> bool) -> Found {
    let mut found = Found {
        images: dataset.scenes.len(),
        windows: 0,
        without_labels: 0,
        too_few: 0,
        samples: 0,
        class_pixels: vec![0; dataset.options.classes],
    };
    for own in counts.iter().flatten() {
        found.windows += 1;
        match own.counted() {
            0 => found.without_labels += 1,
            _ if !is_enough(own) => found.too_few += 1,
            _ => {
                for (class, pixels) in &own.classes {
                    if let Some(sum) = found.class_pixels.get_mut(*class as usize) {
                        *sum += pixels;
                    }
                }
            }
        }
    }
    found
}

/// The error where no window is left.
fn nothing(dataset: &Dataset, found: &Found, options: &LoaderOptions) -> Error {
    let [height, width] = options.size;
    let mut message = format!(
        "no window of {width} x {height} pixels can be used: of {}, {} have no label that counts where the image has data",
        found.windows, found.without_labels
    );
    if found.too_few > 0 {
        let more = format!(" and {} are annotated to less than {} %", found.too_few, options.min_annotated);
        message.push_str(&more);
    }
    if dataset.ignores_label_nodata() {
        message.push_str(
            " (labels that are their file's nodata value do not count, unless labels.nodata is background)",
        );
    }
    let error = Error::invalid(message);
    match dataset.scenes.first().and_then(|scene| scene.item.place.as_ref()) {
        Some((list, _)) => error.at_path(list),
        None => match dataset.scenes.first() {
            Some(scene) => error.at_path(&scene.item.image),
            None => error,
        },
    }
}

/// The seed of one sample of an epoch.
pub(super) fn sample_seed(epoch: u64, index: usize) -> u64 {
    let far = SplitMix64::new(epoch).next();
    SplitMix64::new(far ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95)).next()
}
