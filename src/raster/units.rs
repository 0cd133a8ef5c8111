//! Cutting a raster into windows of whole blocks that fit the memory.

use super::spec::WriteSpec;
use crate::geometry::Size;

/// A raster cut into units, each a row of blocks or a part of one, from left to right and top to bottom.
pub(super) struct Units {
    size: Size,
    /// A unit is this large, or what is left of the raster there.
    unit: Size,
    /// Within a unit that many rows at once, and that many bands: all, where they fit the memory.
    pub(super) rows: usize,
    pub(super) bands: usize,
}

impl Units {
    /// Units of a raster with blocks of this size; samples of the rows and bands of one take at most `budget` bytes.
    pub(super) fn new(spec: &WriteSpec, block: Size, budget: usize) -> Units {
        let height = block.height.min(spec.size.height);
        // Bytes of one row of one block, in one band.
        let row = block.width.saturating_mul(spec.data_type.bytes());
        let blocks = budget / row.saturating_mul(height).saturating_mul(spec.bands).max(1);
        let width = block.width.saturating_mul(blocks.max(1)).min(spec.size.width);
        let bands = (budget / row.saturating_mul(height).max(1)).clamp(1, spec.bands);
        let rows = (budget / row.saturating_mul(bands).max(1)).clamp(1, height);
        Units { size: spec.size, unit: Size::new(width, height), rows, bands }
    }

    /// Units side by side.
    pub(super) fn columns(&self) -> usize {
        self.size.width.div_ceil(self.unit.width)
    }

    /// Number of units.
    pub(super) fn count(&self) -> usize {
        self.columns() * self.size.height.div_ceil(self.unit.height)
    }

    /// The unit of this number: left, top, width, height.
    pub(super) fn unit(&self, number: usize) -> [usize; 4] {
        let (x, y) = (number % self.columns() * self.unit.width, number / self.columns() * self.unit.height);
        let (width, height) = (self.size.width - x, self.size.height - y);
        [x, y, width.min(self.unit.width), height.min(self.unit.height)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DataType;

    #[test]
    fn units_cover_the_raster_once_and_fit_the_budget() {
        for (width, height, bands, block, budget) in [
            (1, 1, 1, 128, 1 << 20),
            (700, 515, 5, 128, 1 << 20),
            (700, 515, 5, 512, 1 << 20),
            (700, 515, 5, 512, 10_000),
            (3000, 40, 2, 16, 1 << 16),
        ] {
            let spec = WriteSpec::new(Size::new(width, height), bands, DataType::F32);
            let units = Units::new(&spec, Size::new(block, block), budget);
            let mut seen = vec![0; width * height];
            for number in 0..units.count() {
                let [x, y, w, h] = units.unit(number);
                assert!(x % block == 0 && y % block == 0 && h <= block);
                assert!(w.min(block) * units.rows.min(h) * units.bands * 4 <= budget);
                (y..y + h).for_each(|y| (x..x + w).for_each(|x| seen[y * width + x] += 1));
            }
            assert!(seen.iter().all(|&times| times == 1));
        }
    }
}
