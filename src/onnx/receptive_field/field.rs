//! What one tensor knows of the image: a track for its rows and one for its columns.

use crate::onnx::graph::{Graph, ValueId};
use crate::onnx::receptive_field::track::Track;

/// How a tensor hangs together with the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Field {
    /// Along the image's rows (its height), then along its columns. None where the tensor has no such axis, or where each
    /// of its elements has seen all of it.
    pub(super) tracks: [Option<Track>; 2],
    /// Whether it is made of the image at all.
    pub(super) is_seen: bool,
    /// A dimension with all positions once more, beside the tracks: the other side of a comparison of all with all.
    pub(super) others: Option<usize>,
}

impl Field {
    /// The axes whose track lies on a dimension.
    pub(super) fn on(&self, dim: usize) -> impl Iterator<Item = usize> {
        let tracks = self.tracks;
        (0..2).filter(move |axis| tracks[*axis].is_some_and(|track| track.dim == dim))
    }

    /// Whether a dimension has positions of the image.
    pub(super) fn is_tracked(&self, dim: usize) -> bool {
        self.on(dim).next().is_some()
    }

    /// Whether it has any.
    pub(super) fn has_tracks(&self) -> bool {
        self.tracks.iter().any(Option::is_some)
    }

    /// Without the tracks on a dimension: each element has seen all of it.
    pub(super) fn without(mut self, dim: usize) -> Field {
        for track in &mut self.tracks {
            track.take_if(|own| own.dim == dim);
        }
        self
    }

    /// The same tracks on other dimensions; one that has none is lost.
    pub(super) fn moved(mut self, to: impl Fn(usize) -> Option<usize>) -> Field {
        self.others = self.others.and_then(&to);
        for track in &mut self.tracks {
            *track = track.and_then(|own| Some(Track { dim: to(own.dim)?, ..own }));
        }
        self
    }

    /// With each track changed.
    pub(super) fn changed(
        mut self,
        change: impl Fn(usize, Track) -> Result<Track, String>,
    ) -> Result<Field, String> {
        for (axis, track) in self.tracks.iter_mut().enumerate() {
            *track = track.map(|own| change(axis, own)).transpose()?;
        }
        Ok(self)
    }

    /// The track on a dimension that is nothing but its positions.
    pub(super) fn plain(&self, dim: usize, size: usize) -> Result<Option<Track>, String> {
        let mut on = self.on(dim).filter_map(|axis| self.tracks[axis]);
        match (on.next(), on.next()) {
            (None, _) => Ok(None),
            (Some(own), None) if own.inner == 1 && own.count == size => Ok(Some(own)),
            _ => Err("looks along rows and columns that are one axis".to_owned()),
        }
    }

    /// Under another shape with the same elements in the same order.
    pub(super) fn reshaped(self, from: &[usize], to: &[usize]) -> Result<Field, String> {
        let behind = |shape: &[usize], dim: usize| shape[dim + 1..].iter().product::<usize>();
        let unknown = Field { others: None, ..self };
        let mut field = unknown.changed(|_, own| {
            let distance = own.inner * behind(from, own.dim);
            let fits = |dim: &usize| {
                let below = behind(to, *dim);
                to[*dim] > 1
                    && distance.is_multiple_of(below)
                    && distance / below < to[*dim]
                    && (below * to[*dim]).is_multiple_of(distance * own.count)
            };
            let dim = (0..to.len()).find(fits);
            let dim = dim.ok_or("cuts rows or columns into pieces: positions of a tile's own")?;
            Ok(Track { dim, inner: distance / behind(to, dim), ..own })
        })?;
        for axis in 0..2 {
            let Some(own) = field.tracks[axis] else { continue };
            let is_alone = field.on(own.dim).count() == 1;
            // What lay in channels lies between the pixels now.
            if is_alone && own.inner > 1 && own.count * own.inner == to[own.dim] {
                field.tracks[axis] = own.widened(own.inner);
            }
        }
        Ok(field)
    }
}

/// Tensors taken together element by element, each laid against the end of the result's shape.
pub(super) fn together(
    graph: &Graph,
    rank: usize,
    inputs: impl Iterator<Item = (ValueId, Field)>,
) -> Result<Field, String> {
    let mut all = Field::default();
    let mut strangers = Vec::new();
    for (id, field) in inputs {
        let own = graph.shape(id).len();
        let field = field.moved(|dim| Some(dim + rank - own));
        all.is_seen |= field.is_seen;
        all.others = all.others.or(field.others);
        for (joint, track) in all.tracks.iter_mut().zip(field.tracks) {
            *joint = match (*joint, track) {
                (Some(one), Some(other)) => Some(
                    one.joined(other).ok_or("takes together what lies at different places of the image")?,
                ),
                (one, other) => one.or(other),
            };
        }
        strangers.push((id, field));
    }
    for track in all.tracks.iter().flatten() {
        let is_strange =
            |(id, field): &(ValueId, Field)| !field.is_seen && depends_on_place(graph, *id, track, rank);
        if strangers.iter().any(is_strange) {
            return Err("has numbers of its own for every row or column: they belong to a place".to_owned());
        }
    }
    Ok(all)
}

/// Whether a tensor that knows nothing of the image has different values along a track.
fn depends_on_place(graph: &Graph, id: ValueId, track: &Track, rank: usize) -> bool {
    let shape = graph.shape(id);
    let Some(dim) = (track.dim + shape.len()).checked_sub(rank) else { return false };
    if shape.get(dim).is_none_or(|size| *size <= 1) {
        return false;
    }
    match graph.known(id).and_then(|own| own.to_f64()) {
        None => true,
        Some(values) => {
            let (behind, size) = (shape[dim + 1..].iter().product::<usize>(), shape[dim]);
            values.iter().enumerate().any(|(at, value)| {
                let along = at / behind % size;
                value.to_bits() != values[at - along * behind].to_bits()
            })
        }
    }
}
