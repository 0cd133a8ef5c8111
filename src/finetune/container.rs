//! Everything that a training needs, in one trait.

use crate::data::Loader;
use crate::error::{Error, Result};
use crate::finetune::fit_options::FitOptions;
use crate::finetune::step::TrainStep;
use crate::finetune::trainer::Trainer;
use crate::hooks::{Callbacks, Split};

/// The data of a training or of an inference.
#[non_exhaustive]
pub struct Loaders {
    /// For training.
    pub train: Option<Box<dyn Loader>>,
    /// For validation.
    pub validation: Option<Box<dyn Loader>>,
    /// For testing.
    pub test: Option<Box<dyn Loader>>,
}

impl std::fmt::Debug for Loaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let batches = |own: &Option<Box<dyn Loader>>| own.as_ref().map(|own| own.batches());
        f.debug_struct("Loaders")
            .field("train", &batches(&self.train))
            .field("validation", &batches(&self.validation))
            .field("test", &batches(&self.test))
            .finish()
    }
}

impl Loaders {
    /// Data for training only.
    pub fn new(train: impl Loader + 'static) -> Loaders {
        Loaders { train: Some(Box::new(train)), validation: None, test: None }
    }

    /// Data for validation too.
    pub fn validation(mut self, data: impl Loader + 'static) -> Loaders {
        self.validation = Some(Box::new(data));
        self
    }

    /// Data for testing too.
    pub fn test(mut self, data: impl Loader + 'static) -> Loaders {
        self.test = Some(Box::new(data));
        self
    }

    fn of(&mut self, split: Split) -> Option<&mut Box<dyn Loader>> {
        match split {
            Split::Train => self.train.as_mut(),
            Split::Val => self.validation.as_mut(),
            Split::Test => self.test.as_mut(),
        }
    }
}

/// What becomes of a model that has been trained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AfterFit {
    /// Nothing.
    Nothing,
    /// The test data are tested, where there are any: Lightning's `test_step`.
    #[default]
    Test,
    /// The inference hooks are called over these splits, in this order: `InnerEyeInference`. InnerEye's own default is the
    /// test data only; of several its code takes test, validation, training.
    Infer(Vec<Split>),
}

/// Model, data for training and inference, and parameters of the trainer in one place: InnerEye's `LightningContainer`.
pub trait Container {
    /// The step that trains the model (`create_model`).
    ///
    /// # Errors
    /// Of your own.
    fn create_step(&mut self) -> Result<TrainStep>;

    /// The data for training and validation (`get_data_module`).
    ///
    /// # Errors
    /// Of your own.
    fn training_data(&mut self) -> Result<Loaders>;

    /// The data for test and inference (`get_inference_data_module`): those for training by default.
    ///
    /// # Errors
    /// Of your own.
    fn inference_data(&mut self) -> Result<Loaders> {
        self.training_data()
    }

    /// How the training goes (`TrainerParams`, `get_trainer_arguments`, and the learning rate of `OptimizerParams`).
    fn fit_options(&self) -> FitOptions;

    /// The callbacks (`get_callbacks`).
    ///
    /// # Errors
    /// Of your own.
    fn callbacks(&mut self) -> Result<Callbacks> {
        Ok(Callbacks::new())
    }

    /// What comes after the training.
    fn after_fit(&self) -> AfterFit {
        AfterFit::default()
    }
}

/// Metrics of a test, by name.
pub type TestMetrics = Vec<(String, f64)>;

/// Trains what a container holds, from the newest checkpoint on where there are any, and tests or infers with the
/// weights of the end, or with the best where the options say so. Gives the trainer, and the metrics of a test.
///
/// # Errors
/// The container's; those of [`Trainer::new`], [`Trainer::resume_newest`], [`Trainer::fit`], [`Trainer::test`] and
/// [`Trainer::infer`]; `InvalidArgument` without data for training or for a split of the inference.
pub fn run_container(container: &mut dyn Container) -> Result<(Trainer, Option<TestMetrics>)> {
    let options = container.fit_options();
    let has_checkpoints = options.checkpoints.is_some();
    let mut trainer = Trainer::new(container.create_step()?, options, container.callbacks()?)?;
    let mut data = container.training_data()?;
    let Some(train) = &mut data.train else {
        return Err(Error::invalid("the container has no data for training"));
    };
    if has_checkpoints {
        trainer.resume_newest()?;
    }
    let validation = data.validation.as_mut().map(|own| &mut **own as &mut dyn Loader);
    trainer.fit(&mut **train, validation)?;
    drop(data);
    let metrics = match container.after_fit() {
        AfterFit::Nothing => None,
        AfterFit::Test => match container.inference_data()?.test {
            Some(mut test) => Some(trainer.test(&mut *test)?),
            None => None,
        },
        AfterFit::Infer(splits) => {
            let mut data = container.inference_data()?;
            if let Some(at) = (1..splits.len()).find(|at| splits[..*at].contains(&splits[*at])) {
                let message = format!("the split {} is asked for twice", splits[at].name());
                return Err(Error::invalid(message));
            }
            if let Some(split) = splits.iter().find(|split| data.of(**split).is_none()) {
                let message = format!("the container has no data for inference on {}", split.name());
                return Err(Error::invalid(message));
            }
            let Loaders { train, validation, test } = data;
            let mut all = [(Split::Train, train), (Split::Val, validation), (Split::Test, test)];
            let mut wanted = Vec::new();
            for split in splits {
                if let Some((_, data)) = all.iter_mut().find(|own| own.0 == split)
                    && let Some(data) = data.take()
                {
                    wanted.push((split, data));
                }
            }
            let mut wanted: Vec<(Split, &mut dyn Loader)> =
                wanted.iter_mut().map(|(split, data)| (*split, &mut **data as &mut dyn Loader)).collect();
            trainer.infer(&mut wanted)?;
            None
        }
    };
    Ok((trainer, metrics))
}
