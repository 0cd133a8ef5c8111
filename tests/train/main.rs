//! Training against PyTorch: the goldens of `tests/golden/train`, through the library as a caller sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod exports;
mod full;
mod generated;
mod golden;
mod losses;
mod networks;
mod snippet;
