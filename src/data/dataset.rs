//! Labelled images of one part of the data.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::data::area::Area;
use crate::data::division::{Division, Unit};
use crate::data::grid::{Cell, blocks};
use crate::data::labels::{LabelOptions, LabelSource};
use crate::data::list::ListItem;
use crate::data::scene::Scene;
use crate::data::survey::survey;
use crate::data::truth::{LabelledImage, Truth};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Padding, Size, Window};
use crate::model::Normalisation;
use crate::raster::{NodataRule, OpenOptions, Raster};
use crate::tensor::DataType;

/// How labelled images are read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DatasetOptions {
    /// Number of classes; labels are 0 to this less 1.
    pub classes: usize,
    /// Bands of the images in the order of the model's channels. Default: all that are not alpha.
    pub bands: Option<Vec<Band>>,
    /// From samples to what the model takes.
    pub normalisation: Normalisation,
    /// When nodata values make a pixel of an image invalid; its label does not count then.
    pub nodata_rule: NodataRule,
    /// How labels become classes.
    pub labels: LabelOptions,
    /// What may be opened as an image.
    pub open: OpenOptions,
    /// Threads that look through the data beforehand, 1 or more.
    pub threads: usize,
}

impl DatasetOptions {
    /// For so many classes and this normalisation; defaults for the rest.
    pub fn new(classes: usize, normalisation: Normalisation) -> DatasetOptions {
        DatasetOptions {
            classes,
            bands: None,
            normalisation,
            nodata_rule: NodataRule::default(),
            labels: LabelOptions::default(),
            open: OpenOptions::default(),
            threads: 1,
        }
    }
}

/// Labelled images, to be cut into samples by a [`RasterLoader`](crate::data::RasterLoader).
///
/// Keeps no image open; features of vector labels are kept in memory, once.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(super) options: Arc<DatasetOptions>,
    pub(super) scenes: Vec<SceneFile>,
}

/// What is known of an image and its labels.
#[derive(Debug, Clone)]
pub(super) struct SceneFile {
    pub(super) item: Arc<ListItem>,
    pub(super) size: Size,
    pub(super) bands: Vec<Band>,
    pub(super) data_type: DataType,
    nodata: Vec<Option<f64>>,
    /// Whether labels with the file's nodata value do not count.
    ignores_nodata: bool,
    /// Labels from vectors, whose features all threads share.
    vectors: Option<Arc<Mutex<LabelSource>>>,
    pub(super) area: Option<Arc<Area>>,
}

impl Dataset {
    /// Opens every image and its labels once and checks that they fit together.
    ///
    /// # Errors
    /// `InvalidArgument` for no items; those of [`Raster::open`] and [`LabelSource::open`]; `Mismatch` where images have
    /// different numbers of bands or do not go with the normalisation. Each names the list and the line.
    pub fn open(items: Vec<ListItem>, options: DatasetOptions) -> Result<Dataset> {
        if items.is_empty() {
            return Err(Error::invalid("expected at least one labelled image, got none"));
        }
        let mut scenes: Vec<SceneFile> = Vec::with_capacity(items.len());
        for item in items {
            let scene = SceneFile::open(&item, &options).map_err(|error| item.locate(error))?;
            if let Some(first) = scenes.first()
                && first.bands.len() != scene.bands.len()
            {
                let message = format!(
                    "expected {} bands as in {}, got {}: choose which by number",
                    first.bands.len(),
                    first.item.image.display(),
                    scene.bands.len()
                );
                let error = Error::new(ErrorKind::Mismatch, message).at_path(&item.image);
                return Err(item.locate(error));
            }
            scenes.push(scene);
        }
        Ok(Dataset { options: Arc::new(options), scenes })
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.scenes.len()
    }

    /// Number of bands that are read of each image.
    pub fn bands(&self) -> usize {
        self.scenes.first().map_or(0, |scene| scene.bands.len())
    }

    /// The bands that are read, where they are the same of all images.
    pub fn common_bands(&self) -> Option<&[Band]> {
        let bands = &self.scenes.first()?.bands;
        self.scenes.iter().all(|scene| scene.bands == *bands).then_some(bands)
    }

    /// That no image is listed twice: its pixels could come into both parts of a division.
    fn check_once(&self) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        for item in self.items() {
            let place = item.image.canonicalize().unwrap_or_else(|_| item.image.clone());
            if !seen.insert(place) {
                let message = "is listed twice, so that its pixels could be in training and validation data";
                return Err(item.locate(Error::invalid(message).at_path(&item.image)));
            }
        }
        Ok(())
    }

    /// Images and labels.
    pub fn items(&self) -> impl Iterator<Item = &ListItem> {
        self.scenes.iter().map(|scene| &*scene.item)
    }

    /// How it is read.
    pub fn options(&self) -> &DatasetOptions {
        &self.options
    }

    /// Whether any label raster has a nodata value that makes pixels not count.
    pub fn ignores_label_nodata(&self) -> bool {
        self.scenes.iter().any(|scene| scene.ignores_nodata)
    }

    /// Opens an image with its labels.
    pub(super) fn scene(&self, index: usize) -> Result<Scene> {
        let file = &self.scenes[index];
        file.read(&self.options).map_err(|error| file.item.locate(error))
    }

    /// Opens an image with its labels, for what is scored against them. Errors name the list and the line.
    pub(crate) fn image(&self, index: usize) -> Result<LabelledImage> {
        let scene = self.scene(index)?;
        let truth = Truth { labels: scene.labels, area: scene.area };
        Ok(LabelledImage { raster: scene.raster, bands: scene.bands, truth })
    }

    /// Divides it into training and validation data.
    ///
    /// So many units (images, or blocks with a label that counts) go to the validation as the fraction says, rounded, but at
    /// least one of each part; which ones follows from the seed. Labels of the other part's blocks do not count, so that no
    /// pixel is in both.
    ///
    /// # Errors
    /// `InvalidArgument` for a fraction out of range, an image that is listed twice, and where there are fewer than two units; of reading the labels.
    pub fn divide(&self, division: &Division) -> Result<(Dataset, Dataset)> {
        division.check()?;
        self.check_once()?;
        match division.unit {
            Unit::Image => self.divide_images(division),
            Unit::Block(side) => self.divide_blocks(division, Size::new(side, side)),
        }
    }

    fn divide_images(&self, division: &Division) -> Result<(Dataset, Dataset)> {
        let is_validation = division.choose(self.scenes.len(), "images")?;
        let part = |wanted: bool| {
            let kept = self.scenes.iter().zip(&is_validation).filter(|(_, own)| **own == wanted);
            Dataset { options: self.options.clone(), scenes: kept.map(|(scene, _)| scene.clone()).collect() }
        };
        Ok((part(false), part(true)))
    }

    fn divide_blocks(&self, division: &Division, block: Size) -> Result<(Dataset, Dataset)> {
        let cells: Vec<Vec<Cell>> = self.scenes.iter().map(|scene| blocks(scene.size, block)).collect();
        let counts = survey(self, &cells)?;
        // Blocks in which nothing counts are in neither part's way.
        let filled = counts.iter().flatten().filter(|counts| counts.counted() > 0).count();
        let mut chosen = division.choose(filled, "blocks with labels")?.into_iter();
        let (mut training, mut validation) = (self.clone(), self.clone());
        for (index, counts) in counts.iter().enumerate() {
            let is_validation: Vec<Option<bool>> =
                counts.iter().map(|own| (own.counted() > 0).then(|| chosen.next()).flatten()).collect();
            let size = self.scenes[index].size;
            for (part, wanted) in [(&mut training, false), (&mut validation, true)] {
                let own = is_validation.iter().map(|own| *own == Some(wanted)).collect();
                part.scenes[index].area = Some(Arc::new(Area::new(size, block, own)));
            }
        }
        Ok((training, validation))
    }
}

impl SceneFile {
    fn open(item: &ListItem, options: &DatasetOptions) -> Result<SceneFile> {
        let raster = Raster::open(&item.image, &options.open)?;
        let info = raster.info();
        let bands = options.bands.clone().unwrap_or_else(|| raster.color_bands());
        let data_type = raster.common_type(&bands)?;
        let nodata = bands.iter().map(|band| Ok(info.band(*band)?.nodata)).collect::<Result<Vec<_>>>()?;
        options.normalisation.check_bands(bands.len()).map_err(|error| error.at_path(&item.image))?;
        check_ends(&raster, &bands)?;
        let labels = LabelSource::open(&item.labels, &options.labels, info, options.classes)?;
        let ignores_nodata = labels.ignores_nodata();
        let vectors = labels.is_vector().then(|| Arc::new(Mutex::new(labels)));
        Ok(SceneFile {
            item: Arc::new(item.clone()),
            size: raster.size(),
            bands,
            data_type,
            nodata,
            ignores_nodata,
            vectors,
            area: None,
        })
    }

    fn read(&self, options: &DatasetOptions) -> Result<Scene> {
        let raster = Raster::open(&self.item.image, &options.open)?;
        if raster.size() != self.size {
            return Err(replaced(&self.item.image));
        }
        let labels = match &self.vectors {
            Some(shared) => {
                shared.lock().map_err(|_| Error::internal("a thread panicked with the labels"))?.reopen()?
            }
            None => LabelSource::open(&self.item.labels, &options.labels, raster.info(), options.classes)?,
        };
        Ok(Scene {
            raster,
            labels,
            bands: self.bands.clone(),
            nodata: self.nodata.clone(),
            rule: options.nodata_rule,
            area: self.area.clone(),
        })
    }
}

/// That the first and the last pixel can be read: a file that was cut off on its way here is told before the training, not in
/// the middle of it.
fn check_ends(raster: &Raster, bands: &[Band]) -> Result<()> {
    let size = raster.size();
    for (x, y) in [(0, 0), (size.width.saturating_sub(1), size.height.saturating_sub(1))] {
        raster.read(bands, Window::new(x as i64, y as i64, 1, 1), Padding::default())?;
    }
    Ok(())
}

fn replaced(path: &Path) -> Error {
    Error::new(ErrorKind::RasterInvalid, "file was replaced while it was in use").at_path(path)
}
