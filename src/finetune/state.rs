//! What a step changes, as a value.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::weights::tensors::{self, Elements, NamedTensor, Tensors};

/// Everything that a [`TrainStep`](crate::finetune::TrainStep) changes: with it, another step of the same model and the
/// same options goes on bit by bit as the first would have. Gradients that wait for an update are no part of it.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct TrainState {
    /// Number of updates so far.
    pub updates: u64,
    /// What the loss's gradient is multiplied with; 1 without a loss scale.
    pub loss_scale: f32,
    /// Trained tensors, by the names of the initializers.
    pub weights: Tensors,
    /// Running statistics that the step updates, by the names of the initializers.
    pub statistics: Tensors,
    /// The optimizer's tensors, by their kind
    /// ([`Optimizer::state_names`](crate::autodiff::Optimizer::state_names)), then by the trained tensor.
    pub optimizer: BTreeMap<String, Tensors>,
    /// Moving averages of the weights, where the optimizer has any.
    pub averages: Tensors,
    /// What the adapters' products are multiplied with, where there are any; older files do not say.
    pub adapter_scale: Option<f32>,
}

/// Prefixes of the tensors' names in a file.
const WEIGHTS: &str = "weights/";
const STATISTICS: &str = "statistics/";
const OPTIMIZER: &str = "optimizer/";
const AVERAGES: &str = "averages/";

/// Keys of the file's metadata.
const FORMAT: &str = "glebe.train_state";
const UPDATES: &str = "updates";
const LOSS_SCALE: &str = "loss_scale";
const ADAPTER_SCALE: &str = "adapter_scale";

impl TrainState {
    /// The first weight or running statistic with an element that is not finite.
    pub(super) fn first_not_finite(&self) -> Option<&str> {
        let is_bad = |own: &NamedTensor| match &own.elements {
            Elements::F32(values) => values.iter().any(|value| !value.is_finite()),
            _ => false,
        };
        let mut all = self.weights.iter().chain(&self.statistics);
        all.find(|(_, own)| is_bad(own)).map(|(name, _)| name.as_str())
    }

    /// Writes the state as a safetensors file, as a whole or not at all: tensors `weights/NAME`, `statistics/NAME`,
    /// `optimizer/KIND/NAME` and `averages/NAME`, and in the metadata the number of updates, the loss scale and, where
    /// there are adapters, their scale.
    ///
    /// # Errors
    /// `AlreadyExists` for a file that is there unless `overwrite`; `Io`.
    pub fn write(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        let (all, metadata) = self.flat();
        tensors::write(path.as_ref(), &all, &metadata, overwrite)
    }

    /// The bytes of the file that [`TrainState::write`] writes.
    ///
    /// # Errors
    /// `Mismatch` for a tensor whose elements are not as many as its shape asks for.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (all, metadata) = self.flat();
        tensors::to_bytes(&all, &metadata)
    }

    pub(super) fn flat(&self) -> (Tensors, BTreeMap<String, String>) {
        let mut all = Tensors::new();
        let mut put = |prefix: &str, tensors: &Tensors| {
            all.extend(tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())));
        };
        put(WEIGHTS, &self.weights);
        put(STATISTICS, &self.statistics);
        put(AVERAGES, &self.averages);
        for (kind, tensors) in &self.optimizer {
            put(&format!("{OPTIMIZER}{kind}/"), tensors);
        }
        let mut metadata = BTreeMap::from([
            (FORMAT.to_owned(), "1".to_owned()),
            (UPDATES.to_owned(), self.updates.to_string()),
            (LOSS_SCALE.to_owned(), self.loss_scale.to_string()),
        ]);
        metadata.extend(self.adapter_scale.map(|scale| (ADAPTER_SCALE.to_owned(), scale.to_string())));
        (all, metadata)
    }

    /// Reads what [`TrainState::write`] wrote.
    ///
    /// # Errors
    /// `NotFound`, `Io`; `InvalidArgument` for a file that is none of these.
    pub fn read(path: impl AsRef<Path>) -> Result<TrainState> {
        let path = path.as_ref();
        let (all, metadata) = tensors::read_with_metadata(path)?;
        TrainState::from_file(all, &metadata).map_err(|error| error.at_path(path))
    }

    /// The state in the bytes of such a file.
    ///
    /// # Errors
    /// `InvalidArgument` for bytes that are none of these.
    pub fn from_bytes(bytes: &[u8]) -> Result<TrainState> {
        let (all, metadata) = tensors::from_bytes(bytes)?;
        TrainState::from_file(all, &metadata)
    }

    pub(super) fn from_file(all: Tensors, metadata: &HashMap<String, String>) -> Result<TrainState> {
        match metadata.get(FORMAT).map(String::as_str) {
            Some("1") => {}
            Some(other) => {
                let message = format!("the state has format {other}, this version reads 1");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            None => return Err(Error::invalid("the file holds no state of a training step")),
        }
        let number =
            |key: &str| metadata.get(key).ok_or_else(|| Error::invalid(format!("the state has no {key:?}")));
        let wrong = |key: &str, text: &str| Error::invalid(format!("the state's {key:?} is {text:?}"));
        let updates = number(UPDATES)?;
        let updates = updates.parse().map_err(|_| wrong(UPDATES, updates))?;
        let loss_scale = number(LOSS_SCALE)?;
        let loss_scale = loss_scale.parse().map_err(|_| wrong(LOSS_SCALE, loss_scale))?;
        let adapter_scale = metadata
            .get(ADAPTER_SCALE)
            .map(|text| text.parse().map_err(|_| wrong(ADAPTER_SCALE, text)))
            .transpose()?;
        let mut state = TrainState { updates, loss_scale, adapter_scale, ..TrainState::default() };
        for (name, tensor) in all {
            let parts = [
                (WEIGHTS, &mut state.weights),
                (STATISTICS, &mut state.statistics),
                (AVERAGES, &mut state.averages),
            ];
            let mut left = Some(tensor);
            for (prefix, tensors) in parts {
                if let Some(own) = name.strip_prefix(prefix)
                    && let Some(tensor) = left.take()
                {
                    tensors.insert(own.to_owned(), tensor);
                }
            }
            let Some(tensor) = left else { continue };
            let Some((kind, own)) = name.strip_prefix(OPTIMIZER).and_then(|rest| rest.split_once('/')) else {
                return Err(Error::invalid("the tensor is no part of a state").at_tensor(&name));
            };
            state.optimizer.entry(kind.to_owned()).or_default().insert(own.to_owned(), tensor);
        }
        Ok(state)
    }

    /// That `self` can take the place of `current`.
    ///
    /// # Errors
    /// `Mismatch` naming the first tensor that is missing, too many or of another shape; `InvalidArgument` for a loss
    /// scale that is not above 0.
    pub(super) fn check_against(&self, current: &TrainState) -> Result<()> {
        if !(self.loss_scale.is_finite() && self.loss_scale > 0.0) {
            return Err(Error::invalid(format!("expected a loss scale above 0, got {}", self.loss_scale)));
        }
        if let (Some(own), Some(expected)) = (self.adapter_scale, current.adapter_scale)
            && own != expected
        {
            let message =
                format!("the state's adapters are scaled by {own}, those of the step by {expected}");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        same("weights", &self.weights, &current.weights)?;
        same("statistics", &self.statistics, &current.statistics)?;
        same("averages", &self.averages, &current.averages)?;
        let kinds = |state: &TrainState| state.optimizer.keys().cloned().collect::<Vec<_>>();
        if kinds(self) != kinds(current) {
            let message = format!(
                "the state is of another optimizer: expected {:?}, got {:?}",
                kinds(current),
                kinds(self)
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        self.optimizer.iter().try_for_each(|(kind, own)| match current.optimizer.get(kind) {
            Some(current) => same(kind, own, current),
            None => Ok(()),
        })
    }
}

fn same(what: &str, own: &Tensors, current: &Tensors) -> Result<()> {
    let wrong = |name: &str, message: String| {
        Err(Error::new(ErrorKind::Mismatch, format!("{what}: {message}")).at_tensor(name))
    };
    if let Some(name) = own.keys().find(|name| !current.contains_key(*name)) {
        return wrong(name, "the step has no such tensor".into());
    }
    for (name, expected) in current {
        let Some(tensor) = own.get(name) else {
            return wrong(name, "missing in the state".into());
        };
        if !matches!(tensor.elements, Elements::F32(_)) {
            return wrong(name, "expected elements of type F32".into());
        }
        if tensor.shape != expected.shape {
            return wrong(name, format!("expected shape {:?}, got {:?}", expected.shape, tensor.shape));
        }
    }
    Ok(())
}

/// The elements of a tensor that was checked to be there.
///
/// # Errors
/// `Internal` where it is not.
pub(super) fn elements<'a>(tensors: &'a Tensors, name: &str) -> Result<&'a [f32]> {
    match tensors.get(name) {
        Some(NamedTensor { elements: Elements::F32(values), .. }) => Ok(values),
        _ => Err(Error::internal("a state without its tensor").at_tensor(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> TrainState {
        let tensor = |values: &[f32]| NamedTensor::f32(&[values.len()], values.to_vec());
        let named = |name: &str, values: &[f32]| Tensors::from([(name.to_owned(), tensor(values))]);
        TrainState {
            updates: 7,
            loss_scale: 1024.0,
            weights: named("a/b.weight", &[1.0, f32::MIN_POSITIVE / 2.0]),
            statistics: named("bn.running_mean", &[-0.0]),
            optimizer: BTreeMap::from([
                ("exp_avg".to_owned(), named("a/b.weight", &[0.5, 0.25])),
                ("exp_avg_sq".to_owned(), named("a/b.weight", &[3.0, 4.0])),
            ]),
            averages: named("a/b.weight", &[9.0, 8.0]),
            adapter_scale: Some(1.0 / 3.0),
        }
    }

    #[test]
    fn comes_back_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        state().write(&path, false).unwrap();
        assert_eq!(TrainState::read(&path).unwrap(), state());
        assert_eq!(state().to_bytes().unwrap(), std::fs::read(&path).unwrap());
        assert_eq!(TrainState::from_bytes(&state().to_bytes().unwrap()).unwrap(), state());
        assert_eq!(state().write(&path, false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        state().write(&path, true).unwrap();
    }

    #[test]
    fn files_of_other_kinds_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        tensors::write(&path, &state().weights, &BTreeMap::new(), false).unwrap();
        assert_eq!(TrainState::read(&path).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_state_of_another_step_is_refused() {
        let current = state();
        assert!(state().check_against(&current).is_ok());
        let refused = |change: &dyn Fn(&mut TrainState)| {
            let mut other = state();
            change(&mut other);
            other.check_against(&current).unwrap_err().to_string()
        };
        assert!(refused(&|own| own.weights.clear()).contains("missing"));
        assert!(refused(&|own| own.optimizer.clear()).contains("another optimizer"));
        let longer = NamedTensor::f32(&[3], vec![0.0; 3]);
        assert!(
            refused(&|own| {
                own.averages.insert("a/b.weight".into(), longer.clone());
            })
            .contains("expected shape [2], got [3]")
        );
        assert!(refused(&|own| own.loss_scale = 0.0).contains("loss scale"));
        assert!(refused(&|own| own.adapter_scale = Some(2.0)).contains("scaled by 2"));
        // Older files do not say.
        let silent = TrainState { adapter_scale: None, ..state() };
        assert!(silent.check_against(&current).is_ok());
        assert!(!silent.to_bytes().unwrap().windows(13).any(|own| own == b"adapter_scale"));
    }
}
