//! Tiling: which tiles cover a raster, which part of each is kept, and how overlapping ones blend. Pure: no I/O, no
//! model.
//!
//! A [`Plan`] is a grid, the product of two [`Axis`] plans. The grid starts at the raster's origin, so that the
//! same raster always gets the same tiles, and ends where the raster ends, so that no tile reaches past the edge of a
//! raster that is at least as large as a tile: a network's own zero padding then falls on the raster's edge and
//! nowhere else. Between the two tiles are spread evenly: all neighbours share about the same, and no row of tiles
//! has more to hand over to the next than the others.
//!
//! Two ways lead from overlapping tiles to one map. [`Blend::Crop`] gives every pixel to the tile that sees it
//! furthest from a tile border ([`Axis::kept`]); the kept parts partition the raster. The others are weighted
//! means: each tile counts with a window that falls off towards its borders ([`Axis::weights`]). The weights are
//! normalised per axis when the plan is made, so they sum to 1 at every pixel, also at the raster's edge, and no
//! second accumulator or division is needed.

mod accumulator;
mod axis;
mod blend;
mod lanes;
mod plan;

pub use accumulator::Accumulator;
pub use axis::Axis;
pub use blend::Blend;
pub use lanes::{Lanes, Step};
pub use plan::{Overlap, Plan, Tile};
