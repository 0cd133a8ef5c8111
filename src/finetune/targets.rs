//! What the graph takes of a batch.

use crate::autodiff::Loss;
use crate::data::{Batch, Labels};
use crate::error::{Error, ErrorKind, Result};

/// Labels as the graph takes them.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Classes, each within the model's; 0 where the pixel does not count.
    pub(super) classes: Vec<i64>,
    /// Numbers.
    pub(super) numbers: Vec<f32>,
    /// 1 where the pixel counts, else 0.
    pub(super) mask: Vec<f32>,
}

impl Targets {
    /// Fills in labels and mask of `batch` for logits of `shape` `[N, K, H, W]`.
    ///
    /// # Errors
    /// `Mismatch` for slices of wrong lengths and labels of the wrong kind; `InvalidArgument` for a label that is
    /// neither a class of the model nor the ignored one, saying where it stands.
    pub(super) fn fill(&mut self, batch: &Batch<'_>, loss: &Loss, shape: &[usize]) -> Result<()> {
        let pixels: usize = shape[0] * shape[2..].iter().product::<usize>();
        let expected = if loss.is_regression() { shape.iter().product() } else { pixels };
        let mismatch = |what: &str, expected: usize, got: usize| {
            let message = format!("expected {expected} {what} for the model's output {shape:?}, got {got}");
            Err(Error::new(ErrorKind::Mismatch, message))
        };
        if batch.labels.len() != expected {
            return mismatch("labels", expected, batch.labels.len());
        }
        if let Some(mask) = batch.mask
            && mask.len() != pixels
        {
            return mismatch("elements of the mask", pixels, mask.len());
        }
        self.mask.clear();
        match batch.mask {
            Some(mask) => self.mask.extend(mask.iter().map(|&valid| if valid != 0 { 1.0 } else { 0.0 })),
            None => self.mask.resize(pixels, 1.0),
        }
        match (batch.labels, loss.is_regression()) {
            (Labels::F32(numbers), true) => {
                self.numbers.clear();
                self.numbers.extend_from_slice(numbers);
                Ok(())
            }
            (Labels::U8(labels), false) => self.classes(labels.iter().map(|&l| i64::from(l)), loss, shape),
            (Labels::I32(labels), false) => self.classes(labels.iter().map(|&l| i64::from(l)), loss, shape),
            (Labels::I64(labels), false) => self.classes(labels.iter().copied(), loss, shape),
            (_, true) => {
                Err(Error::new(ErrorKind::Mismatch, format!("loss {loss} takes float32 labels, got classes")))
            }
            (_, false) => {
                Err(Error::new(ErrorKind::Mismatch, format!("loss {loss} takes classes, got float32 labels")))
            }
        }
    }

    /// Only the first `images` of so many count.
    pub(super) fn only(&mut self, images: usize, of: usize) {
        let from = self.mask.len() / of.max(1) * images;
        if let Some(rest) = self.mask.get_mut(from..) {
            rest.fill(0.0);
        }
    }

    /// How many pixels count.
    pub(super) fn counted(&self) -> usize {
        self.mask.iter().filter(|weight| **weight != 0.0).count()
    }

    fn classes(&mut self, labels: impl Iterator<Item = i64>, loss: &Loss, shape: &[usize]) -> Result<()> {
        // A single channel tells two classes apart.
        let count = shape[1].max(2) as i64;
        self.classes.clear();
        for (index, label) in labels.enumerate() {
            if loss.ignore_index == Some(label) {
                self.mask[index] = 0.0;
                self.classes.push(0);
            } else if (0..count).contains(&label) {
                self.classes.push(label);
            } else if self.mask[index] == 0.0 {
                self.classes.push(0);
            } else {
                let width = shape.last().copied().unwrap_or(1).max(1);
                let pixels: usize = shape[2..].iter().product::<usize>().max(1);
                let (image, pixel) = (index / pixels, index % pixels);
                let ignored = match loss.ignore_index {
                    Some(ignored) => format!(" or {ignored} (ignored)"),
                    None => String::new(),
                };
                return Err(Error::invalid(format!(
                    "label {label} in image {image} at row {}, column {}: expected 0 to {}{ignored}",
                    pixel / width,
                    pixel % width,
                    count - 1
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_and_invalid_pixels_do_not_count() {
        let loss = Loss { ignore_index: Some(255), ..Loss::default() };
        let images = [0.0; 6];
        let batch = Batch {
            images: &images,
            labels: Labels::U8(&[0, 2, 255, 9]),
            mask: Some(&[1, 7, 1, 0]),
            keys: None,
        };
        let mut targets = Targets::default();
        targets.fill(&batch, &loss, &[1, 3, 2, 2]).unwrap();
        assert_eq!(targets.classes, [0, 2, 0, 0]);
        assert_eq!(targets.mask, [1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_label_out_of_range_is_located() {
        let batch =
            Batch { images: &[], labels: Labels::I32(&[0, 0, 0, 0, 0, 3, 0, 0]), mask: None, keys: None };
        let error = Targets::default().fill(&batch, &Loss::default(), &[2, 3, 2, 2]).unwrap_err();
        assert_eq!(error.to_string(), "label 3 in image 1 at row 0, column 1: expected 0 to 2");
        let batch = Batch { images: &[], labels: Labels::I64(&[0, 1]), mask: None, keys: None };
        let error = Targets::default().fill(&batch, &Loss::default(), &[1, 3, 2, 2]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        let batch = Batch { images: &[], labels: Labels::F32(&[0.0; 4]), mask: None, keys: None };
        assert!(Targets::default().fill(&batch, &Loss::default(), &[1, 3, 2, 2]).is_err());
    }
}
