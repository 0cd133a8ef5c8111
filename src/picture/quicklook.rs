//! Panels side by side with a legend, as one PNG file.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::picture::canvas::Canvas;
use crate::picture::legend::{Legend, LegendEntry};
use crate::picture::panel::Panel;
use crate::picture::{png, text};

/// A page with panels side by side, each under its title, and a legend below.
///
/// Panels larger than the limit (1024 pixels a side) are reduced by nearest neighbour, small ones are magnified by
/// a whole factor, so that class colours stay what they are. Four panels make a row.
#[derive(Debug, Clone)]
pub struct Quicklook {
    heading: String,
    panels: Vec<Panel>,
    legend: Legend,
    max_side_px: usize,
}

const DEFAULT_SIDE_PX: usize = 1024;
const MOST_SIDE_PX: usize = 8192;
const MOST_PANELS: usize = 64;
/// 256 MiB of pixels.
const MOST_PIXELS: usize = 1 << 28;
/// Panels whose longer side is shorter than this are magnified.
const SMALL_PX: usize = 256;
const PANELS_A_ROW: usize = 4;

const MARGIN_PX: usize = 24;
const GAP_PX: usize = 20;
const HEADING_PX: usize = 24;
const TITLE_PX: usize = 16;
const LABEL_PX: usize = 16;
const SWATCH_PX: usize = 18;
const ROW_PX: usize = 28;
const LABEL_GAP_PX: usize = 10;
const COLUMN_GAP_PX: usize = 32;
const MOST_LABEL_PX: usize = 300;
const LEAST_COLUMN_PX: usize = 160;
const LEAST_PAGE_PX: usize = 320;
/// Legends of more rows than this get a page of at least this width.
const LONG_LEGEND: usize = 12;
const LONG_LEGEND_PAGE_PX: usize = 960;

const INK: [u8; 3] = [34, 38, 46];
const MUTED: [u8; 3] = [104, 110, 122];
const BORDER: [u8; 3] = [150, 155, 164];

/// Where a panel stands and how large it is drawn, without its border.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    /// Room for the title.
    column: usize,
}

/// The columns of a legend.
#[derive(Debug, Clone, Default)]
struct Columns {
    rows: usize,
    /// Room of each for the label and for the share.
    widths: Vec<(usize, usize)>,
    /// All of them with the gaps between.
    total: usize,
}

impl Quicklook {
    /// An empty page.
    pub fn new() -> Quicklook {
        Quicklook {
            heading: String::new(),
            panels: Vec::new(),
            legend: Legend::default(),
            max_side_px: DEFAULT_SIDE_PX,
        }
    }

    /// A line above the panels.
    #[must_use]
    pub fn heading(mut self, heading: impl Into<String>) -> Quicklook {
        self.heading = heading.into();
        self
    }

    /// One more panel, to the right of the others.
    #[must_use]
    pub fn panel(mut self, panel: Panel) -> Quicklook {
        self.panels.push(panel);
        self
    }

    /// The legend below the panels.
    #[must_use]
    pub fn legend(mut self, legend: Legend) -> Quicklook {
        self.legend = legend;
        self
    }

    /// The longest side of a panel on the page in pixels: 1024 unless told otherwise, at least 16 and at most
    /// 8192.
    #[must_use]
    pub fn max_side_px(mut self, pixels: usize) -> Quicklook {
        self.max_side_px = pixels.clamp(16, MOST_SIDE_PX);
        self
    }

    /// The bytes of the PNG file: 8-bit RGB.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without a panel; [`LimitExceeded`](ErrorKind::LimitExceeded)
    /// for more than 64 panels or a page of more than 2²⁸ pixels.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        png::encode(&self.draw()?)
    }

    /// Writes the PNG file: under a temporary name beside it, synced, then moved to its place, so that it is
    /// complete or not there.
    ///
    /// # Errors
    /// Those of [`to_png`](Quicklook::to_png); [`AlreadyExists`](ErrorKind::AlreadyExists) for a file that stands
    /// there already, unless `overwrite`; [`NotFound`](ErrorKind::NotFound) for a missing folder,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) and [`Io`](ErrorKind::Io) as the system says.
    pub fn save(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.to_png().map_err(|error| error.at_path(path))?;
        png::write(path, &bytes, overwrite)
    }

    fn draw(&self) -> Result<Canvas> {
        if self.panels.is_empty() {
            return Err(Error::invalid("a quicklook needs at least one panel"));
        }
        if self.panels.len() > MOST_PANELS {
            let message = format!("at most {MOST_PANELS} panels, got {}", self.panels.len());
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        let (places, content, bottom) = self.places();
        let columns = self.columns(content);
        let content = content.max(columns.total);
        let width = content + 2 * MARGIN_PX;
        let height = match columns.rows {
            0 => bottom + MARGIN_PX,
            rows => bottom + GAP_PX + rows * ROW_PX + MARGIN_PX - (ROW_PX - SWATCH_PX),
        };
        if width.saturating_mul(height) > MOST_PIXELS {
            let message = format!("page of {width} x {height} pixels: the limit is {MOST_PIXELS} pixels");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }

        let mut canvas = Canvas::white(width, height);
        let heading = text::fit(&self.heading, HEADING_PX, content);
        text::draw(&mut canvas, MARGIN_PX, MARGIN_PX, &heading, HEADING_PX, INK);
        for (panel, place) in self.panels.iter().zip(&places) {
            let title = text::fit(panel.title(), TITLE_PX, place.column);
            let above = place.y.saturating_sub(TITLE_PX + 9);
            text::draw(&mut canvas, place.x, above, &title, TITLE_PX, INK);
            canvas.frame(place.x - 1, place.y - 1, place.width + 2, place.height + 2, BORDER);
            canvas.put(place.x, place.y, place.width, place.height, panel.rgb().view());
        }
        self.draw_legend(&mut canvas, bottom + GAP_PX, &columns);
        Ok(canvas)
    }

    /// The places of the panels, the width of the page's content, and where the last row ends.
    fn places(&self) -> (Vec<Place>, usize, usize) {
        let titled = self.panels.iter().any(|panel| !panel.title().is_empty());
        let mut y = MARGIN_PX + if self.heading.is_empty() { 0 } else { HEADING_PX + 16 };
        let mut content = LEAST_PAGE_PX - 2 * MARGIN_PX;
        let mut places = Vec::new();
        for (index, row) in self.panels.chunks(PANELS_A_ROW).enumerate() {
            y += if index == 0 { 0 } else { GAP_PX } + if titled { TITLE_PX + 10 } else { 1 };
            let mut x = MARGIN_PX;
            let mut tallest = 0;
            for panel in row {
                let (height, width, _) = panel.rgb().dim();
                let (width, height) = drawn_size(width, height, self.max_side_px);
                let wanted = text::width_px(panel.title(), TITLE_PX).min(LEAST_COLUMN_PX);
                let column = (width + 2).max(wanted);
                places.push(Place { x: x + 1, y, width, height, column });
                x += column + GAP_PX;
                tallest = tallest.max(height);
            }
            content = content.max(x - GAP_PX - MARGIN_PX);
            y += tallest + 1;
        }
        (places, content, y)
    }

    /// The fewest rows of a legend that fit below panels `content` pixels wide; where already one column is too
    /// wide, or the legend is long, the page becomes wider.
    fn columns(&self, content: usize) -> Columns {
        let entries = self.legend.entries();
        let room = if entries.len() > LONG_LEGEND { content.max(LONG_LEGEND_PAGE_PX) } else { content };
        let split = |rows: usize| {
            let widest = |column: &[LegendEntry], text: fn(&LegendEntry) -> &str| {
                column.iter().map(|entry| text::width_px(text(entry), LABEL_PX)).max().unwrap_or(0)
            };
            let widths: Vec<(usize, usize)> = entries
                .chunks(rows)
                .map(|column| {
                    let label = widest(column, |entry| &entry.label).min(MOST_LABEL_PX);
                    (label, widest(column, |entry| &entry.share))
                })
                .collect();
            let total = widths.iter().map(|width| column_px(*width) + COLUMN_GAP_PX).sum::<usize>();
            Columns { rows, widths, total: total.saturating_sub(COLUMN_GAP_PX) }
        };
        let fewest = (1..entries.len()).map(split).find(|columns| columns.total <= room);
        match entries.len() {
            0 => Columns::default(),
            all => fewest.unwrap_or_else(|| split(all)),
        }
    }

    /// Fills column after column.
    fn draw_legend(&self, canvas: &mut Canvas, top: usize, columns: &Columns) {
        let mut x = MARGIN_PX;
        for (column, width) in self.legend.entries().chunks(columns.rows.max(1)).zip(&columns.widths) {
            for (row, entry) in column.iter().enumerate() {
                let y = top + row * ROW_PX;
                canvas.fill(x, y, SWATCH_PX, SWATCH_PX, entry.color);
                canvas.frame(x, y, SWATCH_PX, SWATCH_PX, BORDER);
                let line = y + (SWATCH_PX - LABEL_PX) / 2 + 1;
                let name = text::fit(&entry.label, LABEL_PX, width.0);
                text::draw(canvas, x + SWATCH_PX + LABEL_GAP_PX, line, &name, LABEL_PX, INK);
                let end = x + column_px(*width) - text::width_px(&entry.share, LABEL_PX);
                text::draw(canvas, end, line, &entry.share, LABEL_PX, MUTED);
            }
            x += column_px(*width) + COLUMN_GAP_PX;
        }
    }
}

/// The width of a legend's column with this room for label and share.
fn column_px((label, share): (usize, usize)) -> usize {
    SWATCH_PX + LABEL_GAP_PX + label + LABEL_GAP_PX + share
}

impl Default for Quicklook {
    fn default() -> Quicklook {
        Quicklook::new()
    }
}

/// The size at which a picture is drawn: its longer side at most the limit; small pictures magnified by a whole
/// factor.
fn drawn_size(width: usize, height: usize, limit: usize) -> (usize, usize) {
    let longest = width.max(height);
    if longest > limit {
        let reduced = |side: usize| ((side * limit + longest / 2) / longest).max(1);
        return (reduced(width), reduced(height));
    }
    let factor = (SMALL_PX.min(limit) / longest).max(1);
    (width * factor, height * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{ClassMap, Palette, Stretch};
    use crate::tensor::{DataType, Samples};
    use ndarray::{Array3, arr3};

    fn decoded(quicklook: &Quicklook) -> image::RgbImage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("look.png");
        quicklook.save(&path, false).unwrap();
        image::ImageReader::open(path).unwrap().decode().unwrap().into_rgb8()
    }

    fn classes(map: Array3<u16>, nodata: u16) -> ClassMap {
        ClassMap::new(Samples::U16(map).view(), Some(nodata)).unwrap()
    }

    #[test]
    fn colours_land_where_the_classes_are() {
        let names = ["water", "forest", "built"].map(String::from);
        let palette = Palette::for_names(&names);
        let map = classes(arr3(&[[[0, 1, 2], [9, 1, 0]]]), 9);
        let image = Samples::zeros(DataType::U8, [3, 300, 500]);
        let look = Quicklook::new()
            .heading("a heading")
            .panel(Panel::new("image", Stretch::new().render(image.view()).unwrap()).unwrap())
            .panel(Panel::new("classes", map.render(&palette)).unwrap())
            .legend(Legend::of(&map, &palette, &names));
        let page = decoded(&look);
        let (places, ..) = look.places();
        assert_eq!((places[0].width, places[0].height), (500, 300));
        let place = places[1];
        assert_eq!((place.width, place.height), (3 * 85, 2 * 85));
        assert!(place.x > places[0].x + 500);
        let at = |x: usize, y: usize| page.get_pixel((place.x + x) as u32, (place.y + y) as u32).0;
        assert_eq!((at(0, 0), at(84, 84)), (palette.rgb(0), palette.rgb(0)));
        assert_eq!((at(85, 0), at(255 - 1, 84)), (palette.rgb(1), palette.rgb(2)));
        assert_eq!((at(0, 85), at(84, 169)), (Palette::NODATA_GREY, Palette::NODATA_GREY));
        assert_eq!(at(254, 169), palette.rgb(0));
        for class in 0..3 {
            let color = palette.rgb(class);
            let swatch =
                page.enumerate_pixels().any(|(_, y, pixel)| y as usize > place.y + 320 && pixel.0 == color);
            assert!(swatch, "class {class} is in the legend");
        }
    }

    #[test]
    fn unusual_sizes() {
        for (height, width, drawn) in [
            (1, 1, (256, 256)),
            (1, 200, (200, 1)),
            (40, 1, (6, 240)),
            (2, 5000, (1024, 1)),
            (5000, 1000, (205, 1024)),
            (1024, 1024, (1024, 1024)),
        ] {
            let panel =
                Panel::new("a title that is longer than its panel", Array3::zeros((height, width, 3)));
            let look = Quicklook::new().panel(panel.unwrap());
            let (places, ..) = look.places();
            assert_eq!((places[0].width, places[0].height), drawn);
            let page = decoded(&look);
            assert!(page.width() as usize >= drawn.0 + 2 * MARGIN_PX);
            assert!(page.height() as usize >= drawn.1 + 2 * MARGIN_PX);
        }
    }

    #[test]
    fn many_classes_and_many_panels() {
        let map = classes(Array3::from_shape_fn((1, 30, 10), |(_, y, x)| (y * 10 + x) as u16), 999);
        let palette = Palette::for_classes(300);
        let mut look = Quicklook::new().legend(Legend::of(&map, &palette, &[]));
        for _ in 0..5 {
            look = look.panel(Panel::new("", map.render(&palette)).unwrap());
        }
        let page = decoded(&look);
        let (places, ..) = look.places();
        assert!(places[4].y > places[3].y && places[4].x == places[0].x);
        assert!(page.height() < 1200);
    }

    #[test]
    fn limits_are_errors() {
        assert_eq!(Quicklook::new().to_png().unwrap_err().kind(), ErrorKind::InvalidArgument);
        let large = Panel::new("", Array3::zeros((8192, 8192, 3))).unwrap();
        let look = Quicklook::new()
            .max_side_px(usize::MAX)
            .panel(large.clone())
            .panel(large.clone())
            .panel(large.clone());
        assert_eq!(look.panel(large).to_png().unwrap_err().kind(), ErrorKind::LimitExceeded);
        let mut many = Quicklook::new();
        for _ in 0..65 {
            many = many.panel(Panel::new("", Array3::zeros((1, 1, 3))).unwrap());
        }
        assert_eq!(many.to_png().unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn the_same_page_is_the_same_bytes() {
        let look = Quicklook::new().panel(Panel::new("a", Array3::from_elem((9, 9, 3), 7)).unwrap());
        assert_eq!(look.to_png().unwrap(), look.to_png().unwrap());
    }
}
