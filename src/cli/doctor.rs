//! `glebe doctor`: what was found where, which version, and per provider usable or why not.

use glebe::raster;
use glebe::runtime::{OLDEST_SUPPORTED, Runtime, RuntimeOptions};
use serde_json::json;

use crate::args::{Arguments, DoctorArguments};
use crate::table::Table;

/// Prints what was found. A missing ONNX Runtime is the result's content and its exit code; a provider that cannot
/// be used is only content.
pub(crate) fn run(options: &DoctorArguments, arguments: &Arguments) -> glebe::Result<()> {
    let mut runtime_options = RuntimeOptions::default();
    if let Some(path) = &arguments.runtime {
        runtime_options = runtime_options.library(path);
    }
    let loaded = Runtime::load(&runtime_options);
    let drivers = raster::drivers(&raster::OpenOptions::default());
    if options.json {
        let runtime = match &loaded {
            Ok(runtime) => json!({
                "found": true,
                "library": runtime.library(),
                "origin": runtime.origin(),
                "version": runtime.version(),
            }),
            Err(error) => json!({ "found": false, "problem": error.one_line() }),
        };
        let providers = loaded.as_ref().map(Runtime::providers).unwrap_or_default();
        let report = json!({
            "glebe": env!("CARGO_PKG_VERSION"),
            "onnxruntime": runtime,
            "oldest_onnxruntime": format!("1.{OLDEST_SUPPORTED}"),
            "providers": providers,
            "gdal": { "version": raster::gdal_version(), "drivers": drivers },
        });
        crate::out::line(format_args!("{report:#}"))?;
    } else {
        let mut table = Table::default();
        table.row("glebe", env!("CARGO_PKG_VERSION"));
        match &loaded {
            Ok(runtime) => {
                table.row("onnxruntime", runtime.version());
                table.row("  library", runtime.library().display());
                table.row("  found", runtime.origin());
                for status in runtime.providers() {
                    let text = status
                        .problem
                        .map_or("usable".into(), |problem| format!("not usable: {}", problem.one_line()));
                    table.row(format!("  {}", status.kind.name()), text);
                }
            }
            Err(error) => {
                table.row("onnxruntime", format!("not found: {}", error.one_line()));
            }
        }
        table.row("gdal", raster::gdal_version());
        table.row("  drivers", drivers.join(", "));
        table.print()?;
    }
    loaded.map(|_| ())
}
