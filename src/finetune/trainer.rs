//! The trainer: epochs of steps, with everyone told who asked to be.

use crate::data::Loader;
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::access::{Shown, StepAccess};
use crate::finetune::checkpoint::Checkpoint;
use crate::finetune::checkpoints::Best;
use crate::finetune::fit_options::FitOptions;
use crate::finetune::scoring::ScoreKeeper;
use crate::finetune::step::TrainStep;
use crate::hooks::{Callbacks, Context, Event, Logged, Phase, Split, TrainerState};

/// Trains, validates, tests and predicts with a [`TrainStep`], and tells its callbacks of everything.
///
/// An error of a step, a loader or a callback ends the run: every callback hears of it
/// ([`Event::Exception`]), then it goes on to the caller. The weights stay as the last complete update left them.
#[derive(Debug)]
pub struct Trainer {
    pub(super) step: TrainStep,
    pub(super) callbacks: Callbacks,
    pub(super) options: FitOptions,
    pub(super) state: TrainerState,
    pub(super) best: Best,
    /// What the next fit goes on from.
    pub(super) resumed: Option<Checkpoint>,
    /// Whether an epoch has begun and not all of its batches are done.
    pub(super) is_within_epoch: bool,
    /// A number an epoch, which follow from what was done: runs that differ have other ones from there on.
    pub(super) history: Vec<u64>,
    /// Keeps the scores of the epoch or evaluation that is going on.
    pub(super) scores: Option<ScoreKeeper>,
    /// What callbacks log, while an epoch or evaluation is going on.
    pub(super) logged: Logged,
    pub(super) is_collecting: bool,
}

/// Takes the number of a batch, how many of its images count, and its logits `[N, K, H, W]`.
pub type TakeLogits<'a> = dyn FnMut(usize, usize, &[f32]) -> Result<()> + 'a;

/// What keeps the scores that the options ask for.
fn score_keeper(step: &TrainStep, options: &FitOptions) -> Result<Option<ScoreKeeper>> {
    match &options.scoring {
        Some(scoring) if !step.options.loss.is_regression() => {
            Ok(Some(ScoreKeeper::new(scoring, step.logits_shape()[1])?))
        }
        _ => Ok(None),
    }
}

fn check_seed(checkpoint: &Checkpoint, options: &FitOptions) -> Result<()> {
    let (expected, got) = (options.effective_seed(), checkpoint.seed);
    if got == expected {
        return Ok(());
    }
    let message = format!("the checkpoint is of a run with another seed: expected {expected}, got {got}");
    Err(Error::new(ErrorKind::Mismatch, message))
}

impl Trainer {
    /// A trainer of `step`.
    ///
    /// # Errors
    /// `InvalidArgument` for settings out of range; a callback's.
    pub fn new(mut step: TrainStep, options: FitOptions, callbacks: Callbacks) -> Result<Trainer> {
        options.check()?;
        step.evaluate_averages(options.evaluate_averages)?;
        let scores = score_keeper(&step, &options)?;
        if let Some(checkpoints) = &options.checkpoints {
            checkpoints.make_folder()?;
        }
        let random = options.effective_seed();
        let state = TrainerState { epochs: options.epochs, random, ..TrainerState::default() };
        let best = Best::default();
        let mut trainer = Trainer {
            step,
            callbacks,
            options,
            state,
            best,
            resumed: None,
            is_within_epoch: false,
            history: Vec::new(),
            scores,
            logged: Logged::default(),
            is_collecting: false,
        };
        trainer.watched(|own| own.tell(Event::TrainerInit))?;
        Ok(trainer)
    }

    /// Where it stands.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// How its runs go.
    pub fn options(&self) -> &FitOptions {
        &self.options
    }

    /// The step, with the weights as they are.
    pub fn step(&self) -> &TrainStep {
        &self.step
    }

    /// The step, to be worked with between runs: steps of one's own, another loss scale, another state. Counters and
    /// callbacks hear nothing of it; gradients that are left waiting go into the first update of the next fit.
    pub fn step_mut(&mut self) -> &mut TrainStep {
        &mut self.step
    }

    /// How the runs to come go on. `epochs` counts those that are done, too.
    ///
    /// # Errors
    /// `InvalidArgument` for settings out of range; `InvalidState` for moving averages that there are not; `Mismatch` for
    /// another seed than that of the checkpoint that the next fit goes on from; `Io` for a folder that cannot be made. It
    /// goes on as before then.
    pub fn set_options(&mut self, options: FitOptions) -> Result<()> {
        options.check()?;
        if let Some(checkpoint) = &self.resumed {
            check_seed(checkpoint, &options)?;
        }
        let scores = score_keeper(&self.step, &options)?;
        if options.evaluate_averages {
            self.step.check_averages()?;
        }
        if let Some(checkpoints) = &options.checkpoints {
            checkpoints.make_folder()?;
        }
        self.step.evaluate_averages(options.evaluate_averages)?;
        self.scores = scores;
        if self.state.epoch == 0 {
            self.state.random = options.effective_seed();
        }
        let metric = |own: &FitOptions| own.checkpoints.as_ref().and_then(|own| own.best.clone());
        if metric(&options) != metric(&self.options) {
            self.best = Best::default();
        }
        self.state.epochs = options.epochs;
        if options.epochs > self.state.epoch {
            // More is asked for than was when a callback wished to stop.
            self.state.should_stop = false;
        }
        self.options = options;
        Ok(())
    }

    /// Adds callbacks behind those that are there. They alone are told that the trainer has been made.
    ///
    /// # Errors
    /// A callback's; none of them is added then.
    pub fn add_callbacks(&mut self, callbacks: Callbacks) -> Result<()> {
        let mut before = std::mem::replace(&mut self.callbacks, callbacks);
        let done = self.watched(|own| own.tell(Event::TrainerInit));
        std::mem::swap(&mut self.callbacks, &mut before);
        done.map(|()| self.callbacks.append(before))
    }

    /// The callbacks, to be changed between runs.
    pub fn callbacks_mut(&mut self) -> &mut Callbacks {
        &mut self.callbacks
    }

    /// The step, to be used by itself again.
    pub fn into_step(self) -> TrainStep {
        self.step
    }

    /// Lets the next [`fit`](Trainer::fit) go on from a checkpoint: with the same options, data and callbacks, as if it had
    /// never stopped.
    ///
    /// # Errors
    /// `Mismatch` for a checkpoint of another model, seed or set of trained tensors. Nothing has changed then.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let model = self.step.model_fingerprint();
        if checkpoint.model != model {
            let message = format!(
                "the checkpoint is of another model: expected {}, got {}",
                &model[..16],
                checkpoint.model.get(..16).unwrap_or(&checkpoint.model)
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        check_seed(&checkpoint, &self.options)?;
        self.step.check_state(&checkpoint.train)?;
        self.resumed = Some(checkpoint);
        Ok(())
    }

    /// Lets the next [`fit`](Trainer::fit) go on from the newest checkpoint of the folder that can be read; whether there
    /// is one.
    ///
    /// # Errors
    /// `InvalidState` where the options have no checkpoints; as [`Trainer::resume`].
    pub fn resume_newest(&mut self) -> Result<bool> {
        let Some(checkpoints) = &self.options.checkpoints else {
            return Err(Error::new(ErrorKind::InvalidState, "the options say nothing of checkpoints"));
        };
        match checkpoints.newest() {
            None => Ok(false),
            Some((path, found)) => {
                self.resume(found).map_err(|error| error.at_path(&path))?;
                Ok(true)
            }
        }
    }

    /// Where it stands, at the end of an epoch.
    ///
    /// # Errors
    /// `InvalidState` within an epoch (as an error has left it) and while gradients wait; the runtime's.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        self.check_whole()?;
        self.snapshot()
    }

    /// Where it stands.
    pub(super) fn snapshot(&self) -> Result<Checkpoint> {
        Ok(Checkpoint {
            epoch: self.state.epoch,
            global_step: self.state.global_step,
            should_stop: self.state.should_stop,
            seed: self.options.effective_seed(),
            random: self.state.random,
            model: self.step.model_fingerprint(),
            train: self.step.state()?,
            callbacks: self.callbacks.state_dict(),
            best: self.best,
            history: self.history.clone(),
        })
    }

    /// That there is no epoch of which some batches are missing.
    pub(super) fn check_whole(&self) -> Result<()> {
        if !self.is_within_epoch {
            return Ok(());
        }
        let message = format!("epoch {} was interrupted: go on from a checkpoint", self.state.epoch);
        Err(Error::new(ErrorKind::InvalidState, message))
    }

    /// Trains for the epochs that are left, and validates in between where there are data for it. Ends at once where a
    /// callback wanted to stop before the checkpoint that it goes on from.
    ///
    /// # Errors
    /// `InvalidState` where the fit before was interrupted within an epoch and none is resumed; of a step, a loader or a
    /// callback.
    pub fn fit(&mut self, train: &mut dyn Loader, validation: Option<&mut dyn Loader>) -> Result<()> {
        self.watched(|own| own.fit_all(train, validation))
    }

    /// Validates; gives the metrics.
    ///
    /// # Errors
    /// Of an evaluation, a loader or a callback.
    pub fn validate(&mut self, data: &mut dyn Loader) -> Result<Vec<(String, f64)>> {
        self.watched(|own| own.evaluation(data, Phase::Validate, [Event::ValidateStart, Event::ValidateEnd]))
    }

    /// Tests; gives the metrics.
    ///
    /// # Errors
    /// Of an evaluation, a loader or a callback.
    pub fn test(&mut self, data: &mut dyn Loader) -> Result<Vec<(String, f64)>> {
        self.watched(|own| own.evaluation(data, Phase::Test, [Event::TestStart, Event::TestEnd]))
    }

    /// Predicts; `take` gets the logits of every batch.
    ///
    /// # Errors
    /// Of an evaluation, a loader, a callback or `take`.
    pub fn predict(&mut self, data: &mut dyn Loader, take: &mut TakeLogits<'_>) -> Result<()> {
        self.watched(|own| own.prediction(data, &mut |_, index, images, logits| take(index, images, logits)))
    }

    /// Predicts over parts of the data, in the order given, between
    /// [`InferenceStart`](Event::InferenceStart) and [`InferenceEnd`](Event::InferenceEnd). InnerEye's order is test,
    /// validation, training.
    ///
    /// # Errors
    /// Of an evaluation, a loader or a callback.
    pub fn infer(&mut self, splits: &mut [(Split, &mut dyn Loader)]) -> Result<()> {
        self.watched(|own| {
            own.tell(Event::InferenceStart)?;
            for (split, data) in splits {
                tracing::info!("Starting inference on {} set", split.name());
                own.state.split = Some(*split);
                let done = own.prediction(&mut **data, &mut |_, _, _, _| Ok(()));
                own.state.split = None;
                done?;
            }
            own.tell(Event::InferenceEnd)
        })
    }

    /// Does something of which every callback hears if it fails.
    pub(super) fn watched<R>(&mut self, work: impl FnOnce(&mut Trainer) -> Result<R>) -> Result<R> {
        let done = work(self);
        if let Err(error) = &done {
            self.step.discard();
            // The batch that it was said of was refused before it was looked at.
            self.step.counting = None;
            self.is_collecting = false;
            self.callbacks.exception(error, &mut self.state);
            (self.state.phase, self.state.split) = (Phase::Idle, None);
        }
        done
    }

    pub(super) fn tell(&mut self, event: Event) -> Result<()> {
        self.show(event, None, &[], Shown::default()).map(|_| ())
    }

    /// Tells of an event; whether a callback vetoed what comes next.
    pub(super) fn show(
        &mut self,
        event: Event,
        loss: Option<f64>,
        metrics: &[(String, f64)],
        shown: Shown<'_>,
    ) -> Result<bool> {
        if self.callbacks.is_empty() {
            return Ok(false);
        }
        let mut access = StepAccess { step: &mut self.step, shown };
        let mut context = Context::new(&mut self.state);
        (context.loss, context.metrics) = (loss, metrics);
        context.access = Some(&mut access);
        context.logged = self.is_collecting.then_some(&mut self.logged);
        self.callbacks.call(event, &mut context)?;
        Ok(context.vetoed)
    }
}
