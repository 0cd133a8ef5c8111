//! What a raster is: size, bands, georeferencing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gdal::raster::RasterBand;
use gdal::{Dataset, Metadata};
use serde::{Serialize, Serializer};

use super::georeference::Georeference;
use super::sys;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Size};
use crate::tensor::DataType;

/// Facts about an open raster; read once when it is opened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RasterInfo {
    /// The file, as it was given.
    pub path: PathBuf,
    /// GDAL's short name of the driver that reads it: `GTiff`.
    pub driver: String,
    /// Width and height in pixels, both at least 1.
    #[serde(serialize_with = "size")]
    pub size: Size,
    /// The bands, the first being [`Band`] 1; at least one.
    pub bands: Vec<BandInfo>,
    /// Where the pixels lie.
    pub georeference: Georeference,
    /// Compression of the file (`DEFLATE`), where the driver tells.
    pub compression: Option<String>,
    /// Whether the bands of a pixel lie side by side in the file, so that reading one band decodes all.
    pub pixel_interleaved: bool,
    /// `COG` for a Cloud-Optimized GeoTIFF.
    pub layout: Option<String>,
    /// The file's own metadata: name and value.
    pub metadata: BTreeMap<String, String>,
}

/// Facts about one band.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BandInfo {
    /// Type of its samples.
    #[serde(serialize_with = "data_type")]
    pub data_type: DataType,
    /// The value that stands for "nothing here", in raw samples; may be NaN. For 64-bit integers rounded to `f64`.
    #[serde(serialize_with = "number")]
    pub nodata: Option<f64>,
    /// Its name, often empty.
    pub description: String,
    /// GDAL's name of its colour interpretation: `Red`, `Gray`, `Undefined`.
    pub color_interpretation: String,
    /// Whether it says how opaque the pixel is, rather than showing something.
    pub is_alpha: bool,
    /// What says which of its pixels are valid.
    pub mask: Mask,
    /// The unit of storage in the file; windows aligned to it read fastest.
    #[serde(serialize_with = "size")]
    pub block: Size,
    /// Number of overviews in the file.
    pub overviews: usize,
    /// Physical value = sample x scale + offset, where the file says so; samples are never converted.
    pub scale: Option<f64>,
    /// See `scale`.
    pub offset: Option<f64>,
    /// Unit of the physical values, often empty.
    pub unit: String,
    /// Colour table as RGBA by sample value, where there is one.
    pub colors: Option<Vec<[u8; 4]>>,
    /// The band's own metadata: name and value.
    pub metadata: BTreeMap<String, String>,
}

/// What says which pixels of a band are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mask {
    /// Nothing: all are.
    AllValid,
    /// A mask of the whole raster, in the file or beside it (`.msk`).
    Dataset,
    /// A mask of this band alone.
    Band,
    /// The alpha band.
    Alpha,
    /// The nodata value.
    Nodata,
}

impl RasterInfo {
    /// Facts about one band.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the raster has no such band.
    pub fn band(&self, band: Band) -> Result<&BandInfo> {
        let count = self.bands.len();
        usize::try_from(band.number() - 1).ok().and_then(|index| self.bands.get(index)).ok_or_else(|| {
            let plural = if count == 1 { "" } else { "s" };
            Error::invalid(format!("raster has {count} band{plural}"))
                .at_band(band.number())
                .at_path(self.path.clone())
        })
    }

    /// All bands that are not alpha, in order; all bands if there is no other. What is used where nobody chose.
    pub fn color_bands(&self) -> Vec<Band> {
        let all = Band::first(self.bands.len());
        let colors: Vec<Band> =
            all.iter().zip(&self.bands).filter(|(_, info)| !info.is_alpha).map(|(band, _)| *band).collect();
        if colors.is_empty() { all } else { colors }
    }

    /// The alpha band, the first if there are several.
    pub fn alpha_band(&self) -> Option<Band> {
        let all = Band::first(self.bands.len());
        all.into_iter().zip(&self.bands).find(|(_, info)| info.is_alpha).map(|(band, _)| band)
    }

    /// Whether any part of the raster says where it is.
    pub fn is_georeferenced(&self) -> bool {
        self.georeference.transform.is_some() || !self.georeference.gcps.is_empty()
    }

    /// Bytes that decoding one block of `band` takes, over all bands where they are interleaved.
    pub(super) fn block_bytes(&self, band: &BandInfo) -> u64 {
        let bands = if self.pixel_interleaved { self.bands.len() as u64 } else { 1 };
        (band.block.width as u64)
            .saturating_mul(band.block.height as u64)
            .saturating_mul(band.data_type.bytes() as u64)
            .saturating_mul(bands)
    }

    /// Reads the facts. Runs inside a message scope; at most `max_bands` bands are looked at.
    pub(super) fn of(dataset: &Dataset, path: &Path, max_bands: usize) -> Result<RasterInfo> {
        let (width, height) = dataset.raster_size();
        let count = dataset.raster_count();
        let fits = |extent: usize| (1..=i32::MAX as usize).contains(&extent);
        if !fits(width) || !fits(height) {
            return Err(Error::new(ErrorKind::RasterInvalid, format!("raster of {width} x {height} pixels")));
        }
        if count == 0 {
            return Err(Error::new(ErrorKind::RasterUnsupported, "raster has no bands"));
        }
        if count > max_bands {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("raster has {count} bands, the limit is {max_bands}"),
            ));
        }
        let dataset_nodata = dataset_nodata(dataset, count);
        let mut bands = Vec::with_capacity(count);
        for band in Band::first(count) {
            let nodata = dataset_nodata.as_ref().and_then(|values| values.get(bands.len()).copied());
            bands.push(
                BandInfo::of(dataset, band, nodata)
                    .map_err(|error| error.at_band(band.number()).at_path(path))?,
            );
        }
        let structure = |name: &str| dataset.metadata_item(name, "IMAGE_STRUCTURE");
        Ok(RasterInfo {
            path: path.to_path_buf(),
            driver: dataset.driver().short_name(),
            size: Size::new(width, height),
            bands,
            georeference: Georeference::of(dataset),
            compression: structure("COMPRESSION"),
            pixel_interleaved: structure("INTERLEAVE")
                .is_some_and(|value| value.eq_ignore_ascii_case("PIXEL")),
            layout: structure("LAYOUT"),
            metadata: pairs(dataset, "").collect(),
        })
    }
}

impl BandInfo {
    fn of(dataset: &Dataset, number: Band, dataset_nodata: Option<f64>) -> Result<BandInfo> {
        let failed = |error: gdal::errors::GdalError| {
            Error::new(ErrorKind::RasterInvalid, "cannot read the band's header").caused_by(error.to_string())
        };
        let band = dataset.rasterband(number.number() as usize).map_err(failed)?;
        let unsupported = |name: &str| {
            Error::new(ErrorKind::RasterUnsupported, format!("samples of type {name} are not supported"))
        };
        let data_type = sys::data_type(&band).map_err(|name| unsupported(&name))?;
        // Before version 3.7 GDAL has no signed bytes and reads them as unsigned, with this mark.
        if band.metadata_item("PIXELTYPE", "IMAGE_STRUCTURE").as_deref() == Some("SIGNEDBYTE") {
            return Err(unsupported("Int8"));
        }
        let (width, height) = band.block_size();
        let color_interpretation = sys::color_interpretation(&band);
        let flags = band.mask_flags().map_err(failed)?;
        let mask = match () {
            () if flags.is_alpha() => Mask::Alpha,
            () if flags.is_nodata() => Mask::Nodata,
            () if flags.is_all_valid() => Mask::AllValid,
            () if flags.is_per_dataset() => Mask::Dataset,
            () => Mask::Band,
        };
        Ok(BandInfo {
            data_type,
            nodata: nodata(&band, data_type).or(dataset_nodata),
            description: band.description().unwrap_or_default(),
            is_alpha: color_interpretation == "Alpha",
            color_interpretation,
            mask,
            block: Size::new(width, height),
            overviews: band.overview_count().ok().and_then(|count| count.try_into().ok()).unwrap_or(0),
            scale: band.scale().filter(|scale| *scale != 1.0),
            offset: band.offset().filter(|offset| *offset != 0.0),
            unit: band.unit(),
            colors: colors(&band),
            metadata: pairs(&band, "").collect(),
        })
    }
}

/// The band's own nodata value. GDAL keeps those of 64-bit integers apart.
fn nodata(band: &RasterBand<'_>, data_type: DataType) -> Option<f64> {
    match data_type {
        DataType::U64 => band.no_data_value_u64().map(|value| value as f64),
        DataType::I64 => band.no_data_value_i64().map(|value| value as f64),
        _ => band.no_data_value(),
    }
}

/// A nodata value a band, from the dataset's metadata: a colour that stands for nothing.
fn dataset_nodata(dataset: &Dataset, bands: usize) -> Option<Vec<f64>> {
    let text = dataset.metadata_item("NODATA_VALUES", "")?;
    let values: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    (values.len() == bands).then_some(values)
}

fn colors(band: &RasterBand<'_>) -> Option<Vec<[u8; 4]>> {
    let table = band.color_table()?;
    let byte = |value: i16| value.clamp(0, 255) as u8;
    let entries = (0..table.entry_count()).filter_map(|index| table.entry_as_rgb(index));
    Some(entries.map(|entry| [byte(entry.r), byte(entry.g), byte(entry.b), byte(entry.a)]).collect())
}

/// The metadata of a domain as name and value.
pub(super) fn pairs(object: &impl Metadata, domain: &str) -> impl Iterator<Item = (String, String)> {
    object.metadata_domain(domain).unwrap_or_default().into_iter().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    })
}

fn size<S: Serializer>(size: &Size, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields {
        width: usize,
        height: usize,
    }
    Fields { width: size.width, height: size.height }.serialize(serializer)
}

fn data_type<S: Serializer>(data_type: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(data_type.name())
}

/// JSON has no NaN and no infinity: they become the strings `nan`, `inf`, `-inf`.
fn number<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        Some(value) if value.is_finite() => serializer.serialize_f64(*value),
        Some(value) => serializer.serialize_str(&value.to_string().to_lowercase()),
    }
}
