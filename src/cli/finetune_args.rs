//! Options of `glebe finetune`: each is a key of the configuration.

use std::path::PathBuf;

use clap::Args;
use glebe::data::ClassMap;
use glebe::finetune::{CONFIG, Config, put, put_setting, read_table};
use glebe::{Error, ErrorKind, Result};
use toml::{Table, Value};

/// Every option stands for a key of the configuration, and wins over that of a file; `--set` wins over both.
#[derive(Debug, Args)]
pub(crate) struct FinetuneArguments {
    /// The ONNX model, exported for finetuning (BatchNorm kept) or not [model]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    model: Option<String>,

    /// Training data: "IMAGE;LABELS", a list with lines image;labels, or one with lines raster,vector,split. May be given
    /// several times [data.train]
    #[arg(long, value_name = "LIST", help_heading = "Data")]
    train: Vec<String>,

    /// Validation data, likewise [data.val]
    #[arg(long, value_name = "LIST", help_heading = "Data")]
    val: Vec<String>,

    /// Test data, likewise [data.test]
    #[arg(long, value_name = "LIST", help_heading = "Data")]
    test: Vec<String>,

    /// Folder that paths in lists are relative to [default: each list's own] [data.root]
    #[arg(long, value_name = "FOLDER", help_heading = "Data")]
    root: Option<String>,

    /// Share of the training data that becomes validation data [data.val_fraction]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Data")]
    val_fraction: Option<String>,

    /// What goes to training or validation as a whole: block, image [data.val_unit]
    #[arg(long, value_name = "UNIT", help_heading = "Data")]
    val_unit: Option<String>,

    /// Side of such a block in pixels [default: that of a window] [data.val_block]
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true, help_heading = "Data")]
    val_block: Option<String>,

    /// Bands in the order of the model's channels, from 1: 1,2,3 [data.bands]
    #[arg(long, value_name = "LIST", allow_negative_numbers = true, help_heading = "Data")]
    bands: Option<String>,

    /// Divisor of the samples: one value or one a band [data.scale]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Data")]
    scale: Option<String>,

    /// Mean, taken off after scaling [data.mean]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Data")]
    mean: Option<String>,

    /// Standard deviation, divided by last [data.std]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Data")]
    std: Option<String>,

    /// Names of the classes, in order [data.class_names]
    #[arg(long, value_name = "LIST", help_heading = "Data")]
    class_names: Option<String>,

    /// From values of the labels to classes: building=1,road=2,*=0 (or *=ignore) [labels.classes]
    #[arg(long, value_name = "MAP", help_heading = "Labels")]
    classes: Option<ClassMap>,

    /// Label values that do not count: 255 [labels.ignore]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Labels")]
    ignore_index: Option<String>,

    /// What label pixels without data are: ignore (default), background [labels.nodata]
    #[arg(long, value_name = "WHAT", help_heading = "Labels")]
    label_nodata: Option<String>,

    /// Field of vector labels that says the class [labels.field]
    #[arg(long, value_name = "NAME", help_heading = "Labels")]
    label_field: Option<String>,

    /// Layer of vector labels [labels.layer]
    #[arg(long, value_name = "NAME", help_heading = "Labels")]
    label_layer: Option<String>,

    /// What pixels outside all features are: background (default), ignore [labels.outside]
    #[arg(long, value_name = "WHAT", help_heading = "Labels")]
    label_outside: Option<String>,

    /// Burn every pixel that a feature touches [labels.all_touched]
    #[arg(long, help_heading = "Labels")]
    all_touched: bool,

    /// Where windows lie: grid (default), random, balanced [sampling.kind]
    #[arg(long, value_name = "KIND", help_heading = "Samples")]
    sampling: Option<String>,

    /// Images of an epoch [sampling.samples]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Samples")]
    samples: Option<String>,

    /// Leaves out windows with a smaller annotated share, in per cent [sampling.min_annotated]
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, help_heading = "Samples")]
    min_annotated: Option<String>,

    /// none, flips, d4 (default), standard, strong; single operations with --set augmentation.… [augmentation]
    #[arg(long, value_name = "PRESET", help_heading = "Samples")]
    augment: Option<String>,

    /// Epochs [default: 10] [training.epochs]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    epochs: Option<String>,

    /// Updates in all, divided among the epochs [training.steps]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    steps: Option<String>,

    /// Images of a batch [default: the model's own, else 4] [training.batch]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    batch: Option<String>,

    /// Images in pixels: 256 or 256x512 (height x width) [default: the model's own, else 256] [training.size]
    #[arg(long, value_name = "PIXELS", allow_hyphen_values = true, help_heading = "Training")]
    size: Option<String>,

    /// Learning rate [default: 1e-4] [training.learning_rate]
    #[arg(long, value_name = "RATE", allow_hyphen_values = true, help_heading = "Training")]
    lr: Option<String>,

    /// sgd, adam, amsgrad, adamw (default), rmsprop [optimizer.kind]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    optimizer: Option<String>,

    /// [optimizer.weight_decay]
    #[arg(long, value_name = "RATE", allow_hyphen_values = true, help_heading = "Training")]
    weight_decay: Option<String>,

    /// constant (default), polynomial, cosine, exponential, step, multi_step, one_cycle, plateau [schedule.kind]
    #[arg(long, value_name = "KIND", help_heading = "Training")]
    schedule: Option<String>,

    /// Epochs in which the learning rate rises first [schedule.warm_up]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    warm_up: Option<String>,

    /// ce (default), dice, jaccard, focal, lovasz ..., or a sum such as 0.5*ce+0.5*dice [training.loss]
    #[arg(long, value_name = "LOSS", help_heading = "Training")]
    loss: Option<String>,

    /// Weight of every class in the loss [training.class_weights]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Training")]
    class_weights: Option<String>,

    /// What is trained: all (default), head, decoder, norm, bias, lora:r=8, patterns over names [training.params]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Training")]
    params: Option<String>,

    /// BatchNormalization: frozen (default), affine, train [training.bn]
    #[arg(long, value_name = "MODE", help_heading = "Training")]
    bn: Option<String>,

    /// Batches of an update [training.accumulate]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    accumulate: Option<String>,

    /// Decides order, windows, augmentation, division [default: 42] [training.seed]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    seed: Option<String>,

    /// Metric that decides which weights are the best or last [default: val/Loss] [training.best]
    #[arg(long, value_name = "METRIC", help_heading = "Training")]
    best: Option<String>,

    /// Stops after so many validations without a better loss [early_stopping.patience]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    patience: Option<String>,

    /// Starts from the weights of a checkpoint [init.checkpoint]; how it is matched: --set init.…
    #[arg(long, value_name = "CHECKPOINT", help_heading = "Training")]
    init: Option<String>,

    /// cpu (default), cuda[:N], tensorrt[:N]; no fallback [run.device]
    #[arg(long, value_name = "DEVICE", help_heading = "Running")]
    device: Option<String>,

    /// Threads of the model; 0 (default): one a processor [run.threads]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Running")]
    threads: Option<String>,

    /// Threads that make samples ahead of time [default: 2] [run.loader_threads]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Running")]
    loader_threads: Option<String>,

    /// Folder of all that is written [default: glebe-DATE-TIME] [out]
    #[arg(short, long, value_name = "FOLDER", help_heading = "Output")]
    out: Option<String>,

    /// Goes on with the run in the folder, from its newest checkpoint; settings that are not given are those of the run
    #[arg(long, requires = "out", help_heading = "Output")]
    pub(crate) resume: bool,

    /// A TOML file with any of these settings and more, by the keys in brackets
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    config: Option<PathBuf>,

    /// Any key: training.label_smoothing=0.1. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "Configuration")]
    settings: Vec<String>,

    /// Prints what was done as JSON, and nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Writes what was done, and how fast, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
}

impl FinetuneArguments {
    /// The configuration that file, options and settings make together.
    pub(crate) fn configuration(&self) -> Result<Config> {
        let mut table = self.file()?;
        self.put_lists(&mut table)?;
        self.put_values(&mut table)?;
        for setting in &self.settings {
            put_setting(&mut table, setting)?;
        }
        Config::from_table(table)
    }

    /// The file's settings: those of the run that is gone on with where no file is given.
    fn file(&self) -> Result<Table> {
        let own = self.out.as_ref().map(|out| PathBuf::from(out).join(CONFIG)).filter(|path| path.exists());
        let path = match (&self.config, own) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) if self.resume => path,
            (None, None) if self.resume && self.model.is_none() => {
                let out = self.out.as_deref().unwrap_or_default();
                return Err(Error::new(ErrorKind::NotFound, "there is no run to go on with").at_path(out));
            }
            _ => return Ok(Table::new()),
        };
        read_table(path)
    }

    fn put_lists(&self, table: &mut Table) -> Result<()> {
        for (key, lists) in [("train", &self.train), ("val", &self.val), ("test", &self.test)] {
            if !lists.is_empty() {
                let lists = lists.iter().cloned().map(Value::String).collect();
                set(table, &["data", key], Value::Array(lists))?;
            }
        }
        if let Some(classes) = &self.classes {
            let map =
                Value::try_from(classes).map_err(|error| Error::internal("a class map").caused_by(error))?;
            set(table, &["labels", "classes"], map)?;
        }
        let lists = [
            ("data", "bands", &self.bands),
            ("data", "scale", &self.scale),
            ("data", "mean", &self.mean),
            ("data", "std", &self.std),
            ("labels", "ignore", &self.ignore_index),
            ("training", "class_weights", &self.class_weights),
        ];
        for (section, key, text) in lists {
            if let Some(text) = text {
                let values = text.split(',').map(|part| value(part.trim())).collect();
                set(table, &[section, key], Value::Array(values))?;
            }
        }
        if let Some(names) = &self.class_names {
            let names = names.split(',').map(|name| Value::String(name.to_owned())).collect();
            set(table, &["data", "class_names"], Value::Array(names))?;
        }
        if let Some(size) = &self.size {
            set(
                table,
                &["training", "size"],
                Value::Array(size.split('x').map(|side| value(side.trim())).collect()),
            )?;
        }
        if self.all_touched {
            set(table, &["labels", "all_touched"], Value::Boolean(true))?;
        }
        Ok(())
    }

    fn put_values(&self, table: &mut Table) -> Result<()> {
        let texts: [(&[&str], &Option<String>); 18] = [
            (&["model"], &self.model),
            (&["out"], &self.out),
            (&["augmentation"], &self.augment),
            (&["data", "root"], &self.root),
            (&["data", "val_unit"], &self.val_unit),
            (&["labels", "nodata"], &self.label_nodata),
            (&["labels", "field"], &self.label_field),
            (&["labels", "layer"], &self.label_layer),
            (&["labels", "outside"], &self.label_outside),
            (&["sampling", "kind"], &self.sampling),
            (&["optimizer", "kind"], &self.optimizer),
            (&["schedule", "kind"], &self.schedule),
            (&["training", "loss"], &self.loss),
            (&["training", "params"], &self.params),
            (&["training", "bn"], &self.bn),
            (&["training", "best"], &self.best),
            (&["init", "checkpoint"], &self.init),
            (&["run", "device"], &self.device),
        ];
        for (path, text) in texts {
            if let Some(text) = text {
                set(table, path, Value::String(text.clone()))?;
            }
        }
        let numbers: [(&[&str], &Option<String>); 15] = [
            (&["data", "val_fraction"], &self.val_fraction),
            (&["data", "val_block"], &self.val_block),
            (&["sampling", "samples"], &self.samples),
            (&["sampling", "min_annotated"], &self.min_annotated),
            (&["training", "epochs"], &self.epochs),
            (&["training", "steps"], &self.steps),
            (&["training", "batch"], &self.batch),
            (&["training", "learning_rate"], &self.lr),
            (&["training", "accumulate"], &self.accumulate),
            (&["training", "seed"], &self.seed),
            (&["optimizer", "weight_decay"], &self.weight_decay),
            (&["schedule", "warm_up"], &self.warm_up),
            (&["early_stopping", "patience"], &self.patience),
            (&["run", "threads"], &self.threads),
            (&["run", "loader_threads"], &self.loader_threads),
        ];
        for (path, text) in numbers {
            if let Some(text) = text {
                set(table, path, value(text))?;
            }
        }
        Ok(())
    }
}

/// A number where the text is one.
fn value(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return Value::Integer(number);
    }
    match text.parse::<f64>() {
        Ok(number) => Value::Float(number),
        Err(_) => Value::String(text.to_owned()),
    }
}

fn set(table: &mut Table, path: &[&str], value: Value) -> Result<()> {
    put(table, path, value).ok_or_else(|| {
        Error::invalid(format!("{}: expected a section before it, got a value", path.join(".")))
    })
}
