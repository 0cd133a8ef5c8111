//! How a session is prepared.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::error::{Error, ErrorKind, Result};
#[cfg(unix)]
use crate::runtime::heap;
use crate::runtime::{Provider, ProviderKind, Runtime, operators};

/// How much the runtime may rewrite a graph before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Optimization {
    /// Not at all.
    Off,
    /// Constant folding, elimination of what is redundant, plain fusions: the same for all providers.
    Basic,
    /// Fusions of whole patterns too (Gelu, LayerNormalization, Conv with its activation).
    Extended,
    /// The layout of images too: the CPU provider turns convolutions to blocked channels (NCHWc) and puts a reorder
    /// wherever a tensor leaves them, which a training graph does often. Worth measuring against
    /// [`Extended`](Optimization::Extended).
    #[default]
    All,
}

/// How to prepare a model.
///
/// # What lowers the peak memory
///
/// * [`arena`](SessionOptions::arena) off: the CPU provider asks the system for every tensor and gives it back after
///   its last use. The arena grows by doubling its chunks and keeps them until the session ends, so that the first
///   run of a training graph can leave up to twice of what it needed. Cost: page faults for each large tensor.
/// * [`heap`](SessionOptions::heap) on: tensors lie as close as they fit, and memory that was freed is used again without
///   asking the system. What training uses.
/// * [`memory_pattern`](SessionOptions::memory_pattern) off: with it, the runtime notes the sizes of the first run of
///   each set of input shapes, and takes one block for all activations of later ones. The block is close to the true
///   peak, but is there besides what the arena has kept from the first run. Without the arena it has no effect.
/// * The entry `session.use_env_allocators` = `1` (see [`config`](SessionOptions::config)) makes the sessions of one
///   process share an arena; only useful where several sessions run one after the other.
/// * The entry `session.disable_prepacking` = `1` drops the copies of constant weights in the layout of the
///   processor's matrix multiplication: less memory, slower frozen layers. Weights that are inputs are never packed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Where it runs. Strict: no fallback.
    pub provider: Provider,
    /// Threads within an operator; 0 is one a processor.
    pub threads: usize,
    /// How much of the graph may be rewritten.
    pub optimization: Optimization,
    /// Asks providers for kernels that give the same bits in every run, where they have slower ones for that (CUDA);
    /// the CPU provider has none that differ at a fixed number of threads.
    pub deterministic: bool,
    /// Optimizers of the runtime that must not run, by the names it gives them (`CommonSubexpressionElimination`).
    pub disabled_optimizers: Vec<String>,
    /// Whether the runtime plans one block for the activations of known sizes. On by default.
    pub memory_pattern: bool,
    /// Whether the CPU provider keeps freed memory for later. On by default.
    pub arena: bool,
    /// Whether tensors of the CPU provider lie in glebe's own heap instead, which all sessions with this setting share: for
    /// graphs that go through large tensors again and again. Its peak is little above that of the tensors alive, and
    /// memory is kept until all of it is free. Unix only (elsewhere, and without `arena`, it has no effect). Off by default.
    pub heap: bool,
    /// Whether a [`Session`](super::Session) keeps input and output in buffers on the device that stay where they are, and
    /// copies what goes in and out. On with providers that capture graphs ([`Provider::captures_graphs`]), which need it.
    /// Off by default.
    pub fixed_buffers: bool,
    /// More of the runtime's own settings, as (key, value); they are applied last, so they win.
    pub config: Vec<(String, String)>,
    /// Where to write a profile (times of all nodes, as trace events): the start of the file's name. The file is
    /// complete after [`BoundSession::end_profile`](super::BoundSession::end_profile).
    pub profile: Option<PathBuf>,
    /// Whether the graph may use glebe's own [`operators`]; the CPU provider runs them.
    pub operators: bool,
}

/// Bytes that sessions with [`SessionOptions::heap`] take at most for tensors of which so many bytes are alive at a time.
pub(crate) fn heap_bytes(alive: u64) -> u64 {
    #[cfg(unix)]
    return usize::try_from(alive).map_or(u64::MAX, |alive| heap::touched(alive) as u64);
    // The runtime's arena doubles what it has.
    #[cfg(not(unix))]
    return alive.saturating_mul(2);
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            provider: Provider::default(),
            threads: 0,
            optimization: Optimization::default(),
            deterministic: false,
            disabled_optimizers: Vec::new(),
            memory_pattern: true,
            arena: true,
            heap: false,
            fixed_buffers: false,
            config: Vec::new(),
            profile: None,
            operators: false,
        }
    }
}

impl SessionOptions {
    /// Prepares the model in `bytes`.
    pub(super) fn commit(&self, runtime: &Runtime, bytes: &[u8]) -> Result<OrtSession> {
        /// Whether a session with the operators has been made in this process. The runtime keeps a list of domains
        /// for all sessions and, where two are made at the same time, enters a new one twice, which it then refuses.
        static KNOWN: Mutex<bool> = Mutex::new(false);
        let mut builder = self.builder(runtime)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.operators || *known {
            drop(known);
            return builder.commit_from_memory(bytes).map_err(|error| refused(&error));
        }
        let session = builder.commit_from_memory(bytes).map_err(|error| refused(&error))?;
        *known = true;
        Ok(session)
    }

    fn builder(&self, runtime: &Runtime) -> Result<SessionBuilder> {
        let level = match self.optimization {
            Optimization::Off => GraphOptimizationLevel::Disable,
            Optimization::Basic => GraphOptimizationLevel::Level1,
            Optimization::Extended => GraphOptimizationLevel::Level2,
            Optimization::All => GraphOptimizationLevel::All,
        };
        let mut builder = OrtSession::builder(runtime.environment())
            .map_err(|error| Error::new(ErrorKind::Runtime, format!("cannot create a session: {error}")))?
            .with_intra_threads(self.threads)
            .map_err(prepare)?
            // Spinning threads would compete with reading, blending and writing for few cores.
            .with_intra_op_spinning(false)
            .map_err(prepare)?
            .with_optimization_level(level)
            .map_err(prepare)?
            .with_memory_pattern(self.memory_pattern)
            .map_err(prepare)?;
        if self.deterministic {
            builder = builder.with_deterministic_compute(true).map_err(prepare)?;
        }
        if !self.disabled_optimizers.is_empty() {
            builder =
                builder.with_disabled_optimizers(self.disabled_optimizers.join(";")).map_err(prepare)?;
        }
        if let Some(profile) = &self.profile {
            builder = builder.with_profiling(profile).map_err(prepare)?;
        }
        builder = self.provider.register(runtime, builder)?;
        if !self.arena {
            let cpu = ort::ep::CPU::default().with_arena_allocator(false).build();
            builder = builder.with_execution_providers([cpu]).map_err(prepare)?;
        }
        #[cfg(unix)]
        if self.heap
            && self.arena
            && self.provider.kind() == ProviderKind::Cpu
            && heap::register(runtime.environment())
        {
            builder = builder.with_env_allocators().map_err(prepare)?;
        }
        if self.operators {
            let domain = operators::domain(self.threads).map_err(prepare)?;
            builder = builder.with_operators(domain).map_err(prepare)?;
        }
        for (key, value) in &self.config {
            if key.contains('\0') || value.contains('\0') {
                return Err(Error::invalid(format!("session setting {key:?} holds a NUL character")));
            }
            builder = builder.with_config_entry(key, value).map_err(prepare)?;
        }
        Ok(builder)
    }
}

fn prepare<T>(error: ort::Error<T>) -> Error {
    Error::new(ErrorKind::Runtime, format!("cannot set session options: {error}"))
}

/// Sorts the runtime's refusal of a model by its code.
fn refused(error: &ort::Error) -> Error {
    use ort::ErrorCode;
    let kind = match error.code() {
        ErrorCode::InvalidProtobuf | ErrorCode::InvalidGraph => ErrorKind::ModelInvalid,
        ErrorCode::NotImplemented => ErrorKind::ModelUnsupported,
        _ if error.message().contains("allocate") => ErrorKind::OutOfMemory,
        ErrorCode::InvalidArgument | ErrorCode::GenericFailure => ErrorKind::ModelInvalid,
        _ => ErrorKind::Runtime,
    };
    Error::new(kind, format!("ONNX Runtime refuses the model: {error}"))
}
