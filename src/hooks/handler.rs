//! The callbacks of a run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::hooks::context::Context;
use crate::hooks::event::{Callback, Event};
use crate::hooks::state::TrainerState;

/// The callbacks of a run, in the order of their calls.
#[derive(Debug, Default)]
pub struct Callbacks {
    list: Vec<Box<dyn Callback>>,
}

impl Callbacks {
    /// None.
    pub fn new() -> Callbacks {
        Callbacks::default()
    }

    /// Adds one behind the others.
    pub fn add(&mut self, callback: impl Callback + 'static) -> &mut Callbacks {
        self.list.push(Box::new(callback));
        self
    }

    /// Adds others behind them.
    pub fn append(&mut self, mut others: Callbacks) {
        self.list.append(&mut others.list);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Tells all of them of an event, in order; the first error ends that.
    ///
    /// # Errors
    /// The callback's own, with its name and the event's as cause.
    pub fn call(&mut self, event: Event, context: &mut Context<'_>) -> Result<()> {
        for callback in &mut self.list {
            if let Err(error) = callback.dispatch(event, context) {
                let kind = error.kind();
                let message = format!("callback {} failed at {event}", callback.name());
                return Err(Error::new(kind, message).caused_by(error));
            }
        }
        Ok(())
    }

    /// Tells all of them of the error that ends the run; what fails meanwhile is passed over, so that everyone hears.
    pub fn exception(&mut self, error: &Error, state: &mut TrainerState) {
        for callback in &mut self.list {
            let mut context = Context::new(state);
            context.error = Some(error);
            if let Err(second) = callback.dispatch(Event::Exception, &mut context) {
                tracing::warn!("callback {} failed at exception: {}", callback.name(), second.one_line());
            }
        }
    }

    /// The states of those that have one, by name; the second of a name is `NAME_2`.
    pub fn state_dict(&self) -> BTreeMap<String, Value> {
        self.named().filter_map(|(name, callback)| Some((name, callback.state_dict()?))).collect()
    }

    /// Gives every callback its state; states of callbacks that are not there are left.
    ///
    /// # Errors
    /// The callback's own.
    pub fn load_state_dict(&mut self, states: &BTreeMap<String, Value>) -> Result<()> {
        let names: Vec<String> = self.named().map(|(name, _)| name).collect();
        for (name, callback) in names.iter().zip(&mut self.list) {
            if let Some(state) = states.get(name) {
                callback.load_state_dict(state).map_err(|error| {
                    let message = format!("callback {name} cannot go on from the checkpoint");
                    Error::new(error.kind(), message).caused_by(error)
                })?;
            }
        }
        Ok(())
    }

    fn named(&self) -> impl Iterator<Item = (String, &Box<dyn Callback>)> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        self.list.iter().map(move |callback| {
            let mut name = callback.name().to_owned();
            let mut count = 1;
            // One may be called as the second of another is.
            while !taken.insert(name.clone()) {
                count += 1;
                name = format!("{}_{count}", callback.name());
            }
            (name, callback)
        })
    }
}
