//! Scoring over buffers that are bound: what sessions on a device do.

use crate::error::{Error, Result};
use crate::runtime::binding::Binding;
use crate::runtime::device_tensor::Element;
use crate::runtime::{BoundSession, DeviceTensor, OutputTensor, Place};

/// A session whose input and output are bound, with the buffers of the last shape.
///
/// The samples are written into host memory that the device can read by itself (pinned, where the provider has such),
/// and the output is fetched from the device at the end of the run. With `fixed` buffers on the device, input and
/// output have the same addresses in every run: a captured graph reads and writes those.
pub(super) struct BoundScore {
    pub(super) session: BoundSession,
    fixed: bool,
    buffers: Option<Buffers>,
}

struct Buffers {
    output: String,
    binding: Binding,
    host: DeviceTensor,
    /// Input and output on the device.
    device: Option<(DeviceTensor, DeviceTensor)>,
}

impl BoundScore {
    pub(super) fn new(session: BoundSession, fixed: bool) -> BoundScore {
        BoundScore { session, fixed, buffers: None }
    }

    /// Runs the model on `input` of shape `[N, C, H, W]`.
    pub(super) fn score<T: Element>(
        &mut self,
        input: &[T],
        shape: [usize; 4],
        output: &str,
    ) -> Result<OutputTensor> {
        let kept = self.buffers.take().filter(|kept| {
            kept.output == output && kept.host.element() == T::ELEMENT && kept.host.shape() == shape
        });
        let mut own = match kept {
            Some(kept) => kept,
            None => self.prepare::<T>(shape, output)?,
        };
        own.host.write(input)?;
        let scored = match &own.device {
            None => self.session.run(&mut own.binding)?.take(output)?,
            Some((input, scored)) => {
                input.copy_from(&own.host)?;
                self.session.run(&mut own.binding)?;
                let host = self.session.staging(scored.element(), scored.shape())?;
                host.copy_from(scored)?;
                host
            }
        };
        self.buffers = Some(own);
        OutputTensor::of(scored, output)
    }

    fn prepare<T: Element>(&mut self, shape: [usize; 4], output: &str) -> Result<Buffers> {
        let host = self.session.staging(T::ELEMENT, &shape)?;
        let first = self.session.inputs().first().ok_or_else(|| Error::internal("session without inputs"))?;
        let name = first.name.clone();
        let mut binding = self.session.binding()?;
        binding.bind_input(&name, &host)?;
        binding.fetch_output(output, Place::Host)?;
        let device = if self.fixed {
            // What the output looks like shows a run alone, which must not be the one that is captured: it has other
            // buffers.
            let seen = self.session.run_uncaptured(&mut binding)?.take(output)?;
            let (input, scored) =
                (self.session.zeros(T::ELEMENT, &shape)?, self.session.zeros(seen.element(), seen.shape())?);
            binding = self.session.binding()?;
            binding.bind_input(&name, &input)?;
            binding.bind_output(output, &scored)?;
            Some((input, scored))
        } else {
            None
        };
        Ok(Buffers { output: output.to_owned(), binding, host, device })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Dim, ElementType, GraphBuilder};
    use crate::runtime::{OutputData, Runtime, RuntimeOptions, SessionOptions};

    /// `y = 2 x + 1`, of any size.
    fn network(element: ElementType) -> Vec<u8> {
        let free = [Dim::from("n"), "c".into(), "h".into(), "w".into()];
        let mut graph = GraphBuilder::new("line");
        let x = graph.input("x", element, &free);
        let wide =
            graph.node("Cast", &[&x]).int("to", i64::from(ElementType::Float32.number())).output("wide");
        let (two, one) =
            (graph.initializer_f32("two", &[], &[2.0]), graph.initializer_f32("one", &[], &[1.0]));
        let twice = graph.node("Mul", &[&wide, &two]).output("twice");
        let y = graph.node("Add", &[&twice, &one]).output("y");
        graph.output(&y, ElementType::Float32, &free);
        graph.finish().unwrap()
    }

    #[test]
    fn every_run_gives_its_own_samples_whatever_came_before() {
        let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
        let options = SessionOptions { threads: 1, ..SessionOptions::default() };
        for fixed in [false, true] {
            let bytes = network(ElementType::Uint16);
            let mut score = BoundScore::new(BoundSession::new(&runtime, &bytes, &options).unwrap(), fixed);
            let mut kept = Vec::new();
            // The same shape again, another one, and back.
            for (run, shape) in
                [[1, 2, 3, 4], [1, 2, 3, 4], [2, 1, 2, 2], [1, 2, 3, 4]].into_iter().enumerate()
            {
                let input: Vec<u16> = (0..shape.iter().product::<usize>() as u16)
                    .map(|at| at * 7 + 1000 * run as u16)
                    .collect();
                kept.push((input.clone(), shape, score.score(&input, shape, "y").unwrap()));
            }
            // An output stays what it was when later runs have been.
            for (input, shape, scored) in &kept {
                assert_eq!(scored.shape(), shape);
                let expected: Vec<f32> = input.iter().map(|value| 2.0 * f32::from(*value) + 1.0).collect();
                let OutputData::F32(got) = scored.data() else { panic!("{scored:?}") };
                assert_eq!(got, expected, "fixed {fixed}");
            }
            assert!(score.score(&[1.0f32], [1, 1, 1, 1], "y").is_err());
            assert!(score.score(&[1u16], [1, 1, 1, 1], "z").is_err());
            // A refusal leaves it usable.
            assert!(score.score(&[1u16], [1, 1, 1, 1], "y").is_ok());
        }
    }
}
