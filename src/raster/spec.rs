//! What to write: size, type, format, compression and all that goes into the header.

use std::fmt;
use std::str::FromStr;

use gdal::cpl::CslStringList;
use gdal::{DriverManager, Metadata};

use super::georeference::Georeference;
use super::messages::scope;
use super::with_type;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Size;
use crate::tensor::{DataType, Sample};

/// Format of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Cloud-Optimized GeoTIFF: tiled, with overviews, header first. Costs one more copy on disk while it is made.
    #[default]
    Cog,
    /// Tiled GeoTIFF without overviews.
    GTiff,
}

/// Lossless compression of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Read by everything.
    #[default]
    Deflate,
    /// Faster and larger than Deflate, read by everything.
    Lzw,
    /// Faster and smaller than Deflate, not read by older programs.
    Zstd,
    /// Samples as they are.
    None,
}

/// How overviews are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OverviewResampling {
    /// One of the pixels: for classes. Always used where there is a colour table.
    #[default]
    Nearest,
    /// The mean of the valid pixels: for scores and pictures.
    Average,
}

macro_rules! names {
    ($kind:ty, $what:literal, $($variant:path = $name:literal),+) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($variant => $name),+ })
            }
        }

        impl FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<$kind> {
                match text {
                    $($name => Ok($variant),)+
                    _ => Err(Error::invalid(format!(
                        "unknown {} {text:?}: expected {}", $what, [$($name),+].join(", ")
                    ))),
                }
            }
        }
    };
}

names!(Format, "format", Format::Cog = "cog", Format::GTiff = "gtiff");
names!(
    Compression,
    "compression",
    Compression::Deflate = "deflate",
    Compression::Lzw = "lzw",
    Compression::Zstd = "zstd",
    Compression::None = "none"
);
names!(
    OverviewResampling,
    "overview resampling",
    OverviewResampling::Nearest = "nearest",
    OverviewResampling::Average = "average"
);

/// What [`RasterWriter`](super::RasterWriter) makes.
#[derive(Debug, Clone)]
pub struct WriteSpec {
    /// Width and height in pixels.
    pub size: Size,
    /// Number of bands, 1 to 65535.
    pub bands: usize,
    /// Type of the samples of all bands.
    pub data_type: DataType,
    /// The value of "nothing here"; must be one that a sample can have.
    pub nodata: Option<f64>,
    /// Where the pixels lie.
    pub georeference: Georeference,
    /// File format.
    pub format: Format,
    /// Compression.
    pub compression: Compression,
    /// How hard to compress: 1 to 9 for Deflate, 1 to 22 for Zstd, nothing else for the others. Absent means 3 for
    /// Deflate and 3 for Zstd: on noisy class maps level 6 of Deflate takes ten times the time of level 3 and saves 6 %
    /// of the bytes.
    pub level: Option<u8>,
    /// Side of the file's square blocks in pixels, a multiple of 16 from 16 (128 for a COG) to 4096.
    pub block: usize,
    /// A name for each band, or none at all.
    pub band_names: Vec<String>,
    /// Colour table as RGBA by sample value, up to 256 entries; for one band of uint8. TIFF keeps no alpha.
    pub colors: Option<Vec<[u8; 4]>>,
    /// Names of the classes by sample value, for one band of integers; kept as the band's metadata `class_0`,
    /// `class_1` and so on, since a GeoTIFF has no place of its own for them.
    pub categories: Option<Vec<String>>,
    /// How overviews are made.
    pub overview_resampling: OverviewResampling,
    /// Whether a file at the output's path is replaced.
    pub overwrite: bool,
    /// Threads that compress, at least 1. The bytes of the file do not depend on it.
    pub threads: usize,
    /// Metadata of the file: name and value.
    pub metadata: Vec<(String, String)>,
}

impl WriteSpec {
    /// A Deflate-compressed COG with blocks of 512 pixels, not overwriting, one thread, everything else absent.
    pub fn new(size: Size, bands: usize, data_type: DataType) -> WriteSpec {
        WriteSpec {
            size,
            bands,
            data_type,
            nodata: None,
            georeference: Georeference::default(),
            format: Format::default(),
            compression: Compression::default(),
            level: None,
            block: 512,
            band_names: Vec::new(),
            colors: None,
            categories: None,
            overview_resampling: OverviewResampling::default(),
            overwrite: false,
            threads: 1,
            metadata: Vec::new(),
        }
    }

    /// Everything that can be wrong before a file is touched.
    pub(super) fn check(&self) -> Result<()> {
        let Size { width, height } = self.size;
        let fits = |extent: usize| (1..=i32::MAX as usize).contains(&extent);
        if !fits(width) || !fits(height) {
            return Err(Error::invalid(format!("output of {} pixels", self.size)));
        }
        if !(1..=65_535).contains(&self.bands) {
            return Err(Error::invalid(format!("output of {} bands, expected 1 to 65535", self.bands)));
        }
        let smallest = if self.format == Format::Cog { 128 } else { 16 };
        if !self.block.is_multiple_of(16) || !(smallest..=4096).contains(&self.block) {
            return Err(Error::invalid(format!(
                "output block of {} pixels, expected a multiple of 16 from {smallest} to 4096",
                self.block
            )));
        }
        if let Some(level) = self.level {
            let highest = match self.compression {
                Compression::Deflate => 9,
                Compression::Zstd => 22,
                other => return Err(Error::invalid(format!("{other} compression has no levels"))),
            };
            if !(1..=highest).contains(&level) {
                return Err(Error::invalid(format!(
                    "level {level} of {} compression, expected 1 to {highest}",
                    self.compression
                )));
            }
        }
        if let Some(nodata) = self.nodata
            && !with_type!(self.data_type, T => is_sample::<T>(nodata))
        {
            return Err(Error::invalid(format!("nodata value {nodata} is no {} value", self.data_type)));
        }
        if !self.band_names.is_empty() && self.band_names.len() != self.bands {
            let names = self.band_names.len();
            return Err(Error::invalid(format!("{names} band names for {} bands", self.bands)));
        }
        if let Some(colors) = &self.colors
            && (self.bands != 1 || self.data_type != DataType::U8 || colors.is_empty() || colors.len() > 256)
        {
            return Err(Error::invalid("a colour table takes one uint8 band and 1 to 256 colours"));
        }
        if self.categories.is_some() && (self.bands != 1 || !self.data_type.is_integer()) {
            return Err(Error::invalid("class names take one band of integers"));
        }
        if self.metadata.iter().any(|(name, _)| name.is_empty() || name.contains(['=', ':', '\n', '\r'])) {
            return Err(Error::invalid("a metadata name is empty or has '=', ':' or a line break in it"));
        }
        let texts = self.metadata.iter().flat_map(|(name, value)| [name, value]);
        if texts
            .chain(&self.band_names)
            .chain(self.categories.iter().flatten())
            .any(|text| text.contains('\0'))
        {
            return Err(Error::invalid("a name or metadata value has a NUL in it"));
        }
        self.georeference.check()?;
        if !has_compression(self.compression.name()) {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("this GDAL cannot write GeoTIFF with {} compression", self.compression),
            ));
        }
        Ok(())
    }

    /// Creation options of the GTiff driver. `staging` is for the file that a COG is copied from.
    pub(super) fn gtiff_options(&self, staging: bool) -> CslStringList {
        let compression = match staging {
            // Read back once, a moment later.
            true if has_compression("ZSTD") => "ZSTD",
            true => "LZW",
            false => self.compression.name(),
        };
        let mut options = vec![
            "TILED=YES".to_owned(),
            format!("BLOCKXSIZE={}", self.block),
            format!("BLOCKYSIZE={}", self.block),
            format!("COMPRESS={compression}"),
            "BIGTIFF=IF_SAFER".to_owned(),
            // A COG is interleaved by pixel; GDAL 3.6 takes the order of the source where nothing is compressed, and
            // what comes out is no COG.
            format!("INTERLEAVE={}", if staging { "PIXEL" } else { "BAND" }),
            // Else three bands of uint8 are taken for a picture, and a fourth for its alpha.
            "ALPHA=NO".to_owned(),
            format!("PHOTOMETRIC={}", if self.colors.is_some() { "PALETTE" } else { "MINISBLACK" }),
            format!("NUM_THREADS={}", self.threads.max(1)),
        ];
        if staging {
            options.push("SPARSE_OK=TRUE".to_owned());
            if compression == "ZSTD" {
                options.push("ZSTD_LEVEL=1".to_owned());
            }
        } else {
            options.extend(self.predictor().map(|predictor| format!("PREDICTOR={predictor}")));
            options.extend(self.level().map(|level| match self.compression {
                Compression::Zstd => format!("ZSTD_LEVEL={level}"),
                _ => format!("ZLEVEL={level}"),
            }));
        }
        options.into_iter().collect()
    }

    /// Creation options of the COG driver.
    pub(super) fn cog_options(&self) -> CslStringList {
        let resampling = match self.overview_resampling {
            OverviewResampling::Average if self.colors.is_none() => "AVERAGE",
            _ => "NEAREST",
        };
        let predictor = match self.predictor() {
            Some(3) => "FLOATING_POINT",
            Some(_) => "STANDARD",
            None => "NO",
        };
        [
            format!("BLOCKSIZE={}", self.block),
            format!("COMPRESS={}", self.compression.name()),
            format!("PREDICTOR={predictor}"),
            format!("OVERVIEW_RESAMPLING={resampling}"),
            "OVERVIEWS=IGNORE_EXISTING".to_owned(),
            "BIGTIFF=IF_SAFER".to_owned(),
            format!("NUM_THREADS={}", self.threads.max(1)),
        ]
        .into_iter()
        .chain(self.level().map(|level| format!("LEVEL={level}")))
        .collect()
    }

    /// The level of a compression that has levels.
    fn level(&self) -> Option<u8> {
        match self.compression {
            Compression::Deflate | Compression::Zstd => Some(self.level.unwrap_or(3)),
            Compression::Lzw | Compression::None => None,
        }
    }

    /// Bytes of all samples, as they are; `None` past 64 bits.
    pub fn raw_bytes(&self) -> Option<u64> {
        let extents = [self.size.width, self.size.height, self.bands, self.data_type.bytes()];
        extents.iter().try_fold(1u64, |bytes, &extent| bytes.checked_mul(u64::try_from(extent).ok()?))
    }

    /// TIFF's predictor: differences help measured values, not class numbers; older readers lack it for 64-bit
    /// integers.
    fn predictor(&self) -> Option<u8> {
        match self.data_type {
            _ if self.compression == Compression::None => None,
            DataType::U8 | DataType::U64 | DataType::I64 => None,
            DataType::U16 | DataType::I16 | DataType::U32 | DataType::I32 => Some(2),
            DataType::F32 | DataType::F64 => Some(3),
        }
    }
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Compression::Deflate => "DEFLATE",
            Compression::Lzw => "LZW",
            Compression::Zstd => "ZSTD",
            Compression::None => "NONE",
        }
    }
}

/// Whether this GDAL was built with a compression of GeoTIFF.
fn has_compression(name: &str) -> bool {
    let list = scope(|| {
        let driver = DriverManager::get_driver_by_name("GTiff").ok()?;
        driver.metadata_item("DMD_CREATIONOPTIONLIST", "")
    });
    list.0.is_some_and(|list| list.contains(&format!("<Value>{name}</Value>")))
}

fn is_sample<T: Sample>(value: f64) -> bool {
    match T::DATA_TYPE {
        // Any f64 has a nearest f32; only overflow changes its meaning.
        DataType::F32 => !value.is_finite() || T::from_f64(value).to_f64().is_finite(),
        DataType::F64 => true,
        _ => T::from_f64(value).to_f64() == value,
    }
}
