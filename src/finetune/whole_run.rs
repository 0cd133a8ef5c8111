//! A training with what comes before and after it.

use crate::data::Loader;
use crate::error::Result;
use crate::finetune::trainer::Trainer;

impl Trainer {
    /// Trains, then tests the best checkpoint, as geo-deep-learning does: the numbers of samples are logged first; after
    /// the training the weights of `best.safetensors` come back (those of the end stay where no metric says which are the
    /// best) and the test data are tested. Gives the metrics of the test; without test data there is a warning.
    ///
    /// # Errors
    /// Those of [`Trainer::fit`] and [`Trainer::test`], and of reading the checkpoint.
    pub fn fit_and_test(
        &mut self,
        train: &mut dyn Loader,
        validation: Option<&mut dyn Loader>,
        test: Option<&mut dyn Loader>,
    ) -> Result<Option<Vec<(String, f64)>>> {
        let mut validation = validation;
        let sizes = [
            ("training", train.samples()),
            ("validation", validation.as_ref().and_then(|own| own.samples())),
            ("test", test.as_ref().and_then(|own| own.samples())),
        ];
        for (name, size) in sizes {
            if let Some(size) = size {
                tracing::info!("Number of {name} samples: {size}");
            }
        }
        self.fit(train, validation.as_mut().map(|own| &mut **own as &mut dyn Loader))?;
        let Some(test) = test else {
            tracing::warn!("No test dataloader found.");
            return Ok(None);
        };
        // The fit itself has done so where the options ask for it.
        if !self.options.reload_best
            && self.options.checkpoints.as_ref().is_some_and(|own| own.best.is_some())
        {
            self.watched(Trainer::reload_best)?;
        }
        let metrics = self.test(test)?;
        tracing::info!("Test metrics logged successfully to all loggers.");
        Ok(Some(metrics))
    }
}
