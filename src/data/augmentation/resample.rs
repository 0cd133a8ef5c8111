//! Pixels where a map looks: images bilinear, labels nearest.

use crate::data::augmentation::map::Symmetry;

/// Where one output pixel looks: between four pixels of the patch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Index of the upper left of the four.
    at: usize,
    /// Share of the right ones.
    x: f32,
    /// Share of the lower ones.
    y: f32,
    /// Index of the nearest of the four.
    pub(crate) nearest: usize,
}

impl Look {
    /// At column `x` and row `y` (of pixel centres) of a patch of at least two pixels a side.
    pub(crate) fn new([x, y]: [f64; 2], [height, width]: [usize; 2]) -> Look {
        // The patch holds all that is looked at but for rounding.
        let split = |at: f64, extent: usize| {
            let first = at.floor().clamp(0.0, extent as f64 - 2.0);
            (first as usize, (at - first).clamp(0.0, 1.0))
        };
        let (column, x) = split(x, width);
        let (row, y) = split(y, height);
        let at = row * width + column;
        let nearest = at + usize::from(x >= 0.5) + if y >= 0.5 { width } else { 0 };
        Look { at, x: x as f32, y: y as f32, nearest }
    }

    /// The value there of one band of the patch.
    pub(crate) fn value(self, band: &[f32], width: usize) -> f32 {
        let (upper, lower) = (&band[self.at..self.at + 2], &band[self.at + width..self.at + width + 2]);
        let above = upper[0] + self.x * (upper[1] - upper[0]);
        let below = lower[0] + self.x * (lower[1] - lower[0]);
        above + self.y * (below - above)
    }

    /// The value there out of the valid pixels alone; one of the four, the nearest, must be.
    pub(crate) fn value_of_valid(self, band: &[f32], width: usize, valid: &[bool]) -> f32 {
        let four = [self.at, self.at + 1, self.at + width, self.at + width + 1];
        if four.iter().all(|at| valid[*at]) {
            return self.value(band, width);
        }
        let shares = [
            (1.0 - self.x) * (1.0 - self.y),
            self.x * (1.0 - self.y),
            (1.0 - self.x) * self.y,
            self.x * self.y,
        ];
        let mut sum = 0.0;
        let mut weight = 0.0;
        for (at, share) in four.into_iter().zip(shares).filter(|(at, _)| valid[*at]) {
            sum += share * band[at];
            weight += share;
        }
        sum / weight
    }
}

impl Symmetry {
    /// The index in a patch `[h, w]` of the pixel that output pixel (`row`, `column`) is.
    pub(crate) fn index(self, row: usize, column: usize, [height, width]: [usize; 2]) -> usize {
        let (mut y, mut x) = if self.turns { (column, row) } else { (row, column) };
        if self.backwards_x {
            x = width - 1 - x;
        }
        if self.backwards_y {
            y = height - 1 - y;
        }
        y * width + x
    }
}
