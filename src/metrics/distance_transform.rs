//! Exact Euclidean distances to the nearest of some pixels.
//!
//! P. Felzenszwalb and D. Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing 8 (2012):
//! along one axis the squared distance is the lower envelope of parabolas; two axes one after the other give the
//! distance in the plane, in time linear in the pixels.

/// The squared distance of each pixel to the nearest pixel where `sites` is true: 0 there, infinite everywhere if
/// there is none.
///
/// `sites` is `height` x `width` row by row, `spacing` the distance between neighbours along y and x.
pub(crate) fn squared_distances(sites: &[bool], size: [usize; 2], spacing: [f64; 2]) -> Vec<f64> {
    let [height, width] = size;
    let mut out = vec![f64::INFINITY; height * width];
    // Along y there is nothing but sites yet: the nearest above or below.
    for x in 0..width {
        let mut scan = |rows: &mut dyn Iterator<Item = usize>| {
            let mut last: Option<usize> = None;
            for y in rows {
                if sites[y * width + x] {
                    last = Some(y);
                }
                if let Some(last) = last {
                    let distance = steps(y.abs_diff(last)) * spacing[0];
                    let value = &mut out[y * width + x];
                    *value = value.min(distance * distance);
                }
            }
        };
        scan(&mut (0..height));
        scan(&mut (0..height).rev());
    }
    let mut envelope = Envelope::default();
    for row in out.chunks_exact_mut(width.max(1)) {
        envelope.lower(row, spacing[1]);
    }
    out
}

/// Parabolas of one row, from left to right; kept to be reused.
#[derive(Debug, Default)]
struct Envelope {
    /// Position and height of each parabola's lowest point.
    parabolas: Vec<(f64, f64)>,
    /// From where on each is the lowest.
    starts: Vec<f64>,
}

impl Envelope {
    /// Replaces each height of `row` by the lowest parabola above that place.
    fn lower(&mut self, row: &mut [f64], spacing: f64) {
        self.parabolas.clear();
        self.starts.clear();
        for (index, height) in row.iter().enumerate() {
            if height.is_infinite() {
                continue;
            }
            let at = steps(index) * spacing;
            let mut start = f64::NEG_INFINITY;
            while let (Some((last_at, last_height)), Some(last_start)) =
                (self.parabolas.last(), self.starts.last())
            {
                let crossing =
                    ((height + at * at) - (last_height + last_at * last_at)) / (2.0 * (at - last_at));
                if crossing > *last_start {
                    start = crossing;
                    break;
                }
                self.parabolas.pop();
                self.starts.pop();
            }
            self.parabolas.push((at, *height));
            self.starts.push(start);
        }
        if self.parabolas.is_empty() {
            return;
        }
        let mut current = 0;
        for (index, value) in row.iter_mut().enumerate() {
            let here = steps(index) * spacing;
            while self.starts.get(current + 1).is_some_and(|start| *start < here) {
                current += 1;
            }
            let (at, height) = self.parabolas[current];
            *value = height + (here - at) * (here - at);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "no image has 2^53 rows")]
fn steps(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pixel against every site.
    fn brute(sites: &[bool], [_, width]: [usize; 2], spacing: [f64; 2]) -> Vec<f64> {
        let place = |index: usize| [(index / width) as f64 * spacing[0], (index % width) as f64 * spacing[1]];
        (0..sites.len())
            .map(|pixel| {
                let [y, x] = place(pixel);
                (0..sites.len())
                    .filter(|site| sites[*site])
                    .map(|site| {
                        let [v, u] = place(site);
                        (y - v) * (y - v) + (x - u) * (x - u)
                    })
                    .fold(f64::INFINITY, f64::min)
            })
            .collect()
    }

    proptest::proptest! {
        #[test]
        fn equals_every_pixel_against_every_site(
            height in 1_usize..14,
            width in 1_usize..14,
            seed in proptest::collection::vec(0_u8..=255, 196),
            share in 0_u8..=255,
            spacing in (0.1_f64..5.0, 0.1_f64..5.0),
            unit: bool,
        ) {
            let spacing = if unit { [1.0, 1.0] } else { [spacing.0, spacing.1] };
            let sites: Vec<bool> = seed[..height * width].iter().map(|value| *value < share).collect();
            let fast = squared_distances(&sites, [height, width], spacing);
            for (fast, slow) in fast.iter().zip(brute(&sites, [height, width], spacing)) {
                // Whole numbers are exact; elsewhere the last bits depend on the order of the operations.
                let near = *fast == slow || (!unit && (fast - slow).abs() <= 1e-12 * slow.max(1.0));
                assert!(near, "{fast} is not {slow}");
            }
        }
    }

    #[test]
    fn nothing_is_infinitely_far() {
        assert_eq!(squared_distances(&[false; 6], [2, 3], [1.0, 1.0]), [f64::INFINITY; 6]);
        assert!(squared_distances(&[], [0, 0], [1.0, 1.0]).is_empty());
        assert_eq!(
            squared_distances(&[true, false, false, false, false, false], [2, 3], [2.0, 3.0]),
            [0.0, 9.0, 36.0, 4.0, 13.0, 40.0]
        );
    }
}
