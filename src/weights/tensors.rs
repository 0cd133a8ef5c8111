//! Tensors in a safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;

/// Elements of a [`NamedTensor`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Elements {
    /// `F32`; `F16` and `BF16` are widened when they are read.
    F32(Vec<f32>),
    /// `I64`.
    I64(Vec<i64>),
    /// `I32`.
    I32(Vec<i32>),
    /// `U8` and `BOOL`.
    U8(Vec<u8>),
}

impl Elements {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Elements::F32(values) => values.len(),
            Elements::I64(values) => values.len(),
            Elements::I32(values) => values.len(),
            Elements::U8(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dtype(&self) -> Dtype {
        match self {
            Elements::F32(_) => Dtype::F32,
            Elements::I64(_) => Dtype::I64,
            Elements::I32(_) => Dtype::I32,
            Elements::U8(_) => Dtype::U8,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Elements::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Elements::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Elements::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Elements::U8(values) => values.clone(),
        }
    }
}

/// A tensor: shape and elements, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Elements, as many as the sizes' product.
    pub elements: Elements,
}

impl NamedTensor {
    /// A tensor of `f32` elements.
    pub fn f32(shape: &[usize], values: Vec<f32>) -> NamedTensor {
        NamedTensor { shape: shape.to_vec(), elements: Elements::F32(values) }
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, NamedTensor>;

/// Largest file that is read: 64 GiB.
const MOST_BYTES: u64 = 64 << 30;

/// Reads all tensors of a file, which is checked by the safetensors library: names, types and places within the file.
///
/// # Errors
/// `NotFound`, `Io`; `InvalidArgument` for a file that is no safetensors file; `NotSupported` for element types
/// other than F32, F16, BF16, I64, I32, U8 and BOOL.
pub fn read(path: impl AsRef<Path>) -> Result<Tensors> {
    Ok(read_with_metadata(path)?.0)
}

/// Reads all tensors of a file and its metadata.
///
/// # Errors
/// As [`read`].
pub fn read_with_metadata(path: impl AsRef<Path>) -> Result<(Tensors, HashMap<String, String>)> {
    let path = path.as_ref();
    let found = std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    if !found.is_file() {
        return Err(Error::invalid("is not a regular file, expected a safetensors file").at_path(path));
    }
    if found.len() > MOST_BYTES {
        let message = format!("has {} bytes: expected {MOST_BYTES} at most", found.len());
        return Err(Error::new(ErrorKind::LimitExceeded, message).at_path(path));
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
    from_bytes(&bytes).map_err(|error| error.at_path(path))
}

/// All tensors and the metadata in the bytes of a safetensors file.
///
/// # Errors
/// As [`read`], without those of files.
pub fn from_bytes(bytes: &[u8]) -> Result<(Tensors, HashMap<String, String>)> {
    let broken = |error| Error::invalid("not a safetensors file").caused_by(error);
    let (_, head) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let read = |(name, view): (&str, TensorView<'_>)| Ok((name.to_owned(), tensor(name, &view)?));
    let tensors = file.iter().map(read).collect::<Result<_>>()?;
    Ok((tensors, head.metadata().clone().unwrap_or_default()))
}

fn tensor(name: &str, view: &TensorView<'_>) -> Result<NamedTensor> {
    let data = view.data();
    macro_rules! words {
        ($kind:ty) => {
            data.as_chunks::<{ size_of::<$kind>() }>().0.iter().map(|word| <$kind>::from_le_bytes(*word))
        };
    }
    let elements = match view.dtype() {
        Dtype::F32 => Elements::F32(words!(f32).collect()),
        Dtype::F16 => Elements::F32(words!(half::f16).map(half::f16::to_f32).collect()),
        Dtype::BF16 => Elements::F32(words!(half::bf16).map(half::bf16::to_f32).collect()),
        Dtype::I64 => Elements::I64(words!(i64).collect()),
        Dtype::I32 => Elements::I32(words!(i32).collect()),
        Dtype::U8 | Dtype::BOOL => Elements::U8(data.to_vec()),
        other => {
            let message =
                format!("elements of type {other:?}: expected F32, F16, BF16, I64, I32, U8 or BOOL");
            return Err(Error::new(ErrorKind::NotSupported, message).at_tensor(name));
        }
    };
    Ok(NamedTensor { shape: view.shape().to_vec(), elements })
}

/// Writes tensors, and `metadata` beside them, as a whole or not at all.
///
/// # Errors
/// `AlreadyExists` for a file that is there unless `overwrite`; `Io`; `Mismatch` for a tensor whose elements are not as
/// many as its shape asks for.
pub fn write(
    path: impl AsRef<Path>,
    tensors: &Tensors,
    metadata: &BTreeMap<String, String>,
    overwrite: bool,
) -> Result<()> {
    let path = path.as_ref();
    let encoded = to_bytes(tensors, metadata)?;
    let staged = StagedFile::new(path, overwrite)?;
    let io = |error| Error::io("write", path, error);
    let mut file = std::fs::File::create(staged.path()).map_err(io)?;
    file.write_all(&encoded).and_then(|()| file.sync_all()).map_err(io)?;
    drop(file);
    staged.commit(overwrite)
}

/// The bytes of a file with these tensors, and `metadata` beside them.
///
/// # Errors
/// `Mismatch` for a tensor whose elements are not as many as its shape asks for.
pub fn to_bytes(tensors: &Tensors, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let bytes: Vec<(&String, Vec<u8>)> =
        tensors.iter().map(|(name, tensor)| (name, tensor.elements.bytes())).collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, bytes) in &bytes {
        let tensor = &tensors[*name];
        let view = TensorView::new(tensor.elements.dtype(), tensor.shape.clone(), bytes);
        let view = view.map_err(|error| {
            Error::new(ErrorKind::Mismatch, "shape and elements differ").at_tensor(*name).caused_by(error)
        })?;
        views.push((*name, view));
    }
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let bytes = safetensors::serialize(views, Some(metadata).filter(|metadata| !metadata.is_empty()))
        .map_err(|error| Error::internal("cannot encode tensors").caused_by(error))?;
    in_order(bytes)
}

/// The library writes the entries of the metadata in an order that is another each time; here they are sorted, so that
/// the same tensors are the same bytes.
fn in_order(mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let broken = || Error::internal("a safetensors file without its head");
    let length = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length)).ok_or_else(broken)?;
    let head = bytes.get_mut(8..8 + length as usize).ok_or_else(broken)?;
    let sorted: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(head).map_err(|error| broken().caused_by(error))?;
    let sorted = serde_json::to_vec(&sorted).map_err(|error| broken().caused_by(error))?;
    if sorted.len() > head.len() {
        return Err(broken());
    }
    // The rest is blanks before and after.
    let (text, blanks) = head.split_at_mut(sorted.len());
    text.copy_from_slice(&sorted);
    blanks.fill(b' ');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let of = |shape: &[usize], elements| NamedTensor { shape: shape.to_vec(), elements };
        let tensors: Tensors = [
            ("a".into(), of(&[2, 1], Elements::F32(vec![1.5, -2.0]))),
            ("b".into(), of(&[], Elements::I64(vec![-7]))),
            ("c".into(), of(&[3], Elements::U8(vec![0, 1, 255]))),
            ("d".into(), of(&[0], Elements::I32(vec![]))),
        ]
        .into();
        write(&path, &tensors, &[("k".to_owned(), "v".to_owned())].into(), false).unwrap();
        assert_eq!(read(&path).unwrap(), tensors);
        assert_eq!(
            write(&path, &tensors, &BTreeMap::new(), false).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        write(&path, &tensors, &BTreeMap::new(), true).unwrap();
    }

    #[test]
    fn what_is_no_tensor_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        std::fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\x7fxx").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(read(folder.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(read(folder.path().join("x")).unwrap_err().kind(), ErrorKind::NotFound);
        let bad: Tensors =
            [("a".into(), NamedTensor { shape: vec![2], elements: Elements::U8(vec![1]) })].into();
        assert_eq!(write(&path, &bad, &BTreeMap::new(), true).unwrap_err().kind(), ErrorKind::Mismatch);
        assert_eq!(std::fs::read(&path).unwrap().len(), 10);
    }
}
