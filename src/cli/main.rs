//! `glebe`, the command line: arguments → the library → exit code.
//!
//! Exit codes are the library's status numbers ([`glebe::ErrorKind::code`]). Results go to stdout, progress and
//! messages to stderr.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the program that talks to the terminal"
)]

mod allocator;
mod args;
mod bytes;
mod doctor;
mod evaluate;
mod export;
mod finetune;
mod finetune_args;
mod init;
mod inspect;
mod interrupt;
mod labels;
mod normalisation;
mod out;
mod output_file;
mod preflight;
mod progress;
mod score_table;
mod scoring;
mod seams;
mod segment;
mod step;
mod table;

use clap::Parser as _;
use clap::error::ErrorKind as UsageError;

use crate::args::{Arguments, Command};

fn main() -> std::process::ExitCode {
    allocator::return_large_pieces();
    #[cfg(unix)]
    interrupt::outlive_file_limits();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors.
            if matches!(error.kind(), UsageError::DisplayHelp | UsageError::DisplayVersion) {
                let _ = error.print();
                return exit(0);
            }
            let error = usage(&error.to_string());
            report(&error);
            return exit(error.kind().code());
        }
    };
    start_log(arguments.verbose, arguments.quiet);
    let done = match &arguments.command {
        Command::Segment(options) => segment::run(options, &arguments),
        Command::Finetune(options) => finetune::run(options, &arguments),
        Command::Step(options) => step::run(options, &arguments),
        Command::Evaluate(options) => evaluate::run(options, &arguments),
        Command::Export(options) => export::run(options, &arguments),
        Command::Inspect(options) => inspect::run(options, &arguments),
        Command::Doctor(options) => doctor::run(options, &arguments),
    };
    match done {
        Ok(()) => exit(0),
        Err(error) => {
            report(&error);
            exit(error.kind().code())
        }
    }
}

/// The parser's first paragraph as our error; its tips and the usage are a `--help` away.
fn usage(text: &str) -> glebe::Error {
    let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = paragraph.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    glebe::Error::invalid(format!("{line} (see --help)"))
}

/// One line on stderr, also where a file's name has a line break in it.
fn report(error: &glebe::Error) {
    let line: String =
        error.one_line().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    out::message(format_args!("glebe: error: {line}"));
}

fn exit(code: i32) -> std::process::ExitCode {
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Errors reach the user as the result of a call; what libraries say on the way is for `-v` (glebe's own words) and
/// `-vv` (ONNX Runtime's and GDAL's too).
fn start_log(verbose: u8, quiet: bool) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let (own, others) = match verbose {
        0 if quiet => (LevelFilter::OFF, LevelFilter::OFF),
        0 => (LevelFilter::WARN, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        2 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let targets =
        Targets::new().with_target("glebe", own).with_target("glebe::gdal", others).with_default(others);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).without_time();
    tracing_subscriber::registry().with(targets).with(lines).init();
}
