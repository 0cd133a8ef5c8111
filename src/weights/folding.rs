//! BatchNorm layers that an exporter folded into the convolutions before them.
//!
//! A checkpoint of training has both layers; a model whose exporter folded them has one weight and one bias:
//! `W' = W g / sqrt(v + eps)`, `b' = B + (b - m) g / sqrt(v + eps)`, with scale g, shift B, running mean m and variance v
//! of the norm. Which convolution a norm follows is not written in a checkpoint. It is found by names and by the order
//! in which the layers were made, and where these leave a doubt nothing is folded: weights that are wrong by a scale
//! look right and are not.

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;

/// A layer with a weight that a norm may have been folded into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer<'a> {
    /// Its name: that of the weight without `.weight`.
    pub(super) path: &'a str,
    /// Output channels.
    pub(super) channels: usize,
    /// Where in the state dict its last tensor is.
    pub(super) place: usize,
}

/// A BatchNorm that the model does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Norm<'a> {
    /// Its name.
    pub(super) path: &'a str,
    /// Channels.
    pub(super) channels: usize,
    /// Where in the state dict its first tensor is.
    pub(super) place: usize,
}

/// Words for norms in names.
const NORM_WORDS: [&str; 4] = ["batch_norm", "batchnorm", "norm", "bn"];

/// For each norm the layer that it follows. `ordered` tells whether the places in the state dict are those in which the
/// layers were made.
///
/// # Errors
/// `Mismatch` for a norm without a layer, with several that might be meant, or with one that another norm has too.
pub(super) fn pairs(layers: &[Layer<'_>], norms: &[Norm<'_>], ordered: bool) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(norms.len());
    let mut taken: Vec<Option<&str>> = vec![None; layers.len()];
    for norm in norms {
        let at = layer_of(layers, norm, ordered)?;
        if let Some(other) = taken[at].replace(norm.path) {
            let message = format!(
                "{:?} and {:?} both seem to follow {:?}: cannot tell which of them the model has folded into it",
                short(other),
                short(norm.path),
                short(layers[at].path)
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        found.push(at);
    }
    Ok(found)
}

fn layer_of(layers: &[Layer<'_>], norm: &Norm<'_>, ordered: bool) -> Result<usize> {
    let fits = |layer: &Layer<'_>| layer.channels == norm.channels;
    let by_name: Vec<usize> = (0..layers.len())
        .filter(|&at| fits(&layers[at]) && is_named_for(layers[at].path, norm.path))
        .collect();
    // The tensor right before the norm's is one of this layer.
    let before = layers.iter().position(|layer| ordered && layer.place + 1 == norm.place && fits(layer));
    match (by_name.as_slice(), before) {
        (&[at], _) => Ok(at),
        ([], Some(at)) => Ok(at),
        (several, Some(at)) if several.contains(&at) => Ok(at),
        ([], None) => Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "the model has no BatchNorm {0:?} and no layer that it can be folded into is found: expected a \
                 convolution of {1} channels before it with a bias in the model (leave it out with the filter \
                 \"!{0}.*\" if the model does without it)",
                short(norm.path),
                norm.channels
            ),
        )),
        (several, _) => {
            let names: Vec<String> =
                several.iter().take(5).map(|at| format!("{:?}", short(layers[*at].path))).collect();
            let message = format!(
                "the model has no BatchNorm {:?}, which may have been folded into any of {}",
                short(norm.path),
                names.join(", ")
            );
            Err(Error::new(ErrorKind::Mismatch, message))
        }
    }
}

/// Whether the norm's name says that it follows the layer: in the same module `0` and `1`, `conv1` and `bn1`, `conv` and
/// `norm`, `stem` and `stem_bn`.
fn is_named_for(layer: &str, norm: &str) -> bool {
    let split = |path| -> (&str, &str) { str::rsplit_once(path, '.').unwrap_or(("", path)) };
    let ((parent, layer), (norm_parent, norm)) = (split(layer), split(norm));
    if parent != norm_parent {
        return false;
    }
    if let (Ok(layer), Ok(norm)) = (layer.parse::<u32>(), norm.parse::<u32>()) {
        return layer.checked_add(1) == Some(norm);
    }
    NORM_WORDS.iter().any(|word| {
        let beside = norm.strip_suffix(word).map(|start| start.trim_end_matches('_'));
        norm.contains(word) && norm.replacen(word, "conv", 1) == layer || beside == Some(layer)
    })
}

/// The numbers of a BatchNorm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistics {
    /// Scale; ones where the norm has none.
    pub(super) scale: Option<Vec<f32>>,
    /// Shift; zeros where it has none.
    pub(super) shift: Option<Vec<f32>>,
    /// Running mean.
    pub(super) mean: Vec<f32>,
    /// Running variance.
    pub(super) variance: Vec<f32>,
    /// What is added to the variance.
    pub(super) epsilon: f64,
}

impl Statistics {
    /// What the norm multiplies a channel with.
    fn factor(&self, channel: usize) -> f64 {
        let scale = self.scale.as_ref().map_or(1.0, |scale| f64::from(scale[channel]));
        scale / (f64::from(self.variance[channel]) + self.epsilon).sqrt()
    }

    /// That every channel has its numbers.
    ///
    /// # Errors
    /// `Mismatch` where one is missing.
    pub(super) fn check(&self, channels: usize) -> Result<()> {
        let sizes = [Some(&self.mean), Some(&self.variance), self.scale.as_ref(), self.shift.as_ref()];
        if sizes.into_iter().flatten().any(|numbers| numbers.len() != channels) {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("expected a BatchNorm of {channels} channels in all its tensors"),
            ));
        }
        Ok(())
    }

    /// The weight with the norm in it; its first dimension is that of the channels, as many as were checked.
    pub(super) fn weight(&self, mut weight: Vec<f32>) -> Vec<f32> {
        let of_channel = weight.len() / self.mean.len().max(1);
        for (channel, values) in weight.chunks_mut(of_channel.max(1)).enumerate() {
            let factor = self.factor(channel);
            values.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
        weight
    }

    /// The bias with the norm in it; `bias` is the layer's own, if it has one.
    pub(super) fn bias(&self, bias: Option<&[f32]>) -> Vec<f32> {
        (0..self.mean.len())
            .map(|channel| {
                let own = bias.map_or(0.0, |bias| f64::from(bias[channel]));
                let shift = self.shift.as_ref().map_or(0.0, |shift| f64::from(shift[channel]));
                (shift + (own - f64::from(self.mean[channel])) * self.factor(channel)) as f32
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_belongs_together() {
        for (layer, norm, expected) in [
            ("conv1", "bn1", true),
            ("conv1", "bn2", false),
            ("a.conv", "a.bn", true),
            ("a.conv", "b.bn", false),
            ("a.0", "a.1", true),
            ("a.0", "a.2", false),
            ("a.0", "b.1", false),
            ("features.conv0", "features.norm0", true),
            ("x.conv", "x.batch_norm", true),
            ("x.downsample_conv", "x.downsample_bn", true),
            ("stem", "stem_bn", true),
            ("conv1", "conv1_bn", true),
            ("conv_pw", "bn1", false),
        ] {
            assert_eq!(is_named_for(layer, norm), expected, "{layer} {norm}");
        }
    }

    fn found(layers: &[(&str, usize, usize)], norms: &[(&str, usize, usize)]) -> Result<Vec<usize>> {
        let layers: Vec<Layer<'_>> =
            layers.iter().map(|&(path, channels, place)| Layer { path, channels, place }).collect();
        let norms: Vec<Norm<'_>> =
            norms.iter().map(|&(path, channels, place)| Norm { path, channels, place }).collect();
        pairs(&layers, &norms, true)
    }

    #[test]
    fn names_come_before_order_and_channels_must_fit() {
        // Convolutions made first, norms after.
        let layers = [("conv1", 4, 0), ("conv2", 4, 1)];
        assert_eq!(found(&layers, &[("bn1", 4, 2), ("bn2", 4, 7)]).unwrap(), [0, 1]);
        // Names that say nothing.
        let layers = [("conv_dw", 4, 0), ("conv_pw", 8, 5)];
        assert_eq!(found(&layers, &[("bn1", 4, 1), ("bn2", 8, 6)]).unwrap(), [0, 1]);
        let refused = |layers: &[(&str, usize, usize)], norms: &[(&str, usize, usize)]| {
            found(layers, norms).unwrap_err().to_string()
        };
        assert!(refused(&[("conv1", 5, 0)], &[("bn1", 4, 1)]).contains("\"bn1\""));
        assert!(refused(&[("conv_a", 4, 0)], &[("bn1", 4, 2)]).contains("\"!bn1.*\""));
        let both = refused(&[("stem", 4, 0)], &[("stem_bn", 4, 1), ("stem_norm", 4, 2)]);
        assert!(both.contains("\"stem_bn\" and \"stem_norm\" both"), "{both}");
        // Made-up names that fit twice.
        let layers = [("conv", 4, 0), ("", 4, 9)];
        assert!(refused(&layers, &[("bn", 4, 5)]).contains("any of \"conv\", \"\""));
    }

    #[test]
    fn the_folded_layer_computes_the_same() {
        let norm = Statistics {
            scale: Some(vec![2.0, -1.0]),
            shift: Some(vec![0.5, 1.0]),
            mean: vec![1.0, 3.0],
            variance: vec![4.0 - 1e-5, 0.25 - 1e-5],
            epsilon: 1e-5,
        };
        assert!(norm.check(2).is_ok() && norm.check(3).is_err());
        // 2 / 2 and -1 / 0.5.
        assert_eq!(norm.weight(vec![1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, -6.0, -8.0]);
        assert_eq!(norm.bias(None), [0.5 - 1.0, 1.0 + 6.0]);
        assert_eq!(norm.bias(Some(&[1.0, 3.0])), [0.5, 1.0]);
        let plain = Statistics { scale: None, shift: None, ..norm };
        assert_eq!(plain.weight(vec![1.0, 1.0]), [0.5, 2.0]);
    }
}
