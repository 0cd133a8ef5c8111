//! BatchNorm layers that an exporter folded into the convolutions before them.
//!
//! A checkpoint of training has both layers; a model whose exporter folded them has one weight and one bias:
//! `W' = W g / sqrt(v + eps)`, `b' = B + (b - m) g / sqrt(v + eps)`, with scale g, shift B, running mean m and variance v
//! of the norm. Which convolution a norm follows is not written in a checkpoint. It is found by names and by the order
//! in which the layers were made, and where these leave a doubt nothing is folded: weights that are wrong by a scale
//! look right and are not.

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;

/// What is known about the bias of a layer, which tells whether an exporter folded a norm into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    /// The model has one and the checkpoint does not: a norm is in it.
    Made,
    /// Both have one: a norm may be in it.
    Own,
    /// The model does not have the layer.
    Outside,
}

/// A layer with a weight that a norm may have been folded into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer<'a> {
    /// Its name: that of the weight without `.weight`.
    pub(super) path: &'a str,
    /// Output channels.
    pub(super) channels: usize,
    /// Where in the state dict its last tensor is.
    pub(super) place: usize,
    /// Its bias.
    pub(super) bias: Bias,
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

/// For each norm the layer that it follows; none where neither its name nor its place says of any layer that it does.
/// `ordered` tells whether the places in the state dict are those in which the layers were made.
///
/// A norm's name and its place must agree, or one of them says nothing. Where they differ (networks that normalise before
/// they convolve have `bn2` behind `conv1`), or a name like `bn` is all there is, the biases decide: the norms in doubt
/// must fill all the layers whose bias was made by folding, and no others.
///
/// # Errors
/// `Mismatch` for a norm with several layers that might be meant, or with one that another norm has too.
pub(super) fn pairs(layers: &[Layer<'_>], norms: &[Norm<'_>], ordered: bool) -> Result<Vec<Option<usize>>> {
    let evidence: Vec<Evidence> = norms.iter().map(|norm| Evidence::of(layers, norm, ordered)).collect();
    let mut found: Vec<Option<usize>> = evidence.iter().map(Evidence::agreed).collect();
    let doubtful = |at: &usize| found[*at].is_none() && !evidence[*at].is_none();
    let mut doubts: Vec<usize> = (0..norms.len()).filter(doubtful).collect();
    while let Some(&first) = doubts.first() {
        let channels = norms[first].channels;
        let group: Vec<usize> = doubts.extract_if(.., |at| norms[*at].channels == channels).collect();
        let open: Vec<usize> = (0..layers.len())
            .filter(|at| layers[*at].channels == channels && !found.contains(&Some(*at)))
            .collect();
        let all = |way: &dyn Fn(&Evidence) -> Option<usize>| -> Option<Vec<usize>> {
            let chosen: Vec<usize> = group.iter().map(|at| way(&evidence[*at])).collect::<Option<_>>()?;
            explains(layers, &open, &chosen).then_some(chosen)
        };
        let chosen = match (all(&Evidence::named), all(&|evidence| evidence.before)) {
            (Some(chosen), None) | (None, Some(chosen)) => chosen,
            _ => {
                // The only layer there is.
                let only = layers.iter().filter(|layer| layer.channels == channels).count() == 1;
                match (group.as_slice(), evidence[first].named()) {
                    (&[_], Some(layer)) if only => vec![layer],
                    _ => return Err(evidence[first].doubt(layers, &norms[first])),
                }
            }
        };
        group.iter().zip(chosen).for_each(|(at, layer)| found[*at] = Some(layer));
    }
    let mut taken: Vec<Option<&str>> = vec![None; layers.len()];
    for (norm, at) in norms.iter().zip(&found).filter_map(|(norm, at)| Some((norm, (*at)?))) {
        if let Some(other) = taken[at].replace(norm.path) {
            let message = format!(
                "{:?} and {:?} both seem to follow {:?}: cannot tell which of them the model has folded into it",
                short(other),
                short(norm.path),
                short(layers[at].path)
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
    }
    Ok(found)
}

/// Whether the layers chosen among the open ones are those with a made bias, all of them and each once; layers that are
/// not in the model may be there too.
fn explains(layers: &[Layer<'_>], open: &[usize], chosen: &[usize]) -> bool {
    let is_once = |at: &usize| chosen.iter().filter(|other| *other == at).count() == 1;
    chosen.iter().all(|at| open.contains(at) && is_once(at) && layers[*at].bias != Bias::Own)
        && open.iter().all(|at| layers[*at].bias != Bias::Made || chosen.contains(at))
}

/// What says which layer a norm follows.
struct Evidence {
    /// Layers of such a name.
    by_name: Vec<usize>,
    /// The layer whose last tensor is right before the norm's first.
    before: Option<usize>,
    /// Whether the name is a number, which is a place too: modules `0` and `1` run in this order.
    is_number: bool,
    /// Whether none of these layers is in the model, so that it makes no difference.
    is_outside: bool,
}

impl Evidence {
    fn of(layers: &[Layer<'_>], norm: &Norm<'_>, ordered: bool) -> Evidence {
        let fits = |at: &usize| layers[*at].channels == norm.channels;
        let by_name: Vec<usize> =
            (0..layers.len()).filter(|at| fits(at) && is_named_for(layers[*at].path, norm.path)).collect();
        // A made bias shows that some norm is in the layer. Without one, the place counts within a module alone: what
        // comes first behind the last layer of another module follows it in the file and nowhere else.
        let inside = norm.path.rsplit_once('.').map_or("", |(parent, _)| parent);
        let is_inside = |path: &str| {
            inside.is_empty() || path.strip_prefix(inside).is_some_and(|rest| rest.starts_with('.'))
        };
        let before = (0..layers.len()).filter(fits).find(|at| {
            let layer = &layers[*at];
            ordered && layer.place + 1 == norm.place && (layer.bias != Bias::Own || is_inside(layer.path))
        });
        let name = norm.path.rsplit('.').next().unwrap_or(norm.path);
        let is_outside = by_name.iter().chain(&before).all(|at| layers[*at].bias == Bias::Outside);
        Evidence { by_name, before, is_number: name.parse::<u32>().is_ok(), is_outside }
    }

    fn is_none(&self) -> bool {
        self.by_name.is_empty() && self.before.is_none()
    }

    fn named(&self) -> Option<usize> {
        <[usize; 1]>::try_from(self.by_name.as_slice()).ok().map(|[at]| at)
    }

    /// The layer that all evidence is for.
    fn agreed(&self) -> Option<usize> {
        match (self.by_name.as_slice(), self.before) {
            ([], before) => before,
            (named, Some(at)) if named.contains(&at) => Some(at),
            (&[at], None) if self.is_number => Some(at),
            (&[at, ..], _) if self.is_outside => Some(at),
            _ => None,
        }
    }

    fn doubt(&self, layers: &[Layer<'_>], norm: &Norm<'_>) -> Error {
        let shown = |at: usize| format!("{:?}", short(layers[at].path));
        let what = match (self.by_name.as_slice(), self.before) {
            (&[at], Some(before)) => {
                format!("which by its name follows {} and by its place {}", shown(at), shown(before))
            }
            (&[at], None) => format!(
                "which by its name alone follows {}, and other layers of {} channels may be meant",
                shown(at),
                norm.channels
            ),
            (several, _) => {
                let names: Vec<String> = several.iter().take(5).map(|at| shown(*at)).collect();
                format!("which may have been folded into any of {}", names.join(", "))
            }
        };
        let message = format!(
            "the model has no BatchNorm {:?}, {what}: cannot tell which the exporter folded it into (export the model \
             with its BatchNorm layers)",
            short(norm.path)
        );
        Error::new(ErrorKind::Mismatch, message)
    }
}

/// That a norm which follows no layer may be left out, as the exporter did without it: that there is no layer of the model
/// it may be folded into. `taken` are those that others are folded into, `is_plain` tells that the model has norms of the
/// checkpoint and none is folded.
///
/// # Errors
/// `Mismatch` where a layer is left.
pub(super) fn check_extra(
    layers: &[Layer<'_>],
    norm: &Norm<'_>,
    taken: &[Option<usize>],
    is_plain: bool,
) -> Result<()> {
    let may_have = |(at, layer): (usize, &Layer<'_>)| {
        let is_open = layer.channels == norm.channels && !taken.contains(&Some(at));
        is_open && (layer.bias == Bias::Made || layer.bias == Bias::Own && !is_plain)
    };
    if !layers.iter().enumerate().any(may_have) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Mismatch, homeless(norm.path, norm.channels)))
}

/// What is said of a norm that follows no layer.
fn homeless(path: &str, channels: usize) -> String {
    format!(
        "the model has no BatchNorm {0:?} and no layer that it can be folded into is found: expected a convolution of \
         {channels} channels before it with a bias in the model (leave it out with the filter \"!{0}.*\" if the model \
         does without it)",
        short(path)
    )
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

    /// The weight with the norm in it; a channel has `inner` elements in a row, and after the last channel comes the
    /// first again.
    pub(super) fn weight(&self, mut weight: Vec<f32>, inner: usize) -> Vec<f32> {
        let channels = self.mean.len().max(1);
        for (at, values) in weight.chunks_mut(inner.max(1)).enumerate() {
            let factor = self.factor(at % channels);
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

    use Bias::{Made, Outside, Own};

    fn found(
        layers: &[(&str, usize, usize, Bias)],
        norms: &[(&str, usize, usize)],
        ordered: bool,
    ) -> Result<Vec<Option<usize>>> {
        let layers: Vec<Layer<'_>> = layers
            .iter()
            .map(|&(path, channels, place, bias)| Layer { path, channels, place, bias })
            .collect();
        let norms: Vec<Norm<'_>> =
            norms.iter().map(|&(path, channels, place)| Norm { path, channels, place }).collect();
        pairs(&layers, &norms, ordered)
    }

    fn refused(
        layers: &[(&str, usize, usize, Bias)],
        norms: &[(&str, usize, usize)],
        ordered: bool,
    ) -> String {
        found(layers, norms, ordered).unwrap_err().to_string()
    }

    #[test]
    fn names_and_order_say_the_same_or_one_says_nothing() {
        let layers = [("conv1", 4, 1, Own), ("conv2", 4, 7, Own)];
        assert_eq!(found(&layers, &[("bn1", 4, 2), ("bn2", 4, 8)], true).unwrap(), [Some(0), Some(1)]);
        // Names that say nothing.
        let layers = [("conv_dw", 4, 0, Own), ("conv_pw", 8, 5, Made)];
        assert_eq!(found(&layers, &[("bn1", 4, 1), ("bn2", 8, 6)], true).unwrap(), [Some(0), Some(1)]);
        // Channels must fit, and without evidence there is none.
        assert_eq!(found(&[("conv1", 5, 0, Own)], &[("bn1", 4, 1)], true).unwrap(), [None]);
        assert_eq!(found(&[("conv_a", 4, 0, Made)], &[("bn1", 4, 2)], true).unwrap(), [None]);
        // What comes first behind a layer of another module.
        assert_eq!(found(&[("head", 4, 0, Own)], &[("aux.bn", 4, 1)], true).unwrap(), [None]);
        assert_eq!(found(&[("a.conv.conv", 4, 0, Own)], &[("a.act", 4, 1)], true).unwrap(), [Some(0)]);
        let both = refused(&[("stem", 4, 0, Made)], &[("stem_bn", 4, 1), ("stem_2", 4, 1)], true);
        assert!(both.contains("\"stem_bn\" and \"stem_2\" both"), "{both}");
        // Made-up names that fit twice.
        let layers = [("conv", 4, 0, Own), ("", 4, 9, Own)];
        assert!(refused(&layers, &[("bn", 4, 5)], true).contains("any of \"conv\", \"\""));
        // Numbers are an order too.
        let layers = [("a.0", 4, 0, Own), ("a.3", 4, 1, Own)];
        assert_eq!(found(&layers, &[("a.1", 4, 7), ("a.4", 4, 3)], false).unwrap(), [Some(0), Some(1)]);
    }

    #[test]
    fn a_norm_before_its_convolution_is_not_folded_into_it() {
        // bn1, conv1, bn2, conv2, of which the exporter folds bn2 into conv1.
        let norms = [("b.bn2", 4, 6)];
        let layers = [("b.conv1", 4, 5, Own), ("b.conv2", 4, 11, Own)];
        let text = refused(&layers, &norms, true);
        assert!(text.contains("by its name follows \"b.conv2\" and by its place \"b.conv1\""), "{text}");
        let text = refused(&layers, &norms, false);
        assert!(text.contains("by its name alone follows \"b.conv2\""), "{text}");
        // A bias that the exporter made shows it.
        let layers = [("b.conv1", 4, 5, Made), ("b.conv2", 4, 11, Own)];
        assert_eq!(found(&layers, &norms, true).unwrap(), [Some(0)]);
        assert!(found(&layers, &norms, false).is_err());
        // The norm first, and two layers that it may follow.
        let layers = [("conv", 4, 5, Own), ("proj", 4, 7, Own)];
        assert!(refused(&layers, &[("norm", 4, 0)], true).contains("\"conv\""));
        assert_eq!(found(&layers[..1], &[("norm", 4, 0)], true).unwrap(), [Some(0)]);
        let layers = [("conv", 4, 5, Own), ("proj", 4, 7, Made)];
        assert!(found(&layers, &[("norm", 4, 0)], true).is_err());
    }

    #[test]
    fn biases_that_were_made_decide() {
        // Convolutions made first, norms after.
        let norms = [("bn1", 4, 2), ("bn2", 4, 7)];
        let layers = [("conv1", 4, 0, Made), ("conv2", 4, 1, Made)];
        for ordered in [true, false] {
            assert_eq!(found(&layers, &norms, ordered).unwrap(), [Some(0), Some(1)]);
            let layers = layers.map(|(path, channels, place, _)| (path, channels, place, Own));
            assert!(found(&layers, &norms, ordered).is_err());
            // A third bias was made by something else.
            let layers = [layers[0], layers[1], ("x", 4, 30, Made)];
            assert!(found(&layers, &norms, ordered).is_err());
        }
        // What is not in the model makes no difference.
        let layers = layers.map(|(path, channels, place, _)| (path, channels, place, Outside));
        assert!(found(&layers, &norms, true).is_ok());
    }

    #[test]
    fn a_norm_is_left_out_where_no_layer_is_left_for_it() {
        let layer = |bias| [Layer { path: "a", channels: 4, place: 0, bias }];
        let norm = |channels| Norm { path: "aux.bn", channels, place: 9 };
        assert!(check_extra(&layer(Made), &norm(5), &[], false).is_ok());
        assert!(check_extra(&layer(Made), &norm(4), &[], true).is_err());
        assert!(check_extra(&layer(Made), &norm(4), &[Some(0)], false).is_ok());
        let error = check_extra(&layer(Own), &norm(4), &[], false).unwrap_err();
        assert!(error.message().contains("\"!aux.bn.*\""), "{error}");
        assert!(check_extra(&layer(Own), &norm(4), &[], true).is_ok());
        assert!(check_extra(&layer(Outside), &norm(4), &[], false).is_ok());
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
        assert_eq!(norm.weight(vec![1.0, 2.0, 3.0, 4.0], 2), [1.0, 2.0, -6.0, -8.0]);
        // The second dimension is that of the channels.
        assert_eq!(norm.weight(vec![1.0, 2.0, 3.0, 4.0], 1), [1.0, -4.0, 3.0, -8.0]);
        assert_eq!(norm.bias(None), [0.5 - 1.0, 1.0 + 6.0]);
        assert_eq!(norm.bias(Some(&[1.0, 3.0])), [0.5, 1.0]);
        let plain = Statistics { scale: None, shift: None, ..norm };
        assert_eq!(plain.weight(vec![1.0, 1.0], 1), [0.5, 2.0]);
    }
}
