//! How far a training is, for people.

use std::io::{IsTerminal, Write as _, stderr};

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressStyle};

use crate::error::Result;
use crate::hooks::{Callback, Context, Phase};

/// Shows a bar of the epoch's batches on a terminal, and a line an epoch with its metrics; elsewhere the lines only. All of
/// it goes to stderr.
#[derive(Debug)]
pub struct ProgressBar {
    bar: Bar,
    metrics: Vec<String>,
}

impl ProgressBar {
    /// With loss and mean IoU in the lines.
    pub fn new() -> ProgressBar {
        let target = match stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = Bar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} {eta}") {
            bar.set_style(style);
        }
        let metrics = ["train/Loss", "val/Loss", "val/MeanIoU"];
        ProgressBar { bar, metrics: metrics.map(str::to_owned).into() }
    }

    /// With these metrics in the lines, in the names that they have at the end of an epoch (`val/Loss`).
    pub fn metrics(mut self, names: &[impl AsRef<str>]) -> ProgressBar {
        self.metrics = names.iter().map(|name| name.as_ref().to_owned()).collect();
        self
    }

    fn line(&self, context: &Context<'_>) -> String {
        let mut line = format!("epoch {}/{}", context.state.epoch, context.state.epochs);
        for name in &self.metrics {
            if let Some(value) = context.metric(name) {
                line.push_str(&format!("  {name} {value:.4}"));
            }
        }
        line
    }
}

impl Default for ProgressBar {
    fn default() -> ProgressBar {
        ProgressBar::new()
    }
}

impl Callback for ProgressBar {
    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        let state = &context.state;
        if state.batch == 1 {
            let name = match state.phase {
                Phase::Train => "train",
                Phase::Test => "test",
                Phase::Predict => "predict",
                _ => "validate",
            };
            self.bar.reset();
            self.bar.set_length(state.batches);
            self.bar.set_prefix(format!("epoch {}/{} {name}", state.epoch, state.epochs));
        }
        Ok(())
    }

    fn batch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if let Some(loss) = context.loss() {
            self.bar.set_message(format!("loss {loss:.4}"));
        }
        self.bar.set_position(context.state.batch);
        Ok(())
    }

    fn epoch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let line = self.line(context);
        self.bar.suspend(|| {
            // Nobody may be listening any more, which is no reason to end a training.
            let _ = writeln!(stderr(), "{line}");
        });
        Ok(())
    }

    fn train_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }

    fn test_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }

    fn exception(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.bar.abandon();
        Ok(())
    }

    fn name(&self) -> &str {
        "progress_bar"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::TrainerState;

    #[test]
    fn a_line_has_the_metrics_that_there_are() {
        let mut state = TrainerState { epoch: 2, epochs: 10, ..TrainerState::default() };
        let metrics = [("val/MeanIoU".to_owned(), 0.5), ("train/Loss".to_owned(), 0.123_456)];
        let mut context = Context::new(&mut state);
        context.metrics = &metrics;
        let own = ProgressBar::new();
        assert_eq!(own.line(&context), "epoch 2/10  train/Loss 0.1235  val/MeanIoU 0.5000");
    }
}
