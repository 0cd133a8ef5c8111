//! Rasters: the single door to GDAL.
//!
//! [`Raster`] reads windows of a file as `[C, H, W]` in the bands' own type, past the edges as well, and says which
//! pixels are valid. [`RasterWriter`] writes a Cloud-Optimized or plain GeoTIFF that appears complete or not at all;
//! [`encode`] makes one of a plain file of samples. [`CacheLimit`] bounds what GDAL keeps in memory.
//! [`Georeference`] carries from one to the other where the pixels lie. [`VectorLayer`] holds the features of a vector
//! file that lie on a raster, and burns them.
//!
//! **Threads.** A [`Raster`] and a [`RasterWriter`] are `Send`, not `Sync`; readers take one [`Raster::reopen`] each.
//!
//! **What is global.** GDAL's drivers are registered at the first use, and GDAL's block cache is one for all datasets
//! of the process. Settings and the error handler are put in place around each call, on the calling thread only (see
//! `messages.rs`), so a host that uses GDAL itself keeps its own. Nothing is written to stderr.
//!
//! **Trust.** Rasters are untrusted: regular local files only, drivers from a list ([`OpenOptions`]), no side files but
//! TIFF masks and world files, limits before the first pixel. Vector files likewise: GeoPackage, GeoJSON and Shapefile.

mod blocks;
mod cache;
mod cog;
mod compare;
mod footprint;
mod georeference;
mod info;
mod messages;
mod open;
mod options;
mod placement;
mod raw;
mod read;
mod samples;
mod source;
mod spec;
mod sys;
#[cfg(test)]
mod tests;
mod units;
mod validity;
mod vector;
mod write;

pub use crate::file::same_file;
pub use cache::CacheLimit;
pub(crate) use footprint::footprint;
pub use georeference::{AreaOrPoint, Gcp, Georeference};
pub use info::{BandInfo, Mask, RasterInfo};
pub use open::Raster;
pub use options::{OpenOptions, drivers, gdal_version};
pub use raw::{check_encode, encode};
pub use spec::{Compression, Format, OverviewResampling, WriteSpec};
pub use validity::NodataRule;
pub use vector::{FieldKind, VectorFeature, VectorLayer, VectorOptions};
pub use write::RasterWriter;

/// `with_type!(data_type, T => expression)`: the expression with the type `T` bound to that of a `DataType`.
macro_rules! with_type {
    ($data_type:expr, $kind:ident => $body:expr) => {
        match $data_type {
            $crate::tensor::DataType::U8 => {
                type $kind = u8;
                $body
            }
            $crate::tensor::DataType::U16 => {
                type $kind = u16;
                $body
            }
            $crate::tensor::DataType::I16 => {
                type $kind = i16;
                $body
            }
            $crate::tensor::DataType::U32 => {
                type $kind = u32;
                $body
            }
            $crate::tensor::DataType::I32 => {
                type $kind = i32;
                $body
            }
            $crate::tensor::DataType::U64 => {
                type $kind = u64;
                $body
            }
            $crate::tensor::DataType::I64 => {
                type $kind = i64;
                $body
            }
            $crate::tensor::DataType::F32 => {
                type $kind = f32;
                $body
            }
            $crate::tensor::DataType::F64 => {
                type $kind = f64;
                $body
            }
        }
    };
}
use with_type;
