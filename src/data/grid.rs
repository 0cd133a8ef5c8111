//! Windows that cover a raster.

use crate::geometry::{Size, Window};

/// A window of a grid, and the part of the raster that is its own: every pixel of the raster belongs to one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) window: Window,
    pub(super) own: Window,
}

/// Windows of `size` that begin every `stride` pixels and cover the raster, row by row. The last of a row and of a column
/// are moved inwards, flush with the raster's edge; where the raster is smaller than a window, it reaches past the right and
/// lower edge. A pixel belongs to the first window that it lies in.
pub(super) fn windows(raster: Size, size: Size, stride: Size) -> Vec<Cell> {
    let (xs, ys) = (
        axis(raster.width, size.width, stride.width.max(1)),
        axis(raster.height, size.height, stride.height.max(1)),
    );
    let cell = |&(y, y0, y1): &(usize, usize, usize), &(x, x0, x1): &(usize, usize, usize)| Cell {
        window: Window::new(x as i64, y as i64, size.width, size.height),
        own: Window::new(x0 as i64, y0 as i64, x1 - x0, y1 - y0),
    };
    ys.iter().flat_map(|y| xs.iter().map(move |x| cell(y, x))).collect()
}

/// Blocks of `size` side by side, the last ones cut off at the raster's edge.
pub(super) fn blocks(raster: Size, size: Size) -> Vec<Cell> {
    windows(raster, size, size).into_iter().map(|cell| Cell { window: cell.own, own: cell.own }).collect()
}

/// Beginning of each window along an axis, and beginning and end of what is its own.
fn axis(extent: usize, size: usize, stride: usize) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    let (mut start, mut done) = (0, 0);
    loop {
        let at = start.min(extent.saturating_sub(size));
        let end = (at + size).min(extent);
        // Strides beyond the size leave pixels out, which then belong to no window.
        found.push((at, done.max(at), end));
        done = end;
        if end == extent {
            return found;
        }
        start += stride;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_windows_are_flush_with_the_edge() {
        let found = windows(Size::new(10, 4), Size::new(4, 4), Size::new(4, 4));
        let shown: Vec<String> = found.iter().map(|cell| format!("{} {}", cell.window, cell.own)).collect();
        assert_eq!(shown, ["0,0 4x4 0,0 4x4", "4,0 4x4 4,0 4x4", "6,0 4x4 8,0 2x4"]);
        // A raster smaller than a window.
        let found = windows(Size::new(3, 2), Size::new(4, 4), Size::new(4, 4));
        assert_eq!(found, [Cell { window: Window::new(0, 0, 4, 4), own: Window::new(0, 0, 3, 2) }]);
        let found = blocks(Size::new(5, 3), Size::new(4, 4));
        assert_eq!(found[1].window, Window::new(4, 0, 1, 3));
    }

    proptest! {
        #[test]
        fn every_pixel_belongs_to_one_window(
            width in 1usize..40, height in 1usize..40, size in 1usize..20, part in 1usize..20,
        ) {
            let raster = Size::new(width, height);
            let side = Size::new(size, size);
            let stride = part.min(size);
            let mut seen = vec![0; width * height];
            for cell in windows(raster, side, Size::new(stride, stride)) {
                prop_assert_eq!(cell.own.clip(raster), Some(cell.own));
                let inside = |own: i64, len: usize, at: i64, all: usize| at <= own && own + len as i64 <= at + all as i64;
                prop_assert!(inside(cell.own.x, cell.own.width, cell.window.x, size));
                prop_assert!(inside(cell.own.y, cell.own.height, cell.window.y, size));
                for y in 0..cell.own.height {
                    for x in 0..cell.own.width {
                        seen[(cell.own.y as usize + y) * width + cell.own.x as usize + x] += 1;
                    }
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
