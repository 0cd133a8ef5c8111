//! Options of labels, for all commands that read them.

use clap::Args;
use glebe::data::{ClassMap, LabelNodata, LabelOptions, Outside};

/// How labels become classes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels")]
pub(crate) struct LabelArguments {
    /// Vectors: the field whose values say the class [default: every feature is class 1]
    #[arg(long, value_name = "NAME")]
    label_field: Option<String>,

    /// Vectors: the layer, where a file has several
    #[arg(long, value_name = "NAME")]
    label_layer: Option<String>,

    /// From values to classes, which are counted from 0: forest=1,water=2,*=ignore [default: values are classes]
    #[arg(long, value_name = "VALUE=CLASS,...", allow_hyphen_values = true)]
    classes: Option<ClassMap>,

    /// Values of the labels that do not count: 255,-1
    #[arg(long, value_name = "V,V,...", value_delimiter = ',', allow_hyphen_values = true)]
    ignore_index: Vec<i64>,

    /// What labels without data are (a raster's nodata value, mask or alpha): ignore, background
    #[arg(long, value_name = "WHAT", default_value = "ignore")]
    label_nodata: LabelNodata,

    /// Vectors: label every pixel that a feature touches, not only those whose middle lies in it
    #[arg(long)]
    all_touched: bool,

    /// Vectors: what pixels outside all features are: background, ignore
    #[arg(long, value_name = "WHAT", default_value = "background")]
    label_outside: Outside,
}

impl LabelArguments {
    /// For the library.
    pub(crate) fn options(&self) -> LabelOptions {
        LabelOptions {
            field: self.label_field.clone(),
            layer: self.label_layer.clone(),
            classes: self.classes.clone().unwrap_or_default(),
            ignore: self.ignore_index.clone(),
            nodata: self.label_nodata,
            all_touched: self.all_touched,
            outside: self.label_outside,
        }
    }
}
