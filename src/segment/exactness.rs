//! Tiles that give what one run over the whole raster gives.
//!
//! For a local network ([`ReceptiveField::is_local`](crate::onnx::ReceptiveField::is_local)) that takes tiles that begin at
//! multiples of its stride, of which only those pixels are kept that have not seen a border inside the raster, and a last
//! tile that ends where the raster ends, filled up to the stride by the padding rule: the network's own zero padding then
//! falls on the raster's edge and nowhere else.

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Size;
use crate::onnx::{AxisField, ReceptiveField};
use crate::segment::job::Job;
use crate::segment::options::LARGEST_TILE;
use crate::segment::placement::Placement;
use crate::tiling::{Blend, Plan};

/// Pixels that may be computed for one of the map where nobody asked for exactness: more are dearer than blending, which
/// computes 1.8 with tiles of 512 that share a quarter.
pub(super) const MOST_RECOMPUTED: f64 = 2.0;

/// Sides that tiles of free size are tried with, filled up to the stride.
const SIDES: [usize; 9] = [256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096];

/// A larger tile must save this share of the pixels: it leaves the caches sooner.
const WORTH_IT: f64 = 1.03;

/// A tiling that is exact.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) tile: Size,
    pub(super) placement: Placement,
    pub(super) plan: Plan,
}

/// A network that can be tiled exactly.
struct Local {
    rows: AxisField,
    columns: AxisField,
    placement: Placement,
}

impl Local {
    /// # Errors
    /// `ModelUnsupported` with the nodes that look at the whole tile.
    fn of(field: &ReceptiveField) -> Result<Local> {
        let unfit = |message: String| Error::new(ErrorKind::ModelUnsupported, message);
        let (Some(rows), Some(columns), true) = (field.rows, field.columns, field.is_local()) else {
            let nodes: Vec<String> =
                field.whole.iter().map(|own| format!("{} {}", own.node, own.reason)).collect();
            return Err(unfit(format!("tiles cannot be exact: {}", nodes.join("; "))));
        };
        if (rows.output_step, rows.input_step) != (columns.output_step, columns.input_step) {
            return Err(unfit("tiles cannot be exact: rows and columns have different scales".to_owned()));
        }
        let placement = Placement {
            output_step: rows.output_step,
            input_step: rows.input_step,
            margin: (columns.offset, rows.offset),
        };
        Ok(Local { rows, columns, placement })
    }

    /// # Errors
    /// `InvalidArgument` for a tile that is no tile of the network, or too small.
    fn exact(&self, raster: Size, tile: Size) -> Result<Exact> {
        let on_map = |own: &AxisField| (own.stride / own.input_step).max(1) * own.output_step;
        let plan = Plan::exact(
            self.placement.map_size(raster),
            self.placement.output_size(tile)?,
            [self.columns.margin, self.rows.margin],
            [on_map(&self.columns), on_map(&self.rows)],
        )?;
        Ok(Exact { tile, placement: self.placement, plan })
    }

    /// The smallest tile of which as few cover an axis as of tiles of `side`: with larger ones the last would compute anew
    /// what its neighbour has.
    fn evened(own: &AxisField, extent: usize, side: usize) -> usize {
        let margins = (own.margin.0 + own.margin.1) * own.input_step / own.output_step;
        let whole = Local::whole(own, extent);
        let side = side.next_multiple_of(own.stride);
        let room = side.saturating_sub(margins + 2 * own.offset) / own.stride * own.stride;
        if side >= whole || room == 0 {
            return side.min(whole);
        }
        let count = whole.saturating_sub(margins + 2 * own.offset).div_ceil(room);
        // Between the margins each has the same share of the axis.
        let share = (whole - margins - 2 * own.offset).div_ceil(count).next_multiple_of(own.stride);
        (share + (margins + 2 * own.offset).next_multiple_of(own.stride)).min(side)
    }

    /// The smallest tile that covers an axis: the raster's size, filled up to the stride.
    fn whole(own: &AxisField, extent: usize) -> usize {
        (extent + 2 * own.offset).next_multiple_of(own.stride)
    }
}

impl Job<'_, '_> {
    /// The exact tiling of a raster: of tiles of the model's own size, of the size that was asked for less what is over a
    /// multiple of the stride, else of the size that computes the fewest pixels twice among those whose runs take `most`
    /// bytes at most.
    ///
    /// # Errors
    /// `ModelUnsupported` for networks that look at the whole tile, with the nodes, and graphs that cannot be followed;
    /// `InvalidArgument` for tiles that are too small.
    pub(super) fn exact(&self, raster: Size, batch: usize, most: u64) -> Result<Exact> {
        let local = Local::of(self.model.receptive_field()?)?;
        self.check_declared(&local)?;
        let (height, width) = self.model.contract().tile();
        let asked = self.options.tile;
        let side = |fixed: Option<usize>, asked: Option<usize>, own: &AxisField, extent: usize| match fixed {
            Some(fixed) => Some(fixed),
            None => asked.map(|asked| match own.offset {
                0 => (asked / own.stride * own.stride).max(own.stride).min(Local::whole(own, extent)),
                _ => asked.min(Local::whole(own, extent)),
            }),
        };
        let (columns, rows) = (&local.columns, &local.rows);
        let wide = side(width, asked.map(|own| own.width), columns, raster.width);
        let high = side(height, asked.map(|own| own.height), rows, raster.height);
        check_fills(width, columns, raster.width, "wide")?;
        check_fills(height, rows, raster.height, "high")?;
        if let (Some(width), Some(height)) = (wide, high) {
            return local.exact(raster, Size::new(width, height));
        }
        let mut tiles: Vec<Size> = SIDES
            .iter()
            .map(|side| {
                let axis =
                    |own: &AxisField, extent: usize| Local::evened(own, extent, *side).min(LARGEST_TILE);
                Size::new(
                    wide.unwrap_or_else(|| axis(columns, raster.width)),
                    high.unwrap_or_else(|| axis(rows, raster.height)),
                )
            })
            .collect();
        tiles.dedup();
        self.fewest_pixels(&local, raster, &tiles, (batch, most))
    }

    /// A bound on the bytes of a run under which exact tiles are smaller than under `most`.
    pub(super) fn smaller(&self, raster: Size, batch: usize, most: u64) -> Option<u64> {
        if !matches!(self.options.blend, Blend::Exact | Blend::Auto) {
            return None;
        }
        let tile = |most: u64| self.exact(raster, batch, most).ok().map(|exact| exact.tile);
        let own = tile(most)?;
        // In small steps: none of the sizes is to be passed over.
        std::iter::successors(Some(most), |most| Some(most - most.div_ceil(32)))
            .take_while(|most| *most > 0)
            .find(|most| tile(*most).is_some_and(|tile| tile != own))
    }

    /// That a file which fixes its output says what the graph gives.
    fn check_declared(&self, local: &Local) -> Result<()> {
        let contract = self.model.contract();
        let (Some((_, map)), (Some(height), Some(width))) = (contract.declared_output(), contract.tile())
        else {
            return Ok(());
        };
        let made = local.placement.output_size(Size::new(width, height))?;
        if made == map {
            return Ok(());
        }
        let message =
            format!("tiles cannot be exact: the file declares an output of {map}, its graph gives {made}");
        Err(Error::new(ErrorKind::ModelUnsupported, message))
    }

    /// The smallest of the tiles, in ascending order, that computes hardly more pixels than any other that fits.
    fn fewest_pixels(
        &self,
        local: &Local,
        raster: Size,
        tiles: &[Size],
        (batch, most): (usize, u64),
    ) -> Result<Exact> {
        let a_pixel = if tiles.len() > 1 { self.bytes_a_pixel(local)? } else { 0 };
        let fits = |tile: &Size| {
            let pixels = tile.pixels().saturating_mul(batch as u64);
            pixels.saturating_mul(a_pixel) <= most && self.check_batch(batch, self.channels, *tile).is_ok()
        };
        let mut found: Vec<Exact> = Vec::new();
        let mut refused = None;
        for tile in tiles {
            match local.exact(raster, *tile) {
                // The smallest of all may need more than its share; whether there is room is found out when all is planned.
                Ok(exact) if found.is_empty() || fits(tile) => found.push(exact),
                Ok(_) => break,
                Err(error) => refused = Some(error),
            }
        }
        let fewest = found.iter().map(|own| own.plan.recomputed()).fold(f64::INFINITY, f64::min);
        let chosen = found.into_iter().find(|own| own.plan.recomputed() <= fewest * WORTH_IT);
        chosen.ok_or_else(|| refused.unwrap_or_else(|| Error::internal("no tile was tried")))
    }

    /// Most bytes of tensors alive in a run, a pixel of the input.
    fn bytes_a_pixel(&self, local: &Local) -> Result<u64> {
        let contract = self.model.contract();
        let side = |own: &AxisField| SIDES[0].next_multiple_of(own.stride);
        let (height, width) = (side(&local.rows), side(&local.columns));
        let (height, width) = (contract.tile().0.unwrap_or(height), contract.tile().1.unwrap_or(width));
        let batch = contract.batch().unwrap_or(1);
        let bytes = self.tensor_bytes(Size::new(width, height), batch);
        let bytes = bytes.ok_or_else(|| Error::internal("a graph that was followed cannot be followed"))?;
        Ok(bytes.div_ceil((batch * height * width) as u64))
    }
}

/// Refuses a tile of the model's own size that is larger than the raster: the network would see what the raster is padded
/// with where a run over the raster alone has the network's own padding.
fn check_fills(fixed: Option<usize>, own: &AxisField, extent: usize, which: &str) -> Result<()> {
    match fixed {
        Some(fixed) if fixed > Local::whole(own, extent) && own.margin != (0, 0) => Err(Error::new(
            ErrorKind::ModelUnsupported,
            format!("tiles cannot be exact: the model's are {fixed} pixels {which}, the raster is {extent}"),
        )),
        _ => Ok(()),
    }
}
