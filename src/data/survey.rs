//! Looks through the labels of a data set, with several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::data::counts::Counts;
use crate::data::dataset::Dataset;
use crate::data::grid::Cell;
use crate::data::labels::IGNORED;
use crate::data::scene::Scene;
use crate::error::{Error, Result};
use crate::geometry::Window;

/// Cells that one thread looks at before it takes others.
const CHUNK: usize = 64;

/// A piece of work: some cells of one image.
struct Piece<'a> {
    scene: usize,
    cells: &'a [Cell],
}

/// Counts the labels of the cells of every image. A cell's label counts where [`Scene::classes`] says so and the pixel is
/// the cell's own.
///
/// # Errors
/// Of reading images and labels: the first in the order of the list, whatever the threads do.
pub(super) fn survey(dataset: &Dataset, cells: &[Vec<Cell>]) -> Result<Vec<Vec<Counts>>> {
    let pieces: Vec<Piece<'_>> = cells
        .iter()
        .enumerate()
        .flat_map(|(scene, cells)| cells.chunks(CHUNK).map(move |cells| Piece { scene, cells }))
        .collect();
    let done: Vec<Mutex<Option<Result<Vec<Counts>>>>> = pieces.iter().map(|_| Mutex::new(None)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let work = || {
        let mut open: Option<(usize, Scene)> = None;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            // Pieces before one that failed are still wanted: one of them may fail, too.
            let Some(piece) = pieces.get(index) else { return };
            if index > failed.load(Ordering::Relaxed) {
                return;
            }
            let found = counts(dataset, piece, &mut open);
            if found.is_err() {
                failed.fetch_min(index, Ordering::Relaxed);
            }
            if let Ok(mut place) = done[index].lock() {
                *place = Some(found);
            }
        }
    };
    let threads = dataset.options.threads.clamp(1, pieces.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut all: Vec<Vec<Counts>> = cells.iter().map(|cells| Vec::with_capacity(cells.len())).collect();
    for (piece, found) in pieces.iter().zip(done) {
        let found = found.into_inner().ok().flatten();
        all[piece.scene].extend(found.ok_or_else(|| Error::internal("a thread did not finish its part"))??);
    }
    Ok(all)
}

fn counts(dataset: &Dataset, piece: &Piece<'_>, open: &mut Option<(usize, Scene)>) -> Result<Vec<Counts>> {
    let item = &dataset.scenes[piece.scene].item;
    if open.as_ref().is_none_or(|(index, _)| *index != piece.scene) {
        *open = None;
        *open = Some((piece.scene, dataset.scene(piece.scene)?));
    }
    let Some((_, scene)) = open else { return Ok(Vec::new()) };
    piece.cells.iter().map(|cell| of_cell(scene, *cell).map_err(|error| item.locate(error))).collect()
}

fn of_cell(scene: &Scene, cell: Cell) -> Result<Counts> {
    // Only what is the cell's own counts, so only that is read.
    let own = cell.own.clip(scene.raster.size());
    let Some(own) = own.filter(|own| scene.area.as_ref().is_none_or(|area| area.touches(*own))) else {
        return Ok(Counts { window: cell.window, classes: Vec::new() });
    };
    let counts = Counts::of(own, &scene.classes(own)?);
    Ok(Counts { window: cell.window, ..counts })
}

/// Labels outside `own` do not count.
pub(super) fn keep_own(window: Window, own: Window, labels: &mut ndarray::Array2<i32>) {
    let inside = |at: i64, from: i64, len: usize| at >= from && at < from + len as i64;
    for ((y, x), label) in labels.indexed_iter_mut() {
        let (x, y) = (window.x + x as i64, window.y + y as i64);
        if !(inside(x, own.x, own.width) && inside(y, own.y, own.height)) {
            *label = IGNORED;
        }
    }
}
