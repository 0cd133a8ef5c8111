//! How much a checkpoint may ask for.

use crate::error::{Error, ErrorKind, Result};

/// Limits on an untrusted checkpoint.
///
/// The defaults let the checkpoints of every segmentation network in use through, optimizer states included, and keep a
/// hostile file from taking more memory or time than its own size explains.
///
/// ```
/// let mut limits = glebe::weights::limits::Limits::default();
/// limits.file_bytes = 1 << 30;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the file: 64 GiB.
    pub file_bytes: u64,
    /// Files in the archive, or storages in the older format: 200 000.
    pub entries: u64,
    /// Bytes of all compressed entries of the archive together, unpacked: 4 GiB. PyTorch does not compress; tools that
    /// pack its files anew do.
    pub inflated_bytes: u64,
    /// By how much more a compressed entry of 1 MiB or more may unpack to than it has: 200 times.
    pub inflated_ratio: u64,
    /// Bytes of a pickle: 256 MiB. The tensors' elements are beside it.
    pub pickle_bytes: u64,
    /// Instructions of a pickle: 50 million.
    pub opcodes: u64,
    /// Values of a pickle, what they hold (elements of lists, entries of dictionaries) and its memo: 20 million together.
    pub values: u64,
    /// Containers of a pickle that are open at the same time: 1000.
    pub depth: usize,
    /// Tensors of the state dict: 100 000.
    pub tensors: u64,
    /// Dimensions of a tensor: 32.
    pub rank: usize,
    /// Elements of one tensor: 2^30.
    pub tensor_elements: u64,
    /// Bytes of all tensors of the state dict, as they are in memory: 32 GiB.
    pub tensor_bytes: u64,
    /// How many times the bytes of their storages all tensors may have that are expanded or share storages, 16 MiB
    /// being allowed in any case: 16.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file_bytes: 64 << 30,
            entries: 200_000,
            inflated_bytes: 4 << 30,
            inflated_ratio: 200,
            pickle_bytes: 256 << 20,
            opcodes: 50_000_000,
            values: 20_000_000,
            depth: 1000,
            tensors: 100_000,
            rank: 32,
            tensor_elements: 1 << 30,
            tensor_bytes: 32 << 30,
            expansion: 16,
        }
    }
}

/// That `found` is within `limit`; `what` begins the message.
///
/// # Errors
/// `LimitExceeded` where it is not.
pub(super) fn within(what: &str, found: u64, limit: u64) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitExceeded, format!("{what}: expected at most {limit}, got {found}")))
}
