//! The golden files, and how far something is from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::weights::tensors::{Elements, Tensors};
use safetensors::tensor::{Dtype, SafeTensors};

/// The runtime of the test process: beside the test program (see `make link`).
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)")
    })
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train")
}

pub(crate) fn open(path: &Path) -> Model {
    Model::open(runtime(), path, &ModelOptions::default()).unwrap()
}

/// An array of a golden file; numbers in double precision whatever they are in the file.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    pub(crate) fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|&value| value as f32).collect()
    }

    pub(crate) fn u8(&self) -> Vec<u8> {
        self.values.iter().map(|&value| value as u8).collect()
    }

    /// Part `index` of the outermost axis.
    pub(crate) fn part(&self, index: usize) -> Array {
        let length = self.values.len() / self.shape[0];
        let values = self.values[index * length..][..length].to_vec();
        Array { shape: self.shape[1..].to_vec(), values }
    }
}

/// A golden file.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) arrays: BTreeMap<String, Array>,
    pub(crate) notes: BTreeMap<String, String>,
}

impl Golden {
    pub(crate) fn read(path: &Path) -> Golden {
        let bytes = std::fs::read(path).unwrap();
        let (_, head) = SafeTensors::read_metadata(&bytes).unwrap();
        let notes = head.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let arrays = file.iter().map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F64 => data.as_chunks().0.iter().map(|word| f64::from_le_bytes(*word)).collect(),
                Dtype::F32 => {
                    data.as_chunks().0.iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect()
                }
                Dtype::U8 => data.iter().map(|&byte| f64::from(byte)).collect(),
                other => panic!("{name}: {other:?}"),
            };
            (name.to_owned(), Array { shape: view.shape().to_vec(), values })
        });
        Golden { arrays: arrays.collect(), notes }
    }

    pub(crate) fn array(&self, name: &str) -> &Array {
        self.arrays.get(name).unwrap_or_else(|| panic!("the golden has no {name:?}"))
    }

    pub(crate) fn note(&self, name: &str) -> &str {
        self.notes.get(name).unwrap_or_else(|| panic!("the golden has no note {name:?}"))
    }

    /// The arrays whose names begin with `prefix`, without it.
    pub(crate) fn starting(&self, prefix: &str) -> BTreeMap<String, Array> {
        let found = self.arrays.iter();
        found
            .filter_map(|(name, array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone())))
            .collect()
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Relative error of every gradient by L2 norm, as `gradient_errors` of `tests/parity/parameters.py`: gradients that are
/// small for their cancelling terms are measured by a thousandth of the norm of all together, and those that are zero
/// but for rounding by a hundredth of it.
pub(crate) fn gradient_errors(found: &Tensors, wanted: &BTreeMap<String, Array>) -> BTreeMap<String, f64> {
    let whole = norm(wanted.values().flat_map(|array| array.values.iter().copied()));
    let error = |(name, array): (&String, &Array)| {
        let Some(own) = found.get(name) else { return (name.clone(), f64::INFINITY) };
        let Elements::F32(values) = &own.elements else { panic!("{name}: not float32") };
        assert_eq!(own.shape, array.shape, "{name}");
        let size = match norm(array.values.iter().copied()) {
            size if size < 1e-6 * whole => 1e-2 * whole,
            size => size.max(1e-3 * whole),
        };
        let apart = norm(values.iter().zip(&array.values).map(|(a, b)| f64::from(*a) - b));
        (name.clone(), if size > 0.0 { apart / size } else { apart })
    };
    wanted.iter().map(error).collect()
}

/// Norm of the difference by that of what is wanted.
pub(crate) fn relative(found: &[f32], wanted: &Array) -> f64 {
    assert_eq!(found.len(), wanted.values.len());
    let apart = norm(found.iter().zip(&wanted.values).map(|(a, b)| f64::from(*a) - b));
    apart / norm(wanted.values.iter().copied()).max(1e-30)
}
