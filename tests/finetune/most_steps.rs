//! A number of updates that ends a training within an epoch.

use std::path::Path;
use std::sync::{Arc, Mutex};

use glebe::Result;
use glebe::finetune::{Checkpoints, FitOptions, LAST, Tail, Trainer};
use glebe::hooks::{Callback, Callbacks, Context};

use crate::lifecycle::{loader, trainer};

/// Batches, updates and validations of each epoch.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<Mutex<Vec<[u64; 3]>>>);

impl Counts {
    fn add(&self, at: usize) {
        if let Some(own) = self.0.lock().unwrap().last_mut() {
            own[at] += 1;
        }
    }
}

impl Callback for Counts {
    fn epoch_start(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.0.lock().unwrap().push([0; 3]);
        Ok(())
    }

    fn backward_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.add(0);
        Ok(())
    }

    fn optimizer_step_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.add(1);
        Ok(())
    }

    fn validation_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.add(2);
        Ok(())
    }
}

fn options(folder: &Path, epochs: u64, most: u64, accumulate: usize) -> FitOptions {
    let mut options = FitOptions::new(epochs, 1e-2);
    (options.max_steps, options.accumulate) = (Some(most), accumulate);
    options.checkpoints = Some(Checkpoints::new(folder));
    options
}

/// Epochs of 6 batches.
fn fit(trainer: &mut Trainer) {
    trainer.fit(&mut loader(6, 1).shuffled(), Some(&mut loader(1, 9))).unwrap();
}

fn counted(options: FitOptions) -> (Vec<[u64; 3]>, Trainer) {
    let counts = Counts::default();
    let mut callbacks = Callbacks::new();
    callbacks.add(counts.clone());
    let mut trainer = trainer(options, callbacks);
    fit(&mut trainer);
    let found = counts.0.lock().unwrap().clone();
    (found, trainer)
}

#[test]
fn updates_end_it_and_not_batches() {
    for (epochs, most, accumulate, expected) in [
        (9, 8, 1, vec![[6, 6, 1], [2, 2, 1]]),
        (9, 6, 1, vec![[6, 6, 1]]),
        // Epochs may be fewer.
        (1, 8, 1, vec![[6, 6, 1]]),
        (9, 4, 2, vec![[6, 3, 1], [2, 1, 1]]),
        // 4 and 2 batches an epoch: the end of an epoch is an update, too.
        (9, 5, 4, vec![[6, 2, 1], [6, 2, 1], [4, 1, 1]]),
        (9, 1, 4, vec![[4, 1, 1]]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (found, trainer) = counted(options(folder.path(), epochs, most, accumulate));
        assert_eq!(found, expected, "{epochs} {most} {accumulate}");
        let (epoch, steps) = (found.len() as u64, found.iter().map(|own| own[1]).sum::<u64>());
        assert_eq!((trainer.state().epoch, trainer.state().global_step), (epoch, steps));
        // The last epoch has its checkpoint, though it is short.
        let kept = glebe::finetune::Checkpoint::read(folder.path().join(LAST)).unwrap();
        assert_eq!((kept.epoch, kept.global_step), (epoch, steps));
        assert_eq!(kept, trainer.checkpoint().unwrap());
    }
}

#[test]
fn gradients_that_wait_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut own = options(folder.path(), 9, 3, 4);
    (own.tail, own.checkpoints) = (Tail::Carry, None);
    // 4 of 6 batches are an update; the other 2 wait for 2 of the next epoch, and so on.
    let (found, _) = counted(own);
    assert_eq!(found, [[6, 1, 1], [6, 2, 1]]);
}

#[test]
fn a_training_that_goes_on_has_as_many_as_one_that_never_stopped() {
    let whole = tempfile::tempdir().unwrap();
    let (_, expected) = counted(options(whole.path(), 9, 14, 1));
    let expected = expected.checkpoint().unwrap();
    assert_eq!((expected.epoch, expected.global_step), (3, 14));
    let folder = tempfile::tempdir().unwrap();
    // By whole epochs at first.
    for (epochs, most, done) in [(1, 14, (1, 6)), (9, 12, (2, 12)), (9, 14, (3, 14))] {
        let mut own = trainer(options(folder.path(), epochs, most, 1), Callbacks::new());
        assert_eq!(own.resume_newest().unwrap(), done.0 > 1);
        fit(&mut own);
        assert_eq!((own.state().epoch, own.state().global_step), done);
    }
    let last = |folder: &Path| std::fs::read(folder.join(LAST)).unwrap();
    assert_eq!(last(folder.path()), last(whole.path()));
    // Nothing is left.
    let mut own = trainer(options(folder.path(), 9, 14, 1), Callbacks::new());
    own.resume_newest().unwrap();
    fit(&mut own);
    assert_eq!(own.checkpoint().unwrap(), expected);
}
