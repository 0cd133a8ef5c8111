//! Where batches come from.

use crate::data::batch::{Batch, Labels};
use crate::error::{Error, ErrorKind, Result};
use crate::random::SplitMix64;

/// Gives the batches of an epoch, one after the other.
///
/// Threads: used by one at a time.
pub trait Loader {
    /// Batches of an epoch.
    fn batches(&self) -> usize;

    /// An epoch begins: the order of its batches may follow from `seed`, which is another in every epoch and the same
    /// when a run goes on.
    ///
    /// # Errors
    /// Of your own; they end the run.
    fn begin(&mut self, seed: u64) -> Result<()> {
        let _ = seed;
        Ok(())
    }

    /// Batch `index` of the epoch, from 0.
    ///
    /// # Errors
    /// Of your own; they end the run.
    fn batch(&mut self, index: usize) -> Result<Batch<'_>>;

    /// How many images there are in an epoch, where that is known.
    fn samples(&self) -> Option<usize> {
        None
    }

    /// How many images of that batch count: fewer than its shape has where it is filled up. `None`: all of them.
    fn images(&self, index: usize) -> Option<usize> {
        let _ = index;
        None
    }
}

/// Images and classes in memory, cut into batches of a step's size.
///
/// The last batch is filled up with images of the first whose pixels do not count, so that none is left out.
#[derive(Debug)]
pub struct ArrayLoader {
    images: Vec<f32>,
    labels: Vec<u8>,
    batch: usize,
    image_len: usize,
    label_len: usize,
    is_shuffled: bool,
    order: Vec<usize>,
    /// Images, labels, mask and keys of the batch that was given last.
    current: (Vec<f32>, Vec<u8>, Vec<u8>, Vec<u64>),
}

impl ArrayLoader {
    /// For `images` `[M, C, H, W]` and `labels` `[M, H', W']`, in batches of `batch`; `image_len` is C H W and `label_len`
    /// H' W'. They come in their order.
    ///
    /// # Errors
    /// `Mismatch` where the numbers of images and labels differ or there are none.
    pub fn new(
        images: Vec<f32>,
        labels: Vec<u8>,
        batch: usize,
        image_len: usize,
        label_len: usize,
    ) -> Result<ArrayLoader> {
        let count = images.len() / image_len.max(1);
        let fits = count > 0 && count * image_len == images.len() && count * label_len == labels.len();
        if !fits || batch == 0 {
            let message = format!(
                "expected images of {image_len} samples and as many times {label_len} labels, got {} and {}",
                images.len(),
                labels.len()
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(ArrayLoader {
            images,
            labels,
            batch,
            image_len,
            label_len,
            is_shuffled: false,
            order: (0..count).collect(),
            current: Default::default(),
        })
    }

    /// In another order in every epoch, which the seed decides.
    pub fn shuffled(mut self) -> ArrayLoader {
        self.is_shuffled = true;
        self
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Never: there is at least one image.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl Loader for ArrayLoader {
    fn batches(&self) -> usize {
        self.order.len().div_ceil(self.batch)
    }

    fn begin(&mut self, seed: u64) -> Result<()> {
        self.order.sort_unstable();
        if self.is_shuffled {
            SplitMix64::new(seed).shuffle(&mut self.order);
        }
        Ok(())
    }

    fn batch(&mut self, index: usize) -> Result<Batch<'_>> {
        let (images, labels, mask, keys) = &mut self.current;
        images.clear();
        labels.clear();
        mask.clear();
        keys.clear();
        for at in index * self.batch..(index + 1) * self.batch {
            let image = self.order[at % self.order.len()];
            images.extend_from_slice(&self.images[image * self.image_len..][..self.image_len]);
            labels.extend_from_slice(&self.labels[image * self.label_len..][..self.label_len]);
            mask.resize(mask.len() + self.label_len, u8::from(at < self.order.len()));
            keys.push(image as u64);
        }
        Ok(Batch { images, labels: Labels::U8(labels), mask: Some(mask), keys: Some(keys) })
    }

    fn samples(&self) -> Option<usize> {
        Some(self.len())
    }

    fn images(&self, index: usize) -> Option<usize> {
        Some(self.batch.min(self.order.len().saturating_sub(index * self.batch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_comes_once_and_the_last_batch_is_filled_up() {
        let images: Vec<f32> = (0..10).map(|value| value as f32).collect();
        let mut loader = ArrayLoader::new(images, (0..5).collect(), 2, 2, 1).unwrap().shuffled();
        assert_eq!((loader.batches(), loader.len()), (3, 5));
        let mut orders = Vec::new();
        for seed in [1, 2, 1] {
            loader.begin(seed).unwrap();
            let mut seen = Vec::new();
            for index in 0..3 {
                let count = loader.images(index).unwrap();
                let batch = loader.batch(index).unwrap();
                assert_eq!(batch.images.len(), 4);
                let Labels::U8(labels) = batch.labels else { unreachable!() };
                for (at, label) in labels.iter().enumerate() {
                    assert_eq!(batch.images[2 * at], f32::from(2 * label));
                    assert_eq!(batch.mask.unwrap()[at] == 1, at < count);
                }
                seen.extend_from_slice(&labels[..count]);
            }
            orders.push(seen.clone());
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4]);
        }
        assert_eq!(orders[0], orders[2]);
        assert_ne!(orders[0], orders[1]);
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused() {
        for (images, labels) in [(0, 0), (3, 1), (4, 1), (4, 3)] {
            let made = ArrayLoader::new(vec![0.0; images], vec![0; labels], 1, 2, 1);
            assert_eq!(made.unwrap_err().kind(), ErrorKind::Mismatch);
        }
    }
}
