//! A model file that has passed the guard.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::external::{External, read_bytes};
use crate::onnx::limits::Limits;
use crate::onnx::proto::{Bytes, GraphProto, ModelProto, TensorProto};
use crate::onnx::scan::exceeded;
use crate::onnx::wire::Outline;
use crate::onnx::{guard, short, tensors};

/// A model file: its bytes, what they say, and where they say it.
///
/// All of it is read-only and may be shared by threads. The decoded tensors share the memory of the bytes.
#[derive(Clone)]
pub struct Document {
    bytes: Bytes,
    model: ModelProto,
    outline: Outline,
    folder: Option<PathBuf>,
}

impl Document {
    /// Reads and checks the model at `path`. The file is read into memory, not mapped, so that nobody can change it
    /// after the check. Its weights may be in other files of the same folder.
    ///
    /// # Errors
    ///
    /// All name the path.
    ///
    /// * `NotFound`, `PermissionDenied`, `Io` of the operating system;
    /// * `InvalidArgument` where the path is a folder or a device;
    /// * `ModelInvalid` where it is damaged or no ONNX model;
    /// * `LimitExceeded` where it asks for more than `limits` allow;
    /// * `ModelUnsupported` where it is sound and cannot be used;
    /// * `OutOfMemory` where the file does not fit.
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Document> {
        let path = path.as_ref();
        let bytes = read_file(path, limits).map_err(|error| error.at_path(path))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Document::checked(bytes.into(), limits, Some(folder)).map_err(|error| error.at_path(path))
    }

    /// Checks a model that is in memory already. It cannot have weights in other files.
    ///
    /// # Errors
    ///
    /// `ModelInvalid`, `LimitExceeded`, `ModelUnsupported` as [`Document::open`].
    pub fn from_bytes(bytes: Vec<u8>, limits: &Limits) -> Result<Document> {
        Document::checked(bytes.into(), limits, None)
    }

    /// The file.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The file, decoded.
    pub fn model(&self) -> &ModelProto {
        &self.model
    }

    /// The network. Every document has one.
    pub fn graph(&self) -> &GraphProto {
        // The guard refuses files without a graph; the fallback keeps this free of panics.
        static NONE: std::sync::OnceLock<GraphProto> = std::sync::OnceLock::new();
        self.model.graph.as_deref().unwrap_or_else(|| NONE.get_or_init(GraphProto::default))
    }

    /// Where in the file everything is.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The folder of the file; `None` for a model from bytes.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The producer's key and value pairs, by key. Of a key given twice the last counts.
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        self.model.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect()
    }

    /// The elements of a tensor of this model, little-endian and row-major, from the model file or the file that the
    /// tensor names. External files are checked again, as they may have changed.
    ///
    /// # Errors
    ///
    /// `ModelUnsupported` for elements in typed lists (see [`TensorProto::to_f32`]) and refused files; `ModelInvalid`,
    /// `NotFound`, `PermissionDenied`, `Io`, `OutOfMemory` as [`Document::open`].
    pub fn resolve(&self, tensor: &TensorProto) -> Result<Bytes> {
        if tensor.is_external() {
            return self.resolve_external(tensor);
        }
        tensor.raw_data.clone().ok_or_else(|| {
            Error::new(ErrorKind::ModelUnsupported, "elements are in a typed list, not in bytes")
                .at_tensor(short(&tensor.name))
        })
    }

    /// Reads the elements of a tensor from the file that it names.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where the tensor is not external, otherwise as [`Document::resolve`].
    pub fn resolve_external(&self, tensor: &TensorProto) -> Result<Bytes> {
        let read = || {
            if !tensor.is_external() {
                return Err(Error::invalid("the elements are not in another file"));
            }
            let Some(folder) = &self.folder else {
                return Err(Error::new(ErrorKind::ModelUnsupported, "a model from bytes has no other files"));
            };
            let needed =
                tensor.elements().and_then(|count| tensors::element_type(tensor).ok()?.packed_bytes(count));
            let needed =
                needed.ok_or_else(|| Error::new(ErrorKind::ModelInvalid, "a tensor without a size"))?;
            External::of(tensor, needed)?.read(folder)
        };
        read().map_err(|error| error.at_tensor(short(&tensor.name)))
    }

    /// A number that tells models apart: the FNV-1a hash of the file and of the external elements of its
    /// initializers, 16 hexadecimal digits. Stable across versions and machines; no protection against intent.
    /// O(bytes), about a second a gigabyte.
    ///
    /// # Errors
    ///
    /// As [`Document::resolve_external`].
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = fnv(0xcbf2_9ce4_8422_2325, &self.bytes);
        for tensor in self.graph().initializer.iter().filter(|tensor| tensor.is_external()) {
            hash = fnv(hash, &self.resolve_external(tensor)?);
        }
        Ok(format!("{hash:016x}"))
    }

    fn checked(bytes: Bytes, limits: &Limits, folder: Option<PathBuf>) -> Result<Document> {
        let (model, outline) = guard::decode(&bytes, limits, folder.as_deref())?;
        Ok(Document { bytes, model, outline, folder })
    }
}

impl fmt::Debug for Document {
    /// Sizes instead of contents, which may be gigabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("folder", &self.folder)
            .field("bytes", &self.bytes.len())
            .field("nodes", &self.graph().node.len())
            .finish_non_exhaustive()
    }
}

fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    if found.is_dir() {
        return Err(Error::invalid("is a folder, expected a model file"));
    }
    if !found.is_file() {
        return Err(Error::invalid("is not a regular file, expected a model file"));
    }
    exceeded("size of the model file in bytes", found.len(), limits.file_bytes)?;
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    // One more than there should be: a file that grows is noticed.
    let bytes = read_bytes(file.take(found.len() + 1), found.len(), path)?;
    if bytes.len() as u64 != found.len() {
        return Err(Error::new(ErrorKind::Io, "the file changed while it was read"));
    }
    Ok(bytes)
}

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{DataLocation, StringStringEntryProto};
    use crate::onnx::{ElementType, GraphBuilder};
    use prost::Message;

    fn inline() -> ModelProto {
        let mut graph = GraphBuilder::new("tiny");
        let x = graph.input("x", ElementType::Float32, &[2u64.into()]);
        let w = graph.initializer_f32("w", &[2], &[1.0, 2.0]);
        let y = graph.node("Add", &[&x, &w]).output("y");
        graph.output(&y, ElementType::Float32, &[2u64.into()]);
        graph.metadata("classes", "a,b");
        ModelProto::decode(&graph.finish().unwrap()[..]).unwrap()
    }

    /// The model with its weight in the file `location`.
    fn external(location: &str) -> Vec<u8> {
        let mut model = inline();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.raw_data = None;
        tensor.data_location = DataLocation::External as i32;
        tensor.external_data =
            vec![StringStringEntryProto { key: "location".into(), value: location.into() }];
        model.encode_to_vec()
    }

    #[test]
    fn opens_a_file_and_tells_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let bytes = inline().encode_to_vec();
        std::fs::write(&path, &bytes).unwrap();
        let document = Document::open(&path, &Limits::default()).unwrap();
        assert_eq!(document.bytes()[..], bytes);
        assert_eq!(document.folder(), Some(folder.path()));
        assert_eq!(document.graph().name, "tiny");
        assert_eq!(document.metadata().get("classes"), Some(&"a,b"));
        let weight = document.graph().initializer("w").unwrap();
        assert_eq!(weight.to_f32(), Some(vec![1.0, 2.0]));
        // Shared with the file, not copied.
        let raw = document.resolve(weight).unwrap();
        assert!(document.bytes().as_ptr_range().contains(&raw.as_ptr()));
        let other = Document::from_bytes(bytes, &Limits::default()).unwrap();
        assert_eq!(other.fingerprint().unwrap(), document.fingerprint().unwrap());
        assert_eq!(format!("{:016x}", fnv(0xcbf2_9ce4_8422_2325, b"foobar")), "85944171f73967e8");
    }

    #[test]
    fn paths_that_are_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = Document::open(folder.path(), &Limits::default()).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidArgument, Some(folder.path())));
        assert!(error.message().contains("is a folder"));
        let error = Document::open(folder.path().join("no.onnx"), &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.path().is_some());
        std::fs::write(folder.path().join("e.onnx"), b"").unwrap();
        let error = Document::open(folder.path().join("e.onnx"), &Limits::default()).unwrap_err();
        assert_eq!(error.message(), "not an ONNX model: the file is empty");
        #[cfg(unix)]
        assert_eq!(
            Document::open("/dev/zero", &Limits::default()).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }

    #[test]
    fn weights_in_another_file_are_read_from_the_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, external("w.bin")).unwrap();
        let open = || Document::open(&path, &Limits::default());
        assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(folder.path().join("w.bin"), [0; 7]).unwrap();
        let error = open().unwrap_err();
        assert_eq!((error.kind(), error.tensor()), (ErrorKind::ModelInvalid, Some("w")));
        std::fs::write(folder.path().join("w.bin"), [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let document = open().unwrap();
        let weight = document.graph().initializer("w").unwrap();
        assert_eq!(document.resolve(weight).unwrap()[..], [1, 2, 3, 4, 5, 6, 7, 8]);
        let before = document.fingerprint().unwrap();
        std::fs::write(folder.path().join("w.bin"), [0; 8]).unwrap();
        assert_ne!(document.fingerprint().unwrap(), before);

        let limits = Limits { external_data: false, ..Limits::default() };
        assert_eq!(Document::open(&path, &limits).unwrap_err().kind(), ErrorKind::LimitExceeded);
        let error = Document::from_bytes(external("w.bin"), &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelUnsupported);
        for location in ["../w.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"] {
            std::fs::write(&path, external(location)).unwrap();
            assert_eq!(open().unwrap_err().kind(), ErrorKind::ModelInvalid);
        }
    }

    #[test]
    fn an_address_is_refused_even_where_it_would_not_be_used() {
        let mut model = inline();
        model.graph.as_mut().unwrap().initializer[0].external_data =
            vec![StringStringEntryProto { key: "location".into(), value: "*/_ORT_MEM_ADDR_/*".into() }];
        assert!(Document::from_bytes(model.encode_to_vec(), &Limits::default()).is_err());
    }
}
