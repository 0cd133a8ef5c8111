use ndarray::{Array2, array};

use super::*;
use crate::geometry::{Band, Padding};

const SIZE: Size = Size::new(3, 2);
const WHOLE: Window = Window::of(SIZE);

fn valid(raster: &Raster, rule: NodataRule) -> Option<Array2<bool>> {
    let bands = raster.color_bands();
    let whole = raster.read_validity(&bands, WHOLE, rule).unwrap();
    // Reading samples alongside says the same.
    let (samples, other) = raster.read_with_validity(&bands, WHOLE, Padding::Reflect, rule).unwrap();
    assert_eq!(whole, other);
    // As text, since NaN is not equal to itself.
    let again = raster.read(&bands, WHOLE, Padding::Reflect).unwrap();
    assert_eq!(format!("{samples:?}"), format!("{again:?}"));
    // A window past all edges says the same inside, and nothing is valid outside.
    let around = Window::new(-2, -1, 8, 5);
    for wide in [
        raster.read_validity(&bands, around, rule).unwrap().unwrap(),
        raster.read_with_validity(&bands, around, Padding::Reflect, rule).unwrap().1.unwrap(),
    ] {
        for ((y, x), valid) in wide.indexed_iter() {
            let inside = (1..3).contains(&y) && (2..5).contains(&x);
            let expected = inside && whole.as_ref().is_none_or(|whole| whole[[y - 1, x - 2]]);
            assert_eq!(*valid, expected, "{y} {x}");
        }
    }
    whole
}

fn nodata<T: Copy + GdalType>(path: &Path, blocks: &[Vec<T>], value: f64) -> Raster {
    geotiff(path, SIZE, blocks, &[], |dataset| {
        for mut band in (1..=blocks.len()).map(|number| dataset.rasterband(number).unwrap()) {
            band.set_no_data_value(Some(value)).unwrap();
        }
    });
    open(path)
}

#[test]
fn nothing_to_check_is_none() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    geotiff(&path, SIZE, &[vec![0u8; 6], vec![0; 6]], &[], |_| {});
    assert_eq!(valid(&open(&path), NodataRule::All), None);
    let outside =
        open(&path).read_validity(&Band::first(2), Window::new(9, 9, 2, 2), NodataRule::All).unwrap();
    assert_eq!(outside, Some(Array2::from_elem((2, 2), false)));
}

#[test]
fn nodata_values_by_either_rule() {
    let folder = folder();
    let raster =
        nodata(&folder.path().join("a.tif"), &[vec![0u8, 0, 1, 1, 0, 9], vec![0u8, 5, 0, 1, 0, 9]], 0.0);
    assert_eq!(valid(&raster, NodataRule::All).unwrap(), array![[false, true, true], [true, false, true]]);
    assert_eq!(valid(&raster, NodataRule::Any).unwrap(), array![[false, false, false], [true, false, true]]);
    // Of the bands that are read only.
    let second = [Band::new(2).unwrap()];
    let one = raster.read_validity(&second, WHOLE, NodataRule::All).unwrap().unwrap();
    assert_eq!(one, array![[false, true, false], [true, false, true]]);
}

#[test]
fn a_nodata_value_that_no_sample_has_leaves_all_valid() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    geotiff(&path, SIZE, &[vec![0u8; 6]], &[], |dataset| {
        let _ = dataset.rasterband(1).unwrap().set_no_data_value(Some(-9999.0));
    });
    assert!(valid(&open(&path), NodataRule::Any).is_none_or(|valid| valid.iter().all(|valid| *valid)));
}

#[test]
fn samples_that_are_no_numbers_are_invalid_in_any_band() {
    let folder = folder();
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let blocks = [vec![1.0f32, nan, 1.0, -7.0, -7.0, 1.0], vec![1.0f32, 1.0, inf, -7.0, 1.0, 1.0]];
    let path = folder.path().join("plain.tif");
    geotiff(&path, SIZE, &blocks, &[], |_| {});
    let expected = array![[true, false, false], [true, true, true]];
    assert_eq!(valid(&open(&path), NodataRule::All).unwrap(), expected);
    let raster = nodata(&folder.path().join("seven.tif"), &blocks, -7.0);
    assert_eq!(valid(&raster, NodataRule::All).unwrap(), array![[true, false, false], [false, true, true]]);
    assert_eq!(valid(&raster, NodataRule::Any).unwrap(), array![[true, false, false], [false, false, true]]);
    let raster = nodata(&folder.path().join("nan.tif"), &blocks, f64::NAN);
    assert!(raster.info().bands[0].nodata.unwrap().is_nan());
    assert_eq!(valid(&raster, NodataRule::All).unwrap(), expected);
}

#[test]
fn float_nodata_is_compared_as_float() {
    let folder = folder();
    let raster = nodata(&folder.path().join("a.tif"), &[vec![0.1f32, 0.2, 0.1, 0.3, 0.1, 0.4]], 0.1);
    assert_eq!(valid(&raster, NodataRule::All).unwrap(), array![[false, true, false], [true, false, true]]);
}

#[test]
fn alpha_is_a_check_and_no_colour() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    // 256 of 65535 would be 0 of 255: alpha counts in its own type.
    let blocks = [vec![0u16; 6], vec![0; 6], vec![0; 6], vec![0u16, 1, 256, 65535, 0, 7]];
    geotiff(&path, SIZE, &blocks, &["PHOTOMETRIC=RGB", "ALPHA=YES"], |dataset| {
        // Beside alpha a nodata value counts for nothing.
        dataset.rasterband(1).unwrap().set_no_data_value(Some(0.0)).unwrap();
        dataset.rasterband(4).unwrap().set_color_interpretation(ColorInterpretation::AlphaBand).unwrap();
    });
    let raster = open(&path);
    assert_eq!(raster.info().alpha_band(), Some(Band::new(4).unwrap()));
    assert_eq!(raster.color_bands(), Band::first(3));
    assert_eq!(valid(&raster, NodataRule::All).unwrap(), array![[false, true, true], [true, false, true]]);
}

#[test]
fn masks_in_the_file_and_beside_it() {
    let folder = folder();
    for internal in ["YES", "NO"] {
        let path = folder.path().join(format!("{internal}.tif"));
        geotiff(&path, SIZE, &[vec![1u8; 6], vec![2; 6], vec![3; 6]], &[], |_| {});
        gdal::config::set_thread_local_config_option("GDAL_TIFF_INTERNAL_MASK", internal).unwrap();
        let dataset = Dataset::open_ex(
            &path,
            gdal::DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..Default::default() },
        )
        .unwrap();
        {
            let mut band = dataset.rasterband(1).unwrap();
            band.create_mask_band(true).unwrap();
            let mut mask = band.open_mask_band().unwrap();
            mask.write((0, 0), (3, 2), &mut Buffer::new((3, 2), vec![255u8, 0, 255, 0, 255, 255])).unwrap();
        }
        dataset.close().unwrap();
        gdal::config::clear_thread_local_config_option("GDAL_TIFF_INTERNAL_MASK").unwrap();
        let beside = folder.path().join(format!("{internal}.tif.msk")).exists();
        assert_eq!(beside, internal == "NO");
        let raster = open(&path);
        assert_eq!(raster.info().bands[2].mask, Mask::Dataset);
        assert_eq!(
            valid(&raster, NodataRule::All).unwrap(),
            array![[true, false, true], [false, true, true]]
        );
    }
}

#[test]
fn a_colour_of_the_whole_raster_can_be_nodata() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    geotiff(&path, SIZE, &[vec![1u8, 1, 0, 0, 0, 1], vec![2u8, 0, 2, 0, 0, 2]], &[], |dataset| {
        dataset.set_metadata_item("NODATA_VALUES", "1 2", "").unwrap();
    });
    let raster = open(&path);
    assert_eq!(raster.info().bands[1].nodata, Some(2.0));
    assert_eq!(valid(&raster, NodataRule::All).unwrap(), array![[false, true, true], [true, true, false]]);
}

#[test]
fn samples_of_another_shape_are_refused() {
    let folder = folder();
    let raster = nodata(&folder.path().join("a.tif"), &[vec![0u8; 6]], 0.0);
    let other = Samples::zeros(DataType::U8, [1, 3, 3]);
    let error = raster.validity_of(&other, &Band::first(1), WHOLE, NodataRule::All).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Mismatch);
}
