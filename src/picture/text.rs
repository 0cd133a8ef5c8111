//! Lines of text from an 8 x 8 bitmap font, smoothed and set proportionally.
//!
//! Latin-1 is drawn; any other character is a question mark. Sizes are the height of the font's cell in pixels;
//! capitals fill 7/8 of it.

use font8x8::legacy::{BASIC_LEGACY, LATIN_LEGACY};

use crate::picture::canvas::Canvas;

/// Side of a smoothed glyph: three doublings of 8.
const FINE: usize = 64;

/// Gap between letters and width of a space, in cells of the font.
const GAP_CELLS: usize = 1;
const SPACE_CELLS: usize = 3;

/// Letters are drawn at 5/8 of the font's width, which evens out its heavy stems. Along x all is counted in 64ths
/// of a pixel: a cell of the font is then `CELL` times the size.
const CELL: usize = 5;

/// Width of a line in pixels.
pub(super) fn width_px(text: &str, size_px: usize) -> usize {
    text.chars().map(|letter| advance(letter, size_px)).sum::<usize>().div_ceil(64)
}

/// Draws a line with its upper left corner at (`x`, `y`).
pub(super) fn draw(canvas: &mut Canvas, x: usize, y: usize, text: &str, size_px: usize, color: [u8; 3]) {
    let mut pen = x * 64;
    for letter in text.chars() {
        let bits = bitmap(letter);
        let (left, cells) = ink(bits);
        let fine = smooth(bits);
        let origin = pen - (left * size_px * CELL).min(pen);
        for column in pen / 64..(pen + cells * size_px * CELL).div_ceil(64) {
            for row in 0..size_px {
                let coverage = coverage(&fine, column * 64, origin, row, size_px);
                if coverage > 0.0 {
                    canvas.blend(column, y + row, color, coverage);
                }
            }
        }
        pen += advance(letter, size_px);
    }
}

/// The line, cut with two dots at its end where it is wider than `limit_px`.
pub(super) fn fit(text: &str, size_px: usize, limit_px: usize) -> String {
    if width_px(text, size_px) <= limit_px {
        return text.to_string();
    }
    let mut rest = (limit_px * 64).saturating_sub(2 * advance('.', size_px));
    let mut kept = String::new();
    for letter in text.chars() {
        let advance = advance(letter, size_px);
        if advance > rest {
            break;
        }
        rest -= advance;
        kept.push(letter);
    }
    kept.truncate(kept.trim_end().len());
    kept + ".."
}

/// From one letter to the next, in 64ths of a pixel.
fn advance(letter: char, size_px: usize) -> usize {
    let (_, cells) = ink(bitmap(letter));
    (cells + GAP_CELLS) * size_px * CELL
}

/// The rows of a letter from the top; bit 0 is the leftmost column.
fn bitmap(letter: char) -> [u8; 8] {
    let code = letter as usize;
    let found = match code {
        0x20..=0x7e => BASIC_LEGACY.get(code),
        0xa0..=0xff => LATIN_LEGACY.get(code - 0xa0),
        _ => None,
    };
    found.or(BASIC_LEGACY.get('?' as usize)).copied().unwrap_or_default()
}

/// First column with ink and number of columns from there to the last.
fn ink(bits: [u8; 8]) -> (usize, usize) {
    let columns = bits.iter().fold(0, |all, row| all | row);
    match columns {
        0 => (0, SPACE_CELLS),
        _ => {
            let left = columns.trailing_zeros() as usize;
            (left, 8 - columns.leading_zeros() as usize - left)
        }
    }
}

/// Doubles a bitmap three times, each time cutting the stairs of diagonals: a quarter of a pixel takes the colour
/// of its two outer neighbours where these agree and the opposite ones differ.
fn smooth(bits: [u8; 8]) -> [u64; FINE] {
    let mut rows = [0; FINE];
    rows.iter_mut().zip(bits).for_each(|(row, bits)| *row = u64::from(bits));
    let mut side = 8;
    while side < FINE {
        let at = |x: isize, y: isize| {
            let inside = (0..side as isize).contains(&x) && (0..side as isize).contains(&y);
            inside && rows[y as usize] >> x & 1 == 1
        };
        let mut doubled = [0u64; FINE];
        for y in 0..side as isize {
            for x in 0..side as isize {
                let centre = at(x, y);
                let (up, down, left, right) = (at(x, y - 1), at(x, y + 1), at(x - 1, y), at(x + 1, y));
                let straight = up != down && left != right;
                let quarter = |a: bool, b: bool| if straight && a == b { a } else { centre };
                let quarters = [
                    (0, 0, quarter(up, left)),
                    (1, 0, quarter(up, right)),
                    (0, 1, quarter(down, left)),
                    (1, 1, quarter(down, right)),
                ];
                for (dx, dy, set) in quarters {
                    doubled[2 * y as usize + dy] |= u64::from(set) << (2 * x as usize + dx);
                }
            }
        }
        rows = doubled;
        side *= 2;
    }
    rows
}

/// How much of a pixel is ink, from 8 x 8 points in it. `left` is the pixel's left side, `origin` that of the glyph,
/// both in 64ths of a pixel.
fn coverage(fine: &[u64; FINE], left: usize, origin: usize, row: usize, size_px: usize) -> f32 {
    let mut set = 0;
    for step_y in 0..8 {
        let bits = fine.get((row * 16 + 2 * step_y + 1) * FINE / (16 * size_px)).copied().unwrap_or(0);
        for step_x in 0..8 {
            let Some(inside) = (left + 8 * step_x + 4).checked_sub(origin) else { continue };
            // 8 fine columns a cell.
            let column = (inside * 8 / (CELL * size_px)) as u32;
            set += bits.checked_shr(column).unwrap_or(0) & 1;
        }
    }
    set as f32 / 64.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_within_its_width_and_height() {
        let text = "Wasserfläche gj_|";
        for size in [8, 12, 14, 16, 20] {
            let mut canvas = Canvas::white(400, 40);
            draw(&mut canvas, 5, 6, text, size, [0; 3]);
            let width = width_px(text, size);
            let mut inked = 0;
            for (index, pixel) in canvas.pixels().chunks(3).enumerate() {
                if pixel[0] < 255 {
                    let (x, y) = (index % 400, index / 400);
                    assert!((5..5 + width).contains(&x) && (6..6 + size).contains(&y), "{size}: {x},{y}");
                    inked += 1;
                }
            }
            assert!(inked > 60);
        }
    }

    #[test]
    fn unknown_characters_are_question_marks() {
        assert_eq!(bitmap('\u{6c34}'), bitmap('?'));
        assert_eq!(bitmap('\n'), bitmap('?'));
        assert_ne!(bitmap('ä'), bitmap('?'));
        assert_ne!(bitmap('a'), bitmap('b'));
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(fit("water", 16, 500), "water");
        let cut = fit("a very long title indeed", 16, 100);
        assert!(cut.ends_with("..") && width_px(&cut, 16) <= 100 && cut.starts_with("a v"));
        assert_eq!(fit("abc", 16, 0), "..");
    }
}
