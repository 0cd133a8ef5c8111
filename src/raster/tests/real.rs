//! Real rasters, where the folder with them is at hand; it is no part of the project.

use super::*;
use crate::geometry::{Band, Padding};
use std::io::Write as _;

fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GLEBE_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join("rasters").join(name);
    if !path.is_file() {
        let _ = writeln!(std::io::stderr(), "skipped: {name} is not at hand");
        return None;
    }
    Some(path)
}

fn invalid(raster: &Raster, rule: NodataRule) -> Option<usize> {
    let valid = raster.read_validity(&raster.color_bands(), Window::of(raster.size()), rule).unwrap()?;
    Some(valid.iter().filter(|valid| !**valid).count())
}

#[test]
fn an_external_mask_is_found() {
    let (Some(nodata), Some(masked)) = (real("RGB.byte.tif"), real("RGB2.byte.tif")) else { return };
    let (nodata, masked) = (open(nodata), open(masked));
    assert_eq!(nodata.info().bands[0].mask, Mask::Nodata);
    assert_eq!(masked.info().bands[0].mask, Mask::Dataset);
    // The mask was made from the nodata value of the first band.
    let first =
        nodata.read_validity(&Band::first(1), Window::of(nodata.size()), NodataRule::All).unwrap().unwrap();
    let all = Window::of(masked.size());
    assert_eq!(masked.read_validity(&Band::first(3), all, NodataRule::All).unwrap().unwrap(), first);
    assert_eq!(invalid(&masked, NodataRule::All), Some(185_162));
    let by_nodata = invalid(&nodata, NodataRule::All).unwrap();
    assert!(by_nodata > 100_000 && by_nodata < 185_162, "{by_nodata}");
    assert!(invalid(&nodata, NodataRule::Any).unwrap() > by_nodata);
}

#[test]
fn alpha_of_sixteen_bits_and_no_data_at_all() {
    let (Some(alpha), Some(empty)) = (real("RGBA.uint16.tif"), real("all-nodata.tif")) else { return };
    let alpha = open(alpha);
    assert_eq!(alpha.color_bands(), Band::first(3));
    let count = invalid(&alpha, NodataRule::All).unwrap();
    assert!(count > 0 && count < 634 * 411, "{count}");
    let empty = open(empty);
    assert_eq!(invalid(&empty, NodataRule::All), Some(71 * 2475));
    assert_eq!(empty.info().bands[3].description, "nir");
}

#[test]
fn outputs_lie_where_their_inputs_do() {
    let folder = folder();
    for name in
        ["rotated.tif", "world.rgb.tif", "naip_4band_1m.tif", "RGB.byte.tif", "float_raster_with_nodata.tif"]
    {
        let Some(path) = real(name) else { continue };
        let raster = open(path);
        let bands = Band::first(raster.info().bands.len());
        let samples = raster.read(&bands, Window::of(raster.size()), Padding::Edge).unwrap();
        let out = folder.path().join(name);
        let spec = WriteSpec {
            georeference: raster.info().georeference.clone(),
            nodata: raster.info().bands[0].nodata,
            ..WriteSpec::new(raster.size(), bands.len(), samples.data_type())
        };
        write(&out, spec, &samples);
        let copy = open(&out);
        let (mut a, b) = (raster.info().georeference.clone(), &copy.info().georeference);
        // A TIFF that says where it is says also what its samples stand for.
        a.area_or_point = a.area_or_point.or(b.area_or_point);
        assert_eq!(&a, b, "{name}");
        let read = copy.read(&bands, Window::of(copy.size()), Padding::Edge).unwrap();
        assert_eq!(format!("{read:?}"), format!("{samples:?}"));
        assert_eq!(copy.info().bands[0].nodata, raster.info().bands[0].nodata);
    }
}
