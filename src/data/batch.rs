//! A batch: images and what they should give.

/// Labels of a batch, row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Labels<'a> {
    /// Classes `[N, H, W]`.
    U8(&'a [u8]),
    /// Classes `[N, H, W]`.
    I32(&'a [i32]),
    /// Classes `[N, H, W]`.
    I64(&'a [i64]),
    /// Numbers `[N, K, H, W]`, for regression.
    F32(&'a [f32]),
}

impl Labels<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Labels::U8(labels) => labels.len(),
            Labels::I32(labels) => labels.len(),
            Labels::I64(labels) => labels.len(),
            Labels::F32(labels) => labels.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Images and labels of one batch. All slices are row-major and borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[N, C, H, W]`, normalised as the model expects.
    pub images: &'a [f32],
    /// What the model should give, in the size of its output.
    pub labels: Labels<'a>,
    /// `[N, H, W]`: 0 where a pixel does not count (nodata), anything else where it does; all count without it.
    pub mask: Option<&'a [u8]>,
    /// `[N]`: what each image is known by in the [feature cache](crate::finetune::FeatureCache), the same number for the
    /// same image; read with a cache only, which keeps nothing without it.
    pub keys: Option<&'a [u64]>,
}
