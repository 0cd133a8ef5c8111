//! How much a model file may ask for.

/// Limits on an untrusted model file.
///
/// The defaults let every segmentation model in use through and keep a hostile file from taking more memory than its
/// own size explains.
///
/// ```
/// let mut limits = glebe::onnx::Limits::default();
/// limits.external_data = false;
/// limits.file_bytes = 100 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the model file: 2 GiB, more than which no protobuf can have.
    pub file_bytes: u64,
    /// Messages within messages, the model being the first: 64. A body of a control-flow node takes three. More than
    /// 100 has no effect, since decoding stops there.
    pub depth: usize,
    /// Nodes of all graphs and functions together: 100 000.
    pub nodes: u64,
    /// Memory of the decoded messages without the tensors' bytes (which are shared with the file), a generous
    /// estimate: 2 GiB.
    pub decoded_bytes: u64,
    /// Elements of one tensor: 2^30.
    pub tensor_elements: u64,
    /// Bytes of all constant tensors together, those in other files included: 8 GiB.
    pub tensor_bytes: u64,
    /// Elements that one node makes out of constant sizes (ConstantOfShape and its like): 2^28, as float32 1 GiB.
    pub produced_elements: u64,
    /// Whether weights may be in other files: yes, if these are plain files in the model's folder or below it.
    pub external_data: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file_bytes: 2 << 30,
            depth: 64,
            nodes: 100_000,
            decoded_bytes: 2 << 30,
            tensor_elements: 1 << 30,
            tensor_bytes: 8 << 30,
            produced_elements: 1 << 28,
            external_data: true,
        }
    }
}

impl Limits {
    /// For what glebe has made itself.
    pub(crate) const UNLIMITED: Limits = Limits {
        file_bytes: u64::MAX,
        depth: 64,
        nodes: u64::MAX,
        decoded_bytes: u64::MAX,
        tensor_elements: u64::MAX,
        tensor_bytes: u64::MAX,
        produced_elements: u64::MAX,
        external_data: false,
    };
}
