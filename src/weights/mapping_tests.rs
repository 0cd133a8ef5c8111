//! Mappings of checkpoints onto models that exporters made (tests/golden/checkpoints/models.py).

use super::*;
use crate::weights::element::StoredType;

fn tensors(list: &[(&str, &[usize])]) -> Vec<StoredTensor> {
    let tensor = |(name, shape): &(&str, &[usize])| StoredTensor {
        name: (*name).to_owned(),
        shape: shape.to_vec(),
        element: if name.ends_with("num_batches_tracked") { StoredType::I64 } else { StoredType::F32 },
    };
    list.iter().map(tensor).collect()
}

fn slot(name: &str, alias: &str, shape: &[usize], transposed: bool) -> Slot {
    Slot { alias: alias.into(), transposed, ..Slot::new(name, shape) }
}

fn partial(filter: &str) -> MappingOptions {
    MappingOptions { partial: true, filter: filter.parse().unwrap(), ..MappingOptions::default() }
}

#[test]
fn everything_that_does_not_fit_is_listed() {
    let slots =
        [Slot::new("a.weight", &[2, 3]), Slot::new("a.bias", &[2]), Slot::new("head.weight", &[5, 2])];
    let stored = tensors(&[
        ("model.a.weight", &[2, 3]),
        ("model.head.weight", &[7, 2]),
        ("model.extra", &[1]),
        ("loss.w", &[3]),
    ]);
    let error = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &MappingOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(
        error.message(),
        "the checkpoint does not fit the model: 1 missing: \"a.bias\"; 2 unexpected: \"model.extra\", \"loss.w\"; \
         1 of another shape: model.head.weight (expected [5, 2], got [7, 2])"
    );
    let options = MappingOptions { partial: true, ..MappingOptions::default() };
    let mapping = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &options).unwrap();
    let report = mapping.report();
    assert_eq!(report.loaded.len(), 1);
    assert_eq!(
        (report.loaded[0].slot.as_str(), report.loaded[0].key.as_deref()),
        ("a.weight", Some("model.a.weight"))
    );
    assert_eq!(
        report.to_string(),
        "1 loaded, without the prefix \"model.\"\nmissing a.bias\nunexpected model.extra\nunexpected loss.w\n\
         misshaped model.head.weight (expected [5, 2], got [7, 2])"
    );
    let nothing = tensors(&[("x", &[1])]);
    let error = Mapping::of_tensors(&slots, &nothing, Kind::Ordered, &options).unwrap_err();
    assert!(error.message().starts_with("no tensor of the checkpoint fits the model: 3 missing"), "{error}");
}

#[test]
fn long_lists_are_cut_in_the_error_alone() {
    let slots: Vec<Slot> = (0..30).map(|at| Slot::new(format!("l{at}"), &[1])).collect();
    let stored = tensors(&[("l0", &[1])]);
    let error = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &MappingOptions::default()).unwrap_err();
    assert!(
        error.message().contains("29 missing: \"l1\"") && error.message().ends_with("\"l10\" and 19 more"),
        "{error}"
    );
    let options = MappingOptions { partial: true, ..MappingOptions::default() };
    assert_eq!(
        Mapping::of_tensors(&slots, &stored, Kind::Ordered, &options).unwrap().report().missing.len(),
        29
    );
}

#[test]
fn a_filter_names_either_side() {
    let slots = [Slot::new("encoder.w", &[1]), slot("onnx::Conv_3", "head.weight", &[1], false)];
    let stored = tensors(&[("encoder.w", &[1]), ("head.weight", &[9]), ("aux.w", &[1])]);
    let mapping = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &partial("encoder.*")).unwrap();
    assert!(mapping.report().is_complete());
    assert_eq!((mapping.report().loaded.len(), mapping.report().filtered), (1, 2));
    let strict = MappingOptions { partial: false, ..partial("!head.*,!aux.*") };
    assert!(Mapping::of_tensors(&slots, &stored, Kind::Ordered, &strict).is_ok());
}

#[test]
fn weights_of_linear_layers_are_turned_where_the_model_has_them_so() {
    let fits = |slot: Slot, name: &str, shape: &[usize]| {
        let mapping = Mapping::of_tensors(
            &[slot],
            &tensors(&[(name, shape)]),
            Kind::Ordered,
            &MappingOptions::default(),
        );
        mapping.map(|mapping| mapping.report().loaded[0].transposed).ok()
    };
    let by_alias = |shape: &[usize], turned| slot("onnx::MatMul_7", "fc.weight", shape, turned);
    assert_eq!(fits(by_alias(&[3, 2], true), "fc.weight", &[2, 3]), Some(true));
    assert_eq!(fits(by_alias(&[2, 2], true), "fc.weight", &[2, 2]), Some(true));
    assert_eq!(fits(by_alias(&[3, 2], true), "fc.weight", &[3, 2]), None);
    assert_eq!(fits(by_alias(&[3, 2], false), "fc.weight", &[2, 3]), None);
    // By its own name it is what the network multiplies with.
    assert_eq!(fits(slot("w", "w", &[2, 2], true), "w", &[2, 2]), Some(false));
    assert_eq!(fits(slot("w", "w", &[3, 2], true), "w", &[2, 3]), Some(true));
    assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

/// `conv` and `bn` of a checkpoint, on a model that has `conv` alone, with a bias.
#[test]
fn a_folded_norm_is_folded_or_refused() {
    let norm = |name: &'static str| -> Vec<(String, Vec<usize>)> {
        ["weight", "bias", "running_mean", "running_var"]
            .map(|leaf| (format!("{name}.{leaf}"), vec![4]))
            .into()
    };
    let stored = |layer: &str, bn: &'static str| -> Vec<StoredTensor> {
        let mut all = vec![(format!("{layer}.weight"), vec![4, 3, 1, 1])];
        all.extend(norm(bn));
        let all: Vec<(&str, &[usize])> =
            all.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        tensors(&all)
    };
    let weight = Slot::new("conv.weight", &[4, 3, 1, 1]);
    for bias in ["conv.bias", "conv.weight_bias"] {
        let slots = [weight.clone(), Slot::new(bias, &[4])];
        let mapping =
            Mapping::of_tensors(&slots, &stored("conv", "bn"), Kind::Ordered, &MappingOptions::default())
                .unwrap();
        assert_eq!(mapping.report().folded().collect::<Vec<_>>(), ["bn"]);
        assert_eq!(mapping.report().loaded[1].key, None);
    }
    // Without a bias in the model nothing was folded, wherever the norm is: in part the rest is loaded.
    let strict = MappingOptions::default();
    let options = MappingOptions { partial: true, ..MappingOptions::default() };
    let alone = std::slice::from_ref(&weight);
    let error = Mapping::of_tensors(alone, &stored("conv", "bn"), Kind::Ordered, &strict).unwrap_err();
    assert!(error.message().contains("without a place in the model: \"bn\""), "{error}");
    let mapping = Mapping::of_tensors(alone, &stored("conv", "bn"), Kind::Ordered, &options).unwrap();
    assert_eq!((mapping.report().loaded.len(), mapping.report().unexpected.len()), (1, 4));
    assert_eq!(mapping.report().unplaced, ["bn"]);
    // Unless it is told to be left out.
    let mapping = Mapping::of_tensors(
        std::slice::from_ref(&weight),
        &stored("conv", "bn"),
        Kind::Ordered,
        &partial("!bn.*"),
    )
    .unwrap();
    assert!(mapping.report().is_complete());
    // Names and order that say nothing.
    let slots = [weight.clone(), Slot::new("conv.bias", &[4])];
    let mut reversed = stored("conv", "other");
    reversed.reverse();
    let error = Mapping::of_tensors(&slots, &reversed, Kind::Ordered, &options).unwrap_err();
    assert!(error.message().contains("\"other\""), "{error}");
    // A model that has the norm.
    let mut slots = vec![weight];
    slots.extend(norm("bn").into_iter().map(|(name, shape)| Slot::new(name, &shape)));
    let mapping =
        Mapping::of_tensors(&slots, &stored("conv", "bn"), Kind::Ordered, &MappingOptions::default())
            .unwrap();
    assert_eq!((mapping.report().loaded.len(), mapping.report().folded().count()), (5, 0));
}

#[test]
fn one_of_several_networks_is_named_by_its_prefix() {
    let slots = [Slot::new("a.weight", &[2]), Slot::new("a.bias", &[2])];
    let stored = tensors(&[
        ("teacher.model.a.weight", &[2]),
        ("teacher.model.a.bias", &[2]),
        ("student.model.a.weight", &[2]),
        ("student.model.a.bias", &[2]),
    ]);
    let of = |prefix: &str| MappingOptions { prefix: Some(prefix.into()), ..MappingOptions::default() };
    let mapping = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &of("student.")).unwrap();
    let report = mapping.report();
    assert_eq!(report.loaded[1].key.as_deref(), Some("student.model.a.bias"));
    assert_eq!((report.stripped.as_str(), report.filtered), ("student.model.", 2));
    // In whole it is the same.
    assert!(Mapping::of_tensors(&slots, &stored, Kind::Ordered, &of("student.model.")).is_ok());
    let error = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &of("other.")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(Mapping::of_tensors(&slots, &stored, Kind::Ordered, &MappingOptions::default()).is_err());
}

#[test]
fn buffers_are_taken_where_they_are_and_integers_are_counted() {
    let mut mean = Slot::new("mean", &[1, 3, 1, 1]);
    mean.is_optional = true;
    let slots = [Slot::new("w", &[2]), mean];
    let strict = MappingOptions::default();
    let mapping = Mapping::of_tensors(&slots, &tensors(&[("w", &[2])]), Kind::Ordered, &strict).unwrap();
    assert!(mapping.report().is_complete() && mapping.report().loaded.len() == 1);
    let stored = tensors(&[("w", &[2]), ("mean", &[1, 3, 1, 1]), ("x.num_batches_tracked", &[])]);
    let mapping = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &strict).unwrap();
    assert_eq!((mapping.report().loaded.len(), mapping.report().integers), (2, 1));
    // Spread over the axes of an image; another arrangement of several axes is another tensor.
    let fits = |shape: &[usize]| {
        Mapping::of_tensors(&slots, &tensors(&[("w", &[2]), ("mean", shape)]), Kind::Ordered, &strict).is_ok()
    };
    assert!(fits(&[3]) && !fits(&[1, 1, 3, 1]) && !fits(&[6]));
}

#[test]
fn a_prefix_needs_no_dot_and_is_named_where_it_is_missed() {
    let slots = [Slot::new("a.weight", &[2]), Slot::new("bn.bias", &[2])];
    let mut list: Vec<(&str, &[usize])> = vec![("student1.a.weight", &[2]), ("student.a.weight", &[2])];
    list.push(("student.bn.bias", &[2]));
    list.push(("student.bn.running_mean", &[2]));
    list.push(("student.bn.running_var", &[2]));
    let stored = tensors(&list);
    let of = |prefix: &str| MappingOptions {
        prefix: Some(prefix.into()),
        partial: true,
        ..MappingOptions::default()
    };
    let mapping = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &of("student")).unwrap();
    assert_eq!((mapping.report().loaded.len(), mapping.report().filtered), (2, 1));
    assert_eq!(mapping.report().stripped, "student.");
    // No norm hides that nothing fits.
    for partial in [false, true] {
        let options = MappingOptions { partial, ..MappingOptions::default() };
        let error = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &options).unwrap_err();
        assert!(
            error.message().starts_with(
                "no tensor of the checkpoint fits the model: did you mean those with the prefix \"student.\"? 2 missing"
            ),
            "{error}"
        );
    }
}

#[test]
fn the_reason_is_the_element_type_where_it_is() {
    let slots = [
        Slot::new("conv.weight", &[4, 1, 1, 1]),
        Slot::new("bn.running_mean", &[4]),
        Slot::new("bn.running_var", &[4]),
    ];
    let mut stored =
        tensors(&[("conv.weight", &[4, 1, 1, 1]), ("bn.running_mean", &[4]), ("bn.running_var", &[4])]);
    stored[0].element = StoredType::I64;
    let strict = MappingOptions::default();
    let error = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &strict).unwrap_err();
    let expected = "the checkpoint does not fit the model: 1 of another element type: conv.weight \
                    (expected float64, float32, float16 or bfloat16, got int64)";
    assert_eq!(error.message(), expected);
    stored.iter_mut().for_each(|tensor| tensor.element = StoredType::Other("float8_e4m3fn", 1));
    let error = Mapping::of_tensors(&slots, &stored, Kind::Ordered, &strict).unwrap_err();
    assert!(
        error.message().contains("3 of another element type") && error.message().contains("float8_e4m3fn")
    );
    // A network in half has its counters in half.
    let mut stored = tensors(&[("w", &[1]), ("bn.num_batches_tracked", &[])]);
    stored[1].element = StoredType::F16;
    let mapping = Mapping::of_tensors(&[Slot::new("w", &[1])], &stored, Kind::Ordered, &strict).unwrap();
    assert_eq!((mapping.report().integers, mapping.report().is_complete()), (1, true));
}

#[test]
fn a_training_state_need_not_hold_what_is_frozen() {
    let slots = [Slot::new("w", &[1]), Slot::new("bn.running_mean", &[1])];
    let strict = MappingOptions::default();
    let of = |kind, names: &[(&str, &[usize])]| Mapping::of_tensors(&slots, &tensors(names), kind, &strict);
    let mapping = of(Kind::State, &[("w", &[1])]).unwrap();
    assert_eq!(mapping.report().counts(), "1 loaded, 1 kept, which the training state does not hold");
    assert!(of(Kind::Sorted, &[("w", &[1])]).is_err());
    assert!(
        of(Kind::State, &[("x", &[1])]).is_err() && of(Kind::State, &[("w", &[1]), ("x", &[1])]).is_err()
    );
}

#[test]
fn norms_of_transposed_convolutions_go_along_their_second_dimension() {
    let stored = |inner: usize| {
        let mut all = tensors(&[("up.weight", &[4, inner, 2, 2])]);
        all.extend(tensors(&[
            ("up_bn.weight", &[4]),
            ("up_bn.running_mean", &[4]),
            ("up_bn.running_var", &[4]),
        ]));
        all
    };
    let of = |groups, inner: usize| {
        let mut weight = Slot::new("up.weight", &[4, inner, 2, 2]);
        weight.up_groups = Some(groups);
        Mapping::of_tensors(
            &[weight, Slot::new("up.bias", &[4])],
            &stored(inner),
            Kind::Ordered,
            &MappingOptions::default(),
        )
    };
    let mapping = of(1, 4).unwrap();
    assert_eq!((mapping.sources[0].channels, mapping.sources[0].inner), (4, 4));
    assert_eq!(mapping.report().norm_epsilon, Some(1e-5));
    assert!(mapping.report().counts().contains("1 BatchNorm layers folded with epsilon 1e-5"));
    assert!(mapping.report().to_string().ends_with("\nfolded up_bn with epsilon 1e-5"));
    let error = of(2, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert!(error.message().contains("transposed convolution of 2 groups"), "{error}");
}

#[cfg(feature = "pytorch")]
mod golden {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::weights::tensors::read_with_metadata;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints").join(name)
    }

    /// What an exporter made of the weights is what a mapping makes of the checkpoint.
    #[test]
    fn exported_networks_get_the_weights_that_they_were_exported_with() {
        for (network, form, folded, turned) in [
            ("unet", "ts17", 0, 0),
            ("unet", "tsfold17", 5, 0),
            ("unet", "dynamo18", 5, 0),
            ("deeplab", "tsfold11", 10, 0),
            ("convnext", "tsfold13", 0, 4),
        ] {
            let (expected, metadata) =
                read_with_metadata(golden(&format!("{network}.{form}.safetensors"))).unwrap();
            let slots: Vec<(String, String, Vec<usize>, bool)> =
                serde_json::from_str(&metadata["slots"]).unwrap();
            let slots: Vec<Slot> = slots
                .iter()
                .map(|(name, alias, shape, transposed)| slot(name, alias, shape, *transposed))
                .collect();
            let checkpoint = Checkpoint::open(golden(&format!("{network}.pth"))).unwrap();
            let mapping = Mapping::new(&slots, &checkpoint, &MappingOptions::default())
                .unwrap_or_else(|error| panic!("{network}.{form}: {error}"));
            let report = mapping.report();
            assert_eq!(report.stripped, "model.");
            assert_eq!(report.folded().count(), folded, "{network}.{form}: {report}");
            assert_eq!(
                report.loaded.iter().filter(|loaded| loaded.transposed).count(),
                turned,
                "{network}.{form}"
            );
            let read = mapping.read(&checkpoint).unwrap();
            assert_eq!(read.len(), expected.len());
            for (name, tensor) in &expected {
                let (Elements::F32(own), Elements::F32(other)) = (&read[name].elements, &tensor.elements)
                else {
                    panic!("{name}");
                };
                assert_eq!(read[name].shape, tensor.shape, "{network}.{form} {name}");
                let largest = other.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                for (own, other) in own.iter().zip(other) {
                    // The exporter folds in float32.
                    assert!((own - other).abs() <= 2e-6 * largest, "{network}.{form} {name}: {own} {other}");
                }
                if folded == 0 {
                    assert_eq!(own, other);
                }
            }
        }
    }

    /// What PyTorch folds is what a mapping folds (views_and_folds.py).
    #[test]
    fn a_norm_is_folded_into_a_transposed_convolution_as_pytorch_does() {
        let mut weight = Slot::new("up.weight", &[4, 4, 2, 2]);
        weight.up_groups = Some(1);
        let checkpoint = Checkpoint::open(golden("up.pth")).unwrap();
        let slots = [weight, Slot::new("up.bias", &[4])];
        let mapping = Mapping::new(&slots, &checkpoint, &MappingOptions::default()).unwrap();
        let read = mapping.read(&checkpoint).unwrap();
        let (expected, _) = read_with_metadata(golden("up.folded.safetensors")).unwrap();
        assert_eq!(read.len(), expected.len());
        for (name, tensor) in &expected {
            let (Elements::F32(own), Elements::F32(other)) = (&read[name].elements, &tensor.elements) else {
                panic!("{name}");
            };
            // PyTorch folds in float32.
            assert!(own.iter().zip(other).all(|(own, other)| (own - other).abs() <= 1e-6), "{name}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Network {
        tensors: Vec<(String, Vec<usize>)>,
        pairs: BTreeMap<String, String>,
    }

    fn networks() -> BTreeMap<String, Network> {
        let file = std::fs::File::open(golden("foldings.json.gz")).unwrap();
        serde_json::from_reader(flate2::read::GzDecoder::new(file)).unwrap()
    }

    /// The model that an exporter makes which folds every norm that follows a layer, and the norms that a mapping folds.
    fn folded(network: &Network, ordered: bool) -> Result<BTreeMap<String, String>> {
        let mut list: Vec<(&str, &[usize])> =
            network.tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        if !ordered {
            list.sort_unstable();
        }
        let stored = tensors(&list);
        let is_folded = |name: &str| {
            name.rsplit_once('.').is_some_and(|(path, _)| network.pairs.contains_key(path))
                || name.ends_with("num_batches_tracked")
        };
        let mut slots: Vec<Slot> = network
            .tensors
            .iter()
            .filter(|(name, _)| !is_folded(name))
            .map(|(name, shape)| Slot::new(name, shape))
            .collect();
        for layer in network.pairs.values() {
            let bias = format!("{layer}.bias");
            let weight = slots.iter().find(|slot| slot.name == format!("{layer}.weight")).unwrap().shape[0];
            if !slots.iter().any(|slot| slot.name == bias) {
                slots.push(Slot::new(bias, &[weight]));
            }
        }
        let kind = if ordered { Kind::Ordered } else { Kind::Sorted };
        let mapping = Mapping::of_tensors(&slots, &stored, kind, &MappingOptions::default())?;
        let of = |loaded: &Loaded| {
            let layer = loaded.slot.strip_suffix(".weight")?;
            Some((loaded.folded.clone()?, layer.to_owned()))
        };
        Ok(mapping.report().loaded.iter().filter_map(of).collect())
    }

    #[test]
    fn norms_of_full_size_networks_are_folded_where_they_belong() {
        let networks = networks();
        assert!(networks.len() >= 15);
        for (name, network) in &networks {
            match folded(network, true) {
                Ok(found) => assert_eq!(found, network.pairs, "{name}"),
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }

    /// Sorted by name, as in safetensors files, order says nothing: norms are found by name, or there is an error.
    #[test]
    fn without_order_no_norm_is_folded_where_it_does_not_belong() {
        let mut found = 0;
        for (name, network) in &networks() {
            match folded(network, false) {
                Ok(pairs) => {
                    assert_eq!(pairs, network.pairs, "{name}");
                    found += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Mismatch, "{name}: {error}"),
            }
        }
        assert!(found >= 5, "{found}");
    }
}
