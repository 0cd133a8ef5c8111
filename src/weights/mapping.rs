//! Which tensor of a checkpoint goes where in a model.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::checkpoint::{Checkpoint, Container, Format, StoredTensor};
use crate::weights::folding::Statistics;
use crate::weights::naming::{Names, aliases, prefix_hint, strip};
use crate::weights::norms::{NormKeys, Norms};
use crate::weights::pattern::Filter;
use crate::weights::report::{Loaded, Misshaped, Mistyped, Report};
use crate::weights::tensors::{Elements, NamedTensor, Tensors};

/// A tensor of a model that a checkpoint can fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Name of the initializer.
    pub name: String,
    /// A name made from that of the layer, where the exporter gave the tensor a made-up one; else the name.
    pub alias: String,
    /// Shape of the initializer.
    pub shape: Vec<usize>,
    /// Whether it is the transposed of the layer's weight: the second operand of a MatMul that an exporter made of a
    /// linear layer. Counts where the tensor is found by its alias.
    pub transposed: bool,
    /// Whether it is no loss where a checkpoint does not have it: a constant that may be a buffer of the network.
    pub is_optional: bool,
    /// Groups of the transposed convolution whose weight it is; its output channels are along dimension 1.
    pub up_groups: Option<usize>,
}

impl Slot {
    /// A tensor whose name is that of the state dict.
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Slot {
        let name = name.into();
        Slot {
            alias: name.clone(),
            name,
            shape: shape.to_vec(),
            transposed: false,
            is_optional: false,
            up_groups: None,
        }
    }

    /// Output channels of the layer whose weight has this shape in a checkpoint, of two dimensions at least.
    pub(super) fn channels(&self, shape: &[usize]) -> usize {
        self.up_groups.map_or(shape[0], |groups| shape[1].saturating_mul(groups))
    }
}

/// How a checkpoint is matched with a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MappingOptions {
    /// Which tensors are loaded, by their names in the model or in the checkpoint.
    pub filter: Filter,
    /// Whether tensors that are missing, too many or of another shape are left out instead of being an error.
    pub partial: bool,
    /// Only tensors whose names begin so are loaded, by what follows: `student.` of a checkpoint that holds a teacher too.
    /// The dot may be left out, and the prefixes of wrappers need no mention.
    pub prefix: Option<String>,
    /// What BatchNorm adds to its variance, for those that are folded: a checkpoint does not say. 1e-5, as in PyTorch;
    /// some networks have 1e-3.
    pub norm_epsilon: f64,
}

impl Default for MappingOptions {
    fn default() -> MappingOptions {
        MappingOptions { filter: Filter::default(), partial: false, prefix: None, norm_epsilon: 1e-5 }
    }
}

/// Which tensor of a checkpoint goes where in a model; nothing is read yet.
///
/// Names are compared as they are, and without the prefixes `model.`, `module.`, `_orig_mod.` and `net.` on either side
/// where that makes more of them equal; where the exporter made a name up, that of the layer counts. BatchNorm layers
/// that the model does not have are folded into the layers before them, if these can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    sources: Vec<Source>,
    report: Report,
    epsilon: f64,
}

/// Where the elements of a slot come from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    slot: String,
    shape: Vec<usize>,
    /// The tensor, if there is one: a folded bias may be made of the norm alone.
    key: Option<String>,
    transposed: bool,
    norm: Option<NormKeys>,
    /// Channels of the norm, and how many elements in a row of the tensor are of one channel.
    channels: usize,
    inner: usize,
    /// Whether this is the bias of a layer that a norm is folded into.
    is_bias: bool,
}

/// What is known about the tensors of a checkpoint as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They are in the order in which the network's layers were made.
    Ordered,
    /// They are sorted by name, as in safetensors files.
    Sorted,
    /// A training state of ours: what it does not hold was not trained.
    State,
}

impl Kind {
    fn of(checkpoint: &Checkpoint) -> Kind {
        match (checkpoint.format(), checkpoint.container()) {
            (Format::TrainState, _) => Kind::State,
            (_, Container::Safetensors) => Kind::Sorted,
            _ => Kind::Ordered,
        }
    }
}

/// A tensor of the checkpoint that was found for a slot.
pub(super) struct Match {
    /// Number of the slot.
    pub(super) slot: usize,
    /// Number of the tensor.
    pub(super) key: usize,
    /// Whether the slot's own name is another.
    pub(super) by_alias: bool,
}

impl Mapping {
    /// Matches a checkpoint with a model.
    ///
    /// # Errors
    /// `Mismatch` where tensors are missing, too many or of another shape, unless that is allowed; where nothing at all
    /// matches; and where a BatchNorm can neither be found in the model nor folded. `InvalidArgument` for a prefix that no
    /// tensor has and an epsilon below 0.
    pub fn new(slots: &[Slot], checkpoint: &Checkpoint, options: &MappingOptions) -> Result<Mapping> {
        Mapping::of_tensors(slots, checkpoint.tensors(), Kind::of(checkpoint), options)
            .map_err(|error| error.at_path(checkpoint.path()))
    }

    /// As [`Mapping::new`], and without an error for what does not fit, so that all of it can be shown.
    ///
    /// # Errors
    /// `Mismatch` where a BatchNorm can neither be found in the model nor folded; `InvalidArgument` as [`Mapping::new`].
    pub fn survey(slots: &[Slot], checkpoint: &Checkpoint, options: &MappingOptions) -> Result<Mapping> {
        matched(slots, checkpoint.tensors(), Kind::of(checkpoint), options)
            .map_err(|error| error.at_path(checkpoint.path()))
    }

    /// [`Mapping::new`] of what is known about the tensors.
    pub(super) fn of_tensors(
        slots: &[Slot],
        tensors: &[StoredTensor],
        kind: Kind,
        options: &MappingOptions,
    ) -> Result<Mapping> {
        let mapping = matched(slots, tensors, kind, options)?;
        mapping.report.check(options.partial)?;
        Ok(mapping)
    }

    /// What goes where, and what fits nowhere.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Reads the tensors, by the names of the slots and in their shapes.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read(&self, checkpoint: &Checkpoint) -> Result<Tensors> {
        self.sources
            .iter()
            .map(|source| Ok((source.slot.clone(), self.tensor(source, checkpoint)?)))
            .collect()
    }

    fn tensor(&self, source: &Source, checkpoint: &Checkpoint) -> Result<NamedTensor> {
        let floats = |key: &String| match checkpoint.read(key)?.elements {
            Elements::F32(values) => Ok(values),
            _ => Err(Error::new(ErrorKind::Mismatch, "expected floating point elements").at_tensor(key)),
        };
        let own = source.key.as_ref().map(floats).transpose()?;
        let values = match &source.norm {
            None => own.unwrap_or_default(),
            Some(keys) => {
                let norm = Statistics {
                    scale: keys.scale.as_ref().map(floats).transpose()?,
                    shift: keys.shift.as_ref().map(floats).transpose()?,
                    mean: floats(&keys.mean)?,
                    variance: floats(&keys.variance)?,
                    epsilon: self.epsilon,
                };
                norm.check(source.channels).map_err(|error| error.at_tensor(&keys.mean))?;
                match source.is_bias {
                    true => norm.bias(own.as_deref()),
                    false => norm.weight(own.unwrap_or_default(), source.inner),
                }
            }
        };
        let values = if source.transposed { transposed(&values, &source.shape) } else { values };
        if values.len() != source.shape.iter().product::<usize>() {
            return Err(Error::internal("a tensor of another size than was matched").at_tensor(&source.slot));
        }
        Ok(NamedTensor::f32(&source.shape, values))
    }
}

/// The transposed of a matrix; `shape` is that of the result.
fn transposed(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let &[rows, columns] = shape else { return values.to_vec() };
    (0..rows * columns).map(|at| values[at % columns * rows + at / columns]).collect()
}

fn matched(
    slots: &[Slot],
    tensors: &[StoredTensor],
    kind: Kind,
    options: &MappingOptions,
) -> Result<Mapping> {
    let Some(prefix) = options.prefix.as_deref().filter(|prefix| !prefix.is_empty()) else {
        return matched_all(slots, tensors, "", kind, options);
    };
    // `student` is the module, not everything that begins so, where there is such a module.
    let module = format!("{}.", prefix.trim_end_matches('.'));
    let is_module = tensors.iter().any(|tensor| tensor.name.starts_with(&module));
    let prefix = if is_module { &module } else { prefix };
    let own: Vec<StoredTensor> =
        tensors.iter().filter(|tensor| tensor.name.starts_with(prefix)).cloned().collect();
    if own.is_empty() {
        return Err(Error::invalid(format!("no tensor of the checkpoint begins with {:?}", short(prefix))));
    }
    let mut mapping = matched_all(slots, &own, prefix, kind, options)?;
    mapping.report.filtered += tensors.len() - own.len();
    Ok(mapping)
}

/// The mapping of tensors that all begin with `prefix`.
fn matched_all(
    slots: &[Slot],
    tensors: &[StoredTensor],
    prefix: &str,
    kind: Kind,
    options: &MappingOptions,
) -> Result<Mapping> {
    check_epsilon(options.norm_epsilon)?;
    let rest = |at: usize| -> &str { tensors[at].name.strip_prefix(prefix).unwrap_or(&tensors[at].name) };
    // Counters of batches have no place in a model, and nothing else that is no float has either.
    let usable: Vec<usize> = (0..tensors.len()).filter(|at| tensors[*at].element.is_float()).collect();
    let names: Vec<&str> = usable.iter().map(|at| rest(*at)).collect();
    let stripped = Names::of(slots, &names);
    let key_names: Vec<&str> = (0..tensors.len()).map(|at| strip(rest(at), &stripped.checkpoint)).collect();
    let by_name: HashMap<&str, usize> = usable.iter().map(|at| (key_names[*at], *at)).collect();
    let slot_names: Vec<Vec<String>> = aliases(slots, &stripped.model);
    let mut matches: Vec<Match> = Vec::new();
    for (slot, names) in slot_names.iter().enumerate() {
        let found = names.iter().enumerate().find_map(|(at, name)| Some((at, *by_name.get(name.as_str())?)));
        matches.extend(found.map(|(at, key)| Match { slot, key, by_alias: at > 0 }));
    }
    let by_key: HashMap<usize, usize> =
        matches.iter().enumerate().map(|(at, found)| (found.key, at)).collect();
    // Tensors of the right names whose elements cannot be weights.
    let mut mistyped: HashMap<usize, usize> = HashMap::new();
    let by_any_name: HashMap<&str, usize> = (0..tensors.len()).map(|at| (key_names[at], at)).collect();
    for (slot, names) in slot_names.iter().enumerate().filter(|(slot, _)| !slots[*slot].is_optional) {
        let found = names.iter().find_map(|name| by_any_name.get(name.as_str()));
        mistyped.extend(found.filter(|at| !tensors[**at].element.is_float()).map(|at| (slot, *at)));
    }
    let norms = Norms::missing(tensors, &key_names, &by_key);
    let ordered = kind == Kind::Ordered;
    let (folded, unplaced) =
        norms.folded(slots, &slot_names, tensors, &key_names, &matches, &by_key, ordered, options)?;

    let takes = |slot: Option<usize>, key: Option<usize>| {
        let mut names: Vec<&str> = Vec::new();
        if let Some(slot) = slot {
            names.extend([slots[slot].name.as_str(), slots[slot].alias.as_str()]);
            names.extend(slot_names[slot].iter().map(String::as_str));
        }
        names.extend(key.into_iter().flat_map(|key| [tensors[key].name.as_str(), key_names[key]]));
        options.filter.takes(&names)
    };
    let mut report = Report { stripped: format!("{prefix}{}", stripped.shown()), ..Report::default() };
    let mut sources = Vec::new();
    let mut used: HashSet<usize> = HashSet::new();
    let matches_by_slot: HashMap<usize, &Match> = matches.iter().map(|found| (found.slot, found)).collect();
    for (index, slot) in slots.iter().enumerate() {
        let found = matches_by_slot.get(&index);
        let fold = folded.get(&index);
        let key = found.map(|found| found.key).or(fold.and_then(|fold| fold.key));
        used.extend(key);
        if !takes(Some(index), key) {
            report.filtered += 1;
            continue;
        }
        let transposed = match (found, fold) {
            (None, None) if slot.is_optional => continue,
            (None, None) if mistyped.contains_key(&index) => {
                let tensor = &tensors[mistyped[&index]];
                used.insert(mistyped[&index]);
                report.mistyped.push(Mistyped {
                    slot: slot.name.clone(),
                    key: tensor.name.clone(),
                    found: tensor.element.to_string(),
                });
                continue;
            }
            (None, None) if kind == Kind::State => {
                report.kept += 1;
                continue;
            }
            (None, None) => {
                report.missing.push(shown_slot(slot));
                continue;
            }
            (None, Some(_)) => false,
            (Some(found), _) => {
                let stored = &tensors[found.key].shape;
                let Some(transposed) = orientation(slot, found.by_alias, stored) else {
                    let mut expected = slot.shape.clone();
                    if found.by_alias && slot.transposed {
                        expected.reverse();
                    }
                    report.misshaped.push(Misshaped {
                        slot: slot.name.clone(),
                        key: tensors[found.key].name.clone(),
                        expected,
                        found: stored.clone(),
                    });
                    continue;
                };
                transposed
            }
        };
        let norm = fold.map(|fold| norms.list[fold.norm].keys(tensors));
        let channel_axis = usize::from(transposed || slot.up_groups.is_some());
        report.loaded.push(Loaded {
            slot: slot.name.clone(),
            key: key.map(|key| tensors[key].name.clone()),
            transposed,
            folded: fold.map(|fold| norms.list[fold.norm].path.to_owned()),
        });
        sources.push(Source {
            slot: slot.name.clone(),
            shape: slot.shape.clone(),
            key: key.map(|key| tensors[key].name.clone()),
            transposed,
            norm,
            channels: slot.shape.get(channel_axis).copied().unwrap_or(0),
            inner: match transposed {
                true => slot.shape.first().copied().unwrap_or(1),
                false => slot.shape.iter().skip(channel_axis + 1).product(),
            },
            is_bias: fold.is_some_and(|fold| fold.is_bias),
        });
    }
    used.extend(folded.values().flat_map(|fold| norms.list[fold.norm].all()));
    for (at, tensor) in tensors.iter().enumerate() {
        if used.contains(&at) {
            continue;
        }
        // Counters (floats too, once a network was converted to half), tables of indices: the model has them as
        // constants, if at all.
        if !tensor.element.is_float() || is_counter(&tensor.name) {
            report.integers += 1;
            continue;
        }
        match takes(None, Some(at)) {
            true => report.unexpected.push(tensor.name.clone()),
            false => report.filtered += 1,
        }
    }
    report.unplaced = unplaced.into_iter().map(|norm| norms.list[norm].path.to_owned()).collect();
    let is_folded = report.loaded.iter().any(|loaded| loaded.folded.is_some());
    report.norm_epsilon = is_folded.then_some(options.norm_epsilon);
    if matches.is_empty() {
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        report.prefix_hint = prefix_hint(&slot_names, &names);
    }
    Ok(Mapping { sources, report, epsilon: options.norm_epsilon })
}

/// Whether it is BatchNorm's counter of batches.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

fn check_epsilon(epsilon: f64) -> Result<()> {
    if epsilon.is_finite() && epsilon >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid(format!("expected a number of 0 or more as epsilon of BatchNorm, got {epsilon}")))
}

/// The slot's name, with that of its layer where it has one.
fn shown_slot(slot: &Slot) -> String {
    match slot.alias == slot.name {
        true => slot.name.clone(),
        false => format!("{} ({})", slot.name, slot.alias),
    }
}

/// Whether a tensor of this shape fits transposed; `None` if it does not fit.
fn orientation(slot: &Slot, by_alias: bool, stored: &[usize]) -> Option<bool> {
    // Scales and shifts of norms that an exporter writes out are spread over the axes of what they are applied to.
    let spread = |&[length]: &[usize; 1]| {
        slot.shape.contains(&length) && slot.shape.iter().product::<usize>() == length
    };
    let same = stored == slot.shape || <&[usize; 1]>::try_from(stored).is_ok_and(spread);
    let swapped = stored.len() == 2 && [stored[1], stored[0]] == slot.shape[..];
    match (by_alias && slot.transposed, same) {
        (true, _) => swapped.then_some(true),
        (false, true) => Some(false),
        // The weight of a linear layer by its own name, and yet turned for a MatMul.
        (false, false) => (slot.transposed && swapped).then_some(true),
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
