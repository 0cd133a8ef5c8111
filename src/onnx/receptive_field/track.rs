//! How positions along one axis of a tensor hang together with the pixels of the image.

use crate::onnx::receptive_field::ratio::Ratio;
use crate::onnx::resolved::{Coordinates, Interpolation, Nearest, Resize, ResizeAxis};

/// Positions along one axis of a tensor, and the rows (or columns) of the image that each depends on.
///
/// Position `o` depends on pixels `o · step + low` to `o · step + high`, both included. `left` and `right` positions at the
/// two ends would be others if the image went on there: they have seen padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Track {
    /// Dimension of the tensor.
    pub(super) dim: usize,
    /// Elements of the dimension from one position to the next: above 1 where axes are merged.
    pub(super) inner: usize,
    /// Number of positions.
    pub(super) count: usize,
    /// Pixels from one position to the next.
    pub(super) step: Ratio,
    /// From the position's own place to the first pixel.
    pub(super) low: Ratio,
    /// From there to the last one.
    pub(super) high: Ratio,
    /// Positions at the beginning that have seen the border.
    pub(super) left: i64,
    /// Positions at the end that have.
    pub(super) right: i64,
}

/// Windows of a convolution or a pool along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sliding {
    /// Elements from the first to the last of a window.
    pub(super) reach: i64,
    pub(super) stride: i64,
    /// Padding before the first element.
    pub(super) begin: i64,
    /// Number of windows.
    pub(super) count: usize,
}

impl Track {
    /// The image itself.
    pub(super) fn image(dim: usize, count: usize) -> Track {
        let (step, zero) = (Ratio::ONE, Ratio::ZERO);
        Track { dim, inner: 1, count, step, low: zero, high: zero, left: 0, right: 0 }
    }

    /// Position `o` takes windows of this track's positions, by steps of its own: `first` and `last` are those of window 0,
    /// in positions.
    fn windowed(self, scale: Ratio, first: Ratio, last: Ratio) -> Option<Track> {
        Some(Track {
            step: self.step.times(scale)?,
            low: self.low.plus(self.step.times(first)?)?,
            high: self.high.plus(self.step.times(last)?)?,
            ..self
        })
    }

    /// Behind a convolution or a pool.
    pub(super) fn slid(self, own: Sliding) -> Option<Track> {
        let Sliding { reach, stride, begin, count } = own;
        let track = self.windowed(Ratio::of(stride), Ratio::of(-begin), Ratio::of(reach - 1 - begin))?;
        let last_good = (self.end() - self.right + begin - reach).div_euclid(stride);
        Some(Track {
            count,
            left: above(self.left + begin, stride),
            right: (count as i64 - 1 - last_good).max(0),
            ..track
        })
    }

    /// Behind a transposed convolution: element `t` of window `i` lies at `i · stride + t − begin` of the result.
    pub(super) fn spread(self, own: Sliding) -> Option<Track> {
        let Sliding { reach, stride, begin, count } = own;
        let scale = Ratio::new(1, stride)?;
        let track =
            self.windowed(scale, Ratio::new(begin + 1 - reach, stride)?, Ratio::new(begin, stride)?)?;
        Some(Track {
            count,
            left: ((self.left - 1) * stride + reach - begin).max(0),
            right: (count as i64 - (self.end() - self.right) * stride + begin).max(0),
            ..track
        })
    }

    /// Positions `start`, `start + step` and so on.
    pub(super) fn sliced(self, start: i64, step: i64, count: usize) -> Option<Track> {
        let track = self.windowed(Ratio::of(step), Ratio::of(start), Ratio::of(start))?;
        let last_good = (self.end() - 1 - self.right - start).div_euclid(step);
        Some(Track {
            count,
            left: above(self.left - start, step),
            right: (count as i64 - 1 - last_good).max(0),
            ..track
        })
    }

    /// With positions added before and behind, or cut off where these are negative.
    pub(super) fn padded(self, begin: i64, end: i64) -> Option<Track> {
        let track = self.windowed(Ratio::ONE, Ratio::of(-begin), Ratio::of(-begin))?;
        Some(Track {
            count: usize::try_from(self.end() + begin + end).ok()?,
            left: (self.left + begin).max(0),
            right: (self.right + end).max(0),
            ..track
        })
    }

    /// Every position `times` times in a row: what was in channels has come to lie between the pixels.
    pub(super) fn widened(self, times: usize) -> Option<Track> {
        let times_i = i64::try_from(times).ok()?;
        let track = self.windowed(Ratio::new(1, times_i)?, Ratio::new(1 - times_i, times_i)?, Ratio::ZERO)?;
        let count = self.count.checked_mul(times)?;
        Some(Track { count, inner: 1, left: self.left * times_i, right: self.right * times_i, ..track })
    }

    /// `times` positions become one: what lay side by side has gone into channels.
    pub(super) fn narrowed(self, times: usize) -> Option<Track> {
        let own = i64::try_from(times).ok()?;
        self.slid(Sliding { reach: own, stride: own, begin: 0, count: self.count / times.max(1) })
    }

    /// Behind a Resize; the error is what stands in the way of a rule that is the same everywhere.
    pub(super) fn resized(self, resize: &Resize, own: &ResizeAxis) -> Result<Track, &'static str> {
        if own.is_kept() {
            return Ok(self);
        }
        let is_even = own.output as f64 == own.input as f64 * f64::from(own.scale);
        let shift = match resize.coordinates {
            Coordinates::AlignCorners => return Err("aligned corners: its scale depends on the tile's size"),
            Coordinates::CropAndResize => return Err("takes a region by parts of the tile's size"),
            Coordinates::HalfPixelSymmetric if !is_even => return Err("is centred on a tile of uneven size"),
            Coordinates::HalfPixelForNearest => return Err("coordinates of operator set 10"),
            Coordinates::PytorchHalfPixel if own.output <= 1 => return Err("has one row or column"),
            Coordinates::Asymmetric => false,
            Coordinates::HalfPixel | Coordinates::HalfPixelSymmetric | Coordinates::PytorchHalfPixel => true,
        };
        let scale = Ratio::near(own.scale, 64).filter(|scale| *scale > Ratio::ZERO);
        let scale = scale.ok_or("its scale is no simple fraction: it depends on the tile's size")?;
        self.sampled(&Sampling { scale, shift, taps: Taps::of(resize, scale), count: own.output })
            .ok_or("its scale is beyond all bounds")
    }

    fn sampled(self, own: &Sampling) -> Option<Track> {
        // The rule repeats itself after as many results as the scale's numerator.
        let period = own.scale.numerator();
        let (mut first, mut last) = (own.offset_of_first(0)?, own.offset_of_last(0)?);
        for at in 1..period {
            first = first.min(own.offset_of_first(at)?);
            last = last.max(own.offset_of_last(at)?);
        }
        let track = self.windowed(Ratio::ONE.over(own.scale)?, first, last)?;
        let mut left = 0;
        while own.first(left)? < self.left {
            left += 1;
        }
        let count = i64::try_from(own.count).ok()?;
        let mut right = 0;
        while own.last(count - 1 - right)? > self.end() - 1 - self.right {
            right += 1;
        }
        Some(Track { count: own.count, left, right, ..track })
    }

    /// Two values of the same places, taken together.
    pub(super) fn joined(self, other: Track) -> Option<Track> {
        let same = (self.dim, self.inner, self.count, self.step)
            == (other.dim, other.inner, other.count, other.step);
        same.then(|| Track {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            left: self.left.max(other.left),
            right: self.right.max(other.right),
            ..self
        })
    }

    fn end(self) -> i64 {
        self.count as i64
    }
}

/// The first window of that stride that begins at `at` or behind it.
fn above(at: i64, stride: i64) -> i64 {
    let rounded_up = -(-at).div_euclid(stride);
    rounded_up.max(0)
}

/// How a Resize finds the elements for one of its results.
struct Sampling {
    /// Results an element.
    scale: Ratio,
    /// Whether coordinates are those of the middles.
    shift: bool,
    taps: Taps,
    count: usize,
}

/// Which elements about a coordinate count.
enum Taps {
    Nearest(Nearest),
    /// From `floor(x − before)` to `ceil(x + behind)`.
    About(Ratio, Ratio),
    /// The four of a cubic.
    Cubic,
}

impl Taps {
    fn of(resize: &Resize, scale: Ratio) -> Taps {
        // An antialiasing filter is as much wider as the result is smaller.
        let wide = match Ratio::ONE.over(scale) {
            Some(wide) if resize.antialias && wide > Ratio::ONE => wide,
            _ => Ratio::ONE,
        };
        match resize.interpolation {
            Interpolation::Nearest(rule) => Taps::Nearest(rule),
            Interpolation::Linear if wide == Ratio::ONE => Taps::About(Ratio::ZERO, Ratio::ZERO),
            Interpolation::Linear => Taps::About(wide, wide),
            Interpolation::Cubic(_) if wide == Ratio::ONE => Taps::Cubic,
            Interpolation::Cubic(_) => {
                let twice = wide.plus(wide).unwrap_or(wide);
                Taps::About(twice, twice)
            }
        }
    }
}

impl Sampling {
    /// The coordinate of a result among the elements.
    fn place(&self, at: i64) -> Option<Ratio> {
        let half = Ratio::new(1, 2)?;
        match self.shift {
            true => Ratio::of(at).plus(half)?.over(self.scale)?.minus(half),
            false => Ratio::of(at).over(self.scale),
        }
    }

    fn first(&self, at: i64) -> Option<i64> {
        let x = self.place(at)?;
        Some(match &self.taps {
            Taps::Nearest(rule) => nearest(*rule, x)?,
            Taps::About(before, _) => x.minus(*before)?.floor(),
            Taps::Cubic => x.floor() - 1,
        })
    }

    fn last(&self, at: i64) -> Option<i64> {
        let x = self.place(at)?;
        Some(match &self.taps {
            Taps::Nearest(rule) => nearest(*rule, x)?,
            Taps::About(_, behind) => x.plus(*behind)?.ceil(),
            Taps::Cubic => x.floor() + 2,
        })
    }

    /// From `at / scale` to the first element.
    fn offset_of_first(&self, at: i64) -> Option<Ratio> {
        Ratio::of(self.first(at)?).minus(Ratio::of(at).over(self.scale)?)
    }

    fn offset_of_last(&self, at: i64) -> Option<Ratio> {
        Ratio::of(self.last(at)?).minus(Ratio::of(at).over(self.scale)?)
    }
}

fn nearest(rule: Nearest, x: Ratio) -> Option<i64> {
    let half = Ratio::new(1, 2)?;
    Some(match rule {
        Nearest::RoundPreferFloor => x.minus(half)?.ceil(),
        Nearest::RoundPreferCeil => x.plus(half)?.floor(),
        Nearest::Floor => x.floor(),
        Nearest::Ceil => x.ceil(),
    })
}
