//! Learning rates of the schedulers that go by metrics and by updates, against PyTorch's
//! (tests/golden/schedules/make.py).

use std::sync::{Arc, Mutex};

use glebe::Result;
use glebe::finetune::{ArrayLoader, FitOptions, Trainer};
use glebe::hooks::{Callback, Callbacks, Context, Mode, OneCycle, Phase, Plateau};
use serde_json::Value;

use crate::fixtures::{Arrays, BATCH, SIZE, build, engines, options};
use crate::lifecycle::{loader, trainer};

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/schedules/schedules.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|own| own.as_f64().unwrap()).collect()
}

/// Logs a metric of the validation, one value an epoch.
#[derive(Debug)]
struct Says(Vec<f64>);

impl Callback for Says {
    fn evaluation_batches_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let epoch = usize::try_from(context.state.epoch).unwrap();
        context.log("said", self.0[epoch - 1])
    }
}

/// Notes the rate of every update.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates(Arc<Mutex<Vec<f64>>>);

impl Rates {
    pub(crate) fn taken(&self) -> Vec<f64> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Callback for Rates {
    fn optimizer_step_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.phase == Phase::Train {
            self.0.lock().unwrap().push(context.state.learning_rate);
        }
        Ok(())
    }
}

/// Smaller than a batch of the others: these runs are long.
fn one_batch() -> ArrayLoader {
    let own = Arrays::new(1);
    ArrayLoader::new(own.images, own.labels, BATCH, 3 * SIZE * SIZE, SIZE * SIZE).unwrap()
}

fn rates(epochs: u64, first: f64, add: impl FnOnce(&mut Callbacks)) -> Vec<f64> {
    let rates = Rates::default();
    let mut callbacks = Callbacks::new();
    add(&mut callbacks);
    callbacks.add(rates.clone());
    let mut trainer = trainer(FitOptions::new(epochs, first), callbacks);
    trainer.fit(&mut one_batch(), Some(&mut one_batch())).unwrap();
    rates.0.lock().unwrap().clone()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found / expected - 1.0).abs() < 1e-12, "{index}: {found} {expected}");
    }
}

#[test]
fn a_plateau_lowers_the_rate_as_pytorch_does() {
    let golden = golden();
    let said = numbers(&golden["values"]);
    let falling: Vec<f64> = (0..30).map(|index| 1.0 - 0.01 * f64::from(index)).collect();
    let cases = [
        ("lowest", &said, Plateau::new("said", Mode::Lowest).factor(0.5).patience(2)),
        ("highest", &said, Plateau::new("said", Mode::Highest).patience(1).cooldown(3).least(0.002)),
        ("threshold", &falling, Plateau::new("said", Mode::Lowest).patience(3).threshold(0.05)),
    ];
    for (name, said, plateau) in cases {
        let found = rates(30, 0.1, |callbacks| {
            callbacks.add(Says(said.clone())).add(plateau);
        });
        assert_close(&found, &numbers(&golden[name]));
    }
}

#[test]
fn one_cycle_is_pytorchs() {
    let golden = golden();
    let own = OneCycle::new(0.1, 20);
    let found: Vec<f64> = (0..20).map(|step| own.rate(step)).collect();
    assert_close(&found, &numbers(&golden["one_cycle"]));
    assert_eq!(own.rate(99), own.rate(19));
    let own = OneCycle::new(0.01, 7).rising(0.5).divisors(10.0, 100.0);
    let found = rates(7, 1.0, |callbacks| {
        callbacks.add(own);
    });
    assert_close(&found, &numbers(&golden["one_cycle_other"]));
}

#[test]
fn a_plateau_goes_on_where_it_was() {
    let said = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0];
    let plateau = || Plateau::new("said", Mode::Lowest).patience(1).factor(0.5);
    let whole = rates(7, 0.1, |callbacks| {
        callbacks.add(Says(said.into())).add(plateau());
    });
    assert_eq!(whole, [0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025]);
    let (first, second) = (Rates::default(), Rates::default());
    let run = |rates: &Rates, epochs| {
        let mut callbacks = Callbacks::new();
        callbacks.add(Says(said.into())).add(plateau()).add(rates.clone());
        trainer(FitOptions::new(epochs, 0.1), callbacks)
    };
    let mut part = run(&first, 4);
    part.fit(&mut one_batch(), Some(&mut one_batch())).unwrap();
    let mut rest = run(&second, 7);
    rest.resume(part.checkpoint().unwrap()).unwrap();
    rest.fit(&mut one_batch(), Some(&mut one_batch())).unwrap();
    let mut found = first.0.lock().unwrap().clone();
    found.extend(second.0.lock().unwrap().iter());
    assert_eq!(found, whole);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |add: &dyn Fn(&mut Callbacks)| {
        let mut callbacks = Callbacks::new();
        add(&mut callbacks);
        let made = Trainer::new(build(&options(), &engines()[0]), FitOptions::new(1, 0.1), callbacks);
        made.unwrap_err().one_line()
    };
    let text = refused(&|callbacks| {
        callbacks.add(Plateau::new("Loss", Mode::Lowest).factor(1.0));
    });
    assert!(text.contains("factor above 0 and below 1"), "{text}");
    let text = refused(&|callbacks| {
        callbacks.add(OneCycle::new(0.1, 0));
    });
    assert!(text.contains("one cycle"), "{text}");
    // A metric that is not there is named, with those that are.
    let mut callbacks = Callbacks::new();
    callbacks.add(Plateau::new("nonsense", Mode::Lowest));
    let mut own = trainer(FitOptions::new(1, 0.1), callbacks);
    let error = own.fit(&mut loader(1, 1), Some(&mut loader(1, 2))).unwrap_err();
    assert!(error.one_line().contains("no metric \"nonsense\"") && error.one_line().contains("MeanIoU"));
}
