//! What of the work around the model becomes part of its graph.

use crate::error::{Error, ErrorKind, Result};
use crate::model::Form;
use crate::onnx::{FusedClasses, Fusion, MOST_FUSED_CLASSES};
use crate::runtime::ProviderKind;
use crate::segment::job::Job;
use crate::segment::options::{Activation, Precision, Product};
use crate::segment::product::Encoding;
use crate::tensor::DataType;
use crate::tiling::Blend;

impl Job<'_, '_> {
    /// The form that the model is run in.
    ///
    /// # Errors
    /// `ModelUnsupported` where fusing was asked for and samples of this type cannot be.
    pub(super) fn form(&self, encoding: &Encoding, blend: Blend, samples: DataType) -> Result<Form> {
        let half = self.options.precision == Precision::Fp16;
        let fits = matches!(samples, DataType::U8 | DataType::U16 | DataType::I16);
        let wanted = match self.options.fuse {
            Some(true) if !fits => {
                let message = format!("cannot fuse samples of {samples}: expected uint8, uint16 or int16");
                return Err(Error::new(ErrorKind::ModelUnsupported, message));
            }
            Some(asked) => asked,
            None => fits && self.options.provider.kind() != ProviderKind::Cpu,
        };
        if !wanted {
            return Ok(Form { half, fusion: None });
        }
        // Blending needs the scores, and so do other products.
        let decides =
            blend.is_cut() && encoding.product == Product::Classes && encoding.channels <= MOST_FUSED_CLASSES;
        let classes = decides.then(|| FusedClasses {
            channels: encoding.channels,
            data_type: encoding.data_type,
            nodata: encoding.nodata as u16,
            threshold: encoding.threshold,
            sigmoid: encoding.activation == Activation::Sigmoid,
        });
        let fusion = Fusion {
            samples,
            scale: self.normalisation.scale().to_vec(),
            mean: self.normalisation.mean().to_vec(),
            std: self.normalisation.std().to_vec(),
            classes,
        };
        Ok(Form { half, fusion: Some(fusion) })
    }

    /// Whether a model that cannot be fused is run as it is: nobody asked for more.
    pub(super) fn may_run_unfused(&self, form: &Form, error: &Error) -> bool {
        form.fusion.is_some() && self.options.fuse.is_none() && error.kind() == ErrorKind::ModelUnsupported
    }
}
