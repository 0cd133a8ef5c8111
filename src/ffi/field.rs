//! Fields that option structs share.

use std::ffi::c_char;

use crate::error::{Error, Result};
use crate::ffi::boundary::{optional_text, slice, texts};
use crate::geometry::Band;
use crate::runtime::Provider;

/// The value that a number stands for.
pub(super) fn pick<T: Copy>(field: &str, number: i32, table: &[(i32, T)]) -> Result<T> {
    table.iter().find(|(known, _)| *known == number).map(|(_, value)| *value).ok_or_else(|| {
        Error::invalid(format!("{field} is {number}: expected 0 to {}", table.len().saturating_sub(1)))
    })
}

/// 0 or 1.
pub(super) fn flag(field: &str, number: i32) -> Result<bool> {
    pick(field, number, &[(0, false), (1, true)])
}

/// Bands by their numbers, from 1; none: as the model says.
///
/// # Safety
/// The pointer is as the header's contract wants it.
pub(super) unsafe fn bands(numbers: *const u32, length: usize) -> Result<Option<Vec<Band>>> {
    // SAFETY: by this function's contract.
    let numbers = unsafe { slice(numbers, length, "bands")? };
    let bands = numbers.iter().map(|number| Band::new(*number)).collect::<Result<Vec<_>>>()?;
    Ok((!bands.is_empty()).then_some(bands))
}

/// A list of numbers; none where it is empty.
///
/// # Safety
/// The pointer is as the header's contract wants it.
pub(super) unsafe fn numbers(field: &str, values: *const f64, length: usize) -> Result<Option<Vec<f64>>> {
    // SAFETY: by this function's contract.
    let values = unsafe { slice(values, length, field)? };
    Ok((!values.is_empty()).then(|| values.to_vec()))
}

/// Names; none where there are none.
///
/// # Safety
/// The pointers are as the header's contract wants them.
pub(super) unsafe fn names(
    field: &str,
    values: *const *const c_char,
    length: usize,
) -> Result<Option<Vec<String>>> {
    // SAFETY: by this function's contract.
    let values = unsafe { texts(values, length, field)? };
    Ok((!values.is_empty()).then(|| values.into_iter().map(str::to_owned).collect()))
}

/// The provider of that name, with its options.
///
/// # Safety
/// The pointers are as the header's contract wants them.
pub(super) unsafe fn provider(
    name: *const c_char,
    keys: *const *const c_char,
    values: *const *const c_char,
    length: usize,
) -> Result<Provider> {
    // SAFETY: by this function's contract, here and below.
    let mut provider: Provider = match unsafe { optional_text(name, "provider")? } {
        None => Provider::default(),
        Some(text) => text.parse()?,
    };
    // SAFETY: as above.
    let keys = unsafe { texts(keys, length, "provider_option_keys")? };
    // SAFETY: as above.
    let values = unsafe { texts(values, length, "provider_option_values")? };
    for (key, value) in keys.into_iter().zip(values) {
        provider = provider.with_option(key, value)?;
    }
    Ok(provider)
}
