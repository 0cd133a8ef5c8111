//! The part of a raster that belongs to training or to validation.

use ndarray::Array2;

use crate::geometry::{Size, Window};

/// Blocks of a raster, each of which belongs to the part or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Area {
    block: Size,
    columns: usize,
    own: Vec<bool>,
}

impl Area {
    /// For blocks of this size, row by row.
    pub(super) fn new(raster: Size, block: Size, own: Vec<bool>) -> Area {
        let area = Area { block, columns: raster.width.div_ceil(block.width), own };
        debug_assert_eq!(area.own.len(), area.columns * raster.height.div_ceil(block.height));
        area
    }

    /// Whether a pixel belongs to it; pixels outside the raster do not.
    fn contains(&self, x: i64, y: i64) -> bool {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return false };
        let column = x / self.block.width;
        column < self.columns
            && self.own.get(y / self.block.height * self.columns + column).copied().unwrap_or(false)
    }

    /// Whether any pixel of the window belongs to it.
    pub(super) fn touches(&self, window: Window) -> bool {
        let steps = |from: i64, len: usize, block: usize| {
            let end = from + len as i64;
            (from..end).step_by(block).chain([end - 1])
        };
        steps(window.y, window.height, self.block.height)
            .any(|y| steps(window.x, window.width, self.block.width).any(|x| self.contains(x, y)))
    }

    /// Gives pixels of the window that do not belong to it this value.
    pub(super) fn clear(&self, window: Window, labels: &mut Array2<i32>, value: i32) {
        for ((y, x), label) in labels.indexed_iter_mut() {
            if !self.contains(window.x + x as i64, window.y + y as i64) {
                *label = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_of_other_blocks_are_cleared() {
        // Blocks of 2 x 3 (width x height) on 5 x 4 pixels: 3 columns, 2 rows.
        let area = Area::new(Size::new(5, 4), Size::new(2, 3), vec![true, false, true, false, false, true]);
        let window = Window::new(-1, 1, 7, 3);
        let mut labels = Array2::from_elem((3, 7), 5);
        area.clear(window, &mut labels, -1);
        let rows: Vec<Vec<i32>> = labels.outer_iter().map(|row| row.to_vec()).collect();
        let upper = vec![-1, 5, 5, -1, -1, 5, 5];
        assert_eq!(rows, [upper.clone(), upper, vec![-1, -1, -1, -1, -1, 5, 5]]);
    }

    #[test]
    fn windows_that_touch_are_those_with_a_pixel() {
        let area = Area::new(
            Size::new(9, 9),
            Size::new(3, 3),
            vec![false, false, false, false, true, false, false, false, false],
        );
        for y in -2..9 {
            for x in -2..9 {
                for size in 1..5 {
                    let window = Window::new(x, y, size, size);
                    let mut labels = Array2::zeros((size, size));
                    area.clear(window, &mut labels, -1);
                    assert_eq!(area.touches(window), labels.iter().any(|label| *label == 0), "{window}");
                }
            }
        }
    }
}
