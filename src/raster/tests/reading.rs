use super::*;
use crate::error::ErrorKind;
use crate::geometry::{Band, Padding};

const SIZE: Size = Size::new(23, 17);

fn raster(folder: &Path, options: &[&str]) -> (Raster, Array3<u16>) {
    let path = folder.join("a.tif");
    let value = |c: usize, y: usize, x: usize| (c * 10_000 + y * 100 + x) as u16;
    let plane =
        |c: usize| (0..SIZE.height).flat_map(|y| (0..SIZE.width).map(move |x| value(c, y, x))).collect();
    geotiff(&path, SIZE, &[plane(0), plane(1), plane(2)], options, |_| {});
    (open(&path), Array3::from_shape_fn((3, SIZE.height, SIZE.width), |(c, y, x)| value(c, y, x)))
}

/// Pixel by pixel, from the definition.
fn brute(all: &Array3<u16>, bands: &[Band], window: Window, padding: Padding) -> Array3<u16> {
    Array3::from_shape_fn((bands.len(), window.height, window.width), |(c, y, x)| {
        let y = padding.source(window.y + y as i64, SIZE.height);
        let x = padding.source(window.x + x as i64, SIZE.width);
        match (x, y, padding) {
            (Some(x), Some(y), _) => all[[bands[c].number() as usize - 1, y, x]],
            (_, _, Padding::Constant(value)) => value as u16,
            _ => unreachable!(),
        }
    })
}

#[test]
fn windows_anywhere_equal_the_definition() {
    let folder = folder();
    for options in
        [&["INTERLEAVE=PIXEL"][..], &["INTERLEAVE=BAND", "TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"]]
    {
        let (raster, all) = raster(folder.path(), options);
        assert_eq!(raster.info().pixel_interleaved, options[0] == "INTERLEAVE=PIXEL");
        let choices = [vec![1], vec![3, 1], vec![2, 2, 1, 3]];
        let mut windows = vec![
            Window::of(SIZE),
            Window::new(-5, 0, 10, 17),
            Window::new(18, 0, 10, 17),
            Window::new(0, -5, 23, 10),
            Window::new(0, 12, 23, 10),
            Window::new(-60, -70, 150, 160),
            Window::new(-30, -40, 7, 9),
            Window::new(50, 90, 7, 9),
            Window::new(-30, 4, 7, 3),
            Window::new(-1, -1, 1, 1),
            Window::new(1 << 40, -(1 << 40), 4, 4),
        ];
        let mut dice = Dice(42);
        for _ in 0..60 {
            let mut at = |range: u64| dice.roll(range) as i64 - range as i64 / 2;
            let (x, y) = (at(120), at(120));
            windows.push(Window::new(x, y, 1 + dice.roll(60) as usize, 1 + dice.roll(60) as usize));
        }
        for window in windows {
            for padding in [Padding::Reflect, Padding::Edge, Padding::Constant(777.0)] {
                for numbers in &choices {
                    let bands: Vec<Band> = numbers.iter().map(|n| Band::new(*n).unwrap()).collect();
                    let Samples::U16(read) = raster.read(&bands, window, padding).unwrap() else {
                        unreachable!()
                    };
                    assert_eq!(read, brute(&all, &bands, window, padding), "{window} {padding} {numbers:?}");
                }
            }
        }
    }
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let folder = folder();
    let (raster, _) = raster(folder.path(), &[]);
    let read = |bands: &[u32], window| {
        let bands: Vec<Band> = bands.iter().map(|n| Band::new(*n).unwrap()).collect();
        raster.read(&bands, window, Padding::Edge).unwrap_err()
    };
    let one = Window::new(0, 0, 1, 1);
    let error = read(&[1, 4], one);
    assert_eq!((error.kind(), error.band()), (ErrorKind::InvalidArgument, Some(4)));
    assert!(error.to_string().ends_with("band 4: raster has 3 bands"), "{error}");
    assert_eq!(read(&[], one).kind(), ErrorKind::InvalidArgument);
    assert_eq!(read(&[1], Window::new(0, 0, 0, 5)).kind(), ErrorKind::InvalidArgument);
    assert_eq!(read(&[1], Window::new(i64::MAX, 0, 5, 5)).kind(), ErrorKind::InvalidArgument);
    assert_eq!(read(&[1], Window::new(0, 0, usize::MAX, 5)).kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        read(&[1], Window::new(0, 0, i32::MAX as usize, i32::MAX as usize)).kind(),
        ErrorKind::OutOfMemory
    );
}

#[test]
fn bands_of_several_types_are_not_mixed() {
    let folder = folder();
    let (_, _) = raster(folder.path(), &[]);
    let path = folder.path().join("mixed.vrt");
    let band = |kind: &str, number: usize| {
        format!(
            "<VRTRasterBand dataType=\"{kind}\" band=\"{number}\"><SimpleSource><SourceFilename relativeToVRT=\"1\">a.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        )
    };
    let text = format!(
        "<VRTDataset rasterXSize=\"23\" rasterYSize=\"17\">{}{}</VRTDataset>",
        band("UInt16", 1),
        band("Float32", 2)
    );
    std::fs::write(&path, text).unwrap();
    let raster = Raster::open(&path, &OpenOptions::default().with_driver("VRT")).unwrap();
    let error = raster.read(&Band::first(2), Window::new(0, 0, 2, 2), Padding::Edge).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RasterUnsupported);
    assert!(error.message().contains("band 1 is uint16, band 2 is float32"), "{error}");
    let one = raster.read(&[Band::new(2).unwrap()], Window::new(1, 0, 1, 1), Padding::Edge).unwrap();
    assert_eq!(one.to_f64()[[0, 0, 0]], 1.0);
}

#[test]
fn rasters_of_one_pixel_can_be_padded() {
    let folder = folder();
    let path = folder.path().join("one.tif");
    geotiff(&path, Size::new(1, 1), &[vec![9u8]], &[], |_| {});
    let raster = open(&path);
    let read = raster.read(&Band::first(1), Window::new(-3, -3, 8, 8), Padding::Reflect).unwrap();
    assert!(read.to_f64().iter().all(|value| *value == 9.0));
}
