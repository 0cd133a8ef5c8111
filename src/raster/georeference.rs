//! Where on Earth the pixels lie: everything an output needs to lie exactly where its input does.

use gdal::spatial_ref::{AxisMappingStrategy, SpatialRef};
use gdal::{Dataset, Metadata};
use serde::Serialize;

use crate::error::{Error, Result};

type GdalResult<T> = gdal::errors::Result<T>;

/// The transform that says nothing; GDAL's stand-in for "none".
const IDENTITY: [f64; 6] = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// A ground control point: a pixel position and the place it shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gcp {
    /// Identifier, unique within the raster.
    pub id: String,
    /// Free text.
    pub info: String,
    /// Column in pixels from the left edge; fractions are within the pixel.
    pub pixel: f64,
    /// Row in pixels from the upper edge.
    pub line: f64,
    /// X in CRS units.
    pub x: f64,
    /// Y in CRS units.
    pub y: f64,
    /// Height in CRS units.
    pub z: f64,
}

/// What a sample stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AreaOrPoint {
    /// The area of its pixel.
    Area,
    /// The point in the middle of its pixel. (The transform still leads to the pixel's corner, as always in GDAL.)
    Point,
}

/// Georeferencing of a raster. What is absent stays absent: a raster without CRS gives an output without CRS.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Georeference {
    /// GDAL's affine transform from (column, row) of a pixel corner to CRS units: `x = t[0] + column t[1] + row t[2]`,
    /// `y = t[3] + column t[4] + row t[5]`. The identity counts as absent.
    pub transform: Option<[f64; 6]>,
    /// The coordinate reference system as WKT (WKT 2 where read by this library; any WKT is taken).
    pub crs_wkt: Option<String>,
    /// Ground control points; written only where there is no transform, since GeoTIFF holds one of the two.
    pub gcps: Vec<Gcp>,
    /// The CRS of the ground control points, as WKT.
    pub gcp_crs_wkt: Option<String>,
    /// What a sample stands for, where the file says so.
    pub area_or_point: Option<AreaOrPoint>,
    /// Rational polynomial coefficients, as GDAL's `RPC` metadata: name and value.
    pub rpc: Vec<(String, String)>,
}

impl Georeference {
    /// The georeferencing of the same ground at another resolution: `sx` and `sy` are output pixels per input pixel
    /// along x and y (2.0 halves the pixel size), positive and finite.
    ///
    /// The pixel size is divided, positions of control points and polynomials are multiplied; the upper left corner
    /// stays where it is.
    #[must_use]
    pub fn scaled(&self, sx: f64, sy: f64) -> Georeference {
        let mut scaled = self.clone();
        if let Some(t) = &mut scaled.transform {
            t[1] /= sx;
            t[4] /= sx;
            t[2] /= sy;
            t[5] /= sy;
        }
        for gcp in &mut scaled.gcps {
            gcp.pixel *= sx;
            gcp.line *= sy;
        }
        for (name, value) in &mut scaled.rpc {
            // Offsets count pixel centres from 0, hence the halves.
            let moved = |scale: f64, old: f64| (old + 0.5) * scale - 0.5;
            let number = value.trim().parse::<f64>();
            *value = match (name.as_str(), number) {
                ("SAMP_OFF", Ok(old)) => moved(sx, old).to_string(),
                ("LINE_OFF", Ok(old)) => moved(sy, old).to_string(),
                ("SAMP_SCALE", Ok(old)) => (old * sx).to_string(),
                ("LINE_SCALE", Ok(old)) => (old * sy).to_string(),
                _ => continue,
            };
        }
        scaled
    }

    /// Checks what GDAL would refuse late or the bindings would panic on.
    pub(super) fn check(&self) -> Result<()> {
        if self.transform.is_some_and(|t| t.iter().any(|value| !value.is_finite())) {
            return Err(Error::invalid("geotransform has a value that is not finite"));
        }
        let texts = self
            .gcps
            .iter()
            .flat_map(|gcp| [&gcp.id, &gcp.info])
            .chain(self.rpc.iter().flat_map(|(name, value)| [name, value]))
            .chain(&self.crs_wkt)
            .chain(&self.gcp_crs_wkt);
        for text in texts {
            if text.contains('\0') {
                return Err(Error::invalid("georeferencing has a text with a NUL"));
            }
        }
        i32::try_from(self.gcps.len()).map_err(|_| Error::invalid("too many ground control points"))?;
        Ok(())
    }

    /// Reads it from an open dataset. Runs inside a message scope.
    pub(super) fn of(dataset: &Dataset) -> Georeference {
        let gcps = dataset
            .gcps()
            .iter()
            .map(|gcp| Gcp {
                id: gcp.id(),
                info: gcp.info(),
                pixel: gcp.pixel(),
                line: gcp.line(),
                x: gcp.x(),
                y: gcp.y(),
                z: gcp.z(),
            })
            .collect::<Vec<_>>();
        let text = |wkt: String| (!wkt.trim().is_empty()).then_some(wkt);
        let wkt = |crs: SpatialRef| crs.to_wkt().ok().and_then(text);
        Georeference {
            transform: dataset.geo_transform().ok().filter(|transform| *transform != IDENTITY),
            crs_wkt: dataset.spatial_ref().ok().and_then(wkt).or_else(|| text(dataset.projection())),
            gcp_crs_wkt: dataset.gcp_spatial_ref().filter(|_| !gcps.is_empty()).and_then(wkt),
            gcps,
            area_or_point: match dataset.metadata_item("AREA_OR_POINT", "").as_deref() {
                Some("Area") => Some(AreaOrPoint::Area),
                Some("Point") => Some(AreaOrPoint::Point),
                _ => None,
            },
            rpc: super::info::pairs(dataset, "RPC").collect(),
        }
    }

    /// Writes it to a dataset under construction. Runs inside a message scope.
    pub(super) fn apply(&self, dataset: &mut Dataset) -> GdalResult<()> {
        // First, since GDAL shifts a GeoTIFF's transform by half a pixel on its way into the file for points.
        if let Some(meaning) = self.area_or_point {
            let name = match meaning {
                AreaOrPoint::Area => "Area",
                AreaOrPoint::Point => "Point",
            };
            dataset.set_metadata_item("AREA_OR_POINT", name, "")?;
        }
        if let Some(wkt) = &self.crs_wkt {
            dataset.set_spatial_ref(&crs(wkt)?)?;
        }
        match self.transform.filter(|transform| *transform != IDENTITY) {
            Some(transform) => dataset.set_geo_transform(&transform)?,
            None if !self.gcps.is_empty() => {
                let gcps = self
                    .gcps
                    .iter()
                    .map(|gcp| gdal::Gcp {
                        id: gcp.id.clone(),
                        info: gcp.info.clone(),
                        pixel: gcp.pixel,
                        line: gcp.line,
                        x: gcp.x,
                        y: gcp.y,
                        z: gcp.z,
                    })
                    .collect();
                let crs = self.gcp_crs_wkt.as_deref().map_or_else(SpatialRef::new, crs)?;
                dataset.set_gcps(gcps, &crs)?;
            }
            None => {}
        }
        for (name, value) in &self.rpc {
            dataset.set_metadata_item(name, value, "RPC")?;
        }
        Ok(())
    }
}

/// A CRS whose axes are those of the transform: x (east) first, as everywhere in rasters.
pub(super) fn crs(wkt: &str) -> GdalResult<SpatialRef> {
    let mut crs = SpatialRef::from_wkt(wkt)?;
    crs.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    Ok(crs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_the_extent() {
        let georeference = Georeference {
            transform: Some([100.0, 2.0, 0.5, 50.0, 0.25, -4.0]),
            gcps: vec![Gcp {
                id: "1".into(),
                info: String::new(),
                pixel: 3.0,
                line: 8.0,
                x: 1.0,
                y: 2.0,
                z: 0.0,
            }],
            rpc: vec![
                ("LINE_OFF".into(), "10".into()),
                ("SAMP_SCALE".into(), "7".into()),
                ("ERR_BIAS".into(), "1".into()),
            ],
            ..Georeference::default()
        };
        let scaled = georeference.scaled(2.0, 4.0);
        let at = |g: &Georeference, x: f64, y: f64| {
            let t = g.transform.unwrap();
            (t[0] + x * t[1] + y * t[2], t[3] + x * t[4] + y * t[5])
        };
        assert_eq!(at(&scaled, 20.0, 40.0), at(&georeference, 10.0, 10.0));
        assert_eq!((scaled.gcps[0].pixel, scaled.gcps[0].line), (6.0, 32.0));
        assert_eq!(scaled.rpc[0].1, "41.5");
        assert_eq!(scaled.rpc[1].1, "14");
        assert_eq!(scaled.rpc[2], georeference.rpc[2]);
        assert_eq!(Georeference::default().scaled(2.0, 2.0), Georeference::default());
    }

    #[test]
    fn broken_values_are_refused() {
        let mut georeference = Georeference { transform: Some([f64::NAN; 6]), ..Georeference::default() };
        assert!(georeference.check().is_err());
        georeference.transform = None;
        georeference.check().unwrap();
        georeference.crs_wkt = Some("a\0b".into());
        assert!(georeference.check().is_err());
    }
}
