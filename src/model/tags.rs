//! What is written into a model's metadata about the rasters that it wants.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Band;
use crate::model::metadata::{LARGEST_BAND, LARGEST_TILE};
use crate::model::{Contract, Normalisation};

/// What a model's file is to say about the rasters that it wants, so that `glebe segment` on it needs no option for it.
/// What is `None` stays as the file has it.
///
/// They are entries of the file's metadata, values in JSON: `glebe.bands`, `glebe.scale`, `glebe.mean`, `glebe.std`,
/// `glebe.class_names`, `glebe.tile`. Numbers are read back to the last bit. The keys of the QGIS plugin Deepness that say
/// the same (`standardization_mean`, `standardization_std`, `class_names`, `tile_size`) would contradict them: those of a
/// fact that is written are removed, the others stay.
///
/// ```
/// use glebe::geometry::Band;
/// use glebe::model::{Normalisation, Tags};
///
/// let tags = Tags {
///     bands: Some(vec![Band::new(4)?, Band::new(1)?]),
///     normalisation: Some(Normalisation::new(vec![255.0], vec![0.5], vec![0.25])?),
///     ..Tags::default()
/// };
/// assert_eq!(tags.entries()[0], ("glebe.bands".to_owned(), "[4,1]".to_owned()));
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tags {
    /// Bands in the order of the model's channels, from 1.
    pub bands: Option<Vec<Band>>,
    /// What the samples become before the model sees them; `scale`, `mean` and `std` are written together.
    pub normalisation: Option<Normalisation>,
    /// Names of the classes, in order; two for a model with one channel: what it is not, and what it is.
    pub class_names: Option<Vec<String>>,
    /// Width and height of a tile in pixels, from 1 to 16384.
    pub tile: Option<usize>,
}

impl Tags {
    /// What the file of this contract says, by whichever keys. Samples as they are count as nothing said.
    pub fn of(contract: &Contract) -> Tags {
        let own = contract.normalisation();
        Tags {
            bands: contract.bands().map(<[Band]>::to_vec),
            normalisation: (!own.is_identity()).then(|| own.clone()),
            class_names: contract.class_names().map(<[String]>::to_vec),
            tile: contract.suggested_tile(),
        }
    }

    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        *self == Tags::default()
    }

    /// The entries of the metadata, key and value, always in the same order.
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        let mut put = |key: &str, value: Value| entries.push((key.to_owned(), value.to_string()));
        if let Some(bands) = &self.bands {
            put("glebe.bands", bands.iter().map(|band| band.number()).collect());
        }
        if let Some(own) = &self.normalisation {
            put("glebe.scale", own.scale().into());
            put("glebe.mean", own.mean().into());
            put("glebe.std", own.std().into());
        }
        if let Some(names) = &self.class_names {
            put("glebe.class_names", names.as_slice().into());
        }
        if let Some(tile) = self.tile {
            put("glebe.tile", tile.into());
        }
        entries
    }

    /// Keys of other programs that say what the entries say, and so have to go.
    pub fn replaced(&self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if self.normalisation.is_some() {
            keys.extend(["standardization_mean", "standardization_std"]);
        }
        if self.class_names.is_some() {
            keys.push("class_names");
        }
        if self.tile.is_some() {
            keys.push("tile_size");
        }
        keys
    }

    /// Checks that they are sound: what a reader of the file would understand.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an empty list, a band above 65535, a class without a name, a tile of 0 or of more
    /// than 16384 pixels.
    pub fn check_values(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::invalid(message));
        if let Some(bands) = &self.bands {
            if bands.is_empty() {
                return invalid("bands: expected one or more, got none".into());
            }
            if let Some(band) = bands.iter().find(|band| band.number() > LARGEST_BAND) {
                return invalid(format!("bands: expected numbers up to {LARGEST_BAND}, got {band}"));
            }
        }
        if let Some(names) = &self.class_names {
            if names.is_empty() {
                return invalid("class names: expected one or more, got none".into());
            }
            if let Some(class) = names.iter().position(|name| name.trim().is_empty()) {
                return invalid(format!("class names: class {class} has none"));
            }
        }
        match self.tile {
            Some(tile) if !(1..=LARGEST_TILE).contains(&tile) => {
                invalid(format!("tile: expected 1 to {LARGEST_TILE} pixels, got {tile}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that they are sound and fit a model, as far as its file fixes what it takes and gives.
    ///
    /// # Errors
    /// As [`Tags::check_values`]; [`ErrorKind::Mismatch`] for as many bands, values a band or class names as the model does
    /// not have, and for another tile than the one that its input fixes.
    pub fn check(&self, contract: &Contract) -> Result<()> {
        self.check_values()?;
        let mismatch = |message: String| Err(Error::new(ErrorKind::Mismatch, message));
        if let Some(bands) = &self.bands {
            contract.check_channels(bands.len())?;
        }
        let bands = self.bands.as_deref().or(contract.bands()).map(<[Band]>::len).or(contract.channels());
        if let Some(bands) = bands {
            self.normalisation.as_ref().unwrap_or(contract.normalisation()).check_bands(bands)?;
        }
        match (self.class_names.as_ref().map(Vec::len), contract.output_channels()) {
            (Some(2), Some(1)) => {}
            (Some(names), Some(classes)) if names != classes => {
                let message = format!("class names: expected {classes} for the model's classes, got {names}");
                return mismatch(message);
            }
            _ => {}
        }
        let (height, width) = contract.tile();
        match (self.tile, [height, width].into_iter().flatten().find(|own| Some(*own) != self.tile)) {
            (Some(tile), Some(own)) => {
                mismatch(format!("tile: the model's input fixes {own} pixels, got {tile}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::Metadata;
    use crate::onnx::{Dim, Document, ElementType, Facts, GraphBuilder, Limits, with_metadata};

    /// A network `[1, 3, size, size]` → `[1, classes, size, size]`; `None` is free.
    fn network(classes: u64, size: Option<u64>, metadata: &[(&str, &str)]) -> Vec<u8> {
        let mut graph = GraphBuilder::new("bands");
        let sides = ["h", "w"].map(|name| size.map_or_else(|| name.into(), Dim::Fixed));
        let dims = |channels| [&[Dim::Fixed(1), Dim::Fixed(channels)][..], &sides].concat();
        let x = graph.input("x", ElementType::Float32, &dims(3));
        let w = graph.initializer_f32("w", &[classes as i64, 3, 1, 1], &vec![0.5; classes as usize * 3]);
        let y = graph.node("Conv", &[&x, &w]).output("y");
        graph.output(&y, ElementType::Float32, &dims(classes));
        for (key, value) in metadata {
            graph.metadata(*key, *value);
        }
        graph.finish().unwrap()
    }

    fn contract(bytes: Vec<u8>) -> Contract {
        let document = Document::from_bytes(bytes, &Limits::default()).unwrap();
        Contract::of(&document, &Facts::of(&document), None).unwrap()
    }

    fn bands(numbers: &[u32]) -> Vec<Band> {
        numbers.iter().map(|number| Band::new(*number).unwrap()).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn all() -> Tags {
        Tags {
            bands: Some(bands(&[4, 1, 4])),
            normalisation: Some(
                Normalisation::new(
                    // Numbers that a reader who is off by one place in the last binary digit does not give back.
                    vec![1e22, 8.41e21, 9.007_199_254_740_993e15],
                    vec![-0.0, 0.1 + 0.2, 5e-324],
                    vec![f64::MAX, f64::MIN_POSITIVE, 2.225_073_858_507_201e-308],
                )
                .unwrap(),
            ),
            class_names: Some(names(&["grün, \"Feld\"", "\u{1}\\", "水"])),
            tile: Some(16_384),
        }
    }

    #[test]
    fn entries_are_read_back_to_the_last_bit() {
        let tags = all();
        let read = Metadata::of(&tags.entries().into_iter().collect()).unwrap();
        assert_eq!((read.bands, read.class_names, read.tile), (tags.bands, tags.class_names, tags.tile));
        let own = tags.normalisation.unwrap();
        for (read, own) in [
            (read.normalisation.scale(), own.scale()),
            (read.normalisation.mean(), own.mean()),
            (read.normalisation.std(), own.std()),
        ] {
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(read), bits(own));
        }
        assert_eq!(Tags::default().entries(), []);
        assert!(Tags::default().is_empty() && !all().is_empty());
    }

    #[test]
    fn a_file_that_says_something_else_says_this_afterwards() {
        let deepness = [
            ("standardization_mean", "[0.5]"),
            ("standardization_std", "[0.25]"),
            ("class_names", r#"{"0": "x", "1": "y"}"#),
            ("tile_size", "512"),
            ("glebe.class_names", r#"["old", "older"]"#),
            ("resolution", "10"),
        ];
        let bytes = network(3, None, &deepness);
        let tags = all();
        let bytes = with_metadata(&bytes, &tags.entries(), &tags.replaced()).unwrap();
        let document = Document::from_bytes(bytes.clone(), &Limits::default()).unwrap();
        assert_eq!(document.metadata().keys().filter(|key| !key.starts_with("glebe.")).count(), 1);
        assert_eq!(document.model().metadata_props.len(), 7);
        let contract = contract(bytes);
        assert_eq!(Tags::of(&contract), tags);
        tags.check(&contract).unwrap();
        // What is not written is left to the other program's keys.
        let tile = Tags { tile: Some(64), ..Tags::default() };
        let bytes =
            with_metadata(&network(2, None, &deepness[..4]), &tile.entries(), &tile.replaced()).unwrap();
        let read = Tags::of(&self::contract(bytes));
        assert_eq!((read.tile, read.class_names), (Some(64), Some(names(&["x", "y"]))));
        assert_eq!(read.normalisation.unwrap().mean(), [0.5]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (invalid, mismatch) = (ErrorKind::InvalidArgument, ErrorKind::Mismatch);
        let one = |values: &[f64]| Some(Normalisation::new(vec![1.0], values.to_vec(), vec![1.0]).unwrap());
        let none = Tags::default;
        for (tags, kind, said) in [
            (Tags { bands: Some(vec![]), ..none() }, invalid, "bands"),
            (Tags { bands: Some(bands(&[1, 2, 65_536])), ..none() }, invalid, "65535"),
            (Tags { bands: Some(bands(&[1, 2])), ..none() }, mismatch, "expects 3 bands, got 2"),
            (Tags { normalisation: one(&[0.1, 0.2]), ..none() }, mismatch, "mean"),
            (Tags { class_names: Some(vec![]), ..none() }, invalid, "got none"),
            (Tags { class_names: Some(names(&["a", " "])), ..none() }, invalid, "class 1"),
            (Tags { class_names: Some(names(&["a"])), ..none() }, mismatch, "expected 2"),
            (Tags { class_names: Some(names(&["a", "b", "c"])), ..none() }, mismatch, "got 3"),
            (Tags { tile: Some(0), ..none() }, invalid, "got 0"),
            (Tags { tile: Some(16_385), ..none() }, invalid, "16384"),
            (Tags { tile: Some(16), ..none() }, mismatch, "fixes 32"),
        ] {
            let error = tags.check(&contract(network(2, Some(32), &[]))).unwrap_err();
            assert_eq!(error.kind(), kind, "{tags:?}: {error}");
            assert!(error.message().contains(said), "{tags:?}: {error}");
        }
        // One channel is class 1 and what is not; a free input takes any tile.
        let pair = Tags { class_names: Some(names(&["else", "road"])), tile: Some(16), ..none() };
        pair.check(&contract(network(1, None, &[]))).unwrap();
        let tags = Tags { normalisation: one(&[0.1, 0.2, 0.3]), ..none() };
        tags.check(&contract(network(1, None, &[]))).unwrap();
        // Values a band that the file has for other bands.
        let means = [("glebe.mean", "[1, 2, 3]"), ("glebe.bands", "[1, 2, 3]")];
        let tags = Tags { bands: Some(bands(&[1, 2])), ..none() };
        assert_eq!(tags.check(&contract(network(1, None, &means))).unwrap_err().kind(), mismatch);
    }
}
