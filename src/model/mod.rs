//! An opened model: its file, its graph's facts, its contract with rasters, and sessions on demand.
//!
//! A [`Model`] is immutable and may be shared by threads. Sessions are made when they are first needed and kept for
//! the next job with the same provider and threads; each job at work has a session of its own.

mod contract;
mod description;
mod form;
mod metadata;
mod normalisation;
mod pool;
mod tags;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub use contract::Contract;
pub use description::describe;
pub use form::Form;
pub use normalisation::Normalisation;
pub use pool::PooledSession;
pub use tags::Tags;

use crate::error::Result;
use crate::onnx::{Document, Facts, Limits, ReceptiveField};
use crate::runtime::{Runtime, Session, SessionOptions};

/// How to open a model.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The output to take; `None`: the first.
    pub output: Option<String>,
    /// What an untrusted model file may ask for.
    pub limits: Limits,
}

impl ModelOptions {
    /// Takes the output of this name.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.output = Some(name.into());
        self
    }

    /// Sets what the file may ask for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// An opened model. May be shared by threads.
#[derive(Debug)]
pub struct Model {
    runtime: Runtime,
    document: Document,
    facts: Facts,
    contract: Contract,
    path: Option<PathBuf>,
    pool: Arc<pool::Pool>,
    receptive_field: OnceLock<ReceptiveField>,
    fingerprint: OnceLock<String>,
}

impl Model {
    /// Reads and checks the model file at `path`.
    ///
    /// # Errors
    /// As [`Document::open`]; [`ModelUnsupported`](crate::ErrorKind::ModelUnsupported) where the model cannot score rasters (see [`Contract`]).
    pub fn open(runtime: &Runtime, path: impl AsRef<Path>, options: &ModelOptions) -> Result<Model> {
        let path = path.as_ref();
        let document = Document::open(path, &options.limits)?;
        Model::new(runtime, document, options, Some(path)).map_err(|error| error.at_path(path))
    }

    /// Checks a model that is in memory already. It cannot have weights in other files.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(runtime: &Runtime, bytes: Vec<u8>, options: &ModelOptions) -> Result<Model> {
        Model::new(runtime, Document::from_bytes(bytes, &options.limits)?, options, None)
    }

    fn new(
        runtime: &Runtime,
        document: Document,
        options: &ModelOptions,
        path: Option<&Path>,
    ) -> Result<Model> {
        let facts = Facts::of(&document);
        let contract = Contract::of(&document, &facts, options.output.as_deref())?;
        Ok(Model {
            runtime: runtime.clone(),
            document,
            facts,
            contract,
            path: path.map(Into::into),
            pool: Arc::default(),
            receptive_field: OnceLock::new(),
            fingerprint: OnceLock::new(),
        })
    }

    /// The runtime it runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The file it came from; `None` for a model from bytes.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The file as a graph.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// What the file says about itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What it takes and gives.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Which pixels an output depends on, and which nodes look at the whole tile. Found out once.
    ///
    /// # Errors
    /// As [`ReceptiveField::of`]: for graphs that cannot be followed.
    pub fn receptive_field(&self) -> Result<&ReceptiveField> {
        if let Some(known) = self.receptive_field.get() {
            return Ok(known);
        }
        let channels = self.contract.likely_channels();
        let found = ReceptiveField::of(&self.document, Some(self.contract.output()), channels)?;
        Ok(self.receptive_field.get_or_init(|| found))
    }

    /// [`Document::fingerprint`], worked out once.
    ///
    /// # Errors
    /// As that.
    pub fn fingerprint(&self) -> Result<&str> {
        if let Some(known) = self.fingerprint.get() {
            return Ok(known);
        }
        let found = self.document.fingerprint()?;
        Ok(self.fingerprint.get_or_init(|| found))
    }

    /// A session for these options: an idle one, or a new one. It goes back when it is dropped.
    ///
    /// # Errors
    /// As [`Session::new`]; errors of weights in other files.
    pub fn session(&self, options: &SessionOptions) -> Result<PooledSession> {
        self.session_as(&Form::default(), options)
    }

    /// A session of the model in another form, likewise.
    ///
    /// # Errors
    /// As [`Model::session`]; [`HalfPrecision::of`](crate::onnx::HalfPrecision::of) and [`fused`](crate::onnx::fused) for
    /// models that cannot have that form.
    pub fn session_as(&self, form: &Form, options: &SessionOptions) -> Result<PooledSession> {
        let key = (form.clone(), options.clone());
        let session = match self.pool.take(&key) {
            Some(session) => session,
            None => {
                let session = form.of(self).and_then(|bytes| Session::new(&self.runtime, &bytes, options));
                session.map_err(|error| match &self.path {
                    Some(path) => error.at_path(path),
                    None => error,
                })?
            }
        };
        Ok(PooledSession::new(session, key, &self.pool))
    }
}
