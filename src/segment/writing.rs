//! Writes blocks on a thread of its own, so that compression and disks do not keep the model waiting.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::metrics::Stopwatch;
use crate::segment::options::Product;
use crate::segment::permits::Permits;
use crate::segment::product::Encoding;
use crate::segment::row::{JOINED, Piece, Row};
use crate::segment::stream::{Layout, Sink};
use crate::tensor::Samples;

/// Blocks that may wait to be written.
pub(super) const QUEUE: usize = 4;

/// Where finished blocks go.
#[derive(Debug)]
pub(super) struct Output {
    pieces: SyncSender<Piece>,
}

impl Output {
    /// Hands a block over; waits where too many are waiting.
    ///
    /// # Errors
    /// Where the writer has stopped; its own error is the job's.
    pub(super) fn write(&self, window: Window, samples: Samples) -> Result<()> {
        self.hand_over(Piece::Block(window, samples))
    }

    /// Says that all blocks of the steps before this number were handed over.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(super) fn done(&self, steps: u64) -> Result<()> {
        self.hand_over(Piece::Done(steps))
    }

    fn hand_over(&self, piece: Piece) -> Result<()> {
        self.pieces.send(piece).map_err(|_| Error::internal("the writer has stopped"))
    }
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    /// Time in the sink.
    pub(super) clock: Stopwatch,
    nodata: f64,
    /// Pixels of each class; `None` where no classes are written.
    pub(super) class_pixels: Option<Vec<u64>>,
    nodata_pixels: u64,
    /// Steps that were there before.
    pub(super) first: u64,
}

impl Written {
    fn new(encoding: &Encoding) -> Written {
        let class_pixels = (encoding.product == Product::Classes).then(|| vec![0; encoding.classes()]);
        Written {
            clock: Stopwatch::default(),
            nodata: encoding.nodata,
            class_pixels,
            nodata_pixels: 0,
            first: 0,
        }
    }

    /// Pixels written as nodata; `None` where no classes are written.
    pub(super) fn nodata_pixels(&self) -> Option<u64> {
        self.class_pixels.as_ref().map(|_| self.nodata_pixels)
    }

    fn count(&mut self, samples: impl Iterator<Item = usize>) {
        let Some(counts) = &mut self.class_pixels else { return };
        for class in samples {
            match counts.get_mut(class) {
                Some(count) => *count += 1,
                None => {
                    debug_assert!(class as f64 == self.nodata);
                    self.nodata_pixels += 1;
                }
            }
        }
    }

    fn see(&mut self, samples: &Samples) {
        match samples {
            Samples::U8(block) => self.count(block.iter().map(|class| usize::from(*class))),
            Samples::U16(block) => self.count(block.iter().map(|class| usize::from(*class))),
            _ => {}
        }
    }

    fn take(&mut self, pieces: &Receiver<Piece>, sink: &mut dyn Sink, permits: &Permits) -> Result<()> {
        let mut row = Row::default();
        loop {
            match row.next(pieces) {
                Ok(Piece::Block(window, samples)) => {
                    if !row.takes(window, &samples) {
                        self.put(&mut row, sink, permits)?;
                    }
                    row.push(window, samples);
                    if row.bytes() >= JOINED {
                        self.put(&mut row, sink, permits)?;
                    }
                }
                Ok(Piece::Done(steps)) => row.done(steps),
                Err(RecvTimeoutError::Timeout) => self.put(&mut row, sink, permits)?,
                Err(RecvTimeoutError::Disconnected) => return self.put(&mut row, sink, permits),
            }
        }
    }

    /// Writes what has come together.
    fn put(&mut self, row: &mut Row, sink: &mut dyn Sink, permits: &Permits) -> Result<()> {
        let start = Instant::now();
        permits.with(|| {
            let row = std::mem::take(row);
            row.parts().iter().for_each(|part| self.see(part));
            let done = row.steps();
            if let Some((window, samples)) = row.joined()? {
                sink.write(window, samples)?;
            }
            done.map_or(Ok(()), |steps| sink.done(steps))
        })?;
        self.clock.add(start.elapsed());
        Ok(())
    }
}

/// Begins the output, does `work` from the first step whose blocks are not there yet, and writes meanwhile what it hands
/// over, in the order in which it does. All is written when this returns.
///
/// # Errors
/// The sink's, which stops the work; else the work's.
pub(super) fn written<R>(
    sink: &mut dyn Sink,
    (encoding, permits): (&Encoding, &Permits),
    layout: &Layout,
    work: impl FnOnce(&Output, u64) -> Result<R>,
) -> Result<(R, Written)> {
    let mut written = Written::new(encoding);
    written.first = sink.begin(layout, &mut |samples| written.see(samples))?;
    let first = written.first;
    std::thread::scope(|scope| {
        let (pieces, waiting) = sync_channel(QUEUE);
        let writer = scope.spawn(move || written.take(&waiting, sink, permits).map(|()| written));
        let output = Output { pieces };
        let done = work(&output, first);
        // The writer ends when no more can come.
        drop(output);
        let written = writer.join().map_err(|_| Error::internal("the writer panicked"))?;
        // The work's error follows from the writer's where both failed.
        let written = written?;
        Ok((done?, written))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::geometry::Size;
    use crate::segment::options::SegmentOptions;
    use crate::tensor::DataType;
    use ndarray::Array3;

    /// Keeps what comes; fails at a block.
    struct Kept {
        rows: Vec<i64>,
        fails_at: usize,
        /// Rows of an earlier job.
        there: u64,
    }

    fn layout() -> Layout {
        Layout {
            size: Size::new(3, 50),
            bands: 1,
            data_type: DataType::U8,
            nodata: 255.0,
            scale: (1, 1),
            unit: None,
            classes: Some(3),
            channels: 3,
            steps: 50,
            facts: Vec::new(),
        }
    }

    impl Sink for Kept {
        fn begin(&mut self, _: &Layout, seen: &mut dyn FnMut(&Samples)) -> Result<u64> {
            (0..self.there).for_each(|row| seen(&block(row as i64).1));
            Ok(self.there)
        }

        fn done(&mut self, steps: u64) -> Result<()> {
            assert_eq!(self.rows.len() as u64, steps - self.there);
            Ok(())
        }

        fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
            assert_eq!(samples.shape(), [1, window.height, window.width]);
            if self.rows.len() == self.fails_at {
                return Err(Error::new(ErrorKind::Io, "the disk is full"));
            }
            self.rows.push(window.y);
            Ok(())
        }
    }

    fn encoding() -> Encoding {
        Encoding::settle(&SegmentOptions::default(), 3, false).unwrap()
    }

    fn block(row: i64) -> (Window, Samples) {
        // Classes 0, 1 and no data.
        let samples = Array3::from_shape_vec((1, 1, 3), vec![0u8, 1, 255]).unwrap();
        (Window::new(0, row, 3, 1), Samples::U8(samples))
    }

    #[test]
    fn blocks_are_written_in_their_order_and_counted() {
        let mut sink = Kept { rows: Vec::new(), fails_at: usize::MAX, there: 0 };
        let (result, done) =
            written(&mut sink, (&encoding(), &Permits::new(1, 1)), &layout(), |output, _| {
                for row in 0..50 {
                    let (window, samples) = block(row);
                    output.write(window, samples)?;
                }
                Ok(7)
            })
            .unwrap();
        assert_eq!((result, done.class_pixels.clone()), (7, Some(vec![50, 50, 0])));
        assert_eq!(done.nodata_pixels(), Some(50));
        assert_eq!(sink.rows, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_there_counts_and_is_not_written_again() {
        let mut sink = Kept { rows: Vec::new(), fails_at: usize::MAX, there: 20 };
        let (first, done) =
            written(&mut sink, (&encoding(), &Permits::new(1, 1)), &layout(), |output, first| {
                for row in first..50 {
                    let (window, samples) = block(row as i64);
                    output.write(window, samples)?;
                    output.done(row + 1)?;
                }
                Ok(first)
            })
            .unwrap();
        assert_eq!((first, done.first, done.class_pixels.clone()), (20, 20, Some(vec![50, 50, 0])));
        assert_eq!((done.nodata_pixels(), sink.rows.len()), (Some(50), 30));
    }

    #[test]
    fn the_errors_of_the_sink_end_the_work_and_are_told() {
        let mut sink = Kept { rows: Vec::new(), fails_at: 3, there: 0 };
        let mut handed_over = 0;
        let error = written(&mut sink, (&encoding(), &Permits::new(1, 1)), &layout(), |output, _| {
            for row in 0..1000 {
                let (window, samples) = block(row);
                output.write(window, samples)?;
                handed_over += 1;
            }
            Ok(())
        })
        .unwrap_err();
        assert_eq!((error.kind(), sink.rows.len()), (ErrorKind::Io, 3));
        assert!(handed_over < 1000, "{handed_over}");
        // Of the work where the sink is well.
        let mut sink = Kept { rows: Vec::new(), fails_at: usize::MAX, there: 0 };
        let error = written(&mut sink, (&encoding(), &Permits::new(1, 1)), &layout(), |output, _| {
            let (window, samples) = block(0);
            output.write(window, samples)?;
            Err::<(), _>(Error::new(ErrorKind::Cancelled, "enough"))
        })
        .unwrap_err();
        assert_eq!((error.kind(), sink.rows.len()), (ErrorKind::Cancelled, 1));
    }

    /// Blocks side by side become one, as large as they may; all others stay what they are, and what is done is told
    /// when it is written.
    #[test]
    fn neighbours_are_written_together() {
        #[derive(Default)]
        struct Seen(Vec<(Window, Vec<u8>)>, Vec<(u64, usize)>);
        impl Sink for Seen {
            fn begin(&mut self, _: &Layout, _: &mut dyn FnMut(&Samples)) -> Result<u64> {
                Ok(0)
            }
            fn done(&mut self, steps: u64) -> Result<()> {
                self.1.push((steps, self.0.iter().map(|(window, _)| window.width).sum()));
                Ok(())
            }
            fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
                let Samples::U8(block) = samples else { panic!() };
                self.0.push((window, block.iter().copied().collect()));
                Ok(())
            }
        }
        let mut sink = Seen::default();
        let block = |x: i64, y: i64, width: usize, height: usize, value: u8| {
            (Window::new(x, y, width, height), Samples::U8(Array3::from_elem((1, height, width), value)))
        };
        let blocks = [
            block(0, 0, 2, 2, 1),
            block(2, 0, 1, 2, 2),
            // Of another height, in another row, before the last one, with a gap.
            block(3, 0, 1, 1, 0),
            block(4, 5, 1, 1, 1),
            block(0, 5, 1, 1, 2),
            block(2, 5, 1, 1, 0),
            // Large ones wait for nobody.
            block(0, 9, 1 << 10, 1 << 10, 1),
            block(1 << 10, 9, 1, 1 << 10, 2),
        ];
        written(&mut sink, (&encoding(), &Permits::new(1, 1)), &layout(), |output, _| {
            for (step, (window, samples)) in blocks.iter().enumerate() {
                output.write(*window, samples.clone())?;
                output.done(step as u64 + 1)?;
            }
            Ok(())
        })
        .unwrap();
        let windows: Vec<Window> = sink.0.iter().map(|(window, _)| *window).collect();
        // A writer that was kept from its work for longer than its patience may write the first two one by one.
        let at = windows.len() - 7;
        assert_eq!(windows[at + 1..], blocks[2..].iter().map(|(window, _)| *window).collect::<Vec<_>>()[..]);
        if at == 0 {
            assert_eq!(sink.0[0], (Window::new(0, 0, 3, 2), vec![1, 1, 2, 1, 1, 2]));
        }
        for (steps, width) in &sink.1 {
            let told: usize = blocks[..*steps as usize].iter().map(|(window, _)| window.width).sum();
            assert!(*width >= told, "step {steps} is told before it is written");
        }
        assert_eq!(sink.1.last().map(|last| last.0), Some(8));
    }
}
