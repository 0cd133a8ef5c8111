//! `make demo`: a generated scene, a small model built by the crate's own code, a map, and a picture of both; then the
//! model is finetuned on scenes of another camera.
//!
//! usage: demo FOLDER [RASTER [MODEL]]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod classifier;
mod finetuning;
mod network;
mod scene;

use std::path::{Path, PathBuf};

use glebe::geometry::{Padding, Size, Window};
use glebe::model::{Model, ModelOptions};
use glebe::picture::{ClassMap, Legend, Palette, Panel, Quicklook, Stretch};
use glebe::raster::{Format, Georeference, NodataRule, OpenOptions, Raster, RasterWriter, WriteSpec};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::{FileOptions, Report, SegmentOptions, Segmenter};
use glebe::tensor::Samples;
use glebe::{DataType, Error, Result};
use ndarray::Array2;

/// Side of the generated scene, and of what is shown of a larger raster, in pixels.
const SIDE: usize = 1024;
const SEED: u64 = 7;

fn main() -> std::process::ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match run(&arguments) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: error: {}", error.one_line());
            std::process::ExitCode::from(error.kind().code() as u8)
        }
    }
}

fn run(arguments: &[PathBuf]) -> Result<()> {
    let [folder, own @ ..] = arguments else {
        return Err(Error::invalid("usage: demo FOLDER [RASTER [MODEL]]"));
    };
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create the folder", folder, error))?;
    let (raster, truth) = match own.first() {
        Some(raster) => (raster.clone(), None),
        None => {
            let path = folder.join("scene.tif");
            (path.clone(), Some(write_scene(&path)?))
        }
    };
    let model = match own.get(1) {
        Some(model) => model.clone(),
        None => {
            let path = folder.join("land-cover.onnx");
            std::fs::write(&path, network::bytes()?).map_err(|error| Error::io("write", &path, error))?;
            path
        }
    };

    let runtime = Runtime::load(&RuntimeOptions::default())?;
    let model = Model::open(&runtime, &model, &ModelOptions::default())?;
    let mut files = FileOptions::default();
    files.overwrite = true;
    let map = folder.join("map.tif");
    let report = Segmenter::new(&model, options(&raster, &model, own)?)?.file(&raster, &map, &files)?;
    let names = model.contract().class_names().unwrap_or_default();
    let picture = folder.join("map.png");
    draw(&raster, &map, names, &report, &picture)?;
    summary(&report, names, &map, &picture, truth.as_ref())?;
    // With rasters and models of one's own there are no labels.
    match (own.is_empty(), model.path()) {
        (true, Some(path)) => finetuning::run(&runtime, folder, path),
        _ => Ok(()),
    }
}

/// Writes the generated scene and gives what is truly there.
fn write_scene(path: &Path) -> Result<Array2<u8>> {
    let scene = scene::Scene::generate(SIDE, SEED);
    let mut spec = WriteSpec::new(Size::new(SIDE, SIDE), 4, DataType::U16);
    spec.format = Format::GTiff;
    spec.nodata = Some(f64::from(scene::NODATA));
    spec.band_names = scene::BANDS.map(str::to_owned).to_vec();
    spec.overwrite = true;
    spec.georeference = Georeference::default();
    // 2 m pixels somewhere in UTM zone 32 N.
    spec.georeference.transform = Some([500_000.0, 2.0, 0.0, 5_300_000.0, 0.0, -2.0]);
    spec.georeference.crs_wkt = Some(UTM_32N.into());
    let mut writer = RasterWriter::create(path, spec)?;
    writer.write(Window::new(0, 0, SIDE, SIDE), scene.image.view().into())?;
    writer.finish()?;
    Ok(scene.truth)
}

/// EPSG:32632, from the definition of the projection.
const UTM_32N: &str = r#"PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],AUTHORITY["EPSG","32632"]]"#;

/// Options for the user's own raster; the generated one needs none.
fn options(raster: &Path, model: &Model, own: &[PathBuf]) -> Result<SegmentOptions> {
    let mut options = SegmentOptions::default();
    if own.is_empty() {
        return Ok(options);
    }
    let raster = Raster::open(raster, &OpenOptions::default())?;
    let bands = raster.color_bands();
    let wanted = model.contract().channels().unwrap_or(bands.len());
    let embedded = own.len() == 1;
    if bands.len() < wanted {
        let text = if embedded {
            format!(
                "the demo's own model needs red, green, blue and near infrared, this has {} bands: give MODEL=",
                bands.len()
            )
        } else {
            format!("the model needs {wanted} bands, this raster has {}", bands.len())
        };
        return Err(Error::new(glebe::ErrorKind::Mismatch, text).at_path(&raster.info().path));
    }
    options.bands = Some(bands[..wanted].to_vec());
    let data_type = raster.common_type(&bands[..wanted])?;
    // The demo's own model wants reflectances; of a model without a word about scaling, samples of a byte are
    // commonly divided by 255.
    let byte = data_type == DataType::U8;
    if byte && (embedded || model.contract().normalisation().is_identity()) {
        options.scale = Some(vec![255.0]);
        println!(
            "note        samples are divided by 255; for other scales call `glebe segment` with --scale, --mean, --std"
        );
    }
    Ok(options)
}

/// Image and map side by side with a legend; of a large raster the middle.
fn draw(raster: &Path, map: &Path, names: &[String], report: &Report, picture: &Path) -> Result<()> {
    let image = Raster::open(raster, &OpenOptions::default())?;
    let classes = Raster::open(map, &OpenOptions::default())?;
    let size = image.size();
    let side = |pixels: usize| (pixels.saturating_sub(SIDE) / 2, pixels.min(SIDE));
    let ((x, width), (y, height)) = (side(size.width), side(size.height));
    let window = Window::new(x as i64, y as i64, width, height);
    let bands: Vec<_> = image.color_bands().into_iter().take(3).collect();
    let (samples, valid) = image.read_with_validity(&bands, window, Padding::Edge, NodataRule::All)?;
    let mut stretch = Stretch::new();
    if let Some(valid) = &valid {
        stretch = stretch.valid(valid.view());
    }
    let rgb = stretch.render(samples.view())?;

    let count = report.classes;
    let palette = if names.len() == count { Palette::for_names(names) } else { Palette::for_classes(count) };
    let shown = if classes.size() == size { window } else { Window::of(classes.size()) };
    let samples: Samples = classes.read(&glebe::geometry::Band::first(1), shown, Padding::Edge)?;
    let drawn = ClassMap::new(samples.view(), Some(report.nodata as u16))?.render(&palette);
    let counts = report.class_pixels.clone().unwrap_or_default();
    let legend = Legend::from_counts(&counts, report.nodata_pixels.unwrap_or(0), &palette, names);
    let name = raster.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let part = if size.width.max(size.height) > SIDE { ", middle" } else { "" };
    Quicklook::new()
        .heading(format!("{name}, {} x {} pixels", size.width, size.height))
        .panel(Panel::new(format!("Image{part}"), rgb)?)
        .panel(Panel::new(format!("Classes{part}"), drawn)?)
        .legend(legend)
        .save(picture, true)
}

fn summary(
    report: &Report,
    names: &[String],
    map: &Path,
    picture: &Path,
    truth: Option<&Array2<u8>>,
) -> Result<()> {
    println!("map         {} ({} x {}, {})", map.display(), report.width, report.height, report.data_type);
    println!("picture     {}", picture.display());
    let counts = report.class_pixels.clone().unwrap_or_default();
    let valid: u64 = counts.iter().sum();
    for (class, pixels) in counts.iter().enumerate() {
        let name = names.get(class).map_or_else(|| format!("class {class}"), Clone::clone);
        println!("{name:11} {:5.1} %", 100.0 * *pixels as f64 / valid.max(1) as f64);
    }
    if let Some(truth) = truth {
        let map = Raster::open(map, &OpenOptions::default())?;
        let got = map.read(&glebe::geometry::Band::first(1), Window::of(map.size()), Padding::Edge)?;
        let (mut right, mut all) = (0u64, 0u64);
        for (got, truth) in got.to_f64().iter().zip(truth) {
            if *truth != scene::NODATA_CLASS {
                all += 1;
                right += u64::from(*got == f64::from(*truth));
            }
        }
        println!(
            "accuracy    {:.1} % of the pixels are what the generated scene has there",
            100.0 * right as f64 / all as f64
        );
    }
    println!(
        "done        {} tiles of {}, {} in {:.2} s ({:.1} Mpx/s; model {:.2} s)",
        report.tiles, report.tile, report.provider, report.wall_s, report.mpx_per_s, report.model_s
    );
    Ok(())
}
