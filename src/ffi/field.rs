//! Fields that option structs share.

use std::ffi::c_char;

use crate::error::{Error, Result};
use crate::ffi::boundary::{optional_text, texts};
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
