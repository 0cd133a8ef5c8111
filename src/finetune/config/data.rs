//! Data of a configuration: lists, data sets, loaders.

use std::path::Path;

use crate::data::{
    Dataset, DatasetOptions, ListItem, RasterLoader, Split, Use, read_all, read_list, shared_image,
};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::config::Config;
use crate::geometry::Band;
use crate::model::{Contract, Normalisation};

/// Sizes of the batches that a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::finetune) struct BatchSizes {
    pub(in crate::finetune) batch: usize,
    /// Height and width of the images.
    pub(in crate::finetune) size: [usize; 2],
    /// Those of the labels.
    pub(in crate::finetune) label_size: [usize; 2],
    pub(in crate::finetune) classes: usize,
}

impl BatchSizes {
    /// Of images `[N, C, H, W]` and logits `[N, K, H, W]`.
    pub(in crate::finetune) fn of(images: &[usize], logits: &[usize]) -> Result<BatchSizes> {
        let (&[batch, _, height, width], &[_, channels, rows, columns]) = (images, logits) else {
            let message =
                format!("expected shapes [N, C, H, W] of images and logits, got {images:?} and {logits:?}");
            return Err(Error::new(ErrorKind::Mismatch, message));
        };
        // One channel tells two classes apart.
        let classes = channels.max(2);
        Ok(BatchSizes { batch, size: [height, width], label_size: [rows, columns], classes })
    }
}

/// The parts of the data.
#[derive(Debug)]
pub(in crate::finetune) struct Parts {
    pub(in crate::finetune) train: Dataset,
    pub(in crate::finetune) val: Option<Dataset>,
    pub(in crate::finetune) test: Option<Dataset>,
}

/// What a configuration says of data, for a model and batches of certain sizes.
#[derive(Debug)]
pub(in crate::finetune) struct Source<'a> {
    config: &'a Config,
    contract: &'a Contract,
    options: DatasetOptions,
    sizes: BatchSizes,
}

impl Config {
    /// The batches of a part of the data, for a trainer of one's own: what a [`Finetuning`](crate::finetune::Finetuning)
    /// with this configuration would train on, validate on or test.
    ///
    /// Of the configuration the sections `data`, `labels`, `sampling`, `augmentation` and `run` count, and of `training` the
    /// seed, and the steps, epochs and accumulation as far as they say how many samples an epoch has. `contract` is the
    /// model's ([`Model::contract`](crate::model::Model::contract)), which tells bands and normalisation where the
    /// configuration does not; `images` `[N, C, H, W]` and `logits` `[N, K, H, W]` are the shapes of the step
    /// ([`TrainStep::image_shape`](crate::finetune::TrainStep::image_shape)).
    ///
    /// ```no_run
    /// # use glebe::finetune::{Config, TrainStep};
    /// # use glebe::data::Split;
    /// # fn example(model: &glebe::model::Model, step: &TrainStep) -> glebe::Result<()> {
    /// let config = Config::parse("data.train = \"train.csv\"\ndata.val = \"val.csv\"", &[])?;
    /// let part = |split| config.loader(split, model.contract(), step.image_shape(), step.logits_shape());
    /// let (mut train, mut val) = (part(Split::Train)?, part(Split::Val)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for settings, with their key, and for a part that there is not; errors of lists, images and labels
    /// with the list and the line; `Mismatch` where model and data do not fit together.
    pub fn loader(
        &self,
        split: Split,
        contract: &Contract,
        images: &[usize],
        logits: &[usize],
    ) -> Result<RasterLoader> {
        self.check_data()?;
        let source = Source::new(self, contract, BatchSizes::of(images, logits)?)?;
        let data = source.part(split)?;
        source.check_bands(&data, images[1])?;
        source.loader(&data, split)
    }
}

impl<'a> Source<'a> {
    /// # Errors
    /// `InvalidArgument` with the key of a setting that is wrong.
    pub(in crate::finetune) fn new(
        config: &'a Config,
        contract: &'a Contract,
        sizes: BatchSizes,
    ) -> Result<Source<'a>> {
        let options = dataset_options(config, contract, sizes.classes)?;
        Ok(Source { config, contract, options, sizes })
    }

    /// All parts.
    ///
    /// # Errors
    /// Of lists, images and labels; `Mismatch` for parts with other bands than the training data.
    pub(in crate::finetune) fn parts(&self) -> Result<Parts> {
        let items = self.read(Split::Train)?;
        let (tests, vals) = (self.read(Split::Test)?, self.read(Split::Val)?);
        for (other, name) in [(&vals, "validation"), (&tests, "test")] {
            if let Some(image) = shared_image(&items, other) {
                tracing::warn!("{} is in both the training and the {name} data", image.display());
            }
        }
        let whole = self.open(items, Split::Train)?;
        let test = (!tests.is_empty()).then(|| self.open(tests, Split::Test)).transpose()?;
        let (train, val) = match self.divide(&whole)? {
            Some((train, val)) => (train, Some(val)),
            None => (whole, (!vals.is_empty()).then(|| self.open(vals, Split::Val)).transpose()?),
        };
        for (other, key) in [(&val, "data.val"), (&test, "data.test")] {
            let Some((other, item)) = other.as_ref().and_then(|own| Some((own, own.items().next()?))) else {
                continue;
            };
            if other.bands() != train.bands() {
                let message = format!(
                    "expected {} bands as in the training data, got {}",
                    train.bands(),
                    other.bands()
                );
                let error = Error::new(ErrorKind::Mismatch, message).at_path(&item.image);
                return Err(in_part(key, item.locate(error)));
            }
        }
        Ok(Parts { train, val, test })
    }

    /// One part; no more is opened than it takes.
    fn part(&self, split: Split) -> Result<Dataset> {
        let is_divided = self.config.data.val_fraction != 0.0;
        if split == Split::Test || !is_divided {
            return self.open(self.read(split)?, split);
        }
        let whole = self.open(self.read(Split::Train)?, Split::Train)?;
        match self.divide(&whole)? {
            Some((_, val)) if split == Split::Val => Ok(val),
            Some((train, _)) => Ok(train),
            None => Ok(whole),
        }
    }

    /// Batches of a part.
    ///
    /// # Errors
    /// Those of [`RasterLoader::new`], with the part.
    pub(in crate::finetune) fn loader(&self, data: &Dataset, split: Split) -> Result<RasterLoader> {
        let (batch, size) = (self.sizes.batch, self.sizes.size);
        let (mut options, name) = match split {
            Split::Train => (self.config.training_loader(batch, size), "training data"),
            Split::Val => (self.config.evaluation_loader(batch, size, false), "validation data"),
            Split::Test => (self.config.evaluation_loader(batch, size, true), "test data"),
        };
        options.label_size = self.sizes.label_size;
        RasterLoader::new(data, options).map_err(|error| in_part(name, error))
    }

    /// That the model takes as many channels, and a step that is there already.
    ///
    /// # Errors
    /// `Mismatch`, with the first image.
    pub(in crate::finetune) fn check_bands(&self, data: &Dataset, channels: usize) -> Result<()> {
        let bands = data.bands();
        let fits = self.contract.check_channels(bands).and_then(|()| {
            if bands == channels {
                return Ok(());
            }
            let message = format!("expected {channels} bands for the training step, got {bands}");
            Err(Error::new(ErrorKind::Mismatch, message))
        });
        fits.map_err(|error| match data.items().next() {
            Some(item) => item.locate(error.at_path(&item.image)),
            None => error,
        })
    }

    /// The lines of a part; those for validation and tests are looked for in lists of areas for the training, too.
    fn read(&self, split: Split) -> Result<Vec<ListItem>> {
        let (lists, root) = (self.lists(split), self.config.data.root.as_deref());
        let is_divided = split == Split::Val && self.config.data.val_fraction != 0.0;
        if split != Split::Train && lists.is_empty() && !is_divided {
            return of_areas(&self.config.data.train, root, split);
        }
        let mut items = Vec::new();
        for list in lists {
            items.extend(read_list(list, root, split).map_err(|error| in_part(key(split), error))?);
        }
        Ok(items)
    }

    fn lists(&self, split: Split) -> &[String] {
        let data = &self.config.data;
        match split {
            Split::Train => &data.train,
            Split::Val => &data.val,
            Split::Test => &data.test,
        }
    }

    fn open(&self, items: Vec<ListItem>, split: Split) -> Result<Dataset> {
        if items.is_empty() && self.lists(split).is_empty() {
            let message = format!("{}: expected at least one list or IMAGE;LABELS, got none", key(split));
            return Err(Error::invalid(message));
        }
        Dataset::open(items, self.options.clone()).map_err(|error| in_part(key(split), error))
    }

    /// Training and validation data, where one becomes the other.
    fn divide(&self, whole: &Dataset) -> Result<Option<(Dataset, Dataset)>> {
        let Some(division) = self.config.division(self.sizes.size) else { return Ok(None) };
        whole.divide(&division).map(Some).map_err(|error| in_part("data.val_fraction", error))
    }
}

/// The key of a part.
fn key(split: Split) -> &'static str {
    match split {
        Split::Train => "data.train",
        Split::Val => "data.val",
        Split::Test => "data.test",
    }
}

/// Lines for a part of lists of areas that are given for the training.
fn of_areas(lists: &[String], root: Option<&Path>, split: Split) -> Result<Vec<ListItem>> {
    let mut items = Vec::new();
    for list in lists {
        items.extend(read_all(list, root)?);
    }
    items.retain(|item| item.usage == Some(Use::Split(split)));
    Ok(items)
}

fn dataset_options(config: &Config, contract: &Contract, classes: usize) -> Result<DatasetOptions> {
    let own = contract.normalisation();
    let pick = |asked: &Option<Vec<f64>>, own: &[f64]| asked.clone().unwrap_or_else(|| own.to_vec());
    let data = &config.data;
    let normalisation = Normalisation::new(
        pick(&data.scale, own.scale()),
        pick(&data.mean, own.mean()),
        pick(&data.std, own.std()),
    )
    .map_err(|error| in_part("data", error))?;
    let mut options = DatasetOptions::new(classes, normalisation);
    options.bands = match &data.bands {
        Some(numbers) if numbers.is_empty() => {
            return Err(Error::invalid("data.bands: expected at least one, got none"));
        }
        Some(numbers) => Some(
            numbers
                .iter()
                .map(|number| Band::new(*number))
                .collect::<Result<_>>()
                .map_err(|error| in_part("data.bands", error))?,
        ),
        None => contract.bands().map(<[Band]>::to_vec),
    };
    options.nodata_rule = data.nodata_rule;
    options.labels = config.labels.clone();
    options.open = config.open_options();
    options.threads = config.run.loader_threads.max(1);
    Ok(options)
}

/// Says which part of the data or which key an error is about.
fn in_part(part: &str, error: Error) -> Error {
    Error::new(error.kind(), part).caused_by(error.one_line())
}
