//! What was drawn for one sample.

use ndarray::ArrayView2;

use crate::data::augmentation::colour::Colour;
use crate::data::augmentation::map::{Map, Symmetry};
use crate::data::augmentation::photometric::Photometric;
use crate::data::augmentation::resample::Look;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Window;

/// The label of a pixel that does not count.
const UNCOUNTED: i32 = -1;

/// What a window of the raster holds, as it goes into [`Drawn::apply`].
#[derive(Debug, Clone, Copy)]
pub struct Patch<'a> {
    /// `[C, h, w]`, normalised, row-major.
    pub image: &'a [f32],
    /// `[h, w]`: a class from 0, or -1 where the pixel does not count.
    pub labels: ArrayView2<'a, i32>,
    /// `[h, w]`, row-major: whether the image has a value there; all have one without it. What stands in the image
    /// where it has none is not looked at, and may be NaN.
    pub valid: Option<&'a [bool]>,
}

/// What was drawn for one sample by [`Augmentation::draw`](crate::data::Augmentation::draw).
///
/// Threads: a value without inner state; may be used by several at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// `[H, W]` of the output.
    size: [usize; 2],
    pub(super) map: Map,
    /// The patch within the output's window: first row and column from the window's, and `[h, w]`.
    origin: [i64; 2],
    patch: [usize; 2],
    colour: Colour,
    operations: Vec<&'static str>,
}

impl Drawn {
    pub(crate) fn new(size: [usize; 2], map: Map, colour: Colour, operations: Vec<&'static str>) -> Drawn {
        let (origin, patch) = looked_at(size, map);
        Drawn { size, map, origin, patch, colour, operations }
    }

    /// What is done, in its order, by the names of the options; without a word where nothing is.
    pub fn operations(&self) -> &[&'static str] {
        &self.operations
    }

    /// `[H, W]` of the output.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Where output pixels look: rows for x and y of `matrix · [x, y, 1]`, in pixels from the window's centre, x right
    /// and y down. (A window of an odd and an even side that is turned by a right angle lies half a pixel further left
    /// and up, on the raster's pixels.)
    pub fn matrix(&self) -> [[f64; 3]; 2] {
        let Map { matrix: [[a, b], [c, d]], shift: [x, y] } = self.map;
        [[a, b, x], [c, d, y]]
    }

    /// The window of the raster to be read for an output `window`, which has the output's size.
    ///
    /// For flips and turns by right angles alone it is the window itself, its sides exchanged about its centre where it
    /// is turned; else all that is looked at, with the neighbours that interpolation needs. It may reach past the raster.
    pub fn source(&self, window: Window) -> Window {
        let [row, column] = self.origin;
        let [height, width] = self.patch;
        Window::new(window.x.saturating_add(column), window.y.saturating_add(row), width, height)
    }

    /// Makes the sample: `patch` is what the [source](Drawn::source) window holds, `image` becomes `[C, H, W]` and
    /// `labels` `[H, W]`.
    ///
    /// Flips and turns by right angles copy pixels exactly. Else the image is interpolated between the four pixels
    /// around (between the valid ones of them at the edge of those without a value), labels and validity are those of
    /// the nearest pixel. A pixel that is not valid becomes exactly 0, which is the mean, and its label -1; colour does
    /// not change it, and it has no part in the mean that contrast is about.
    ///
    /// # Errors
    /// [`Mismatch`](ErrorKind::Mismatch) where a shape is not the one above, or `photometric` is for another number of
    /// bands. The outputs are then untouched.
    pub fn apply(
        &self,
        patch: &Patch<'_>,
        photometric: &Photometric,
        image: &mut [f32],
        labels: &mut [i32],
    ) -> Result<()> {
        self.check(patch, photometric, image, labels)?;
        let valid = match self.map.symmetry() {
            Some(symmetry) => self.copy(symmetry, patch, image, labels),
            None => self.resample(patch, image, labels),
        };
        self.colour.apply(image, self.pixels(), valid.as_deref(), photometric);
        Ok(())
    }

    fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn check(
        &self,
        patch: &Patch<'_>,
        photometric: &Photometric,
        image: &[f32],
        labels: &[i32],
    ) -> Result<()> {
        let [height, width] = self.patch;
        let looked_at = height * width;
        let bands = patch.image.len() / looked_at;
        let wrong = |what: &str, expected: String, got: String| {
            Err(Error::new(ErrorKind::Mismatch, format!("{what}: expected {expected}, got {got}")))
        };
        if bands == 0 || bands * looked_at != patch.image.len() {
            let expected = format!("bands of {width} x {height} samples");
            return wrong("image of the source window", expected, patch.image.len().to_string());
        }
        if patch.labels.dim() != (height, width) {
            let (rows, columns) = patch.labels.dim();
            let expected = format!("{width} x {height}");
            return wrong("labels of the source window", expected, format!("{columns} x {rows}"));
        }
        if let Some(valid) = patch.valid
            && valid.len() != looked_at
        {
            return wrong("mask of the source window", looked_at.to_string(), valid.len().to_string());
        }
        if image.len() != bands * self.pixels() {
            return wrong("image", format!("{} samples", bands * self.pixels()), image.len().to_string());
        }
        if labels.len() != self.pixels() {
            return wrong("labels", self.pixels().to_string(), labels.len().to_string());
        }
        photometric.check_bands(bands)
    }

    /// Pixel for pixel; gives the output's validity.
    fn copy(
        &self,
        symmetry: Symmetry,
        patch: &Patch<'_>,
        image: &mut [f32],
        labels: &mut [i32],
    ) -> Option<Vec<bool>> {
        let [height, width] = self.size;
        let [patch_height, patch_width] = self.patch;
        let mut sources = Vec::with_capacity(self.pixels());
        for row in 0..height {
            sources.extend((0..width).map(|column| symmetry.index(row, column, self.patch)));
        }
        for (image, band) in
            image.chunks_exact_mut(self.pixels()).zip(patch.image.chunks_exact(patch_height * patch_width))
        {
            image.iter_mut().zip(&sources).for_each(|(value, at)| *value = band[*at]);
        }
        take_labels(patch, patch_width, &sources, labels);
        patch.valid.map(|valid| sources.iter().map(|at| valid[*at]).collect())
    }

    /// Interpolates; gives the output's validity.
    fn resample(&self, patch: &Patch<'_>, image: &mut [f32], labels: &mut [i32]) -> Option<Vec<bool>> {
        let [height, width] = self.size;
        let [patch_height, patch_width] = self.patch;
        let (centre_x, centre_y) = ((width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0);
        let (left, up) = (centre_x - self.origin[1] as f64, centre_y - self.origin[0] as f64);
        let mut looks = Vec::with_capacity(self.pixels());
        for row in 0..height {
            looks.extend((0..width).map(|column| {
                let [x, y] = self.map.of([column as f64 - centre_x, row as f64 - centre_y]);
                Look::new([x + left, y + up], self.patch)
            }));
        }
        for (image, band) in
            image.chunks_exact_mut(self.pixels()).zip(patch.image.chunks_exact(patch_height * patch_width))
        {
            match patch.valid {
                None => image
                    .iter_mut()
                    .zip(&looks)
                    .for_each(|(value, look)| *value = look.value(band, patch_width)),
                Some(valid) => image.iter_mut().zip(&looks).for_each(|(value, look)| {
                    *value = match valid[look.nearest] {
                        true => look.value_of_valid(band, patch_width, valid),
                        false => 0.0,
                    };
                }),
            }
        }
        let nearest: Vec<usize> = looks.iter().map(|look| look.nearest).collect();
        take_labels(patch, patch_width, &nearest, labels);
        patch.valid.map(|valid| nearest.iter().map(|at| valid[*at]).collect())
    }
}

/// The labels of these pixels of the patch; those without a value in the image do not count.
fn take_labels(patch: &Patch<'_>, width: usize, sources: &[usize], labels: &mut [i32]) {
    for (label, at) in labels.iter_mut().zip(sources) {
        let is_valid = patch.valid.is_none_or(|valid| valid[*at]);
        *label = if is_valid { patch.labels[[at / width, at % width]] } else { UNCOUNTED };
    }
}

/// What an output of this size looks at: first row and column, from the output's own, and `[h, w]`.
fn looked_at([height, width]: [usize; 2], map: Map) -> ([i64; 2], [usize; 2]) {
    if let Some(symmetry) = map.symmetry() {
        if !symmetry.turns {
            return ([0, 0], [height, width]);
        }
        // About the same centre; down to a whole pixel where that lies between two.
        let over = (width as i64 - height as i64).div_euclid(2);
        let under = (height as i64 - width as i64).div_euclid(2);
        return ([under, over], [width, height]);
    }
    let (centre_x, centre_y) = ((width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0);
    let corners =
        [[-centre_x, -centre_y], [centre_x, -centre_y], [-centre_x, centre_y], [centre_x, centre_y]];
    let seen = corners.map(|corner| map.of(corner));
    let span = |axis: usize, centre: f64| {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for corner in seen {
            low = low.min(corner[axis] + centre);
            high = high.max(corner[axis] + centre);
        }
        // With the neighbour on the right of the last, which interpolation looks at.
        let (first, last) = (low.floor() as i64, high.floor() as i64 + 1);
        (first, (last - first + 1) as usize)
    };
    let (column, columns) = span(0, centre_x);
    let (row, rows) = span(1, centre_y);
    ([row, column], [rows, columns])
}
