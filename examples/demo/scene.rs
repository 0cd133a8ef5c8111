//! A made-up satellite scene with its truth: a country with a river, a lake, fields, woods, a town and roads, seen
//! by a sensor with blur and noise, with the empty collar that warped scenes have.
//!
//! Pure: a seed and a size give the same pixels everywhere.

#![allow(dead_code, unused_imports, reason = "the demo and the test of its parts each use some of it")]

#[path = "land.rs"]
mod land;
#[path = "noise.rs"]
mod noise;

use ndarray::{Array2, Array3, Axis};

use land::Land;
pub(crate) use land::{BARE, BUILT, VEGETATION, WATER};

/// The truth where the scene has no data.
pub(crate) const NODATA_CLASS: u8 = 255;
/// The sample value, in all bands, where the scene has no data; no pixel with data has it.
pub(crate) const NODATA: u16 = 0;
/// Samples are reflectance times this.
pub(crate) const SCALE: f32 = 10_000.0;
/// The bands in order.
pub(crate) const BANDS: [&str; 4] = ["red", "green", "blue", "nir"];

/// A scene and what is really there.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// Reflectance times [`SCALE`], `[4, H, W]`: red, green, blue, near infrared. [`NODATA`] outside the data.
    pub(crate) image: Array3<u16>,
    /// Classes `[H, W]`: [`WATER`], [`VEGETATION`], [`BARE`], [`BUILT`], or [`NODATA_CLASS`].
    pub(crate) truth: Array2<u8>,
}

impl Scene {
    /// A scene of `size` by `size` pixels.
    ///
    /// Up to 1024 pixels the whole country is shown, at a coarser resolution for a smaller scene; a larger one
    /// shows more of it.
    pub(crate) fn generate(size: usize, seed: u64) -> Scene {
        let land = Land { seed: noise::hash(seed as u32, (seed >> 32) as i32, 1) };
        let unit = (1024.0 / size.max(1) as f32).max(1.0);
        let mut truth = Array2::from_elem((size, size), NODATA_CLASS);
        let mut light = Array3::<f32>::zeros((size, size, 4));
        // Each pixel depends on its place only, so the rows may be shared out.
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let share = size.div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let parts =
                truth.axis_chunks_iter_mut(Axis(0), share).zip(light.axis_chunks_iter_mut(Axis(0), share));
            for (part, (mut truth, mut light)) in parts.enumerate() {
                scope.spawn(move || {
                    for ((y, x), class) in truth.indexed_iter_mut() {
                        let row = part * share + y;
                        let ground = land.at((x as f32 + 0.5) * unit, (row as f32 + 0.5) * unit);
                        *class = ground.class;
                        (0..4).for_each(|band| light[[y, x, band]] = ground.reflectance[band]);
                    }
                });
            }
        });
        let mut image = Array3::from_elem((4, size, size), NODATA);
        for y in 0..size {
            for x in 0..size {
                if in_collar(x, y, size) {
                    truth[[y, x]] = NODATA_CLASS;
                    continue;
                }
                for band in 0..4 {
                    let seen = sensed(&light, x, y, band);
                    let spread = 0.0015 + 0.025 * seen;
                    let seen =
                        seen + spread * noise::normal(land.seed ^ (77 + band as u32), x as i32, y as i32);
                    // 1 is the least value of a pixel with data.
                    image[[band, y, x]] = (seen * SCALE).round().clamp(1.0, f32::from(u16::MAX)) as u16;
                }
            }
        }
        Scene { image, truth }
    }
}

/// The optics let an eighth of the light of each side neighbour in, along rows and columns.
fn sensed(light: &Array3<f32>, x: usize, y: usize, band: usize) -> f32 {
    let (height, width, _) = light.dim();
    let mut sum = 0.0;
    for (weight_y, row) in [(0.125, y.saturating_sub(1)), (0.75, y), (0.125, (y + 1).min(height - 1))] {
        for (weight_x, column) in [(0.125, x.saturating_sub(1)), (0.75, x), (0.125, (x + 1).min(width - 1))] {
            sum += weight_y * weight_x * light[[row, column, band]];
        }
    }
    sum
}

/// The footprint is turned against the grid: two slanted edges, left and below, have no data.
fn in_collar(x: usize, y: usize, size: usize) -> bool {
    let (u, v) = (x as f32 / size as f32, y as f32 / size as f32);
    u < 0.085 - 0.14 * v || 1.0 - v < 0.075 - 0.14 * u
}
