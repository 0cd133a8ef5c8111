//! The feature cache: what the frozen part of a model makes of an image, computed once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use crate::autodiff::frontier::Feature;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::Graph;
use crate::runtime::{Binding, BoundSession, CancelToken, DeviceTensor, Runtime, SessionOptions};

/// Keeps what the frozen part of a model gives for an image, where a step trains only what comes after it (a head, a
/// decoder): the frozen part is then run once for every image and not once for every step.
///
/// Images are known by [`Batch::keys`](crate::finetune::Batch). Kept are 32-bit floats, in memory up to a budget, then in
/// a file up to another; what finds no room is computed anew each time. Nothing is ever thrown out, as a step goes over
/// all images in turn: throwing out the oldest would throw out what is needed next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FeatureCache {
    /// Most bytes in memory.
    pub memory: u64,
    /// Folder of a file for what finds no room in memory, and most bytes of it. The file has no name and vanishes with
    /// the step.
    pub spill: Option<(PathBuf, u64)>,
}

impl FeatureCache {
    /// In memory only.
    pub fn in_memory(bytes: u64) -> FeatureCache {
        FeatureCache { memory: bytes, spill: None }
    }
}

/// How a feature cache was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheUse {
    /// Images whose features are kept in memory.
    pub in_memory: u64,
    /// Images whose features are kept in the file.
    pub in_file: u64,
    /// Images that were found in either.
    pub found: u64,
    /// Images that the frozen part was run for.
    pub computed: u64,
    /// Bytes that one image takes.
    pub bytes_per_image: u64,
}

/// The frozen part with its cache.
#[derive(Debug)]
pub(super) struct Features {
    session: BoundSession,
    binding: Binding,
    image: DeviceTensor,
    outputs: Vec<DeviceTensor>,
    store: Store,
    /// The features of the batch, one `[N, ...]` each.
    batch: Vec<Vec<f32>>,
    used: CacheUse,
}

impl Features {
    pub(super) fn new(
        runtime: &Runtime,
        frozen: &Graph,
        features: &[Feature],
        batch: usize,
        cache: &FeatureCache,
        options: &SessionOptions,
    ) -> Result<Features> {
        let session = BoundSession::new(runtime, &frozen.to_bytes("features")?, options)?;
        let mut binding = session.binding()?;
        let input = *frozen.inputs().first().ok_or_else(|| Error::internal("features of nothing"))?;
        let image = session.zeros(ElementType::Float32, frozen.shape(input))?;
        binding.bind_input(frozen.name(input), &image)?;
        let mut outputs = Vec::with_capacity(features.len());
        for feature in features {
            let tensor = session.zeros(ElementType::Float32, &feature.shape)?;
            binding.bind_output(&feature.name, &tensor)?;
            outputs.push(tensor);
        }
        let sizes: Vec<usize> = outputs.iter().map(DeviceTensor::len).collect();
        let store = Store::new(cache, sizes.iter().sum())?;
        let used = CacheUse { bytes_per_image: store.bytes_each(), ..CacheUse::default() };
        let batch = sizes.iter().map(|size| vec![0.0; size * batch]).collect();
        Ok(Features { session, binding, image, outputs, store, batch, used })
    }

    /// Fills in the features of a batch. `images` may be empty where all keys are known.
    pub(super) fn fill(&mut self, images: &[f32], keys: Option<&[u64]>) -> Result<()> {
        let own = self.image.len();
        let count = self.batch.first().map_or(0, |all| all.len() / self.outputs[0].len());
        if let Some(keys) = keys
            && keys.len() != count
        {
            let message = format!("expected {count} keys, one an image, got {}", keys.len());
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        for index in 0..count {
            let key = keys.map(|keys| keys[index]);
            let mut parts: Vec<&mut [f32]> = Vec::with_capacity(self.outputs.len());
            for (all, output) in self.batch.iter_mut().zip(&self.outputs) {
                parts.push(&mut all[index * output.len()..(index + 1) * output.len()]);
            }
            if let Some(key) = key
                && self.store.get(key, &mut parts)?
            {
                self.used.found += 1;
                continue;
            }
            let Some(image) = images.get(index * own..(index + 1) * own) else {
                let what =
                    key.map_or(String::new(), |key| format!(": the features of key {key} are not kept"));
                return Err(Error::new(ErrorKind::Mismatch, format!("image {index} is missing{what}")));
            };
            self.image.write(image)?;
            self.session.run(&mut self.binding)?;
            for (part, output) in parts.iter_mut().zip(&self.outputs) {
                part.copy_from_slice(&output.to_vec::<f32>()?);
            }
            self.used.computed += 1;
            if let Some(key) = key {
                self.store.put(key, &parts)?;
            }
        }
        Ok(())
    }

    /// The features of the batch.
    pub(super) fn batch(&self) -> Vec<&[f32]> {
        self.batch.iter().map(Vec::as_slice).collect()
    }

    pub(super) fn knows(&self, key: u64) -> bool {
        self.store.knows(key)
    }

    pub(super) fn used(&self) -> CacheUse {
        CacheUse {
            in_memory: self.store.memory.len() as u64,
            in_file: self.store.places.len() as u64,
            ..self.used
        }
    }

    pub(super) fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.session.cancel_with(token)
    }
}

/// Features of images by their keys, all of one size.
#[derive(Debug)]
struct Store {
    /// Elements of one image's features.
    each: usize,
    /// How many images find room in memory and in the file.
    room: (u64, u64),
    memory: HashMap<u64, Vec<f32>>,
    spill: Option<(PathBuf, File)>,
    /// Numbers of the records in the file.
    places: HashMap<u64, u64>,
    bytes: Vec<u8>,
}

impl Store {
    fn new(cache: &FeatureCache, each: usize) -> Result<Store> {
        let bytes = (each as u64 * 4).max(1);
        let spill = match &cache.spill {
            Some((folder, most)) if *most >= bytes => {
                let file = tempfile::tempfile_in(folder)
                    .map_err(|error| Error::io("make a file for features in", folder, error))?;
                Some((folder.clone(), file))
            }
            _ => None,
        };
        let in_file = cache.spill.as_ref().map_or(0, |(_, most)| most / bytes);
        Ok(Store {
            each,
            room: (cache.memory / bytes, in_file),
            memory: HashMap::new(),
            spill,
            places: HashMap::new(),
            bytes: Vec::new(),
        })
    }

    fn bytes_each(&self) -> u64 {
        self.each as u64 * 4
    }

    fn knows(&self, key: u64) -> bool {
        self.memory.contains_key(&key) || self.places.contains_key(&key)
    }

    /// Copies the features of `key` into `parts`; false where they are not kept.
    fn get(&mut self, key: u64, parts: &mut [&mut [f32]]) -> Result<bool> {
        if let Some(values) = self.memory.get(&key) {
            let mut rest = &values[..];
            for part in parts {
                let (own, after) = rest.split_at(part.len());
                part.copy_from_slice(own);
                rest = after;
            }
            return Ok(true);
        }
        let (Some(&place), Some((folder, file))) = (self.places.get(&key), &mut self.spill) else {
            return Ok(false);
        };
        self.bytes.resize(self.each * 4, 0);
        file.seek(SeekFrom::Start(place * self.each as u64 * 4))
            .and_then(|_| file.read_exact(&mut self.bytes))
            .map_err(|error| Error::io("read features in", folder.clone(), error))?;
        let mut words = self.bytes.as_chunks::<4>().0.iter();
        for value in parts.iter_mut().flat_map(|part| part.iter_mut()) {
            *value = words.next().map_or(0.0, |word| f32::from_le_bytes(*word));
        }
        Ok(true)
    }

    /// Keeps the features of `key` where there is room.
    fn put(&mut self, key: u64, parts: &[&mut [f32]]) -> Result<()> {
        if self.knows(key) {
            return Ok(());
        }
        if (self.memory.len() as u64) < self.room.0 {
            let mut values = Vec::with_capacity(self.each);
            parts.iter().for_each(|part| values.extend_from_slice(part));
            self.memory.insert(key, values);
            return Ok(());
        }
        let place = self.places.len() as u64;
        if let Some((folder, file)) = &mut self.spill
            && place < self.room.1
        {
            self.bytes.clear();
            self.bytes
                .extend(parts.iter().flat_map(|part| part.iter()).flat_map(|value| value.to_le_bytes()));
            file.seek(SeekFrom::Start(place * self.each as u64 * 4))
                .and_then(|_| file.write_all(&self.bytes))
                .map_err(|error| Error::io("write features in", folder.clone(), error))?;
            self.places.insert(key, place);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_first_then_the_file_then_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache { memory: 2 * 12 + 11, spill: Some((folder.path().into(), 12 * 3)) };
        let mut store = Store::new(&cache, 3).unwrap();
        let features = |key: u64| (vec![key as f32, -1.5], vec![key as f32 * 10.0]);
        for key in 0..7 {
            let (mut a, mut b) = features(key);
            store.put(key, &[&mut a, &mut b]).unwrap();
        }
        assert_eq!((store.memory.len(), store.places.len()), (2, 3));
        for key in [4, 0, 3, 1, 2, 4] {
            let (mut a, mut b) = (vec![0.0; 2], vec![0.0; 1]);
            assert!(store.get(key, &mut [&mut a, &mut b]).unwrap(), "{key}");
            assert_eq!((a, b), features(key));
        }
        assert!(!store.knows(5) && !store.get(6, &mut [&mut [0.0; 3]]).unwrap());
        // The file has no name.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache { memory: 0, spill: Some((folder.path().join("none"), 1 << 20)) };
        assert_eq!(Store::new(&cache, 1).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
