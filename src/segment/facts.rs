//! All of model and options that the samples of a map depend on.

use crate::error::Result;
use crate::segment::job::Job;
use crate::segment::setup::Setup;

impl Job<'_, '_> {
    /// By name; two jobs with the same facts and the same raster give the same samples in the same steps.
    pub(super) fn facts(&self, setup: &Setup) -> Result<Vec<(&'static str, String)>> {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let encoding = &setup.encoding;
        let pair = |(x, y): (usize, usize)| format!("{x} x {y}");
        Ok(vec![
            ("glebe", env!("CARGO_PKG_VERSION").to_owned()),
            ("ONNX Runtime", self.model.runtime().version().to_owned()),
            ("model", self.model.fingerprint()?.to_owned()),
            ("output", self.model.contract().output().to_owned()),
            ("provider", self.options.provider.to_string()),
            (
                "provider options",
                self.options
                    .provider
                    .numeric_options()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            ("precision", self.options.precision.to_string()),
            ("fused", setup.fused().to_owned()),
            ("in flight", setup.in_flight.to_string()),
            ("threads", self.options.threads().to_string()),
            ("tile", setup.tile.to_string()),
            ("map", setup.plan.raster().to_string()),
            ("grid", pair((setup.plan.x().len(), setup.plan.y().len()))),
            ("overlap", pair(setup.overlap)),
            ("blend", setup.blend.to_string()),
            ("lanes", setup.lanes.lanes().to_string()),
            ("batch", setup.batch.to_string()),
            ("padding", self.options.padding.to_string()),
            ("scale", list(self.normalisation.scale())),
            ("mean", list(self.normalisation.mean())),
            ("std", list(self.normalisation.std())),
            ("product", encoding.product.to_string()),
            ("activation", encoding.activation.to_string()),
            ("data type", encoding.data_type.to_string()),
            ("nodata", encoding.nodata.to_string()),
            ("threshold", encoding.threshold.to_string()),
        ])
    }
}
