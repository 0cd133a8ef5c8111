//! Random cases for every operator with a rule: a new rule needs one line in the list of its family.

mod activations;
mod arithmetic;
mod composites;
mod indexing;
mod layout;
mod pools;
mod products;
mod statistics;

use std::cell::Cell;

use super::case::Case;
use super::choices::{Choices, for_cases};
use super::difference;
use super::single_precision;
use crate::autodiff::kernels::Kernels;
use crate::error::Result;

/// Random cases of one operator.
pub(super) struct Generator {
    pub(super) op: &'static str,
    /// How many cases the ordinary suite has.
    pub(super) cases: usize,
    pub(super) make: fn(&mut Choices) -> Result<Case>,
}

/// A generator of the usual number of cases.
const fn cases(op: &'static str, make: fn(&mut Choices) -> Result<Case>) -> Generator {
    Generator { op, cases: 24, make }
}

impl Generator {
    const fn times(mut self, factor: usize) -> Generator {
        self.cases *= factor;
        self
    }
}

pub(super) fn all() -> Vec<&'static Generator> {
    let families = [
        arithmetic::ALL,
        activations::ALL,
        products::ALL,
        pools::ALL,
        layout::ALL,
        indexing::ALL,
        statistics::ALL,
        composites::ALL,
    ];
    families.into_iter().flatten().collect()
}

/// Checks all generators of a family; all failures are reported, not the first alone.
fn check_all(family: &[Generator]) {
    let more: Option<usize> = std::env::var("GLEBE_GRADIENT_CASES").ok().and_then(|count| count.parse().ok());
    let (checked, in_single) = (Cell::new(0usize), Cell::new(0usize));
    let failures: Vec<String> = family
        .iter()
        .filter_map(|generator| {
            for_cases(generator.op, more.unwrap_or(generator.cases), |mut choices| {
                let made = (generator.make)(&mut choices);
                let case = made.map_err(|error| format!("cannot make a case: {error}"))?;
                difference::check(&case, &mut choices, Kernels::NONE)?;
                let made = difference::differentiated(&case, &mut choices, Kernels::NONE)?;
                checked.set(checked.get() + 1);
                in_single.set(in_single.get() + usize::from(single_precision::check(made)?));
                Ok(())
            })
            .err()
        })
        .collect();
    assert!(
        10 * in_single.get() >= 9 * checked.get(),
        "{} of {} cases went through the runtime",
        in_single.get(),
        checked.get()
    );
    assert!(failures.is_empty(), "{} operators fail:\n{}", failures.len(), failures.join("\n"));
}
