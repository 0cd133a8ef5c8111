//! Pictures for people: quicklooks with a legend and side-by-side panels, as PNG files. The crate's only door to
//! `image`.
//!
//! ```no_run
//! use glebe::picture::{ClassMap, Legend, Palette, Panel, Quicklook, Stretch};
//! # fn main() -> glebe::Result<()> {
//! # let image = glebe::tensor::Samples::zeros(glebe::tensor::DataType::U16, [4, 64, 64]);
//! # let scored = glebe::tensor::Samples::zeros(glebe::tensor::DataType::U8, [1, 64, 64]);
//! let names = ["water", "vegetation", "bare soil", "built"].map(String::from);
//! let palette = Palette::for_names(&names);
//! let map = ClassMap::new(scored.view(), Some(255))?;
//! Quicklook::new()
//!     .panel(Panel::new("image", Stretch::new().bands([0, 1, 2]).nodata(0.0).render(image.view())?)?)
//!     .panel(Panel::new("classes", map.render(&palette))?)
//!     .legend(Legend::of(&map, &palette, &names))
//!     .save("scene.png", false)
//! # }
//! ```
//!
//! Everything here is made for arrays that fit a screen: hand in decimated rasters. The same input gives the same
//! bytes.

mod canvas;
mod class_map;
mod curves;
mod legend;
mod palette;
mod panel;
mod png;
mod quicklook;
mod stretch;
mod text;

pub use class_map::ClassMap;
pub use curves::{Curve, Curves, Plot};
pub use legend::{Legend, LegendEntry};
pub use palette::Palette;
pub use panel::Panel;
pub use quicklook::Quicklook;
pub use stretch::Stretch;
