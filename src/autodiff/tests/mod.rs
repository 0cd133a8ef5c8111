//! Gradient rules against differences, in `f64`.
//!
//! `interpreter` evaluates graphs by definition; `golden` checks it against ONNX Runtime and the reference
//! implementation. `difference` compares the gradients that rules emit with central differences of the interpreter.
//! `generators` makes random cases for every operator with a rule, away from where it has no derivative; `kinks` pins
//! what rules give there, `edges` goes through the forms that a rule chooses between. `optimizers` evaluates updates.

mod array;
mod case;
mod choices;
mod compositions;
mod coverage;
mod difference;
mod edges;
mod frozen_norm;
mod generators;
mod golden;
mod interpreter;
mod kinks;
mod networks;
mod optimizers;
mod pointwise;
mod refusals;
mod single_precision;
