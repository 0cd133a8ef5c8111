//! Pickles, read as data.
//!
//! A pickle is a program for a small machine, and in Python that machine calls whatever the file names. Here nothing is
//! called: a short list of names that stand for plain data (dictionaries, tensors, numbers of numpy) is understood, and
//! what any other name would have made is an [`Opaque`](value::Value::Opaque) value that remembers the name. Values lie
//! in one [`Arena`](value::Arena) and refer to each other by number, as the objects of Python do by address: a value that
//! a file uses twice is there once, and a list that holds itself is no way to a stack overflow.

mod callable;
mod input;
mod machine;
mod shown;
pub(crate) mod value;

pub(crate) use input::Input;
pub(crate) use machine::run;
pub(crate) use shown::{scalar, summary};
pub(crate) use value::{Arena, Id, Value};
