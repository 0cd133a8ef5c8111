//! An evaluation as JSON.

use serde::Serialize;

use crate::metrics::{ConfusionMatrix, Scores};
use crate::segment::evaluation::{Evaluation, ImageEvaluation};
use crate::segment::report::Report;

/// The object that is written; NaN becomes null.
#[derive(Serialize)]
struct Document<'a> {
    glebe: &'static str,
    images: usize,
    pixels: u64,
    unlabelled: u64,
    nodata: u64,
    mean_iou: f64,
    mean_dice: f64,
    iou_without_background: f64,
    dice_without_background: f64,
    accuracy: f64,
    classes: Vec<Class<'a>>,
    matrix: Vec<&'a [u64]>,
    per_image: Vec<Image<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_s: Option<f64>,
}

#[derive(Serialize)]
struct Class<'a> {
    class: usize,
    name: &'a str,
    iou: f64,
    dice: f64,
    precision: f64,
    recall: f64,
    labelled: u64,
    predicted: u64,
    hits: u64,
}

#[derive(Serialize)]
struct Image<'a> {
    image: String,
    labels: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<&'a str>,
    pixels: u64,
    unlabelled: u64,
    nodata: u64,
    mean_iou: f64,
    mean_dice: f64,
    accuracy: f64,
    iou: Vec<f64>,
    matrix: Vec<&'a [u64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a Report>,
}

impl Evaluation {
    /// Counts and scores as a JSON object with line breaks: the same bytes for the same model, data and options.
    ///
    /// `images` (their number), `pixels` (that count), `unlabelled` and `nodata` (that do not), `mean_iou`, `mean_dice`,
    /// `iou_without_background`, `dice_without_background` (means over the classes where there is something to score),
    /// `accuracy`; `classes`, a list of `class`, `name`, `iou`, `dice`, `precision`, `recall` and the pixels `labelled`,
    /// `predicted` and of both, `hits`; `matrix`, a list of rows, one a true class; `per_image`, a list of `image`, `labels`,
    /// `area` (where the list has one), `pixels`, `unlabelled`, `nodata`, `mean_iou`, `mean_dice`, `accuracy`, `iou` (one a
    /// class) and `matrix`. A score of nothing is null.
    pub fn to_json(&self) -> String {
        self.json(false)
    }

    /// The same with times: `wall_s`, and in each image's object `report`, what scoring it gave (see
    /// [`Report`](crate::segment::Report)).
    pub fn to_json_with_reports(&self) -> String {
        self.json(true)
    }

    fn json(&self, with_reports: bool) -> String {
        let class = |class: usize| {
            let scores = &self.scores.classes[class];
            Class {
                class,
                name: &self.class_names[class],
                iou: scores.iou,
                dice: scores.dice,
                precision: scores.precision,
                recall: scores.recall,
                labelled: self.matrix.support(class),
                predicted: self.matrix.predicted(class),
                hits: self.matrix.hits(class),
            }
        };
        let document = Document {
            glebe: env!("CARGO_PKG_VERSION"),
            images: self.images.len(),
            pixels: self.pixels(),
            unlabelled: self.unlabelled(),
            nodata: self.nodata(),
            mean_iou: self.scores.mean_iou,
            mean_dice: self.scores.macro_mean.dice,
            iou_without_background: self.scores.iou_without_background,
            dice_without_background: self.scores.dice_without_background,
            accuracy: self.scores.accuracy,
            classes: (0..self.matrix.classes()).map(class).collect(),
            matrix: rows(&self.matrix),
            per_image: self.images.iter().map(|image| object(image, with_reports)).collect(),
            wall_s: with_reports.then_some(self.wall_s),
        };
        // Plain numbers, strings and lists: serialising cannot fail.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

fn object(image: &ImageEvaluation, with_report: bool) -> Image<'_> {
    let scores = Scores::of(&image.matrix);
    Image {
        image: image.image.display().to_string(),
        labels: image.labels.display().to_string(),
        area: image.area.as_deref(),
        pixels: image.matrix.total(),
        unlabelled: image.unlabelled,
        nodata: image.nodata,
        mean_iou: scores.mean_iou,
        mean_dice: scores.macro_mean.dice,
        accuracy: scores.accuracy,
        iou: scores.classes.iter().map(|class| class.iou).collect(),
        matrix: rows(&image.matrix),
        report: with_report.then_some(&image.report),
    }
}

fn rows(matrix: &ConfusionMatrix) -> Vec<&[u64]> {
    matrix.counts().chunks(matrix.classes()).collect()
}
