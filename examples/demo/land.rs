//! What lies where in the made-up country of [`scene`](super): water, woods, fields, a town and roads, each a pure
//! function of the place. Lengths are in units of about two metres; x runs right, y runs down.

use super::noise::{cells, fractal, hash, step, unit, value};

/// Water.
pub(crate) const WATER: u8 = 0;
/// Crops, meadows, gardens and woods.
pub(crate) const VEGETATION: u8 = 1;
/// Ploughed or fallow soil, sand, tracks.
pub(crate) const BARE: u8 = 2;
/// Roofs, streets and roads.
pub(crate) const BUILT: u8 = 3;

/// Class and reflectance [red, green, blue, near infrared] of a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) class: u8,
    pub(crate) reflectance: [f32; 4],
}

fn ground(class: u8, reflectance: [f32; 4], light: f32) -> Ground {
    Ground { class, reflectance: reflectance.map(|value| value * light) }
}

/// The same stuff of another origin: each band up to `spread` lighter or darker.
fn tinted(reflectance: [f32; 4], spread: f32, seed: u32, x: i32, y: i32) -> [f32; 4] {
    let all = 2.0 * unit(seed, x, y) - 1.0;
    [0, 1, 2, 3].map(|band| {
        let own = 2.0 * unit(seed.wrapping_add(1 + band as u32), x, y) - 1.0;
        reflectance[band] * (1.0 + spread * (0.75 * all + 0.25 * own))
    })
}

const ASPHALT: [f32; 4] = [0.150, 0.143, 0.130, 0.160];
const PAVING: [f32; 4] = [0.222, 0.212, 0.194, 0.232];
const MEADOW: [f32; 4] = [0.078, 0.112, 0.058, 0.350];
const CROWN: [f32; 4] = [0.042, 0.076, 0.042, 0.310];
const SAND: [f32; 4] = [0.272, 0.230, 0.168, 0.335];

/// Towns and lakes repeat at this distance.
const PERIOD: f32 = 1150.0;
/// Where the light comes from, as a step on the ground: upper left.
const SUN: (f32, f32) = (-0.64, -0.77);

/// A country, from a seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Land {
    pub(crate) seed: u32,
}

impl Land {
    /// What lies at a place, lit.
    pub(crate) fn at(self, x: f32, y: f32) -> Ground {
        let bank = self.river(x, y);
        let lake = self.lake(x, y);
        let mut ground = self
            .bridge(x, y, bank)
            .or_else(|| self.water(x, y, bank, lake))
            .or_else(|| self.town(x, y))
            .or_else(|| self.shore(x, y, bank, lake))
            .or_else(|| self.road(x, y))
            .or_else(|| self.wood(x, y, bank.min(lake)))
            .unwrap_or_else(|| self.field(x, y));
        let light = if ground.class == WATER { 1.0 } else { self.relief(x, y) };
        // Thin haze, most in the blue.
        let haze = 0.012 * step(-0.4, 0.8, fractal(self.salt(60), x / 420.0, y / 420.0, 3));
        let veil = [0.6 * haze, 0.8 * haze, haze, 0.25 * haze];
        ground.reflectance = [0, 1, 2, 3].map(|band| ground.reflectance[band] * light + veil[band]);
        ground
    }

    fn salt(self, number: u32) -> u32 {
        hash(self.seed, number as i32, 0x51ce)
    }

    /// Brightness of the slope: 1 where it is level.
    fn relief(self, x: f32, y: f32) -> f32 {
        let height = |x: f32, y: f32| fractal(self.salt(1), x / 310.0, y / 310.0, 4);
        let rise = height(x, y) - height(x + SUN.0 * 9.0, y + SUN.1 * 9.0);
        (1.0 - 1.5 * rise).clamp(0.72, 1.28)
    }

    /// Distance to the river's bank; negative in the river.
    fn river(self, x: f32, y: f32) -> f32 {
        let (across, along) = (0.95 * x - 0.31 * y, 0.31 * x + 0.95 * y);
        let period = 1.2 * PERIOD;
        let start = 250.0 + 90.0 * unit(self.salt(2), 0, 0);
        let number = ((across - start) / period).round();
        let salt = self.salt(3).wrapping_add(number as i32 as u32);
        let middle = |along: f32| {
            start
                + number * period
                + 125.0 * value(salt, along / 250.0, 0.5)
                + 42.0 * value(salt, along / 96.0, 9.5)
        };
        let here = middle(along);
        let slope = (middle(along + 2.0) - here) / 2.0;
        let half = 14.0 + 5.0 * value(salt, along / 140.0, 20.5) + 1.5 * value(salt, x / 13.0, y / 13.0);
        (across - here).abs() / (1.0 + slope * slope).sqrt() - half
    }

    /// Distance to the lake's shore, roughly; negative in the lake.
    fn lake(self, x: f32, y: f32) -> f32 {
        let (cell_x, cell_y) = ((x / PERIOD).floor(), (y / PERIOD).floor());
        let spot = |number| unit(self.salt(4), cell_x as i32 * 4 + number, cell_y as i32);
        let (cx, cy) = ((cell_x + 0.17 + 0.06 * spot(0)) * PERIOD, (cell_y + 0.64 + 0.06 * spot(1)) * PERIOD);
        let (dx, dy) = ((x - cx) * 0.9 + (y - cy) * 0.35, (y - cy) * 1.15 - (x - cx) * 0.2);
        let plain = (dx * dx + dy * dy).sqrt() - (74.0 + 22.0 * spot(2));
        // Far from it the bays make no difference to anything.
        if plain > 110.0 {
            return plain;
        }
        plain + 46.0 * fractal(self.salt(5), x / 110.0, y / 110.0, 4)
    }

    fn water(self, x: f32, y: f32, bank: f32, lake: f32) -> Option<Ground> {
        let depth = -bank.min(lake);
        if depth <= 0.0 {
            return None;
        }
        // Rivers carry silt; shallow water lets the bottom through.
        let silt = if bank < lake { 1.0 } else { 0.25 };
        let shallow = 1.0 - step(0.0, 16.0, depth);
        let ripple = 1.0 + 0.05 * fractal(self.salt(6), x / 34.0, y / 21.0, 3);
        let mix = 0.020 * silt + 0.028 * shallow;
        Some(ground(WATER, [0.024 + mix, 0.044 + 1.1 * mix, 0.060 + 0.5 * mix, 0.016 + 0.4 * mix], ripple))
    }

    /// Sand on the inner banks of the river and along the lake.
    fn shore(self, x: f32, y: f32, bank: f32, lake: f32) -> Option<Ground> {
        if bank.min(lake) > 16.0 {
            return None;
        }
        let width = 11.0 * fractal(self.salt(7), x / 75.0, y / 75.0, 3);
        (bank < width || lake < 0.6 * width).then(|| {
            let grain = 1.0 + 0.10 * fractal(self.salt(8), x / 9.0, y / 9.0, 3);
            ground(BARE, SAND, grain)
        })
    }

    fn bridge(self, x: f32, y: f32, bank: f32) -> Option<Ground> {
        (bank < 5.0 && self.road_distance(x, y).0 < 3.6).then(|| ground(BUILT, PAVING, 1.0))
    }

    /// Distances to the middle of the nearest paved road and of the nearest track.
    fn road_distance(self, x: f32, y: f32) -> (f32, f32) {
        let line = |number: u32, period: f32, across: f32, along: f32| {
            let bend = 34.0 * value(self.salt(number), along / 290.0, 0.5);
            let at = (across + bend) / period;
            ((at - at.round()) * period).abs()
        };
        let (u, v) = (0.83 * x + 0.56 * y, 0.83 * y - 0.56 * x);
        let paved = line(10, 690.0, u + 120.0, v).min(line(11, 540.0, v - 60.0, u));
        let track = line(12, 345.0, u - 40.0, v).min(line(13, 270.0, v + 90.0, u));
        (paved, track)
    }

    fn road(self, x: f32, y: f32) -> Option<Ground> {
        let (paved, track) = self.road_distance(x, y);
        let worn = 1.0 + 0.06 * value(self.salt(14), x / 11.0, y / 11.0);
        if paved < 3.2 {
            return Some(ground(BUILT, ASPHALT, 1.08 * worn));
        }
        if paved < 6.0 {
            return Some(ground(VEGETATION, MEADOW, 0.95 * worn));
        }
        // Tracks come and go.
        let used = value(self.salt(9), x / 210.0, y / 210.0) > -0.15;
        (used && track < 1.4).then(|| ground(BARE, [0.220, 0.184, 0.134, 0.285], worn))
    }

    /// Woods, and trees along the water.
    fn wood(self, x: f32, y: f32, shore: f32) -> Option<Ground> {
        let stand = fractal(self.salt(15), x / 250.0, y / 250.0, 5);
        let along_water = 0.55 * (1.0 - step(4.0, 34.0, shore));
        if (stand + along_water - 0.30).abs() > 0.15 {
            return (stand + along_water > 0.30).then(|| self.trees(x, y));
        }
        let edge = 0.10 * fractal(self.salt(16), x / 17.0, y / 17.0, 2);
        (stand + along_water + edge > 0.30).then(|| self.trees(x, y))
    }

    /// Crowns, lit on the side of the sun.
    fn trees(self, x: f32, y: f32) -> Ground {
        let (tree, distance, _) = cells(self.salt(17), x / 7.0, y / 7.0);
        let (_, lit, _) = cells(self.salt(17), x / 7.0 - SUN.0 * 0.32, y / 7.0 - SUN.1 * 0.32);
        let round = 1.15 - 0.75 * distance * distance;
        let side = 0.55 * (lit - distance);
        let kind = 0.85 + 0.3 * unit(self.salt(18), tree.0, tree.1);
        let stand = 1.0 + 0.18 * fractal(self.salt(19), x / 70.0, y / 70.0, 3);
        ground(VEGETATION, CROWN, ((round + side) * kind * stand).clamp(0.42, 1.75))
    }

    /// Parcels in blocks of one direction each.
    fn field(self, x: f32, y: f32) -> Ground {
        let (block, _, edge) = cells(self.salt(20), x / 390.0, y / 390.0);
        let turn = unit(self.salt(21), block.0, block.1) * 3.1;
        let (u, v) = (x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin());
        let size = |number: u32| unit(self.salt(number), block.0, block.1);
        let (wide, long) = (48.0 + 46.0 * size(22), 120.0 + 100.0 * size(23));
        let row = (u / wide).floor();
        let shift = long * unit(self.salt(24), row as i32, block.0 ^ (block.1 << 8));
        let column = ((v + shift) / long).floor();
        let parcel = |number: u32| {
            let salt = self.salt(number).wrapping_add(hash(0, block.0, block.1));
            unit(salt, row as i32, column as i32)
        };
        // To the nearest border of the parcel.
        let (pu, pv) = (u - row * wide, v + shift - column * long);
        let border = pu.min(wide - pu).min(pv).min(long - pv).min(edge * 390.0 * 0.5);
        if border < 2.0 && parcel(25) < 0.22 {
            return self.trees(x, y);
        }
        let blotch = fractal(self.salt(26), x / 60.0, y / 60.0, 4);
        if border < 1.3 {
            return ground(VEGETATION, MEADOW, 1.05 + 0.15 * blotch);
        }
        // Rows along the parcel, tramlines every few rows, the headland across.
        let headland = pv < 9.0 || long - pv < 9.0;
        let drill = if headland { pv } else { pu };
        let rows = (drill * std::f32::consts::TAU / (3.6 + 2.2 * parcel(27))).sin();
        let tramline = if (drill / 19.0).fract() < 0.07 { 1.0 } else { 0.0 };
        let light = 0.90 + 0.22 * parcel(28);
        let crop = |reflectance: [f32; 4], vigour: f32| {
            // Vigour moves red down and near infrared up, as leaves do.
            let growth = (1.0 + 0.22 * blotch) * vigour;
            let leaf = [1.0 / growth.sqrt(), 1.0, 1.0 / growth.sqrt(), growth];
            let lit = light * (1.0 + 0.045 * rows - 0.14 * tramline);
            ground(VEGETATION, [0, 1, 2, 3].map(|band| reflectance[band] * leaf[band]), lit)
        };
        match parcel(29) {
            kind if kind < 0.21 => crop([0.046, 0.094, 0.040, 0.470], 1.0),
            kind if kind < 0.40 => crop([0.062, 0.108, 0.052, 0.400], 0.95),
            kind if kind < 0.54 => crop([0.096, 0.134, 0.058, 0.380], 1.0),
            kind if kind < 0.64 => crop([0.170, 0.172, 0.078, 0.400], 1.0),
            kind if kind < 0.76 => ground(VEGETATION, MEADOW, 1.0 + 0.22 * blotch),
            kind => {
                let soils = [
                    [0.150, 0.112, 0.078, 0.215],
                    [0.205, 0.155, 0.108, 0.280],
                    [0.252, 0.205, 0.145, 0.330],
                ];
                let soil = soils[((kind - 0.76) / 0.0801) as usize % 3];
                let soil = tinted(
                    soil,
                    0.30,
                    self.salt(30).wrapping_add(hash(0, block.0, block.1)),
                    row as i32,
                    column as i32,
                );
                // Weeds and the first leaves of the crop.
                let green = (0.10 * parcel(31) + 0.14 * blotch).clamp(0.0, 0.22);
                let soil = [0, 1, 2, 3].map(|band| soil[band] * (1.0 - green) + MEADOW[band] * green);
                ground(BARE, soil, light * (1.0 + 0.20 * blotch + 0.05 * rows))
            }
        }
    }

    /// Blocks of houses with streets between them; `None` outside.
    fn town(self, x: f32, y: f32) -> Option<Ground> {
        let (cell_x, cell_y) = ((x / PERIOD).floor(), (y / PERIOD).floor());
        let spot = |number| unit(self.salt(40), cell_x as i32 * 4 + number, cell_y as i32);
        let (cx, cy) = ((cell_x + 0.59 + 0.05 * spot(0)) * PERIOD, (cell_y + 0.27 + 0.05 * spot(1)) * PERIOD);
        let radius = 175.0 + 40.0 * spot(2);
        if (x - cx).abs().max((y - cy).abs()) > 1.6 * radius {
            return None;
        }
        let turn = 0.25 + 0.5 * spot(3);
        let (sin, cos) = turn.sin_cos();
        let (u, v) = ((x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin);
        let (wide, deep) = (66.0, 46.0);
        let (i, j) = ((u / wide).floor(), (v / deep).floor());
        // A block belongs to the town or not as a whole.
        let (mu, mv) = ((i + 0.5) * wide, (j + 0.5) * deep);
        let ragged = 75.0 * value(self.salt(41), i * 0.7, j * 0.7);
        let inner = 1.0 - ((mu * mu + mv * mv).sqrt() + ragged) / radius;
        if inner < 0.0 {
            return None;
        }
        let block = Block { seed: self.salt(42), i: i as i32, j: j as i32, wide, deep, inner };
        let (bu, bv) = (u - i * wide, v - j * deep);
        let worn = 1.0 + 0.07 * fractal(self.salt(43), x / 14.0, y / 14.0, 2);
        if bu.min(wide - bu).min(bv).min(deep - bv) < 3.0 {
            return Some(ground(BUILT, ASPHALT, worn));
        }
        if block.is_park() {
            return Some(match fractal(self.salt(44), x / 30.0, y / 30.0, 3) {
                dense if dense > -0.05 => self.trees(x, y),
                open => ground(VEGETATION, MEADOW, 1.0 - 0.3 * open),
            });
        }
        if let Some((roof, light)) = block.roof(bu, bv) {
            return Some(ground(BUILT, roof, light));
        }
        // The shadow of a house falls away from the sun.
        let (su, sv) = (SUN.0 * cos + SUN.1 * sin, SUN.1 * cos - SUN.0 * sin);
        let shadow = if block.roof(bu + 3.0 * su, bv + 3.0 * sv).is_some() { 0.62 } else { 1.0 };
        if block.is_paved(bu, bv) {
            return Some(ground(BUILT, PAVING, shadow * worn));
        }
        let garden = fractal(self.salt(45), x / 12.0, y / 12.0, 3);
        let mut green =
            if garden > 0.12 { self.trees(x, y) } else { ground(VEGETATION, MEADOW, 0.95 + 0.3 * garden) };
        green.reflectance = green.reflectance.map(|value| value * shadow);
        Some(green)
    }
}

/// A block of a town between four streets.
struct Block {
    seed: u32,
    i: i32,
    j: i32,
    wide: f32,
    deep: f32,
    /// 0 at the edge of the town, 1 in its middle.
    inner: f32,
}

impl Block {
    fn chance(&self, number: i32) -> f32 {
        unit(self.seed.wrapping_add(hash(7, self.i, self.j)), number, 3)
    }

    fn is_park(&self) -> bool {
        self.chance(0) < 0.09
    }

    /// One large flat roof in place of houses.
    fn is_hall(&self) -> bool {
        self.chance(1) < 0.16
    }

    /// The lot at a place: its number, the place in it, and its size.
    fn lot(&self, u: f32, v: f32) -> (i32, f32, f32, f32, f32) {
        let (columns, rows) =
            if self.is_hall() { (1.0, 1.0) } else { (3.0 + (self.chance(2) * 2.99).floor(), 2.0) };
        let (wide, deep) = ((self.wide - 6.0) / columns, (self.deep - 6.0) / rows);
        let (column, row) = (((u - 3.0) / wide).floor(), ((v - 3.0) / deep).floor());
        (row as i32 * 16 + column as i32 + 20, u - 3.0 - column * wide, v - 3.0 - row * deep, wide, deep)
    }

    fn is_paved(&self, u: f32, v: f32) -> bool {
        let (lot, ..) = self.lot(u, v);
        self.is_hall() || self.chance(lot + 500) < 0.12 + 0.5 * self.inner
    }

    /// Reflectance and light of the roof at a place, if there is one.
    fn roof(&self, u: f32, v: f32) -> Option<([f32; 4], f32)> {
        let (lot, u, v, wide, deep) = self.lot(u, v);
        let pick = |number: i32| self.chance(lot + 100 * number);
        // Houses stand closer in the middle of the town.
        let least = if self.is_hall() { 4.0 } else { 1.0 + 1.8 * (1.0 - self.inner) };
        let margin = |number: i32| least + 2.6 * pick(number);
        let (left, right, top, bottom) = (margin(6), wide - margin(7), margin(8), deep - margin(9));
        let inside = (left..right).contains(&u) && (top..bottom).contains(&v);
        if !inside || pick(10) > 0.93 {
            return None;
        }
        let tint = |roof: [f32; 4]| tinted(roof, 0.34, self.seed ^ lot as u32, self.i, self.j);
        if self.is_hall() {
            let bright =
                [[0.340, 0.332, 0.312, 0.345], [0.285, 0.280, 0.266, 0.292], [0.230, 0.240, 0.245, 0.250]];
            return Some((tint(bright[(pick(11) * 2.99) as usize]), 0.97 + 0.06 * ((v / 6.0).fract() - 0.5)));
        }
        let tiles = [
            [0.285, 0.170, 0.135, 0.290],
            [0.250, 0.145, 0.115, 0.262],
            [0.215, 0.206, 0.192, 0.225],
            [0.160, 0.156, 0.150, 0.172],
            [0.310, 0.300, 0.278, 0.320],
        ];
        // A ridge along the longer side: one half faces the sun.
        let ridge =
            if right - left > bottom - top { v < (top + bottom) / 2.0 } else { u < (left + right) / 2.0 };
        Some((tint(tiles[(pick(11) * 4.99) as usize]), if ridge { 1.10 } else { 0.86 }))
    }
}
