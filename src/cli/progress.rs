//! Progress on stderr: a bar on a terminal, a line every tenth elsewhere, nothing with `-q`.

use std::io::IsTerminal as _;

use glebe::segment::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far one job is.
pub(crate) enum Display {
    Bar(ProgressBar),
    Lines { name: String, last_tenth: u64 },
    Nothing,
}

impl Display {
    pub(crate) fn new(name: &str, quiet: bool) -> Display {
        if quiet {
            return Display::Nothing;
        }
        if !std::io::stderr().is_terminal() {
            return Display::Lines { name: name.into(), last_tenth: 0 };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} tiles, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        Display::Bar(bar)
    }

    pub(crate) fn update(&mut self, progress: &Progress) {
        match self {
            Display::Bar(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            }
            Display::Lines { name, last_tenth } => {
                let tenth = progress.done * 10 / progress.total.max(1);
                if tenth > *last_tenth {
                    *last_tenth = tenth;
                    crate::out::message(format_args!(
                        "{name}: {} % ({}/{} tiles, {:.1} s)",
                        tenth * 10,
                        progress.done,
                        progress.total,
                        progress.elapsed.as_secs_f64()
                    ));
                }
            }
            Display::Nothing => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
