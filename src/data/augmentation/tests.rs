mod colour;
mod geometry;
mod options;

use ndarray::Array2;

use crate::data::augmentation::{Augmentation, Drawn, Patch, Photometric};
use crate::geometry::Window;

/// A raster without an end, as functions of column and row; `read` gives what a window of it holds.
pub(crate) struct Scene<'a> {
    /// Value of a band at column and row.
    pub(crate) value: &'a dyn Fn(usize, i64, i64) -> f32,
    pub(crate) label: &'a dyn Fn(i64, i64) -> i64,
    pub(crate) bands: usize,
}

impl Scene<'_> {
    pub(crate) fn read(&self, window: Window) -> (Vec<f32>, Array2<i32>) {
        let mut image = Vec::new();
        for band in 0..self.bands {
            for row in 0..window.height as i64 {
                for column in 0..window.width as i64 {
                    image.push((self.value)(band, window.x + column, window.y + row));
                }
            }
        }
        let labels = Array2::from_shape_fn((window.height, window.width), |(row, column)| {
            (self.label)(window.x + column as i64, window.y + row as i64) as i32
        });
        (image, labels)
    }

    /// The sample of an output window; `valid` by column and row of the scene.
    pub(crate) fn sample(
        &self,
        drawn: &Drawn,
        window: Window,
        valid: Option<&dyn Fn(i64, i64) -> bool>,
        photometric: &Photometric,
    ) -> (Vec<f32>, Vec<i32>) {
        let source = drawn.source(window);
        let (image, labels) = self.read(source);
        let mask: Option<Vec<bool>> = valid.map(|valid| {
            let at = |index: usize| (index % source.width, index / source.width);
            (0..source.width * source.height)
                .map(|index| valid(source.x + at(index).0 as i64, source.y + at(index).1 as i64))
                .collect()
        });
        let patch = Patch { image: &image, labels: labels.view(), valid: mask.as_deref() };
        let pixels = window.width * window.height;
        let mut made = (vec![f32::NAN; self.bands * pixels], vec![-99; pixels]);
        drawn.apply(&patch, photometric, &mut made.0, &mut made.1).unwrap();
        made
    }
}

/// The first draws, by seed, that do exactly these operations.
pub(crate) fn draws(
    augmentation: &Augmentation,
    size: [usize; 2],
    names: &[&str],
    count: usize,
) -> Vec<Drawn> {
    let all = (0..100_000).map(|seed| augmentation.draw(size, seed).unwrap());
    let found: Vec<Drawn> = all.filter(|drawn| drawn.operations() == names).take(count).collect();
    assert_eq!(found.len(), count, "{names:?}");
    found
}
