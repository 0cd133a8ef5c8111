//! Makes one sample after the other: what a thread of a loader does.

use std::path::Path;
use std::sync::Arc;

use crate::data::augmentation::{Patch, Photometric};
use crate::data::counts::nth;
use crate::data::dataset::{Dataset, SceneFile};
use crate::data::grid::Cell;
use crate::data::loader_options::LoaderOptions;
use crate::data::raster_loader::sample_seed;
use crate::data::sampling::{Picker, window_over};
use crate::data::scene::Scene;
use crate::data::survey::keep_own;
use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::random::SplitMix64;
use crate::tensor::DataType;

/// Images that a thread keeps open.
const MOST_OPEN: usize = 16;

/// Where windows come from.
#[derive(Debug)]
pub(super) enum Places {
    /// These.
    Grid(Vec<(usize, Cell)>),
    /// Over pixels that are drawn.
    Picked(Picker),
}

/// What all threads of a loader share.
#[derive(Debug)]
pub(super) struct Plan {
    dataset: Dataset,
    options: LoaderOptions,
    places: Places,
    photometric: Photometric,
}

/// An image and its labels.
#[derive(Debug)]
pub(super) struct Sample {
    /// `[C, H, W]`, normalised.
    pub(super) image: Vec<f32>,
    /// `[H', W']`, negative where a pixel does not count.
    pub(super) labels: Vec<i32>,
    /// The same number for the same image.
    pub(super) key: u64,
}

/// An epoch: its seed, and the order of a grid's windows.
pub(super) type Epoch = (u64, Arc<Vec<usize>>);

impl Plan {
    pub(super) fn new(dataset: &Dataset, options: &LoaderOptions, places: Places) -> Result<Plan> {
        let own = &dataset.options.normalisation;
        // Colours change in shares of the full range: 1 in scaled units, or the type's largest value.
        let full = match dataset.scenes.first().map(|scene| scene.data_type) {
            Some(kind) if own.scale().iter().all(|scale| *scale == 1.0) => largest(kind),
            _ => 1.0,
        };
        let photometric = Photometric::new(own.mean().to_vec(), own.std().to_vec(), full)?;
        Ok(Plan { dataset: dataset.clone(), options: options.clone(), places, photometric })
    }

    /// Numbers of the windows of an epoch, for a grid.
    pub(super) fn order(&self, seed: u64, samples: usize) -> Arc<Vec<usize>> {
        let Places::Grid(cells) = &self.places else { return Arc::default() };
        let mut order = Vec::with_capacity(samples);
        let mut round = 0u64;
        while order.len() < samples {
            let mut all: Vec<usize> = (0..cells.len()).collect();
            if self.options.shuffle {
                SplitMix64::new(seed.wrapping_add(round)).shuffle(&mut all);
            }
            all.truncate(samples - order.len());
            order.extend(all);
            round += 1;
        }
        Arc::new(order)
    }

    /// The windows of a grid, in its own order, by their image's number; none where they are drawn.
    pub(super) fn windows(&self) -> &[(usize, Cell)] {
        match &self.places {
            Places::Grid(cells) => cells,
            Places::Picked(_) => &[],
        }
    }

    /// The file of an image.
    pub(super) fn image(&self, scene: usize) -> Option<&Path> {
        Some(&self.dataset.scenes.get(scene)?.item.image)
    }

    /// Whether the same images come in every epoch.
    pub(super) fn is_repeated(&self) -> bool {
        matches!(self.places, Places::Grid(_)) && self.options.augmentation.is_none()
    }
}

/// The largest value of a type of samples; 1 for floats.
fn largest(kind: DataType) -> f64 {
    match kind {
        DataType::U8 => f64::from(u8::MAX),
        DataType::U16 => f64::from(u16::MAX),
        DataType::I16 => f64::from(i16::MAX),
        DataType::U32 => f64::from(u32::MAX),
        DataType::I32 => f64::from(i32::MAX),
        DataType::U64 => u64::MAX as f64,
        DataType::I64 => i64::MAX as f64,
        DataType::F32 | DataType::F64 => 1.0,
    }
}

/// One thread's open images and buffers.
#[derive(Debug)]
pub(super) struct Maker {
    plan: Arc<Plan>,
    /// The one used last at the end.
    open: Vec<(usize, Scene)>,
    patch: Vec<f32>,
}

impl Maker {
    pub(super) fn new(plan: Arc<Plan>) -> Maker {
        Maker { plan, open: Vec::new(), patch: Vec::new() }
    }

    /// Sample `index` of an epoch.
    pub(super) fn make(&mut self, index: usize, (epoch, order): &Epoch) -> Result<Sample> {
        let plan = Arc::clone(&self.plan);
        let seed = sample_seed(*epoch, index);
        match &plan.places {
            Places::Grid(cells) => {
                let place = order.get(index).and_then(|number| cells.get(*number));
                let (scene, cell) = *place.ok_or_else(|| Error::internal("a sample that is in no epoch"))?;
                let own = plan.options.once.then_some(cell.own);
                self.sample(scene, cell.window, own, seed)
            }
            Places::Picked(picker) => {
                let pick = picker.pick(seed).ok_or_else(|| Error::internal("nothing to pick from"))?;
                let item = Arc::clone(&plan.dataset.scenes[pick.scene].item);
                let scene = self.scene(pick.scene)?;
                let labels = scene.classes(pick.cell).map_err(|error| item.locate(error))?;
                // The file has changed where the pixel is no longer there.
                let (x, y) = nth(&labels, pick.class, pick.nth).unwrap_or((0, 0));
                let at = (pick.cell.x + x as i64, pick.cell.y + y as i64);
                let [height, width] = plan.options.size;
                let window = window_over(at, Size::new(width, height), scene.raster.size(), pick.seed);
                self.sample(pick.scene, window, None, pick.seed)
            }
        }
    }

    fn sample(&mut self, index: usize, window: Window, own: Option<Window>, seed: u64) -> Result<Sample> {
        let plan = Arc::clone(&self.plan);
        let SceneFile { item, .. } = &plan.dataset.scenes[index];
        let [height, width] = plan.options.size;
        let drawn = plan.options.augmentation.draw([height, width], seed)?;
        let source = drawn.source(window);
        let mut patch = std::mem::take(&mut self.patch);
        let scene = self.scene(index)?;
        let found = scene.sample(source, &plan.dataset.options.normalisation, &mut patch);
        let (mut labels, valid) = found.map_err(|error| item.locate(error))?;
        if let Some(own) = own {
            keep_own(source, own, &mut labels);
        }
        let mut image = vec![0.0; plan.dataset.bands() * height * width];
        let mut classes = vec![0; height * width];
        let valid: Option<Vec<bool>> = valid.map(|valid| valid.into_iter().collect());
        let view = Patch { image: &patch, labels: labels.view(), valid: valid.as_deref() };
        drawn.apply(&view, &plan.photometric, &mut image, &mut classes)?;
        self.patch = patch;
        let labels = reduced(classes, [height, width], plan.options.label_size);
        Ok(Sample { image, labels, key: key(index, window) })
    }

    /// An open image, opened where it is not.
    fn scene(&mut self, index: usize) -> Result<&Scene> {
        let place = self.open.iter().position(|(own, _)| *own == index);
        let entry = match place {
            Some(place) => self.open.remove(place),
            None => {
                if self.open.len() >= MOST_OPEN {
                    self.open.remove(0);
                }
                (index, self.plan.dataset.scene(index)?)
            }
        };
        self.open.push(entry);
        match self.open.last() {
            Some((_, scene)) => Ok(scene),
            None => Err(Error::internal("an image that was opened is not there")),
        }
    }
}

/// Labels at another size: those of the pixels in the middle of each place.
fn reduced(labels: Vec<i32>, [height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> Vec<i32> {
    if [height, width] == [rows, columns] {
        return labels;
    }
    let middle = |at: usize, from: usize, to: usize| ((2 * at + 1) * from / (2 * to)).min(from - 1);
    let row = |y: usize| middle(y, height, rows) * width;
    let places = (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x)));
    places.map(|(y, x)| labels[row(y) + middle(x, width, columns)]).collect()
}

/// The number of an image that is this window.
pub(super) fn key(scene: usize, window: Window) -> u64 {
    [scene as u64, window.x as u64, window.y as u64]
        .into_iter()
        .fold(0, |mixed, part| SplitMix64::new(mixed ^ part).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_labels_are_those_of_the_middle() {
        let labels: Vec<i32> = (0..24).collect();
        // 4 x 6 to 2 x 2: rows 1 and 3, columns 1 and 4.
        assert_eq!(reduced(labels.clone(), [4, 6], [2, 2]), [7, 10, 19, 22]);
        assert_eq!(reduced(labels.clone(), [4, 6], [4, 6]), labels);
        assert_eq!(reduced(vec![3], [1, 1], [2, 2]), [3; 4]);
    }

    #[test]
    fn images_have_keys_of_their_own() {
        let mut keys = std::collections::BTreeSet::new();
        for scene in 0..10 {
            for at in 0..20 {
                keys.insert(key(scene, Window::new(at, 0, 8, 8)));
                keys.insert(key(scene, Window::new(0, at + 1, 8, 8)));
            }
        }
        assert_eq!(keys.len(), 400);
    }
}
