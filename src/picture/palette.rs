//! Colours of classes.

use std::fmt;

/// A colour a class, RGBA with straight alpha, by class number from 0.
///
/// Deterministic: the same request gives the same colours on every machine (integer and exact arithmetic only).
#[derive(Clone, PartialEq, Eq)]
pub struct Palette {
    colors: Vec<[u8; 4]>,
}

/// Chosen by a search over sRGB so that any two differ by at least 0.12 in OKLab to normal sight and by 0.09 in
/// simulated protanopia and deuteranopia.
const FIRST: [[u8; 3]; 12] = [
    [48, 99, 210],
    [227, 122, 20],
    [47, 121, 108],
    [149, 20, 35],
    [250, 145, 176],
    [233, 250, 90],
    [98, 76, 138],
    [57, 198, 226],
    [148, 95, 37],
    [134, 150, 250],
    [160, 221, 126],
    [213, 89, 173],
];

/// What a word in a class name says about the colour. Earlier rows win, so that "cloud shadow" is a shadow; a
/// trailing `*` matches every word with that beginning.
const SEMANTICS: [(&[&str], [u8; 3]); 27] = [
    (&["shadow*"], [70, 70, 98]),
    (&["cloud*", "haze", "fog"], [246, 248, 250]),
    (&["snow*", "ice", "glacier*"], [214, 236, 246]),
    (&["background", "other*", "unlabel*", "unknown", "clutter", "void", "ignore*"], [232, 228, 218]),
    (&["rail*", "train"], [122, 88, 132]),
    (&["road*", "street*", "highway*", "motorway*", "track"], [92, 92, 98]),
    (&["impervious*", "paved", "pavement*", "asphalt*", "parking*", "runway*"], [142, 142, 148]),
    (&["solar*", "photovoltaic*"], [44, 54, 120]),
    (&["car", "vehicle*", "truck"], [250, 214, 52]),
    (&["ship", "boat", "vessel"], [238, 120, 30]),
    (&["burn*", "fire*"], [86, 40, 34]),
    (&["flood*"], [92, 164, 226]),
    (&["mangrove*"], [0, 122, 104]),
    (&["wetland*", "marsh*", "swamp*", "bog", "peat*"], [98, 166, 160]),
    (&["water*", "river*", "lake*", "sea", "ocean*", "pond", "canal*", "reservoir*"], [54, 120, 196]),
    (&["forest*", "tree*", "wood", "woodland*", "canopy"], [36, 112, 56]),
    (&["shrub*", "scrub*", "bush*", "heath*"], [150, 160, 66]),
    (&["grass*", "meadow*", "pasture*", "lawn"], [146, 206, 92]),
    (&["crop*", "field*", "farm*", "agricultur*", "orchard*", "vineyard*", "arable"], [222, 190, 74]),
    (&["bare*", "barren*", "soil*"], [212, 182, 134]),
    (&["vegetat*", "plant*", "green*", "moss*"], [84, 164, 74]),
    (&["built*", "build*", "urban*", "roof*", "house*", "settlement*", "residential"], [206, 76, 64]),
    (&["artificial*", "industr*", "commercial*", "construction*"], [172, 84, 110]),
    (&["ground", "earth*", "land"], [204, 174, 128]),
    (&["sand*", "beach*", "desert*", "dune*"], [238, 216, 160]),
    (&["rock*", "stone", "gravel*", "quarry", "mine", "mining"], [160, 144, 130]),
    (&["nodata", "invalid", "missing", "outside"], [200, 200, 200]),
];

/// Two colours closer than this (see [`distance`]) are taken as hard to tell apart.
const APART: f64 = 56.0;

impl Palette {
    /// The colour of pixels without a class in tables and overlays: fully transparent.
    pub const NODATA: [u8; 4] = [0, 0, 0, 0];

    /// The colour of pixels without a class or value in pictures, which are opaque: a neutral grey.
    pub const NODATA_GREY: [u8; 3] = [200, 200, 200];

    /// Colours for `count` classes: first a fixed list of 12 that also people with red-green blindness tell
    /// apart, then generated hues.
    pub fn for_classes(count: usize) -> Palette {
        Palette::filled(vec![None; count])
    }

    /// Colours for classes of these names. Names with a known meaning get the colour that maps usually give it
    /// (water blue, trees green, buildings red, soil tan, roads grey …); a second class of the same meaning gets
    /// another shade of it. The others are as in [`for_classes`](Palette::for_classes), away from those taken.
    ///
    /// Words are compared in lower case; English only. `non-water` and the like have no known meaning.
    pub fn for_names(names: &[String]) -> Palette {
        let mut colors: Vec<Option<[u8; 3]>> = Vec::with_capacity(names.len());
        for name in names {
            let color = meaning(name).and_then(|base| {
                shades(base)
                    .find(|shade| colors.iter().flatten().all(|taken| distance(*taken, *shade) >= APART))
            });
            colors.push(color);
        }
        Palette::filled(colors)
    }

    /// These colours, RGBA with straight alpha, in the order of the classes.
    pub fn from_colors(colors: Vec<[u8; 4]>) -> Palette {
        Palette { colors }
    }

    /// The colours in the order of the classes.
    pub fn colors(&self) -> &[[u8; 4]] {
        &self.colors
    }

    /// Number of classes that have a colour of their own.
    pub fn len(&self) -> usize {
        self.colors.len()
    }

    /// Whether no class has a colour of its own.
    pub fn is_empty(&self) -> bool {
        self.colors.is_empty()
    }

    /// The colour of a class; of one past the end of the palette, a generated hue.
    pub fn color(&self, class: usize) -> [u8; 4] {
        self.colors.get(class).copied().unwrap_or_else(|| opaque(generated(class)))
    }

    /// The colour of a class as it looks on a white page.
    pub fn rgb(&self, class: usize) -> [u8; 3] {
        let [r, g, b, a] = self.color(class).map(u32::from);
        [r, g, b].map(|value| ((value * a + 255 * (255 - a) + 127) / 255) as u8)
    }

    /// Gives each class without a colour the next one that is apart from those taken.
    fn filled(colors: Vec<Option<[u8; 3]>>) -> Palette {
        let mut taken: Vec<[u8; 3]> = colors.iter().flatten().copied().collect();
        let mut next = 0;
        let mut fill = || {
            // Asking less and less, so that the search ends for any number of classes.
            let mut apart = APART;
            let color = loop {
                let candidate = FIRST.get(next).copied().unwrap_or_else(|| generated(next));
                next += 1;
                // Only the last ones are compared: the cost stays linear, and neighbours in number matter most.
                if taken.iter().rev().take(512).all(|other| distance(*other, candidate) >= apart) {
                    break candidate;
                }
                if next >= FIRST.len() {
                    apart *= 0.9;
                }
            };
            taken.push(color);
            color
        };
        let colors = colors.into_iter().map(|color| opaque(color.unwrap_or_else(&mut fill))).collect();
        Palette { colors }
    }
}

impl fmt::Debug for Palette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Palette[")?;
        for (index, [r, g, b, a]) in self.colors.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}#{r:02x}{g:02x}{b:02x}{a:02x}")?;
        }
        f.write_str("]")
    }
}

fn opaque([r, g, b]: [u8; 3]) -> [u8; 4] {
    [r, g, b, 255]
}

/// The usual colour of what a class name says.
fn meaning(name: &str) -> Option<[u8; 3]> {
    let name = name.to_lowercase();
    let words: Vec<&str> =
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.starts_with(&["no", "data"]) {
        return Some(Palette::NODATA_GREY);
    }
    if words.iter().any(|word| matches!(*word, "no" | "non" | "not" | "without")) {
        return None;
    }
    let says = |pattern: &str| {
        words.iter().any(|word| match pattern.strip_suffix('*') {
            Some(stem) => word.starts_with(stem),
            None => word.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest == "s"),
        })
    };
    SEMANTICS
        .iter()
        .find(|(patterns, _)| patterns.iter().any(|pattern| says(pattern)))
        .map(|(_, color)| *color)
}

/// A colour, then darker and lighter ones of its hue.
fn shades(base: [u8; 3]) -> impl Iterator<Item = [u8; 3]> {
    const PERCENT: [i32; 7] = [0, -30, 35, -50, 60, -15, 18];
    PERCENT.into_iter().map(move |percent| {
        base.map(|value| {
            let value = i32::from(value);
            let target = if percent < 0 { 0 } else { 255 };
            (value + (target - value) * percent.abs() / 100) as u8
        })
    })
}

/// Colour number `index` of an endless series: hues a golden section apart, in turns of lightness and saturation.
fn generated(index: usize) -> [u8; 3] {
    const LIGHTNESS: [f64; 5] = [0.52, 0.34, 0.70, 0.43, 0.61];
    const SATURATION: [f64; 3] = [0.68, 0.42, 0.92];
    let hue = (index as f64 * 0.618_033_988_749_894_9 + 0.11).fract() * 6.0;
    let lightness = LIGHTNESS[index % LIGHTNESS.len()];
    let chroma =
        (1.0 - (2.0 * lightness - 1.0).abs()) * SATURATION[(index / LIGHTNESS.len()) % SATURATION.len()];
    let ramp = |offset: f64| {
        let at = (hue + offset) % 6.0;
        let level = ((at - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        ((lightness + chroma * (level - 0.5)) * 255.0 + 0.5) as u8
    };
    [ramp(0.0), ramp(4.0), ramp(2.0)]
}

/// How different two colours look: a weighted distance in RGB that follows the eye roughly; black to white is
/// about 765.
fn distance(a: [u8; 3], b: [u8; 3]) -> f64 {
    let [dr, dg, db] = [0, 1, 2].map(|at| f64::from(a[at]) - f64::from(b[at]));
    let red = (f64::from(a[0]) + f64::from(b[0])) / 2.0 / 256.0;
    ((2.0 + red) * dr * dr + 4.0 * dg * dg + (3.0 - red) * db * db).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Palette {
        Palette::for_names(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>())
    }

    fn least_distance(palette: &Palette) -> f64 {
        let rgb: Vec<_> = (0..palette.len()).map(|class| palette.rgb(class)).collect();
        let mut least = f64::INFINITY;
        for (index, a) in rgb.iter().enumerate() {
            for b in &rgb[..index] {
                least = least.min(distance(*a, *b));
            }
        }
        least
    }

    #[test]
    fn colours_are_apart() {
        for (count, least) in [(2, 150.0), (12, 80.0), (20, 56.0), (40, 30.0), (300, 2.0)] {
            let found = least_distance(&Palette::for_classes(count));
            assert!(found >= least, "{count} classes: {found}");
        }
    }

    #[test]
    fn colours_are_always_the_same_and_the_first_ones_stay() {
        let many = Palette::for_classes(300);
        assert_eq!(many, Palette::for_classes(300));
        assert_eq!(Palette::for_classes(5).colors(), &many.colors()[..5]);
        assert_eq!(many.colors()[0], [48, 99, 210, 255]);
        assert_eq!(Palette::for_classes(70_000).len(), 70_000);
        assert!(Palette::for_classes(0).is_empty());
        assert_eq!(Palette::for_classes(0).color(3)[3], 255);
    }

    #[test]
    fn names_get_the_colours_of_maps() {
        let palette = named(&["Water", "Tree cover", "built-up", "bare soil", "roads", "gadgets"]);
        let [water, tree, built, soil, road, _] =
            [0, 1, 2, 3, 4, 5].map(|class| palette.rgb(class).map(i32::from));
        assert!(water[2] > water[0] + 60 && water[2] > water[1] + 40);
        assert!(tree[1] > tree[0] + 40 && tree[1] > tree[2] + 40);
        assert!(built[0] > built[1] + 60 && built[0] > built[2] + 60);
        assert!(soil[0] > soil[2] + 50 && soil[1] > soil[2] + 30);
        assert!(road.iter().max().unwrap() - road.iter().min().unwrap() < 12);
        assert!(least_distance(&palette) >= APART);
    }

    #[test]
    fn words_are_whole_and_can_be_negated() {
        assert_eq!(meaning("season"), None);
        assert_eq!(meaning("carport"), None);
        assert_eq!(meaning("non-water"), None);
        assert_eq!(meaning(""), None);
        assert_eq!(meaning("No data"), Some(Palette::NODATA_GREY));
        assert_eq!(meaning("cloud shadow"), meaning("Shadows"));
        assert_eq!(meaning("cars"), meaning("vehicle"));
        assert_eq!(meaning("Bare / sparse vegetation"), meaning("soil"));
    }

    #[test]
    fn one_meaning_twice_gives_two_shades() {
        let palette = named(&["river", "lake", "sea", "ocean"]);
        assert!(least_distance(&palette) >= APART);
        assert!(palette.colors().iter().all(|color| color[2] > color[0]), "{palette:?}");
    }

    #[test]
    fn alpha_is_seen_on_white() {
        let palette = Palette::from_colors(vec![Palette::NODATA, [255, 0, 0, 255], [0, 0, 0, 128]]);
        assert_eq!([0, 1, 2].map(|class| palette.rgb(class)), [[255; 3], [255, 0, 0], [127; 3]]);
    }
}
