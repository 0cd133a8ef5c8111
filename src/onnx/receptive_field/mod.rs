//! Which pixels of the image an output depends on, from the graph alone.
//!
//! Every tensor of the graph is followed back to the image: along each of its two axes position `o` depends on pixels
//! `o · step + low` to `o · step + high`, with rational numbers, through windows, dilations, asymmetric padding, transposed
//! convolutions, resizes, slices, reshapes between maps and sequences, and products of matrices. Where the rule is not the
//! same at all positions and for all sizes of the tile, the node is named: it looks at the whole tile.
//!
//! A network without such nodes is *local*. Then tiles that begin at multiples of the [stride](AxisField::stride) and of
//! which the [margins](AxisField::margin) are thrown away give what one run over the whole image gives (Rumberger et al.
//! 2021, "How shift equivariance impacts metric learning for instance segmentation", arXiv 2101.05846).

mod field;
mod ratio;
mod rules;
#[cfg(test)]
mod tests;
mod track;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Graph, ValueId};
use crate::onnx::{Dim, Document, Facts, InputShapes, short, specialise};

use field::Field;
use ratio::{Ratio, common_multiple};
use track::Track;

/// Tile that networks of free size are looked at with first.
const FIRST_SIDE: usize = 256;

/// Larger strides than this are none: no tile would be a multiple.
const LARGEST_STRIDE: u64 = 4096;

/// How the outputs of a network hang together with its input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReceptiveField {
    /// Along the height of the image; none where the output does not lie on its grid.
    pub rows: Option<AxisField>,
    /// Along its width.
    pub columns: Option<AxisField>,
    /// Nodes that look at the whole tile, or depend on where it lies or how large it is. None: the network is local.
    pub whole: Vec<WholeTile>,
}

/// The same along one axis; of a network that is not local, through its local nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AxisField {
    /// Pixels of the input before an output pixel's own that it depends on at most.
    pub before: usize,
    /// Pixels behind it.
    pub after: usize,
    /// Tiles must begin at multiples of this many pixels to be treated alike.
    pub stride: usize,
    /// Output pixels per `input_step` input pixels.
    pub output_step: usize,
    /// Input pixels per `output_step` output pixels.
    pub input_step: usize,
    /// Output pixels at the beginning and at the end of a tile that would be others if the image went on there.
    pub margin: (usize, usize),
    /// Input pixels before the first output pixel's own, of networks that give less than they are given.
    pub offset: usize,
}

/// A node that looks at more than a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WholeTile {
    /// Operator and name.
    pub node: String,
    /// What it does.
    pub reason: String,
}

impl ReceptiveField {
    /// Of an output of a model with one input `[N, C, H, W]`; without a name of the first output.
    ///
    /// `channels` are the bands that it is fed where its file leaves them open.
    ///
    /// # Errors
    /// Those of [`specialise`], for operators that the compiler does not know and sizes that depend on data.
    pub fn of(document: &Document, output: Option<&str>, channels: usize) -> Result<ReceptiveField> {
        let facts = Facts::of(document);
        let input = facts.inputs.first().ok_or_else(|| Error::invalid("the model has no input"))?;
        let fixed = |index: usize| {
            let dim = input.shape.as_ref().and_then(|shape| shape.get(index)).and_then(Dim::fixed);
            dim.and_then(|dim| usize::try_from(dim).ok())
        };
        let look = |side: usize, more: usize| {
            // Sides that differ tell rows from columns.
            let shape = vec![
                fixed(0).unwrap_or(1),
                fixed(1).unwrap_or(channels),
                fixed(2).unwrap_or(side + more),
                fixed(3).unwrap_or(side + 3 * more),
            ];
            let shapes = InputShapes::from([(input.name.clone(), shape)]);
            let outputs = output.map(|name| [name]);
            let graph = specialise(document, &shapes, outputs.as_ref().map(<[&str; 1]>::as_slice))?;
            Look::at(&graph)
        };
        if fixed(2).is_some() && fixed(3).is_some() {
            return Ok(look(0, 0)?.field());
        }
        // The first size may be no multiple of the stride that is found with it.
        let mut side = FIRST_SIDE;
        let mut first = look(side, 0)?;
        for _ in 0..4 {
            let stride = first.stride();
            if side.is_multiple_of(stride) {
                break;
            }
            side = FIRST_SIDE.next_multiple_of(stride);
            first = look(side, 0)?;
        }
        let stride = first.stride();
        let second = look(side, stride.max(16).next_multiple_of(stride))?;
        Ok(first.compared(&second))
    }

    /// Whether no node looks at the whole tile.
    pub fn is_local(&self) -> bool {
        self.whole.is_empty() && self.rows.is_some() && self.columns.is_some()
    }
}

/// What was found in a graph. Not the graph itself, which has the weights in it.
struct Look {
    nodes: Vec<SeenNode>,
    fields: Vec<Field>,
    /// Why a node is not local, by its index.
    reasons: Vec<(usize, String)>,
    /// Height and width of the image.
    image: [usize; 2],
    /// The first output, and its number of dimensions.
    output: Option<(ValueId, usize)>,
}

/// A node by what it is called and what it hangs together with.
struct SeenNode {
    shown: String,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
}

impl Look {
    fn at(graph: &Graph) -> Result<Look> {
        let mut image = [0, 0];
        let mut fields = vec![Field::default(); graph.len()];
        for &id in graph.inputs() {
            let &[_, _, height, width] = graph.shape(id) else {
                let message = format!("an input of shape {:?}: expected [N, C, H, W]", graph.shape(id));
                return Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(short(graph.name(id))));
            };
            image = [height, width];
            let tracks = [Some(Track::image(2, height)), Some(Track::image(3, width))];
            fields[id.index()] = Field { tracks, is_seen: true, others: None };
        }
        let mut reasons = Vec::new();
        for (index, node) in graph.nodes().iter().enumerate() {
            let outcome = rules::outcome(graph, node, &fields);
            for (id, field) in node.outputs.iter().zip(outcome.outputs) {
                if let Some(id) = id {
                    fields[id.index()] = field;
                }
            }
            reasons.extend(outcome.reason.map(|reason| (index, reason)));
        }
        let nodes = graph.nodes().iter().map(|node| SeenNode {
            shown: node.describe(),
            inputs: node.inputs.iter().copied().flatten().collect(),
            outputs: node.outputs.iter().copied().flatten().collect(),
        });
        let output = graph.outputs().first().map(|id| (*id, graph.shape(*id).len()));
        Ok(Look { nodes: nodes.collect(), fields, reasons, image, output })
    }

    /// What all tracks repeat themselves after, in pixels; 1 where that is beyond all bounds.
    fn stride(&self) -> usize {
        let strides = (0..2).map(|axis| self.stride_along(axis).unwrap_or(1));
        strides.reduce(|a, b| common_multiple(a, b).unwrap_or(1)).unwrap_or(1) as usize
    }

    fn stride_along(&self, axis: usize) -> Option<u64> {
        let mut steps = self.fields.iter().filter_map(|field| field.tracks[axis]).map(|track| track.step);
        let stride =
            steps.try_fold(1, |stride, step| common_multiple(stride, u64::try_from(step.numerator()).ok()?));
        stride.filter(|stride| *stride <= LARGEST_STRIDE)
    }

    fn field(&self) -> ReceptiveField {
        let named = |(node, reason): &(usize, String)| WholeTile {
            node: self.nodes.get(*node).map(|own| own.shown.clone()).unwrap_or_default(),
            reason: reason.clone(),
        };
        let mut whole: Vec<WholeTile> = self.reasons.iter().map(named).collect();
        let axes = [0, 1].map(|axis| self.axis(axis));
        if whole.is_empty() && axes.iter().any(Option::is_none) {
            let reason =
                "is no map on the image's grid: its last two dimensions are not its rows and columns";
            whole.push(WholeTile { node: "the output".to_owned(), reason: reason.to_owned() });
        }
        let [rows, columns] = axes;
        ReceptiveField { rows, columns, whole }
    }

    /// With what is otherwise for a tile of another size.
    fn compared(mut self, other: &Look) -> ReceptiveField {
        let is_same_graph = self.nodes.len() == other.nodes.len();
        let mut found = Vec::new();
        for (index, (own, twin)) in self.nodes.iter().zip(&other.nodes).enumerate() {
            let differs = |ids: &[ValueId], twins: &[ValueId]| {
                let of = |look: &Look, id: &ValueId| look.fields[id.index()];
                ids.iter().zip(twins).any(|(id, twin)| !is_alike(&of(&self, id), &of(other, twin)))
            };
            let is_known = self.reasons.iter().any(|(known, _)| *known == index);
            if is_same_graph
                && !is_known
                && differs(&own.outputs, &twin.outputs)
                && !differs(&own.inputs, &twin.inputs)
            {
                found.push((index, "does something else for a tile of another size".to_owned()));
            }
        }
        self.reasons.extend(found);
        self.reasons.sort_by_key(|(index, _)| *index);
        let mut field = self.field();
        let twin = other.field();
        if field.whole.is_empty()
            && (!is_same_graph || (&field.rows, &field.columns) != (&twin.rows, &twin.columns))
        {
            let reason = "are others for a tile of another size";
            field.whole.push(WholeTile { node: "its nodes".to_owned(), reason: reason.to_owned() });
        }
        field
    }

    /// Of the first output, along an axis; none where it has no such axis in its place.
    fn axis(&self, axis: usize) -> Option<AxisField> {
        let (id, rank) = self.output?;
        let track = self.fields[id.index()].tracks[axis]?;
        if !(3..=4).contains(&rank) || track.dim + 2 != rank + axis || track.inner != 1 {
            return None;
        }
        let pixels = self.image[axis];
        let seen = track.step.times(Ratio::of(track.count as i64))?;
        let offset = Ratio::of(pixels as i64).minus(seen)?.over(Ratio::of(2))?;
        // A map that is larger than the image, or lies between its pixels, has no place on it.
        if offset.denominator() != 1 || offset < Ratio::ZERO {
            return None;
        }
        let whole = |value: i64| usize::try_from(value.max(0)).ok();
        // Of the output pixel's own place: from its first pixel to its last.
        let own_last = offset.plus(track.step)?.minus(Ratio::ONE)?;
        Some(AxisField {
            before: whole(offset.minus(track.low)?.ceil())?,
            after: whole(track.high.minus(own_last.max(offset))?.ceil())?,
            stride: usize::try_from(self.stride_along(axis)?).ok()?,
            output_step: usize::try_from(track.step.denominator()).ok()?,
            input_step: usize::try_from(track.step.numerator()).ok()?,
            margin: (whole(track.left)?, whole(track.right)?),
            offset: whole(offset.floor())?,
        })
    }
}

/// Whether two tensors of tiles of different sizes hang together with the image in the same way.
fn is_alike(one: &Field, two: &Field) -> bool {
    let of = |field: &Field| {
        field.tracks.map(|track| track.map(|own| (own.dim, own.step, own.low, own.high, own.left, own.right)))
    };
    of(one) == of(two)
}
