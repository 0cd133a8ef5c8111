//! What comparing a model's maps with labels gave.

use std::path::PathBuf;

use crate::error::Result;
use crate::metrics::{ConfusionMatrix, Frame, Record, Scores};
use crate::segment::report::Report;

/// What comparing a model's maps with the labels of a data set gave.
///
/// A pixel counts where its label counts and the map has a class. Scores are those of the counts of all pixels together,
/// so that an image weighs as many pixels as count in it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Names of the classes, in order: as given, else those of the model's metadata, else their numbers.
    pub class_names: Vec<String>,
    /// Each image, in the order of the data set.
    pub images: Vec<ImageEvaluation>,
    /// The counts of all images: a row a true class, a column a predicted one.
    pub matrix: ConfusionMatrix,
    /// The scores of these counts.
    pub scores: Scores,
    /// Seconds from the start to the last image's end.
    pub wall_s: f64,
}

/// What comparing one map with its labels gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageEvaluation {
    /// The image.
    pub image: PathBuf,
    /// Its labels.
    pub labels: PathBuf,
    /// Identifier of the area, where the list has one.
    pub area: Option<String>,
    /// Its counts; all zeros where no pixel counts.
    pub matrix: ConfusionMatrix,
    /// Pixels that have data and whose label does not count.
    pub unlabelled: u64,
    /// Pixels that the map leaves out: the image has no data there, or the model gave no number.
    pub nodata: u64,
    /// How it was scored, and how fast.
    pub report: Report,
}

impl Evaluation {
    /// Pixels that counted.
    pub fn pixels(&self) -> u64 {
        self.matrix.total()
    }

    /// Pixels of all images that have data and whose label does not count.
    pub fn unlabelled(&self) -> u64 {
        self.images.iter().map(|image| image.unlabelled).sum()
    }

    /// Pixels of all images that the maps leave out.
    pub fn nodata(&self) -> u64 {
        self.images.iter().map(|image| image.nodata).sum()
    }

    /// A table with a row for each image and class: `image,labels,class,name,iou,dice,precision,recall,labelled,predicted,hits`;
    /// the last three are numbers of pixels, scores have six decimals and are empty where there is nothing to score.
    ///
    /// # Errors
    /// None that an evaluation of this library could cause.
    pub fn to_csv(&self) -> Result<String> {
        let mut frame = Frame::new(Record::new());
        for image in &self.images {
            let matrix = &image.matrix;
            for (class, scores) in Scores::of(matrix).classes.iter().enumerate() {
                frame.add(
                    Record::new()
                        .with("image", image.image.display().to_string())
                        .with("labels", image.labels.display().to_string())
                        .with("class", class as i64)
                        .with("name", self.class_names[class].as_str())
                        .with("iou", scores.iou)
                        .with("dice", scores.dice)
                        .with("precision", scores.precision)
                        .with("recall", scores.recall)
                        .with("labelled", matrix.support(class) as i64)
                        .with("predicted", matrix.predicted(class) as i64)
                        .with("hits", matrix.hits(class) as i64),
                )?;
            }
        }
        Ok(frame.to_csv())
    }
}
