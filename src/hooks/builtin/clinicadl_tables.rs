//! ClinicaDL's tables of a run.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::hooks::builtin::image_metrics::images_of;
use crate::hooks::{Callback, Context, Phase};
use crate::metrics::tables::{ParticipantMetrics, TrainingLossTable, ValidationTables};
use crate::metrics::{ConfusionMatrix, Record, Scores};

/// Writes `logs/training_loss.tsv` and `validation_metrics/{aggregated,details}.tsv` into the folder of a split.
///
/// A participant is an image: its key, or its number in the validation, from 1, in three digits (`sub-001`); the session is
/// `ses-M000`. Its metrics are the loss of its batch, its accuracy, mean IoU and mean Dice.
#[derive(Debug)]
pub struct ClinicaDlTables {
    losses: TrainingLossTable,
    validation: ValidationTables,
    participants: Vec<ParticipantMetrics>,
}

impl ClinicaDlTables {
    /// Tables in the folder of a split.
    pub fn new(split: impl AsRef<Path>) -> ClinicaDlTables {
        ClinicaDlTables {
            losses: TrainingLossTable::new(split.as_ref().join("logs")),
            validation: ValidationTables::new(split),
            participants: Vec::new(),
        }
    }
}

impl Callback for ClinicaDlTables {
    fn batch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        match (context.state.phase, context.loss()) {
            (Phase::Train, Some(loss)) => self.losses.add(context.state.epoch, context.state.batch, loss),
            _ => Ok(()),
        }
    }

    fn validation_start(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.participants.clear();
        Ok(())
    }

    fn metrics_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.phase != Phase::Validation {
            return Ok(());
        }
        let loss = context.loss().unwrap_or(f64::NAN);
        for image in images_of(context.access()?)? {
            let mut matrix = ConfusionMatrix::new(image.classes)?.ignore_index(Some(-1));
            matrix.add(&image.truth, &image.predicted, None)?;
            let scores = Scores::of(&matrix);
            let metrics = Record::new()
                .with("loss", loss)
                .with("Accuracy", scores.accuracy)
                .with("MeanIoU", scores.mean_iou)
                .with("MeanDice", scores.macro_mean.dice);
            let number = image.key.unwrap_or(self.participants.len() as u64 + 1);
            self.participants.push(ParticipantMetrics {
                metrics,
                participant_id: format!("sub-{number:03}"),
                session_id: "ses-M000".to_owned(),
            });
        }
        Ok(())
    }

    fn validation_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let metrics: Record = context.metrics().iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.validation.add(context.state.epoch, &metrics, &self.participants)
    }

    fn state_dict(&self) -> Option<Value> {
        Some(json!({ "losses": self.losses.file().state(), "validation": self.validation.state() }))
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        self.losses.file_mut().restore(&state["losses"])?;
        self.validation.restore(&state["validation"])
    }

    fn name(&self) -> &str {
        "clinicadl_tables"
    }
}
