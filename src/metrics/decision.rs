//! From what a network gives to classes.

/// The class of each pixel by `logits` `[N, K, H, W]`, `[N, H, W]` into `classes`: the largest logit, on ties the
/// lowest class (NaN is never the largest). With a single channel class 1 where its logit is above 0, that is where its
/// probability is above one half.
///
/// `shape` is that of the logits; logits beyond it are not looked at.
pub fn decide(logits: &[f32], shape: &[usize], classes: &mut Vec<u16>) {
    classes.clear();
    let (images, channels) = (shape.first().copied().unwrap_or(0), shape.get(1).copied().unwrap_or(0));
    let pixels: usize = shape.iter().skip(2).product();
    if channels == 0 || pixels == 0 {
        return;
    }
    let mut best = Vec::with_capacity(pixels);
    for image in logits.chunks_exact(channels * pixels).take(images) {
        if channels == 1 {
            classes.extend(image.iter().map(|logit| u16::from(*logit > 0.0)));
            continue;
        }
        best.clear();
        best.extend_from_slice(&image[..pixels]);
        let start = classes.len();
        classes.resize(start + pixels, 0);
        for (class, plane) in (1u16..).zip(image.chunks_exact(pixels).skip(1)) {
            for ((best, own), logit) in best.iter_mut().zip(&mut classes[start..]).zip(plane) {
                // Not `>` alone: a NaN that came first gives way. Without branches, which noise would mislead.
                let is_more = (*logit > *best) | (best.is_nan() & !logit.is_nan());
                *best = if is_more { *logit } else { *best };
                *own = if is_more { class } else { *own };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(logits: &[f32], shape: &[usize]) -> Vec<u16> {
        let mut classes = vec![9];
        decide(logits, shape, &mut classes);
        classes
    }

    #[test]
    fn the_largest_logit_decides_and_the_lowest_class_on_ties() {
        // Two images of three classes and two pixels.
        let logits = [1.0, 5.0, 2.0, 5.0, 0.0, 6.0, -1.0, 0.0, -1.0, -2.0, -3.0, 0.0];
        assert_eq!(decided(&logits, &[2, 3, 1, 2]), [1, 2, 0, 0]);
    }

    #[test]
    fn one_channel_is_above_one_half_or_not() {
        assert_eq!(decided(&[0.0, 1e-6, -1e-6, f32::NAN], &[2, 1, 2, 1]), [0, 1, 0, 0]);
    }

    #[test]
    fn nan_is_never_the_largest() {
        assert_eq!(decided(&[f32::NAN, 1.0, -5.0, f32::NAN], &[1, 2, 1, 2]), [1, 0]);
    }
}
