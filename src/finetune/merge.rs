//! Adapters as part of the weights that they are beside.

use crate::autodiff::adapter::Adapter;
use crate::error::{Error, Result};
use crate::weights::tensors::{Elements, NamedTensor, Tensors};

/// The trained tensors with each adapter's factors replaced by the weight that they make: `W + s L R`, with W as the file
/// has it, summed in 64 bits.
///
/// # Errors
/// `Internal` where a factor is missing.
pub(super) fn merged(adapters: &[Adapter], mut trained: Tensors) -> Result<Tensors> {
    for own in adapters {
        let base = own.base.to_f32().ok_or_else(|| Error::internal("a weight without numbers"))?;
        let shape = &own.base.kind().shape;
        let (left, right) = (factor(&mut trained, &own.left)?, factor(&mut trained, &own.right)?);
        let columns = shape.get(1).copied().unwrap_or(1).max(1);
        let rank = right.len() / columns;
        let scale = f64::from(own.scale);
        let mut sums = vec![0f64; columns];
        let mut values = Vec::with_capacity(base.len());
        for (row, thin) in base.chunks(columns).zip(left.chunks(rank.max(1))) {
            sums.fill(0.0);
            for (&a, line) in thin.iter().zip(right.chunks(columns)) {
                sums.iter_mut().zip(line).for_each(|(sum, &b)| *sum += f64::from(a) * f64::from(b));
            }
            values.extend(row.iter().zip(&sums).map(|(&w, sum)| (f64::from(w) + scale * sum) as f32));
        }
        trained.insert(own.weight.clone(), NamedTensor::f32(shape, values));
    }
    Ok(trained)
}

fn factor(trained: &mut Tensors, name: &str) -> Result<Vec<f32>> {
    match trained.remove(name) {
        Some(NamedTensor { elements: Elements::F32(values), .. }) => Ok(values),
        _ => Err(Error::internal("an adapter without its factor").at_tensor(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::graph::Constant;

    #[test]
    fn the_product_is_added_in_the_layout_of_the_weight() {
        let adapter = Adapter {
            weight: "w".into(),
            base: Constant::from_f32([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap(),
            left: "w.lora_A".into(),
            right: "w.lora_B".into(),
            scale: 0.5,
        };
        let trained = Tensors::from([
            ("w.lora_A".to_owned(), NamedTensor::f32(&[2, 2], vec![1.0, 0.0, 2.0, -1.0])),
            ("w.lora_B".to_owned(), NamedTensor::f32(&[2, 3], vec![2.0, 4.0, 6.0, 8.0, 10.0, 12.0])),
            ("b".to_owned(), NamedTensor::f32(&[1], vec![7.0])),
        ]);
        let merged = merged(std::slice::from_ref(&adapter), trained.clone()).unwrap();
        let expected = NamedTensor::f32(&[2, 3], vec![2.0, 4.0, 6.0, 2.0, 4.0, 6.0]);
        assert_eq!(merged, Tensors::from([("w".into(), expected), ("b".into(), trained["b"].clone())]));
        assert!(super::merged(&[adapter], Tensors::new()).is_err());
    }
}
