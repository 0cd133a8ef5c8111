//! What a pickle holds.

use crate::error::{Error, ErrorKind, Result};
use crate::weights::element::StoredType;

/// Number of a value in its [`Arena`].
pub(crate) type Id = u32;

/// A value of a pickle; other values are named by their numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer; those that do not fit are [`Value::Huge`].
    Int(i128),
    /// An integer of more than 16 bytes, which nothing here has a use for.
    Huge,
    /// A float.
    Float(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A set.
    Set(Vec<Id>),
    /// A dictionary, ordered; a key may come twice, then the later one counts.
    Dict(Vec<(Id, Id)>),
    /// A class or function by its name, `module.name`. Nothing but the name.
    Global(String),
    /// What calling a function or class would have made that is not understood here; its [`Value::Global`], or whatever
    /// the file put in its place.
    Opaque(Id),
    /// An element type of numpy, `f8`, in little-endian order.
    Numpy(String),
    /// Elements of tensors, in the file but outside the pickle.
    Storage(Storage),
    /// A view of a storage.
    Tensor(Tensor),
}

/// Elements in the file, outside the pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Storage {
    /// Type of the elements.
    pub(crate) element: StoredType,
    /// Its name in the file, a [`Value::Text`].
    pub(crate) key: Id,
    /// How many elements there are.
    pub(crate) elements: u64,
    /// First element of the part that is meant: 0 but in files of PyTorch before 0.4.
    pub(crate) start: u64,
}

/// A tensor: a view of a storage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tensor {
    /// A [`Value::Storage`].
    pub(crate) storage: Id,
    /// Element type, where it is not that of the storage.
    pub(crate) element: Option<StoredType>,
    /// First element.
    pub(crate) offset: u64,
    /// A [`Value::Tuple`] of sizes.
    pub(crate) size: Id,
    /// A [`Value::Tuple`] of strides in elements.
    pub(crate) stride: Id,
    /// A [`Value::Dict`] of what is to be done to the elements, where there is one: `neg`, `conj`.
    pub(crate) metadata: Option<Id>,
}

/// All values of a file's pickles.
#[derive(Debug)]
pub(crate) struct Arena {
    values: Vec<Value>,
    /// Cells (values, elements of containers, entries of the memo) that may still be made.
    left: u64,
}

impl Arena {
    /// An empty one for `most` cells.
    pub(crate) fn new(most: u64) -> Arena {
        Arena { values: Vec::new(), left: most.min(u64::from(u32::MAX)) }
    }

    /// Takes `cells` from what is left.
    ///
    /// # Errors
    /// `LimitExceeded` where that is more than there is.
    pub(crate) fn charge(&mut self, cells: usize) -> Result<()> {
        match self.left.checked_sub(cells as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::new(ErrorKind::LimitExceeded, "values of the pickle: more than are allowed")),
        }
    }

    /// Adds a value. A container counts with what it holds.
    pub(crate) fn add(&mut self, value: Value) -> Result<Id> {
        let held = match &value {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.len(),
            Value::Dict(items) => items.len(),
            _ => 0,
        };
        self.charge(1 + held)?;
        let id = self.values.len() as Id;
        self.values.push(value);
        Ok(id)
    }

    /// The value of a number. Numbers come from this arena alone, so that there is one.
    pub(crate) fn get(&self, id: Id) -> &Value {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }

    /// The value of a number, to be changed.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Value> {
        self.values.get_mut(id as usize)
    }

    /// All values, in the order in which they were made.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The text of a value.
    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a value, where it is a whole one that fits.
    pub(crate) fn unsigned(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            Value::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The value of a key of a dictionary.
    pub(crate) fn item(&self, dict: Id, key: &str) -> Option<Id> {
        match self.get(dict) {
            Value::Dict(items) => {
                items.iter().rev().find(|(own, _)| self.text(*own) == Some(key)).map(|(_, id)| *id)
            }
            _ => None,
        }
    }

    /// What an opaque value would have been: the name in the file.
    pub(crate) fn class(&self, id: Id) -> &str {
        let mut at = id;
        // An object of an object of a class: a file may nest these as it likes.
        for _ in 0..8 {
            match self.get(at) {
                Value::Opaque(of) => at = *of,
                Value::Global(name) => return name,
                _ => break,
            }
        }
        "an unknown class"
    }
}
