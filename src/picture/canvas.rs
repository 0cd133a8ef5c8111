//! A page of pixels to draw on. Everything is clipped at its edges.

use ndarray::ArrayView3;

/// An RGB page, rows from the top.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white page.
    pub(super) fn white(width: usize, height: usize) -> Canvas {
        Canvas { width, height, pixels: vec![255; width * height * 3] }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// `[H, W, 3]` in row-major order.
    pub(super) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Covers `coverage` (0 to 1) of a pixel with a colour.
    pub(super) fn blend(&mut self, x: usize, y: usize, color: [u8; 3], coverage: f32) {
        if x >= self.width || y >= self.height {
            return;
        }
        let start = (y * self.width + x) * 3;
        for (level, value) in self.pixels[start..start + 3].iter_mut().zip(color) {
            let old = f32::from(*level);
            *level = (old + (f32::from(value) - old) * coverage).round() as u8;
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, color: [u8; 3]) {
        for y in y..y.saturating_add(height).min(self.height) {
            for x in x..x.saturating_add(width).min(self.width) {
                let start = (y * self.width + x) * 3;
                self.pixels[start..start + 3].copy_from_slice(&color);
            }
        }
    }

    /// Draws the outline of a rectangle, one pixel wide, inside it.
    pub(super) fn frame(&mut self, x: usize, y: usize, width: usize, height: usize, color: [u8; 3]) {
        self.fill(x, y, width, 1, color);
        self.fill(x, y + height.saturating_sub(1), width, 1, color);
        self.fill(x, y, 1, height, color);
        self.fill(x + width.saturating_sub(1), y, 1, height, color);
    }

    /// Puts a picture `[H, W, 3]`, resampled by nearest neighbour to `width` by `height` pixels.
    pub(super) fn put(&mut self, x: usize, y: usize, width: usize, height: usize, rgb: ArrayView3<'_, u8>) {
        let (from_height, from_width, _) = rgb.dim();
        for row in 0..height {
            let from_y = nearest(row, height, from_height);
            for column in 0..width {
                let from_x = nearest(column, width, from_width);
                let color = [0, 1, 2].map(|channel| rgb[[from_y, from_x, channel]]);
                self.fill(x + column, y + row, 1, 1, color);
            }
        }
    }
}

/// The source pixel under the centre of target pixel `at`.
fn nearest(at: usize, target: usize, source: usize) -> usize {
    (((2 * at + 1) * source) / (2 * target)).min(source - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_the_pixel_under_the_centre() {
        let picked = |target, source| (0..target).map(|at| nearest(at, target, source)).collect::<Vec<_>>();
        assert_eq!(picked(3, 3), [0, 1, 2]);
        assert_eq!(picked(6, 3), [0, 0, 1, 1, 2, 2]);
        assert_eq!(picked(2, 4), [1, 3]);
        assert_eq!(picked(1, 5), [2]);
    }

    #[test]
    fn drawing_past_the_edge_is_clipped() {
        let mut canvas = Canvas::white(3, 2);
        canvas.fill(2, 1, usize::MAX, 9, [0; 3]);
        canvas.frame(1, 1, 50, 50, [9; 3]);
        canvas.blend(7, 7, [0; 3], 1.0);
        assert_eq!(canvas.pixels()[..9], [255; 9]);
        assert_eq!(canvas.pixels()[12..15], [9; 3]);
    }
}
