//! The BatchNorm layers of a checkpoint that a model does not have, and where they go.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::weights::checkpoint::StoredTensor;
use crate::weights::folding::{Bias, Layer, Norm, check_extra, pairs};
use crate::weights::mapping::{MappingOptions, Match, Slot};

/// Names of the tensors of a BatchNorm in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NormKeys {
    /// Scale.
    pub(super) scale: Option<String>,
    /// Shift.
    pub(super) shift: Option<String>,
    /// Running mean.
    pub(super) mean: String,
    /// Running variance.
    pub(super) variance: String,
}

/// A BatchNorm of the checkpoint: places of its tensors.
pub(super) struct NormTensors<'a> {
    /// Its name.
    pub(super) path: &'a str,
    scale: Option<usize>,
    shift: Option<usize>,
    mean: usize,
    variance: usize,
    channels: usize,
}

impl NormTensors<'_> {
    /// Places of all its tensors.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> + use<> {
        [self.scale, self.shift, Some(self.mean), Some(self.variance)].into_iter().flatten()
    }

    /// Their names.
    pub(super) fn keys(&self, tensors: &[StoredTensor]) -> NormKeys {
        let name = |at: usize| tensors[at].name.clone();
        NormKeys {
            scale: self.scale.map(name),
            shift: self.shift.map(name),
            mean: name(self.mean),
            variance: name(self.variance),
        }
    }
}

/// The BatchNorm layers that the model does not have.
pub(super) struct Norms<'a> {
    /// Each of them.
    pub(super) list: Vec<NormTensors<'a>>,
    /// Places of all tensors by name.
    places: HashMap<&'a str, usize>,
}

/// What a slot gets of a norm.
pub(super) struct Fold {
    /// Number of the norm.
    pub(super) norm: usize,
    /// The layer's own tensor.
    pub(super) key: Option<usize>,
    /// Whether the slot is the bias of the layer.
    pub(super) is_bias: bool,
}

impl<'a> Norms<'a> {
    /// Those of `tensors` (`names` are theirs without prefixes) of which none is among the matched ones.
    pub(super) fn missing(
        tensors: &[StoredTensor],
        names: &[&'a str],
        by_key: &HashMap<usize, usize>,
    ) -> Norms<'a> {
        let places: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let of = |path: &str, leaf: &str| places.get(format!("{path}.{leaf}").as_str()).copied();
        let list = names.iter().enumerate().filter_map(|(mean, name)| {
            let path = name.strip_suffix(".running_mean")?;
            let variance = of(path, "running_var")?;
            let norm = NormTensors {
                path,
                scale: of(path, "weight"),
                shift: of(path, "bias"),
                mean,
                variance,
                channels: tensors[mean].shape.iter().product(),
            };
            let is_absent = !norm.all().any(|at| by_key.contains_key(&at));
            // Numbers that are not read cannot be folded.
            (is_absent && norm.all().all(|at| tensors[at].element.is_float())).then_some(norm)
        });
        Norms { list: list.collect(), places }
    }

    /// What each slot gets of the norms, and the norms (their numbers in the list) that go nowhere.
    #[expect(clippy::too_many_arguments, reason = "all that is known about both sides")]
    pub(super) fn folded(
        &self,
        slots: &[Slot],
        slot_names: &[Vec<String>],
        tensors: &[StoredTensor],
        names: &[&'a str],
        matches: &[Match],
        by_key: &HashMap<usize, usize>,
        ordered: bool,
        options: &MappingOptions,
    ) -> Result<(HashMap<usize, Fold>, Vec<usize>)> {
        // Where no name fits, that is what is wrong, and not the norms.
        if matches.is_empty() {
            return Ok(Default::default());
        }
        let slot_of: HashMap<&str, usize> = slot_names
            .iter()
            .enumerate()
            .flat_map(|(at, names)| names.iter().map(move |name| (name.as_str(), at)))
            .collect();
        // A bias that an exporter made has the name of the weight, or of the layer.
        let bias_slot = |path: &str| {
            let slot = |leaf: &str| slot_of.get(format!("{path}.{leaf}").as_str()).copied();
            slot("bias").or_else(|| slot("weight_bias"))
        };
        let is_norms: HashSet<usize> = self.list.iter().flat_map(NormTensors::all).collect();
        let mut layers = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let Some(path) = name.strip_suffix(".weight") else { continue };
            let in_model = by_key.contains_key(&at);
            // Without a bias a layer of the model has no norm in it; one that is not in the model may have had one.
            if tensors[at].shape.len() < 2
                || is_norms.contains(&at)
                || (in_model && bias_slot(path).is_none())
            {
                continue;
            }
            let bias = self.places.get(format!("{path}.bias").as_str()).copied();
            let of_layer = match (in_model, bias) {
                (false, _) => Bias::Outside,
                (true, None) => Bias::Made,
                (true, Some(_)) => Bias::Own,
            };
            let slot = by_key.get(&at).map(|found| &slots[matches[*found].slot]);
            let channels = slot.map_or(tensors[at].shape[0], |slot| slot.channels(&tensors[at].shape));
            let place = bias.unwrap_or(at).max(at);
            layers.push((at, bias, Layer { path, channels, place, bias: of_layer }));
        }
        let wanted = self.list.iter().filter(|norm| {
            let keys: Vec<&str> = norm.all().flat_map(|at| [names[at], tensors[at].name.as_str()]).collect();
            options.filter.is_all() || options.filter.takes(&keys)
        });
        let wanted: Vec<&NormTensors<'_>> = wanted.collect();
        let place = |norm: &NormTensors<'_>| norm.all().min().unwrap_or(norm.mean);
        let described: Vec<Norm<'_>> = wanted
            .iter()
            .map(|norm| Norm { path: norm.path, channels: norm.channels, place: place(norm) })
            .collect();
        let plain: Vec<Layer<'_>> = layers.iter().map(|(.., layer)| layer.clone()).collect();
        let found = pairs(&plain, &described, ordered)?;
        let (mut folds, mut unplaced) = (HashMap::new(), Vec::new());
        // A model with norms beside the layers was exported without folding, unless some are folded.
        let has_norm = |slot: &Slot| slot.name.ends_with(".running_mean");
        let is_plain = found.iter().all(Option::is_none) && slots.iter().any(has_norm);
        for (at, norm) in wanted.iter().enumerate() {
            let Some(layer) = found[at] else {
                if options.partial {
                    check_extra(&plain, &described[at], &found, is_plain)?;
                }
                unplaced.extend(self.list.iter().position(|own| own.mean == norm.mean));
                continue;
            };
            let (weight, bias, layer) = &layers[layer];
            let (Some(found), Some(bias_slot)) = (by_key.get(weight), bias_slot(layer.path)) else {
                // Neither is in the model: both are listed.
                continue;
            };
            let Some(norm) = self.list.iter().position(|own| own.mean == norm.mean) else { continue };
            let groups = slots[matches[*found].slot].up_groups.unwrap_or(1);
            if groups > 1 {
                let message = format!(
                    "BatchNorm {:?} cannot be folded into a transposed convolution of {groups} groups: expected 1 group \
                     (export the model with its BatchNorm layers)",
                    self.list[norm].path
                );
                let slot = &slots[matches[*found].slot].name;
                return Err(Error::new(ErrorKind::NotSupported, message).at_tensor(slot));
            }
            if slots[bias_slot].shape != [layer.channels] {
                let message = format!(
                    "BatchNorm {:?} cannot be folded: the model's bias has shape {:?}, expected [{}]",
                    self.list[norm].path, slots[bias_slot].shape, layer.channels
                );
                return Err(Error::new(ErrorKind::Mismatch, message).at_tensor(&slots[bias_slot].name));
            }
            folds.insert(matches[*found].slot, Fold { norm, key: Some(*weight), is_bias: false });
            folds.insert(bias_slot, Fold { norm, key: *bias, is_bias: true });
        }
        Ok((folds, unplaced))
    }
}
