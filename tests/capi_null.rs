//! NULL for every pointer of every function: generated from `include/glebe.h`, one child process a pointer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is the report of a test")]
#![cfg(all(target_os = "linux", feature = "raster"))]

#[path = "capi/harness.rs"]
mod harness;
#[path = "capi/header.rs"]
mod header;

use std::fmt::Write as _;
use std::process::Command;

use harness::{compile, fixtures};
use header::{Function, Parameter};

/// The functions of the C program that make a valid value of each kind.
const PROLOGUE: &str = r#"
#include "@ROOT@/tests/capi/check.h"

static glebe_runtime *a_runtime(void) { return load(); }
static glebe_model *a_model(void) { return open_model(load(), "bands.onnx"); }

static inline glebe_error *an_error(void)
{
    glebe_error *made = NULL;
    glebe_buffer json = {NULL, 0};
    CHECK(glebe_inspect_file("/nowhere", &json, &made) == GLEBE_STATUS_NOT_FOUND);
    return made;
}

static const glebe_image *an_image(void)
{
    static unsigned char samples[BANDS * PIXELS];
    static glebe_image image;
    image = image_of(samples, GLEBE_DATA_TYPE_U8);
    return &image;
}

static inline glebe_prediction *a_prediction(void)
{
    glebe_prediction *out = NULL;
    CHECK(glebe_segment_array(a_model(), an_image(), NULL, &out, NULL) == GLEBE_STATUS_OK);
    return out;
}

static const unsigned char *model_bytes(size_t *size)
{
    static unsigned char bytes[65536];
    FILE *open = fopen(file("bands.onnx"), "rb");
    CHECK(open != NULL);
    *size = fread(bytes, 1, sizeof bytes, open);
    fclose(open);
    return bytes;
}

static size_t model_size(void) { size_t size; model_bytes(&size); return size; }
static const unsigned char *model_data(void) { size_t size; return model_bytes(&size); }

static int destroyed;
static void destroy_it(void *user_data) { (void)user_data; destroyed++; }
static void log_it(int32_t level, const char *target, const char *message, void *user_data)
{
    (void)level; (void)target; (void)message; (void)user_data;
}

/* Not NULL: nothing may be written there by a call that fails. */
static void *const MARK = &destroyed;

static glebe_trainer_options a_step(void)
{
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.batch = 1;
    options.height = 2;
    options.width = 2;
    options.threads = 1;
    options.loss_scale = 1;
    return options;
}

static inline const glebe_batch *a_batch(void)
{
    static const float images[12] = {1.0f};
    static const unsigned char labels[4] = {0, 1, 0, 1};
    static glebe_batch batch;
    CHECK(glebe_batch_init(&batch, sizeof batch) == GLEBE_STATUS_OK);
    batch.images = images;
    batch.images_len = 12;
    batch.labels = labels;
    batch.labels_len = 4;
    batch.label_type = GLEBE_DATA_TYPE_U8;
    return &batch;
}

static inline glebe_trainer *a_trainer(void)
{
    glebe_trainer *trainer = NULL;
    glebe_trainer_options options = a_step();
    CHECK(glebe_trainer_new(a_model(), &options, &trainer, NULL) == GLEBE_STATUS_OK);
    return trainer;
}

/* Has gradients and logits. */
static inline glebe_trainer *a_waiting_trainer(void)
{
    glebe_trainer *trainer = a_trainer();
    CHECK(glebe_trainer_want_logits(trainer, 1, NULL) == GLEBE_STATUS_OK);
    CHECK(glebe_trainer_accumulate(trainer, a_batch(), NULL, NULL) == GLEBE_STATUS_OK);
    return trainer;
}

static inline glebe_buffer *a_state(void)
{
    static glebe_buffer state;
    CHECK(glebe_trainer_state(a_trainer(), &state, NULL) == GLEBE_STATUS_OK);
    return &state;
}

static glebe_fit_options fit_options(void)
{
    glebe_fit_options options;
    CHECK(glebe_fit_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.epochs = 1;
    options.checkpoint_folder = file("checkpoints");
    return options;
}

static inline glebe_trainer *a_fit_trainer(void)
{
    glebe_trainer *trainer = a_trainer();
    glebe_fit_options options = fit_options();
    CHECK(glebe_trainer_set_fit_options(trainer, &options, NULL) == GLEBE_STATUS_OK);
    return trainer;
}

static inline glebe_loader *a_loader(void)
{
    glebe_loader *loader = NULL;
    const glebe_batch *batch = a_batch();
    CHECK(glebe_loader_new_arrays(a_trainer(), batch->images, 12, batch->labels, 4, 0, &loader, NULL) ==
          GLEBE_STATUS_OK);
    return loader;
}

static inline glebe_metrics *a_metrics(void)
{
    glebe_metrics *metrics = NULL;
    CHECK(glebe_trainer_validate(a_trainer(), a_loader(), &metrics, NULL) == GLEBE_STATUS_OK);
    return metrics;
}

static inline const char *a_checkpoint(void)
{
    CHECK(glebe_trainer_save_checkpoint(a_fit_trainer(), file("made.safetensors"), NULL) == GLEBE_STATUS_OK);
    return file("made.safetensors");
}

static inline glebe_finetuning_options finetuning_options(void)
{
    static char model[1100], train[2100];
    static const char *settings[] = {model, train, "training.size=16", "training.batch=1", "run.threads=1"};
    snprintf(model, sizeof model, "model=%s", file("bands.onnx"));
    snprintf(train, sizeof train, "data.train=%s;%s", file("in.tif"), file("labels.tif"));
    glebe_finetuning_options options;
    CHECK(glebe_finetuning_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.config = "training.epochs = 1";
    options.settings = settings;
    options.settings_len = 5;
    return options;
}

/* Runs of different cases have different folders. */
static inline const glebe_finetuning_options *some_finetuning_options(const char *out)
{
    static char text[2048];
    static glebe_finetuning_options options;
    options = finetuning_options();
    snprintf(text, sizeof text, "training.epochs = 1\nout = '%s'", file(out));
    options.config = text;
    return &options;
}

static inline glebe_finetuning *a_finetuning(const char *out)
{
    glebe_finetuning *finetuning = NULL;
    glebe_runtime *runtime = a_runtime();
    CHECK(glebe_finetuning_new(runtime, some_finetuning_options(out), &finetuning, NULL) == GLEBE_STATUS_OK);
    return finetuning;
}

static size_t batches_it(void *user_data) { (void)user_data; return 1; }
static int32_t batch_it(size_t index, glebe_batch *batch, void *user_data)
{
    (void)index; (void)user_data;
    *batch = *a_batch();
    return 0;
}
static int32_t event_it(int32_t event, glebe_event_context *context, void *user_data)
{
    (void)event; (void)context; (void)user_data;
    return 0;
}
static int32_t logits_it(size_t index, size_t images, const float *logits, size_t length, void *user_data)
{
    (void)index; (void)images; (void)logits; (void)length; (void)user_data;
    return 0;
}

/* The case that is run within an event, and its context. */
static void (*waiting)(void);
static int32_t waiting_for;
static glebe_event_context *context;

static int32_t run_waiting(int32_t event, glebe_event_context *now, void *user_data)
{
    (void)user_data;
    context = now;
    if (event == GLEBE_EVENT_TRAIN_START)
        CHECK(glebe_event_want_logits(now, 1, NULL) == GLEBE_STATUS_OK);
    if (event == waiting_for && waiting != NULL) {
        waiting();
        waiting = NULL;
    }
    return 0;
}

static inline void in_event(void (*body)(void), int32_t event)
{
    glebe_trainer *trainer = a_fit_trainer();
    waiting = body;
    waiting_for = event;
    CHECK(glebe_trainer_add_events(trainer, run_waiting, NULL, NULL, NULL) == GLEBE_STATUS_OK);
    CHECK(glebe_trainer_fit(trainer, a_loader(), a_loader(), NULL) == GLEBE_STATUS_OK);
    CHECK(waiting == NULL);
}

static glebe_loader *out_loader;
static glebe_finetuning *out_finetuning;
static glebe_metrics *out_metrics;
static glebe_loader *loaders[1];
static const int32_t splits[1] = {GLEBE_SPLIT_TEST};
static glebe_loader_functions loader_functions;
static glebe_fit_options given_fit_options;
static glebe_run_state run_state;
static const float *shown;
static const int64_t *shown_classes;
static double real;
static glebe_runtime *out_runtime;
static glebe_model *out_model;
static glebe_prediction *out_prediction;
static glebe_buffer buffer;
static glebe_runtime_options runtime_options;
static glebe_model_options model_options;
static glebe_segment_options segment_options;
static glebe_trainer_options trainer_options;
static glebe_load_options load_options;
static glebe_evaluate_options evaluate_options;
static const char *evaluated[1];
static glebe_export_options export_options;
static glebe_trainer *out_trainer;
static glebe_batch batch;
static float numbers[16];
static size_t sizes[4];
static int32_t number;
static glebe_image image;
static int success;
"#;

/// What calls the cases.
const MAIN: &str = r#"
int main(int argc, char **argv)
{
    CHECK(argc == 3);
    folder = argv[1];
    out_runtime = MARK;
    out_model = MARK;
    out_prediction = MARK;
    out_trainer = MARK;
    trainer_options = a_step();
    batch = *a_batch();
    glebe_runtime_options_init(&runtime_options, sizeof runtime_options);
    glebe_model_options_init(&model_options, sizeof model_options);
    glebe_segment_options_init(&segment_options, sizeof segment_options);
    glebe_load_options_init(&load_options, sizeof load_options);
    glebe_evaluate_options_init(&evaluate_options, sizeof evaluate_options);
    static char pair[2100];
    snprintf(pair, sizeof pair, "%s;%s", file("in.tif"), file("labels.tif"));
    evaluated[0] = pair;
    glebe_export_options_init(&export_options, sizeof export_options);
    export_options.tile = 32;
    glebe_image_init(&image, sizeof image);
    out_loader = MARK;
    out_finetuning = MARK;
    out_metrics = MARK;
    loaders[0] = a_loader();
    given_fit_options = fit_options();
    glebe_run_state_init(&run_state, sizeof run_state);
    glebe_loader_functions_init(&loader_functions, sizeof loader_functions);
    loader_functions.batches = batches_it;
    loader_functions.batch = batch_it;
    (void)event_it;
    (void)shown_classes;
    (void)logits_it;
    switch (atoi(argv[2])) {
"#;

/// An expression for a valid value, for case number `case`.
fn valid(function: &Function, parameter: &Parameter, case: usize) -> String {
    let text = match (parameter.kind.as_str(), parameter.name.as_str()) {
        ("const glebe_runtime *" | "glebe_runtime *", _) => "a_runtime()",
        ("const glebe_model *" | "glebe_model *", _) => "a_model()",
        ("const glebe_error *" | "glebe_error *", _) => "an_error()",
        ("const glebe_prediction *" | "glebe_prediction *", _) => "a_prediction()",
        ("const glebe_trainer *" | "glebe_trainer *", _) => match function.name.as_str() {
            "glebe_trainer_apply" | "glebe_trainer_logits" => "a_waiting_trainer()",
            "glebe_trainer_fit"
            | "glebe_trainer_fit_and_test"
            | "glebe_trainer_add_outputs"
            | "glebe_trainer_resume"
            | "glebe_trainer_resume_newest"
            | "glebe_trainer_save_checkpoint" => "a_fit_trainer()",
            _ => "a_trainer()",
        },
        ("const glebe_batch *" | "glebe_batch *", _) => "&batch",
        ("const glebe_trainer_options *" | "glebe_trainer_options *", _) => "&trainer_options",
        ("const glebe_load_options *" | "glebe_load_options *", _) => "&load_options",
        ("const glebe_export_options *" | "glebe_export_options *", _) => "&export_options",
        ("const char *", "model") => "file(\"bands.onnx\")",
        ("const char *", "checkpoint") => "file(\"weights.safetensors\")",
        ("const glebe_evaluate_options *" | "glebe_evaluate_options *", _) => "&evaluate_options",
        ("const char *const *", "data") => "evaluated",
        ("size_t", "data_len") => "1",
        ("glebe_trainer **", _) => "&out_trainer",
        ("const glebe_loader *" | "glebe_loader *", _) => "a_loader()",
        ("glebe_loader **", _) => "&out_loader",
        ("const glebe_finetuning *" | "glebe_finetuning *", _) => {
            return format!("a_finetuning(\"run-{case}\")");
        }
        ("glebe_finetuning **", _) => "&out_finetuning",
        ("const glebe_finetuning_options *" | "glebe_finetuning_options *", _) => {
            return format!("some_finetuning_options(\"run-{case}\")");
        }
        ("int32_t", "split") => "GLEBE_SPLIT_TRAIN",
        ("glebe_loader *const *", _) => "loaders",
        ("const glebe_loader_functions *" | "glebe_loader_functions *", _) => "&loader_functions",
        ("const glebe_fit_options *" | "glebe_fit_options *", _) => "&given_fit_options",
        ("glebe_run_state *", _) => "&run_state",
        ("const glebe_metrics *" | "glebe_metrics *", _) => "a_metrics()",
        ("glebe_metrics **", _) => "&out_metrics",
        ("const glebe_event_context *" | "glebe_event_context *", _) => "context",
        ("glebe_event_fn", _) => "event_it",
        ("glebe_logits_fn", _) => "logits_it",
        ("const int32_t *", "splits") => "splits",
        ("const float *", "images") => "a_batch()->images",
        ("const uint8_t *", "labels") => "a_batch()->labels",
        ("size_t", "images_len") => "12",
        ("size_t", "labels_len") => "4",
        ("const float **", _) => "&shown",
        ("const int64_t **", _) => "&shown_classes",
        ("double *", _) => "&real",
        ("double", _) => "0.5",
        ("size_t", "length") if function.name == "glebe_trainer_infer" => "1",
        ("const char *", "path") if function.name == "glebe_trainer_resume" => "a_checkpoint()",
        ("const char *", "path") if function.name == "glebe_trainer_save_checkpoint" => {
            return format!("file(\"out-{case}.safetensors\")");
        }
        ("const char *", "name") if function.name == "glebe_metrics_get" => "\"Loss\"",
        ("const char *", "name") if function.name == "glebe_event_metric" => "\"Loss\"",
        ("const char *", "name") if function.name == "glebe_event_log" => "\"own\"",
        ("size_t", "virtual_batch") => "1",
        ("uint32_t", "outputs") => "GLEBE_OUTPUT_EPOCH_CSV",
        ("int32_t", "mode") => "GLEBE_MODE_LOWEST",
        ("const char *", "metric") => "\"Loss\"",
        ("const char *", "folder") => return format!("file(\"out-{case}\")"),
        ("float *", _) => "numbers",
        ("size_t *", _) => "sizes",
        ("int32_t *", _) => "&number",
        ("float", _) => "0.5f",
        ("uint64_t", _) => "7",
        ("size_t", "length") if function.name.ends_with("_shape") => "4",
        ("size_t", "length") if function.name.ends_with("_logits") => "8",
        ("size_t", "length") => "6",
        ("const char *", "name")
            if !["glebe_trainer_tensor", "glebe_event_tensor"].contains(&function.name.as_str()) =>
        {
            panic!("{}: which name?", function.name)
        }
        ("const char *", "name") => "\"weights\"",
        ("const char *", "path") if function.name.ends_with("_export") => {
            return format!("file(\"out-{case}.onnx\")");
        }
        ("const char *", "path")
            if matches!(
                function.name.as_str(),
                "glebe_checkpoint_inspect" | "glebe_trainer_load_checkpoint"
            ) =>
        {
            "file(\"weights.safetensors\")"
        }
        ("int32_t", "kind") => "GLEBE_TENSOR_WEIGHT",
        ("int32_t", "wanted" | "averages" | "overwrite" | "shuffled") => "0",
        ("const uint8_t *", "bytes") => "a_state()->data",
        ("size_t", "size") if function.name == "glebe_trainer_set_state" => "a_state()->size",
        ("const glebe_cancel_token *" | "glebe_cancel_token *", _) => "glebe_cancel_token_new()",
        ("const glebe_image *", _) => "an_image()",
        ("glebe_image *", _) => "&image",
        ("const glebe_runtime_options *" | "glebe_runtime_options *", _) => "&runtime_options",
        ("const glebe_model_options *" | "glebe_model_options *", _) => "&model_options",
        ("const glebe_segment_options *" | "glebe_segment_options *", _) => "&segment_options",
        ("glebe_runtime **", _) => "&out_runtime",
        ("glebe_model **", _) => "&out_model",
        ("glebe_prediction **", _) => "&out_prediction",
        ("glebe_error **", "error") => "&error",
        ("glebe_buffer *", _) => "&buffer",
        ("const char *", "path") => "file(\"bands.onnx\")",
        ("const char *", "input") => "file(\"in.tif\")",
        ("const char *", "output") => return format!("file(\"out-{case}.tif\")"),
        ("const uint8_t *", "data") => "model_data()",
        ("size_t", "size") if function.name.ends_with("_init") => {
            return format!("sizeof *{}", valid(function, &function.parameters[0], case));
        }
        ("size_t", "size") => "model_size()",
        ("size_t", "index") => "0",
        ("int32_t", "level") => "GLEBE_LOG_WARN",
        ("glebe_status", _) => "GLEBE_STATUS_OK",
        ("void *", "user_data") => "&destroyed",
        ("glebe_log_fn", _) => "log_it",
        ("glebe_destroy_fn", _) => "destroy_it",
        (kind, name) => panic!("{}: no valid value is known for {kind} {name}: add one", function.name),
    };
    text.to_owned()
}

/// The call with NULL for the parameter at `index`, and what must hold afterwards.
fn case(number: usize, function: &Function, index: usize) -> String {
    let null = &function.parameters[index];
    let arguments: Vec<String> = function
        .parameters
        .iter()
        .enumerate()
        .map(|(at, parameter)| if at == index { "NULL".into() } else { valid(function, parameter, number) })
        .collect();
    let call = format!("{}({})", function.name, arguments.join(", "));
    let has_error = function.parameters.iter().any(|parameter| parameter.kind == "glebe_error **");
    let body = match (function.result.as_str(), null.nullable) {
        ("void", _) => format!("{call};"),
        ("glebe_status", true) => format!("CHECK({call} == GLEBE_STATUS_OK); success = 1;"),
        // An accessor of an error, whose neutral status is "ok".
        ("glebe_status", false)
            if ["glebe_error_code", "glebe_event_error_code"].contains(&function.name.as_str()) =>
        {
            format!("CHECK({call} == GLEBE_STATUS_OK);")
        }
        ("glebe_status", false) if has_error => {
            format!("FAILS(GLEBE_STATUS_INVALID_ARGUMENT, \"{} is NULL\", {call});", null.name)
        }
        ("glebe_status", false) => format!("CHECK({call} == GLEBE_STATUS_INVALID_ARGUMENT);"),
        ("size_t", true) => format!("CHECK({call} != 0);"),
        ("int64_t", false) => format!("CHECK({call} == -1);"),
        // Not a number is what no metric has.
        ("double", false) if function.name.ends_with("_value") => format!("CHECK({call} != {call});"),
        ("size_t" | "int32_t" | "uint64_t" | "double", false) => format!("CHECK({call} == 0);"),
        (result, false) if result.ends_with('*') => format!("CHECK({call} == NULL);"),
        (result, _) => panic!("{}: no neutral value is known for {result}: add one", function.name),
    };
    format!("static void case_{number}(void) /* {} */\n{{\n    {body}\n}}\n", null.name)
}

/// How a case is called: those that need the context of an event within one at which there is what they ask for.
fn invocation(number: usize, function: &Function, index: usize) -> String {
    let has_context = |parameter: &Parameter| parameter.kind.ends_with("glebe_event_context *");
    if has_context(&function.parameters[index]) || !function.parameters.iter().any(has_context) {
        return format!("    case {number}: case_{number}(); break;\n");
    }
    let event = match function.name.as_str() {
        "glebe_event_metric" => "GLEBE_EVENT_METRICS_END",
        _ => "GLEBE_EVENT_OPTIMIZER_STEP_START",
    };
    format!("    case {number}: in_event(case_{number}, {event}); break;\n")
}

#[test]
fn null_for_every_pointer() {
    let text = header::text();
    let functions = header::functions(&text);
    let declared = text.lines().filter(|line| line.contains("glebe_") && line.contains('(')).filter(|line| {
        let line = line.trim_start();
        !line.starts_with(['*', '/']) && !line.starts_with("typedef")
    });
    assert_eq!(functions.len(), declared.count(), "functions that the scan has not found");

    let mut program = PROLOGUE.replace("@ROOT@", env!("CARGO_MANIFEST_DIR"));
    let mut invocations = String::new();
    let mut cases = Vec::new();
    for function in &functions {
        for index in 0..function.parameters.len() {
            if function.parameters[index].is_pointer() {
                write!(program, "{}", case(cases.len(), function, index)).unwrap();
                invocations.push_str(&invocation(cases.len(), function, index));
                cases.push(format!("{}, {}", function.name, function.parameters[index].name));
            }
        }
    }
    program.push_str(MAIN);
    program.push_str(&invocations);
    program.push_str(
        "    default: CHECK(0);\n    }\n    CHECK(error == NULL);\n    if (!success) {\n        CHECK(out_runtime == MARK && out_model == MARK && out_prediction == MARK && out_trainer == MARK && out_loader == MARK && out_finetuning == MARK && out_metrics == MARK);\n        CHECK(buffer.data == NULL && buffer.size == 0);\n    }\n    return 0;\n}\n",
    );
    let pointers: usize =
        functions.iter().flat_map(|function| &function.parameters).filter(|p| p.is_pointer()).count();
    assert_eq!(cases.len(), pointers);
    assert!(pointers > 70, "only {pointers} pointers found in the header");

    let folder = fixtures();
    let source = folder.path().join("null.c");
    std::fs::write(&source, program).unwrap();
    let program = compile(&source, folder.path());
    let mut failed = Vec::new();
    for (number, name) in cases.iter().enumerate() {
        let output = Command::new(&program).arg(folder.path()).arg(number.to_string()).output().unwrap();
        if !output.status.success() {
            failed.push(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failed.is_empty(), "{} of {pointers} failed:\n{}", failed.len(), failed.join("\n"));
    println!("{} functions, {pointers} pointers", functions.len());
}
