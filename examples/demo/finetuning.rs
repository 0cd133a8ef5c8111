//! The second half of the demo: the same country seen by another camera, through haze. The model that was right before is
//! wrong now, and is finetuned on a labelled scene.

use std::path::{Path, PathBuf};

use glebe::data::ListItem;
use glebe::finetune::{Config, Finetuning};
use glebe::geometry::{Band, Padding, Size, Window};
use glebe::hooks::{Callback, Callbacks, Context};
use glebe::model::{Model, ModelOptions};
use glebe::picture::{ClassMap, Legend, LegendEntry, Palette, Panel, Quicklook, Stretch};
use glebe::raster::{Format, NodataRule, OpenOptions, Raster, RasterWriter, WriteSpec};
use glebe::runtime::Runtime;
use glebe::segment::{Evaluation, FileOptions, SegmentOptions, Segmenter};
use glebe::tensor::SamplesView;
use glebe::{DataType, Result};

use crate::scene::{self, Scene};

/// Side of the scenes in pixels.
const SIDE: usize = 512;
/// What the other camera makes of the light of each band, and what haze adds.
const GAIN: [f32; 4] = [1.25, 1.05, 0.85, 0.70];
const HAZE: [f32; 4] = [0.030, 0.045, 0.070, 0.012];

/// Finetunes the demo's model, and shows what came of it.
pub(crate) fn run(runtime: &Runtime, folder: &Path, model: &Path) -> Result<()> {
    println!();
    let labelled = write_scene(folder, "hazy-labelled", 8)?;
    let unseen = write_scene(folder, "hazy", 9)?;
    let out = folder.join("finetuned");
    // Of an earlier demo.
    let _ = std::fs::remove_dir_all(&out);
    let text = |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    let pair = |item: &ListItem| format!("{};{}", text(&item.image), text(&item.labels));
    let config = format!(
        r#"
        model = "{}"
        out = "{}"
        [data]
        train = "{}"
        val_fraction = 0.25
        test = "{}"
        [sampling]
        kind = "balanced"
        [training]
        steps = 1000
        batch = 4
        size = 64
        learning_rate = 0.1
        # Not the constant that keeps its ratios finite.
        params = "weights,bias"
        best = "val/MeanIoU"
        [schedule]
        kind = "cosine"
        "#,
        text(model),
        text(&out),
        pair(&labelled),
        pair(&unseen)
    );
    let mut callbacks = Callbacks::new();
    callbacks.add(Epochs);
    let finetuning = Finetuning::new(runtime, Config::parse(&config, &[])?)?;
    let found = finetuning.found();
    println!(
        "finetuning  {} windows of a labelled scene, {} for validation",
        found.train.windows,
        found.val.map_or(0, |own| own.windows)
    );
    let report = finetuning.run(callbacks)?;

    let before = evaluate(runtime, model, &unseen)?;
    let after = evaluate(runtime, &report.model, &unseen)?;
    println!("{:11} IoU before  after, on a scene that it has not seen", "");
    for (class, name) in after.class_names.iter().enumerate() {
        println!("{name:11} {:10.3} {:6.3}", iou(&before, class), iou(&after, class));
    }
    println!("{:11} {:10.3} {:6.3}", "mean", mean(&before), mean(&after));
    let picture = folder.join("finetuned.png");
    draw(
        runtime,
        folder,
        [model, &report.model],
        &unseen,
        &after.class_names,
        [mean(&before), mean(&after)],
        &picture,
    )?;
    println!("picture     {}", picture.display());
    println!("model       {} ({} steps in {:.1} s)", report.model.display(), report.steps, report.fit_s);
    Ok(())
}

/// A line for some of the epochs.
#[derive(Debug)]
struct Epochs;

impl Callback for Epochs {
    fn epoch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let [loss, score] = ["val/Loss", "val/MeanIoU"].map(|name| context.metric(name).unwrap_or(f64::NAN));
        println!("epoch {:2}    validation loss {loss:.3}, mean IoU {score:.3}", context.state.epoch);
        Ok(())
    }
}

/// A scene of the other camera and its labels.
fn write_scene(folder: &Path, name: &str, seed: u64) -> Result<ListItem> {
    let mut scene = Scene::generate(SIDE, seed);
    for (band, mut plane) in scene.image.outer_iter_mut().enumerate() {
        for sample in plane.iter_mut().filter(|sample| **sample != scene::NODATA) {
            let light = f32::from(*sample) / scene::SCALE;
            let seen = light * GAIN[band] + HAZE[band];
            *sample = (seen * scene::SCALE).round().clamp(1.0, f32::from(u16::MAX)) as u16;
        }
    }
    let (image, labels) = (folder.join(format!("{name}.tif")), folder.join(format!("{name}-labels.tif")));
    write(&image, 4, DataType::U16, f64::from(scene::NODATA), scene.image.view().into())?;
    let truth = scene.truth.view().insert_axis(ndarray::Axis(0));
    write(&labels, 1, DataType::U8, f64::from(scene::NODATA_CLASS), truth.into())?;
    Ok(ListItem::new(image, labels))
}

fn write(
    path: &Path,
    bands: usize,
    data_type: DataType,
    nodata: f64,
    samples: SamplesView<'_>,
) -> Result<()> {
    let mut spec = WriteSpec::new(Size::new(SIDE, SIDE), bands, data_type);
    (spec.format, spec.nodata, spec.overwrite) = (Format::GTiff, Some(nodata), true);
    spec.georeference.transform = Some([500_000.0, 4.0, 0.0, 5_300_000.0, 0.0, -4.0]);
    spec.georeference.crs_wkt = Some(crate::UTM_32N.into());
    let mut writer = RasterWriter::create(path, spec)?;
    writer.write(Window::new(0, 0, SIDE, SIDE), samples)?;
    writer.finish()
}

fn evaluate(runtime: &Runtime, model: &Path, item: &ListItem) -> Result<Evaluation> {
    let model = Model::open(runtime, model, &ModelOptions::default())?;
    let mut segmenter = Segmenter::new(&model, SegmentOptions::default())?;
    let data = segmenter.dataset(vec![item.clone()], &Default::default(), &FileOptions::default())?;
    segmenter.evaluate(&data, None)
}

fn iou(evaluation: &Evaluation, class: usize) -> f64 {
    metric(evaluation, &format!("IoU/{}", evaluation.class_names[class]))
}

fn mean(evaluation: &Evaluation) -> f64 {
    metric(evaluation, "MeanIoU")
}

fn metric(evaluation: &Evaluation, name: &str) -> f64 {
    let record = evaluation.scores.record(&evaluation.class_names);
    record.ok().and_then(|record| record.get(name)?.as_f64()).unwrap_or(f64::NAN)
}

/// Image, truth, and the maps of both models.
fn draw(
    runtime: &Runtime,
    folder: &Path,
    models: [&Path; 2],
    item: &ListItem,
    names: &[String],
    scores: [f64; 2],
    picture: &Path,
) -> Result<()> {
    let image = Raster::open(&item.image, &OpenOptions::default())?;
    let bands: Vec<Band> = Band::first(3);
    let (samples, valid) =
        image.read_with_validity(&bands, Window::of(image.size()), Padding::Edge, NodataRule::All)?;
    let mut stretch = Stretch::new();
    if let Some(valid) = &valid {
        stretch = stretch.valid(valid.view());
    }
    let palette = Palette::for_names(names);
    let mut page = Quicklook::new()
        .heading("Another camera, hazy: what the model makes of it before and after finetuning")
        .panel(Panel::new("Image", stretch.render(samples.view())?)?)
        .panel(Panel::new("Truth", classes(&item.labels, &palette)?)?);
    let mut files = FileOptions::default();
    files.overwrite = true;
    for ((name, model), score) in ["Before", "After"].into_iter().zip(models).zip(scores) {
        let map: PathBuf = folder.join(format!("hazy-{}.tif", name.to_lowercase()));
        let model = Model::open(runtime, model, &ModelOptions::default())?;
        Segmenter::new(&model, SegmentOptions::default())?.file(&item.image, &map, &files)?;
        page = page.panel(Panel::new(format!("{name}, mean IoU {score:.3}"), classes(&map, &palette)?)?);
    }
    let entry = |(class, name): (usize, &String)| LegendEntry {
        color: palette.rgb(class),
        label: name.clone(),
        share: String::new(),
    };
    page.legend(Legend::new(names.iter().enumerate().map(entry).collect())).save(picture, true)
}

fn classes(path: &Path, palette: &Palette) -> Result<ndarray::Array3<u8>> {
    let raster = Raster::open(path, &OpenOptions::default())?;
    let samples = raster.read(&Band::first(1), Window::of(raster.size()), Padding::Edge)?;
    let nodata = raster.info().bands.first().and_then(|band| band.nodata).map(|value| value as u16);
    Ok(ClassMap::new(samples.view(), nodata)?.render(palette))
}
