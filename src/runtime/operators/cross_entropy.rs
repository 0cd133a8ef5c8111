//! Softmax, cross-entropy and its gradient in one pass over the logits.
//!
//! A block of pixels is small enough that its logits of all classes stay in the cache: the largest is found, the
//! exponentials go to where the gradient will be, and become it once their sum is known.
#![allow(
    unsafe_code,
    reason = "threads write disjoint elements of one output; functions for vector instructions"
)]

use crate::runtime::operators::lanes::Instructions;
use crate::runtime::operators::parallel::Shared;

/// Pixels of a block.
const PIXELS: usize = 256;

/// What is given.
#[derive(Debug)]
pub(super) struct CrossEntropy<'a> {
    /// `[images, classes, pixels]`.
    pub(super) logits: &'a [f32],
    /// `[images, pixels]`.
    pub(super) labels: &'a [i64],
    /// `[classes]`.
    pub(super) weights: &'a [f32],
    /// `[images, pixels]`.
    pub(super) mask: &'a [f32],
    pub(super) classes: usize,
    /// Of an image.
    pub(super) pixels: usize,
    pub(super) smoothing: f32,
}

impl CrossEntropy<'_> {
    /// How many blocks there are for [`CrossEntropy::run`].
    pub(super) fn blocks(&self) -> usize {
        match self.pixels {
            0 => 0,
            pixels => self.labels.len() / pixels * pixels.div_ceil(PIXELS),
        }
    }

    /// Computes the gradient in a block's pixels, and the sums `[loss, weight]` over them.
    pub(super) fn run(&self, block: usize, gradient: &Shared<'_, f32>, sums: &Shared<'_, [f64; 2]>) {
        let each = self.pixels.div_ceil(PIXELS);
        let (image, start) = (block / each, block % each * PIXELS);
        let count = PIXELS.min(self.pixels - start);
        let first = image * self.classes * self.pixels + start;
        let last = first + (self.classes - 1) * self.pixels + count - 1;
        let area = Area {
            logits: &self.logits[first..=last],
            gradient: gradient.pointer(first, last),
            labels: &self.labels[image * self.pixels + start..][..count],
            mask: &self.mask[image * self.pixels + start..][..count],
        };
        // SAFETY: the instructions are detected; the block's pixels of `gradient` are no other block's.
        let sum = unsafe {
            match Instructions::detect() {
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => self.run_avx512(&area),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => self.run_avx2(&area),
                Instructions::Portable => self.run_block(&area),
            }
        };
        // SAFETY: the element of this block only.
        unsafe { *sums.pointer(block, block) = sum };
    }

    /// # Safety
    /// As [`CrossEntropy::run_block`]; the processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
    unsafe fn run_avx512(&self, area: &Area<'_>) -> [f64; 2] {
        // SAFETY: the caller's promise.
        unsafe { self.run_block(area) }
    }

    /// # Safety
    /// As [`CrossEntropy::run_block`]; the processor has AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn run_avx2(&self, area: &Area<'_>) -> [f64; 2] {
        // SAFETY: the caller's promise.
        unsafe { self.run_block(area) }
    }

    /// # Safety
    /// The pixels of `area.gradient`, one plane a class, can be written and are nobody else's.
    #[inline(always)]
    unsafe fn run_block(&self, area: &Area<'_>) -> [f64; 2] {
        let count = area.labels.len();
        let plane = |class: usize| &area.logits[class * self.pixels..][..count];
        // SAFETY: within the area, which is ours; one at a time.
        let out = |class: usize| unsafe {
            std::slice::from_raw_parts_mut(area.gradient.add(class * self.pixels), count)
        };
        let mut storage = [[0f32; PIXELS]; 4];
        let [largest, sum, weighted, scale] = storage.each_mut().map(|all| &mut all[..count]);
        largest.fill(f32::NEG_INFINITY);
        for class in 0..self.classes {
            for (largest, value) in largest.iter_mut().zip(plane(class)) {
                *largest = if *value > *largest { *value } else { *largest };
            }
        }
        let spread = self.smoothing / self.classes as f32;
        for class in 0..self.classes {
            let (values, weight) = (plane(class), spread * self.weights[class]);
            for (at, to) in out(class).iter_mut().enumerate() {
                let value = exp(values[at] - largest[at]);
                *to = value;
                sum[at] += value;
            }
            if self.smoothing > 0.0 {
                for at in 0..count {
                    weighted[at] += weight * (values[at] - largest[at]);
                }
            }
        }
        let all: f32 = self.weights.iter().map(|weight| spread * weight).sum();
        let (mut loss, mut total) = (0f64, 0f64);
        let mut label_share = [0f32; PIXELS];
        for at in 0..count {
            let label = usize::try_from(area.labels[at]).ok().filter(|label| *label < self.classes);
            let times = area.mask[at];
            let Some(label) = label.filter(|_| times != 0.0) else { continue };
            let weight = self.weights[label];
            let own = (1.0 - self.smoothing) * weight;
            // Relative to the largest logit, so that nothing large cancels.
            let log_sum = f64::from(sum[at]).ln();
            let mut pixel = f64::from(own) * (log_sum - f64::from(plane(label)[at] - largest[at]));
            if self.smoothing > 0.0 {
                pixel += f64::from(all) * log_sum - f64::from(weighted[at]);
            }
            loss += f64::from(times) * pixel;
            total += f64::from(times * weight);
            scale[at] = times * (own + all) / sum[at];
            label_share[at] = times * own;
        }
        for class in 0..self.classes {
            let smooth = spread * self.weights[class];
            for (at, to) in out(class).iter_mut().enumerate() {
                // A pixel that does not count has no gradient, also where its logits are no numbers.
                *to = if scale[at] == 0.0 { 0.0 } else { *to * scale[at] - smooth * area.mask[at] };
            }
        }
        for at in (0..count).filter(|at| label_share[*at] != 0.0) {
            out(area.labels[at] as usize)[at] -= label_share[at];
        }
        [loss, total]
    }
}

/// The pixels of a block.
struct Area<'a> {
    /// From the first pixel of the first class to the last of the last.
    logits: &'a [f32],
    gradient: *mut f32,
    labels: &'a [i64],
    mask: &'a [f32],
}

/// e to the power of `x`, for `x` up to 0, within 2 units in the last place; what would be below 1e-38 is about that.
/// Without branches and calls, so that a loop over it becomes vector instructions.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // 1.5 · 2²³: adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // A comparison that keeps what is no number.
    let x = if x < -87.3 { -87.3 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    // The logarithm of 2 in two parts, of which the first has few bits.
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let series = 1.987_569_2e-4;
    let series = series * rest + 1.398_2e-3;
    let series = series * rest + 8.333_452e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 1.666_666_5e-1;
    let series = series * rest + 0.5;
    let series = series * rest * rest + rest + 1.0;
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    series * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn the_exponential_is_within_two_units() {
        for at in 0..=873_000 {
            let x = -(at as f32) * 1e-4;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 2.4e-7, "{x}: {} for {want}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
    }
}
