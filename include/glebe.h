/*
 * glebe.h: score rasters with ONNX segmentation models, and finetune these on the machine at hand.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 * Generated from src/ffi by `make header`; do not edit.
 *
 * EXAMPLE
 *
 *     glebe_error *error = NULL;
 *     glebe_runtime *runtime = NULL;
 *     glebe_model *model = NULL;
 *     glebe_segment_options options;
 *
 *     glebe_segment_options_init(&options, sizeof options);
 *     options.overwrite = 1;
 *     if (glebe_runtime_load(NULL, &runtime, &error) != GLEBE_STATUS_OK ||
 *         glebe_model_open(runtime, "model.onnx", NULL, &model, &error) != GLEBE_STATUS_OK ||
 *         glebe_segment_file(model, "in.tif", "out.tif", &options, NULL, &error) != GLEBE_STATUS_OK) {
 *         fprintf(stderr, "%s\n", glebe_error_message(error));
 *     }
 *     glebe_error_free(error);
 *     glebe_model_free(model);
 *     glebe_runtime_free(runtime);
 *
 * Link with -lglebe. ONNX Runtime is not linked; glebe_runtime_load finds and loads it. A longer example is
 * examples/c/segment.c, of training examples/c/fit.c. The rest of this page holds for every function below.
 *
 * ABI. The shared library is libglebe.so.N with N = GLEBE_ABI_VERSION. Within one N, functions and struct fields are
 * only added, numbers are never reused, and what exists keeps its meaning: a program runs with the library it was
 * built for and every later one of the same N. Enumerations are int32_t with constants, so that a new number is
 * nothing undefined; programs must be ready for numbers they do not know. Exported are glebe_* and nothing else.
 *
 * STATUS AND ERRORS. A function that can fail returns a glebe_status, 0 (GLEBE_STATUS_OK) on success, and takes as
 * its last parameter a glebe_error **error. It may be NULL. On failure, and only then, an error object is stored
 * there, which the caller frees; what the variable held before is overwritten, not freed. The _init functions are the
 * exception: they can fail for a wrong size only and take no error. Outputs are written on success only; on failure
 * they are left untouched. There is no global or per-thread "last error".
 *
 * POINTERS. Every pointer must be valid unless the function's text says "nullable". Passing NULL where it must not be
 * is GLEBE_STATUS_INVALID_ARGUMENT with the parameter's name, never a crash; functions without a status then return
 * 0, NULL, or what their text says, and functions without a result do nothing. Where a length comes with a pointer and
 * is 0, the pointer is not looked at. Dangling pointers, wrong lengths and double frees cannot be detected.
 *
 * OWNERSHIP. What a function gives through an output belongs to the caller and is released by the _free function of
 * its class, which takes NULL and cannot fail. Strings (const char *) returned by accessors belong to the handle and
 * live as long as it does. Memory of the library is never for free(), memory of the caller never freed or kept by the
 * library. Handles may be freed in any order: a model keeps what it needs of its runtime.
 *
 * STRINGS are UTF-8 and end in NUL, in both directions. Input that is not UTF-8 is GLEBE_STATUS_INVALID_ARGUMENT.
 * File names are strings like any other. Texts of errors and messages are for people and may change; numbers may not.
 *
 * OPTIONS are structs that begin with struct_size. Fill one with its _init function, passing sizeof, then change
 * fields. Later versions add fields at the end. A struct that is smaller than the library's (an older program) is
 * completed with defaults; of a larger one (a newer program) the part that this library does not know must be zeros,
 * else GLEBE_STATUS_INVALID_ARGUMENT. Fields called reserved must be 0.
 *
 * CALLBACKS come as (function, user_data, destroy). destroy(user_data) is called exactly once for each call that was
 * given it, whatever the outcome, also when that call fails before it has begun; where a handle keeps the function,
 * when that is freed. A progress callback that returns something other than 0 cancels its job; so do the functions of
 * a training's loaders and events, and the job returns what they did where it is a status. A callback must return
 * normally: a C++ exception or a longjmp that leaves it is undefined behaviour. Catch, keep, cancel the job, and
 * rethrow when the job has returned, as glebe.hpp does. It may call functions of the library, but must not free what
 * is in use.
 *
 * THREADS. A function that takes a handle as const may be called by several threads at the same time on the same
 * handle; a function that takes it without const (the _free functions) needs it for itself. Jobs on one model run side
 * by side, each in the thread that called it. glebe_cancel_token_cancel may also be called from a signal handler.
 * Error objects may be read and freed by any thread.
 *
 * PANICS. A defect of the library ends the call with GLEBE_STATUS_INTERNAL and spoils the handle that the call was
 * made on: later calls on it give GLEBE_STATUS_INVALID_STATE. Free it and make a new one, or end the program.
 *
 * PROCESS. Global to the process are: ONNX Runtime and its environment, loaded by the first glebe_runtime_load and
 * never unloaded; the log callback; GDAL's driver list, filled at the first use of a file if the program has not done
 * it, and GDAL's block cache. GDAL's settings and error handler are set on the calling thread, during calls only.
 * Signals are not touched, nothing is written to stdout or stderr. Of the environment only ORT_DYLIB_PATH,
 * VIRTUAL_ENV and CONDA_PREFIX are read, to find ONNX Runtime; GDAL, PROJ and ONNX Runtime read their own.
 * ONNX Runtime sends telemetry from version 1.31 on; unless ORT_DISABLE_TELEMETRY is in the environment, the first
 * glebe_runtime_load sets it to 1, which switches that off. Programs whose other threads read the environment at that
 * moment set it themselves beforehand. The library opens no network connections.
 *
 * FORK. In a child made by fork, runtimes and models of the parent give GLEBE_STATUS_INVALID_STATE, and freeing them
 * leaks on purpose: ONNX Runtime's threads do not exist there. Call exec, or load the library after the fork.
 * A fork while another thread reads or writes a raster may hang the child in PROJ; posix_spawn does not.
 *
 * MEMORY. Buffers whose size depends on data are asked for before they are used, and GLEBE_STATUS_OUT_OF_MEMORY tells
 * that one was refused. When the system refuses a small one, the process is ended.
 *
 * FILES that come in are not trusted: models are checked before ONNX Runtime sees them, rasters are read by a short
 * list of drivers. Files that go out appear complete under their name, or not at all. A process that
 * is killed may leave hidden files .NAME.glebe-PID-N.tmp.* beside the output, which may be deleted. An output that is
 * a symbolic link is refused.
 */


#ifndef GLEBE_H
#define GLEBE_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header; glebe_version() gives that of the library.
 */
#define GLEBE_VERSION "0.1.0"

/**
 * First number of GLEBE_VERSION.
 */
#define GLEBE_VERSION_MAJOR 0

/**
 * Second number of GLEBE_VERSION.
 */
#define GLEBE_VERSION_MINOR 1

/**
 * Third number of GLEBE_VERSION.
 */
#define GLEBE_VERSION_PATCH 0


/**
 * Success.
 */
#define GLEBE_STATUS_OK 0

/**
 * A defect of this library. The handle that the call was made on cannot be used any more.
 */
#define GLEBE_STATUS_INTERNAL 1

/**
 * An argument or option is wrong in itself (NULL, NaN, out of range, unknown name).
 */
#define GLEBE_STATUS_INVALID_ARGUMENT 2

/**
 * A file or folder does not exist.
 */
#define GLEBE_STATUS_NOT_FOUND 3

/**
 * The operating system refused access.
 */
#define GLEBE_STATUS_PERMISSION_DENIED 4

/**
 * An output exists already and overwriting was not asked for.
 */
#define GLEBE_STATUS_ALREADY_EXISTS 5

/**
 * Reading or writing failed; includes a full disk.
 */
#define GLEBE_STATUS_IO 6

/**
 * The file is not a readable ONNX model.
 */
#define GLEBE_STATUS_MODEL_INVALID 7

/**
 * A sound model that cannot be used for this (two inputs, integer input, other rank).
 */
#define GLEBE_STATUS_MODEL_UNSUPPORTED 8

/**
 * The file is not a readable raster, or it is damaged.
 */
#define GLEBE_STATUS_RASTER_INVALID 9

/**
 * A sound raster that cannot be used (complex samples, mixed types, driver not allowed).
 */
#define GLEBE_STATUS_RASTER_UNSUPPORTED 10

/**
 * Two sound things that do not fit together (model of 3 bands, raster of 4).
 */
#define GLEBE_STATUS_MISMATCH 11

/**
 * ONNX Runtime was not found or could not be loaded.
 */
#define GLEBE_STATUS_RUNTIME_NOT_FOUND 12

/**
 * The execution provider asked for cannot be used; there is no fallback.
 */
#define GLEBE_STATUS_PROVIDER_UNAVAILABLE 13

/**
 * ONNX Runtime failed while it prepared or ran a model.
 */
#define GLEBE_STATUS_RUNTIME 14

/**
 * Not enough memory for data-sized allocations.
 */
#define GLEBE_STATUS_OUT_OF_MEMORY 15

/**
 * Stopped by the caller, through a cancel token or the progress callback.
 */
#define GLEBE_STATUS_CANCELLED 16

/**
 * The object cannot be used any more (after GLEBE_STATUS_INTERNAL, or after fork), or calls came in the wrong order.
 */
#define GLEBE_STATUS_INVALID_STATE 17

/**
 * This build lacks the capability (feature switched off).
 */
#define GLEBE_STATUS_NOT_SUPPORTED 18

/**
 * A safety limit on untrusted input was exceeded.
 */
#define GLEBE_STATUS_LIMIT_EXCEEDED 19

/**
 * Version of the ABI that this header describes: the number in the library's file name, libglebe.so.1. Libraries of
 * another number do not fit; within one number, symbols and structs only grow.
 */
#define GLEBE_ABI_VERSION 1

/**
 * No messages.
 */
#define GLEBE_LOG_OFF 0

/**
 * Something failed that no return value tells.
 */
#define GLEBE_LOG_ERROR 1

/**
 * Something is not as it should be; the job goes on.
 */
#define GLEBE_LOG_WARN 2

/**
 * What is done.
 */
#define GLEBE_LOG_INFO 3

/**
 * How it is done: for bug reports.
 */
#define GLEBE_LOG_DEBUG 4

/**
 * Everything, down to objects of ONNX Runtime that come and go.
 */
#define GLEBE_LOG_TRACE 5

/**
 * As fits: in options only.
 */
#define GLEBE_DATA_TYPE_DEFAULT 0

/**
 * Unsigned, 8 bits.
 */
#define GLEBE_DATA_TYPE_U8 1

/**
 * Unsigned, 16 bits.
 */
#define GLEBE_DATA_TYPE_U16 2

/**
 * Signed, 16 bits.
 */
#define GLEBE_DATA_TYPE_I16 3

/**
 * Unsigned, 32 bits.
 */
#define GLEBE_DATA_TYPE_U32 4

/**
 * Signed, 32 bits.
 */
#define GLEBE_DATA_TYPE_I32 5

/**
 * Unsigned, 64 bits.
 */
#define GLEBE_DATA_TYPE_U64 6

/**
 * Signed, 64 bits.
 */
#define GLEBE_DATA_TYPE_I64 7

/**
 * IEEE 754 binary32.
 */
#define GLEBE_DATA_TYPE_F32 8

/**
 * IEEE 754 binary64.
 */
#define GLEBE_DATA_TYPE_F64 9

/**
 * Each pixel comes from one tile: overlaps are cut in the middle.
 */
#define GLEBE_BLEND_CROP 0

/**
 * Mean weighted by a Gaussian, sigma = tile / 8.
 */
#define GLEBE_BLEND_GAUSSIAN 1

/**
 * Mean weighted by a Hann window.
 */
#define GLEBE_BLEND_HANN 2

/**
 * Mean weighted by a triangle.
 */
#define GLEBE_BLEND_LINEAR 3

/**
 * Plain mean.
 */
#define GLEBE_BLEND_CONSTANT 4

/**
 * Each pixel comes from a tile that sees all that the network looks at for it: the map is that of one run over the whole
 * raster. GLEBE_STATUS_MODEL_UNSUPPORTED, with the nodes, for networks that look at the whole tile. The overlap has no
 * effect.
 */
#define GLEBE_BLEND_EXACT 5

/**
 * Exact where the network allows it and at most 2 pixels are computed for one, else Gaussian (default). The report says
 * which, and why.
 */
#define GLEBE_BLEND_AUTO 6

/**
 * Past the raster's edge it is mirrored, the edge pixel not repeated (default).
 */
#define GLEBE_PADDING_REFLECT 0

/**
 * The edge pixel goes on.
 */
#define GLEBE_PADDING_EDGE 1

/**
 * padding_value, in the raster's own units.
 */
#define GLEBE_PADDING_CONSTANT 2

/**
 * None where the graph ends in a softmax or sigmoid of its own; else sigmoid for one channel, softmax for more
 * (default).
 */
#define GLEBE_ACTIVATION_AUTO 0

/**
 * Softmax over the channels.
 */
#define GLEBE_ACTIVATION_SOFTMAX 1

/**
 * Sigmoid of each channel.
 */
#define GLEBE_ACTIVATION_SIGMOID 2

/**
 * The output is probabilities already.
 */
#define GLEBE_ACTIVATION_NONE 3

/**
 * One band of class numbers: the channel with the greatest value, the lowest on ties; for a one-channel model 1
 * where the probability is greater than the threshold, else 0 (default).
 */
#define GLEBE_PRODUCT_CLASSES 0

/**
 * One band a class with its probability.
 */
#define GLEBE_PRODUCT_PROBABILITIES 1

/**
 * One band a channel with the model's raw output.
 */
#define GLEBE_PRODUCT_LOGITS 2

/**
 * The model computes as its file has it, in float32 as a rule (default).
 */
#define GLEBE_PRECISION_MODEL 0

/**
 * Weights and values between the nodes are float16; the report has the share of labels that are the same
 * ("label_agreement").
 */
#define GLEBE_PRECISION_FP16 1

/**
 * On devices, where it can be done (default).
 */
#define GLEBE_FUSE_AUTO 0

/**
 * Always; where it cannot be done it is GLEBE_STATUS_MODEL_UNSUPPORTED.
 */
#define GLEBE_FUSE_ON 1

/**
 * Never.
 */
#define GLEBE_FUSE_OFF 2

/**
 * A pixel is nodata when all bands that are read are (default).
 */
#define GLEBE_NODATA_RULE_ALL 0

/**
 * A pixel is nodata when any of them is.
 */
#define GLEBE_NODATA_RULE_ANY 1

/**
 * Cloud-Optimized GeoTIFF (default).
 */
#define GLEBE_FORMAT_COG 0

/**
 * Tiled GeoTIFF without overviews.
 */
#define GLEBE_FORMAT_GTIFF 1

/**
 * Deflate: read by everything (default).
 */
#define GLEBE_COMPRESSION_DEFLATE 0

/**
 * LZW: faster and larger than Deflate, read by everything.
 */
#define GLEBE_COMPRESSION_LZW 1

/**
 * Zstandard: faster and smaller than Deflate, not read by older programs.
 */
#define GLEBE_COMPRESSION_ZSTD 2

/**
 * Samples as they are.
 */
#define GLEBE_COMPRESSION_NONE 3

/**
 * By the running statistics, which stay as they are (default).
 */
#define GLEBE_BATCH_NORM_FROZEN 0

/**
 * As frozen; scale and shift are trained whatever params says.
 */
#define GLEBE_BATCH_NORM_AFFINE 1

/**
 * By the statistics of the batch; the running statistics follow them.
 */
#define GLEBE_BATCH_NORM_TRAIN 2

/**
 * Trained weights and the running statistics that steps update.
 */
#define GLEBE_TENSOR_WEIGHT 0

/**
 * The mean of the waiting gradients, before clipping; between glebe_trainer_accumulate and glebe_trainer_apply.
 */
#define GLEBE_TENSOR_GRADIENT 1

/**
 * Moving averages of the trained weights.
 */
#define GLEBE_TENSOR_AVERAGE 2

/**
 * L in every epoch (default). L: learning_rate; m: least; T: epochs after the warm-up; j: epochs since it, from 0.
 */
#define GLEBE_SCHEDULE_CONSTANT 0

/**
 * L ((1 - m/L) (1 - j/T)^gamma + m/L).
 */
#define GLEBE_SCHEDULE_POLYNOMIAL 1

/**
 * m + (L - m) (1 + cos(pi j/T)) / 2.
 */
#define GLEBE_SCHEDULE_COSINE 2

/**
 * L gamma^j.
 */
#define GLEBE_SCHEDULE_EXPONENTIAL 3

/**
 * L gamma^floor(j / schedule_size).
 */
#define GLEBE_SCHEDULE_STEP 4

/**
 * L gamma^(number of milestones up to j).
 */
#define GLEBE_SCHEDULE_MULTI_STEP 5

/**
 * Batches that are left at the end of an epoch make an update of their own (default).
 */
#define GLEBE_TAIL_UPDATE 0

/**
 * Their gradients wait for the next epoch.
 */
#define GLEBE_TAIL_CARRY 1

/**
 * Lower values are better, as of a loss (default).
 */
#define GLEBE_MODE_LOWEST 0

/**
 * Higher values are better, as of a score.
 */
#define GLEBE_MODE_HIGHEST 1

/**
 * Scores of one confusion matrix of all pixels that count (default): Accuracy, MeanIoU, IoUWithoutBackground,
 * Dice/AverageAcrossStructures, and of each class, "macro" and "micro" IoU/..., Dice/..., Precision/..., Recall/..., F1/...
 */
#define GLEBE_SCORES_EPOCH 0

/**
 * InnerEye's numbers: means over images of Dice and VoxelCount, SubjectCount.
 */
#define GLEBE_SCORES_INNER_EYE 1

/**
 * geo-deep-learning's numbers: means over batches, with precision and recall swapped.
 */
#define GLEBE_SCORES_GEO_DEEP_LEARNING 2

/**
 * The loss alone.
 */
#define GLEBE_SCORES_NONE 3

/**
 * Nothing is being done.
 */
#define GLEBE_PHASE_IDLE 0

/**
 * Training batches.
 */
#define GLEBE_PHASE_TRAIN 1

/**
 * A validation within training.
 */
#define GLEBE_PHASE_VALIDATION 2

/**
 * A validation by itself.
 */
#define GLEBE_PHASE_VALIDATE 3

/**
 * A test.
 */
#define GLEBE_PHASE_TEST 4

/**
 * A prediction.
 */
#define GLEBE_PHASE_PREDICT 5

/**
 * No part of the data in particular.
 */
#define GLEBE_SPLIT_NONE 0

/**
 * The data for training.
 */
#define GLEBE_SPLIT_TRAIN 1

/**
 * The data for validation.
 */
#define GLEBE_SPLIT_VAL 2

/**
 * The data for testing.
 */
#define GLEBE_SPLIT_TEST 3

/**
 * The trainer has been made: told once, by glebe_trainer_add_events.
 */
#define GLEBE_EVENT_TRAINER_INIT 1

/**
 * Training begins.
 */
#define GLEBE_EVENT_TRAIN_START 2

/**
 * Training goes on from a checkpoint, in place of GLEBE_EVENT_TRAIN_START.
 */
#define GLEBE_EVENT_RESUME 3

/**
 * An epoch begins.
 */
#define GLEBE_EVENT_EPOCH_START 4

/**
 * A batch is there: of training, validation, test or prediction, as phase of glebe_run_state says.
 */
#define GLEBE_EVENT_BATCH_START 5

/**
 * Loss and gradients are about to be computed.
 */
#define GLEBE_EVENT_FORWARD_START 6

/**
 * The loss is known. (Loss and gradients are one run: the gradients are there too.)
 */
#define GLEBE_EVENT_BACKWARD_START 7

/**
 * The gradients are known.
 */
#define GLEBE_EVENT_BACKWARD_END 8

/**
 * The weights are about to be changed, which glebe_event_veto prevents.
 */
#define GLEBE_EVENT_OPTIMIZER_STEP_START 9

/**
 * The weights have been changed.
 */
#define GLEBE_EVENT_OPTIMIZER_STEP_END 10

/**
 * The batch is done.
 */
#define GLEBE_EVENT_BATCH_END 11

/**
 * All training batches of the epoch are done; the metrics of training are known.
 */
#define GLEBE_EVENT_BATCHES_END 12

/**
 * A validation within training begins.
 */
#define GLEBE_EVENT_VALIDATION_START 13

/**
 * A batch is about to be evaluated.
 */
#define GLEBE_EVENT_EVALUATION_START 14

/**
 * Logits are there, metrics are about to be computed.
 */
#define GLEBE_EVENT_METRICS_START 15

/**
 * Metrics of the batch are known.
 */
#define GLEBE_EVENT_METRICS_END 16

/**
 * All batches of a validation or test are done; random numbers go on as if it had not been.
 */
#define GLEBE_EVENT_EVALUATION_BATCHES_END 17

/**
 * The validation is done and its metrics are known.
 */
#define GLEBE_EVENT_VALIDATION_END 18

/**
 * The metrics of the epoch are known, those of its validation with val/ before their names.
 */
#define GLEBE_EVENT_EPOCH_METRICS 19

/**
 * A checkpoint is about to be written.
 */
#define GLEBE_EVENT_CHECKPOINT_SAVE 20

/**
 * The epoch is done.
 */
#define GLEBE_EVENT_EPOCH_END 21

/**
 * Training is done.
 */
#define GLEBE_EVENT_TRAIN_END 22

/**
 * A validation by itself begins.
 */
#define GLEBE_EVENT_VALIDATE_START 23

/**
 * The validation by itself is done and its metrics are known.
 */
#define GLEBE_EVENT_VALIDATE_END 24

/**
 * A test begins.
 */
#define GLEBE_EVENT_TEST_START 25

/**
 * The test is done and its metrics are known.
 */
#define GLEBE_EVENT_TEST_END 26

/**
 * A prediction begins.
 */
#define GLEBE_EVENT_PREDICT_START 27

/**
 * A batch is about to be predicted.
 */
#define GLEBE_EVENT_PREDICTION_START 28

/**
 * The logits of the batch are there.
 */
#define GLEBE_EVENT_PREDICTION_END 29

/**
 * The prediction is done.
 */
#define GLEBE_EVENT_PREDICT_END 30

/**
 * A checkpoint has been read and is about to be applied.
 */
#define GLEBE_EVENT_CHECKPOINT_LOAD 31

/**
 * The run ends with an error: glebe_event_error_message.
 */
#define GLEBE_EVENT_EXCEPTION 32

/**
 * Predictions over one or several splits begin, as split of glebe_run_state says.
 */
#define GLEBE_EVENT_INFERENCE_START 33

/**
 * The predictions over splits are done.
 */
#define GLEBE_EVENT_INFERENCE_END 34

/**
 * Train/epoch_metrics.csv and Val/epoch_metrics.csv.
 */
#define GLEBE_OUTPUT_EPOCH_CSV 1

/**
 * batch_losses.csv.
 */
#define GLEBE_OUTPUT_BATCH_LOSSES 2

/**
 * ClinicaDL's logs/training_loss.tsv and validation_metrics/{aggregated,details}.tsv.
 */
#define GLEBE_OUTPUT_CLINICADL 4

/**
 * geo-deep-learning's progress.log.
 */
#define GLEBE_OUTPUT_PROGRESS_LOG 8

/**
 * metrics.csv and metrics_aggregates.csv of tests and inferences.
 */
#define GLEBE_OUTPUT_IMAGE_METRICS 16

/**
 * PNG files of input, label and prediction of the first batch of every evaluation, in the folder pictures.
 */
#define GLEBE_OUTPUT_PICTURES 32

/**
 * curves.svg.
 */
#define GLEBE_OUTPUT_CURVES 64

/**
 * run.toml.
 */
#define GLEBE_OUTPUT_RECORD 128

/**
 * Times of epochs and warnings of slow loading, in the log.
 */
#define GLEBE_OUTPUT_TIMES 256

/**
 * All of these.
 */
#define GLEBE_OUTPUT_ALL 511

/**
 * Asks running jobs to stop. Any number of jobs may share one; once set it stays set.
 */
typedef struct glebe_cancel_token glebe_cancel_token;

/**
 * What went wrong in one call: made by that call, owned by the caller, freed with glebe_error_free.
 *
 * Immutable: may be read from any thread, also after everything else of the library was freed.
 */
typedef struct glebe_error glebe_error;

/**
 * What there is at an event, for the function that is told of it: during the call, on the thread of the call. Nothing is
 * computed or copied unless it is asked for.
 *
 * After the call, until the trainer is freed, functions with a status give GLEBE_STATUS_INVALID_STATE, the others zeros
 * and NULL; what was given before (strings, logits, batches) is not valid any more. Another thread must not use it.
 */
typedef struct glebe_event_context glebe_event_context;

/**
 * A finetuning that is ready to run, once: labelled rasters and a model in, a better model out, as `glebe finetune` does
 * it. The model is open, the data are looked through, the training step is built; nothing is written yet.
 *
 * One call at a time: a call while another is at work, in another thread or in this one (from an event function), is
 * GLEBE_STATUS_INVALID_STATE; glebe_finetuning_found may be called at any time. May be handed from thread to thread.
 */
typedef struct glebe_finetuning glebe_finetuning;

/**
 * Gives the batches of an epoch, one after the other, to one run at a time. Made from arrays, from functions or from rasters.
 */
typedef struct glebe_loader glebe_loader;

/**
 * The metrics of a validation or a test, in their order. Immutable; may be read from any thread.
 */
typedef struct glebe_metrics glebe_metrics;

/**
 * An opened model. Immutable: may be shared by threads, and one model can work on many jobs at the same time.
 */
typedef struct glebe_model glebe_model;

/**
 * What scoring an array gave. Immutable: may be read by any thread.
 */
typedef struct glebe_prediction glebe_prediction;

/**
 * ONNX Runtime, loaded. A process has one, which stays loaded until the process ends; all handles stand for it.
 * May be shared by threads.
 */
typedef struct glebe_runtime glebe_runtime;

/**
 * Loss, gradients and update of one model on batches of one shape, with the weights and the optimizer's state.
 *
 * A call that fails or is cancelled leaves weights and state as they were. One call at a time: a call while another is
 * at work, in another thread or in this one (from a callback of a run), is GLEBE_STATUS_INVALID_STATE. Shapes and names
 * may be asked for at any time. The trainer may be handed from thread to thread.
 */
typedef struct glebe_trainer glebe_trainer;

/**
 * What became of a call: GLEBE_STATUS_OK, or the kind of failure. Later versions may add numbers; they never reuse
 * one. They are also the exit codes of the command line tool.
 */
typedef int32_t glebe_status;

/**
 * Bytes handed out by the library: read them, do not change the fields, free them with glebe_buffer_free.
 *
 * Text in a buffer is UTF-8 and has a NUL after its last byte, which size does not count.
 */
typedef struct {
    /**
     * The bytes.
     */
    uint8_t *data;
    /**
     * Their number.
     */
    size_t size;
} glebe_buffer;

/**
 * Told one message: its level (GLEBE_LOG_*), where it comes from ("glebe::..." for the library, "glebe::gdal" for
 * GDAL, "ort::..." for ONNX Runtime), and its text, one or more lines without a line break at the end. The strings
 * are valid during the call only.
 *
 * Called from any thread, also from those of ONNX Runtime, and from several at the same time. It may call functions
 * of the library; messages of these calls are dropped. It must return normally: no C++ exception and no longjmp may
 * leave it.
 */
typedef void (*glebe_log_fn)(int32_t level, const char *target, const char *message, void *user_data);

/**
 * Releases what `user_data` points to.
 *
 * Called exactly once for every registration, whatever its outcome; may be NULL where there is nothing to release.
 * Like every callback it must return normally: no C++ exception and no longjmp may leave it.
 */
typedef void (*glebe_destroy_fn)(void *user_data);

/**
 * How to find ONNX Runtime. Fill it with glebe_runtime_options_init.
 */
typedef struct {
    /**
     * sizeof(glebe_runtime_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The library file (libonnxruntime.so...). NULL: the environment variable ORT_DYLIB_PATH; else beside libglebe;
     * else the onnxruntime package of the active Python environment; else the system's search.
     */
    const char *library;
} glebe_runtime_options;

/**
 * How to open a model. Fill it with glebe_model_options_init.
 */
typedef struct {
    /**
     * sizeof(glebe_model_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 1 (default): weights may be in other files, if these are plain files in the model's folder or below it. 0: a
     * model with such weights is refused.
     */
    int32_t external_data;
    /**
     * The output to take. NULL: the first.
     */
    const char *output;
    /**
     * Most bytes that the model file may have. 0: 2 GiB, more than which no ONNX file can have.
     */
    uint64_t max_file_bytes;
    /**
     * Most bytes that all weights together may have, those in other files included. 0: 8 GiB.
     */
    uint64_t max_weight_bytes;
} glebe_model_options;

/**
 * An image in the caller's memory: channels, rows and columns of samples of one type, in any order. Fill it with
 * glebe_image_init.
 *
 * The sample of channel c, row y and column x is the element c * channel_stride + y * row_stride + x *
 * column_stride from data. All three strides 0: dense [channels, height, width], the column fastest. For pixels
 * with interleaved samples [height, width, channels]: channel_stride = 1, row_stride = width * channels,
 * column_stride = channels.
 *
 * The memory is read only, must cover all these elements, and must stay as it is until the call returns.
 */
typedef struct {
    /**
     * sizeof(glebe_image), set by the init function.
     */
    uint32_t struct_size;
    /**
     * Type of the samples: GLEBE_DATA_TYPE_*, not the default.
     */
    int32_t data_type;
    /**
     * Number of channels.
     */
    size_t channels;
    /**
     * Number of rows.
     */
    size_t height;
    /**
     * Number of columns.
     */
    size_t width;
    /**
     * Elements from one channel to the next.
     */
    size_t channel_stride;
    /**
     * Elements from one row to the next.
     */
    size_t row_stride;
    /**
     * Elements from one column to the next.
     */
    size_t column_stride;
    /**
     * The first sample, aligned to the size of a sample.
     */
    const void *data;
    /**
     * A byte a pixel, dense [height, width]: 0 where the pixel holds no data and comes back as nodata. NULL: all
     * pixels are valid. (Pixels with samples that are not finite never are.)
     */
    const uint8_t *valid;
} glebe_image;

/**
 * How far a job is. The library fills it; struct_size tells how much of it the library knows.
 */
typedef struct {
    /**
     * Bytes of this struct that the library filled.
     */
    uint32_t struct_size;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Tiles done.
     */
    uint64_t done;
    /**
     * Tiles of the job.
     */
    uint64_t total;
    /**
     * Seconds since the job began.
     */
    double elapsed_s;
    /**
     * The image at work, from 0, where several are evaluated: each is a job of its own.
     */
    uint64_t image;
    /**
     * Their number; 1 elsewhere.
     */
    uint64_t images;
} glebe_progress;

/**
 * Told after every batch of tiles, on the thread that called the job. A return value other than 0 cancels the job,
 * which then returns GLEBE_STATUS_CANCELLED. `progress` is valid during the call only.
 *
 * It may call functions of the library, also on the job's model, but must not free what the job was given. It must
 * return normally: no C++ exception and no longjmp may leave it.
 */
typedef int32_t (*glebe_progress_fn)(const glebe_progress *progress, void *user_data);

/**
 * What a scoring job is asked to do. Fill it with glebe_segment_options_init, then change what is wanted.
 *
 * Everything that pointers point to must stay as it is until the job returns; the library keeps none of it.
 */
typedef struct {
    /**
     * sizeof(glebe_segment_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * Threads of the model. 0 (default): one a processor.
     */
    uint32_t threads;
    /**
     * The raster's bands (an array's channels), counted from 1, in the order of the model's channels.
     */
    const uint32_t *bands;
    /**
     * Their number. 0 (default): as the model's metadata says, else all that are not alpha.
     */
    size_t bands_len;
    /**
     * Divisors of the samples: the model is fed (x / scale - mean) / std. One value, or one a band.
     */
    const double *scale;
    /**
     * Their number. 0 (default): as the model's metadata says, else 1.
     */
    size_t scale_len;
    /**
     * Means in scaled units. One value, or one a band.
     */
    const double *mean;
    /**
     * Their number. 0 (default): as the model's metadata says, else 0.
     */
    size_t mean_len;
    /**
     * Standard deviations in scaled units. One value, or one a band.
     */
    const double *std;
    /**
     * Their number. 0 (default): as the model's metadata says, else 1.
     */
    size_t std_len;
    /**
     * Tile width in pixels of the model's input. 0 (default): the model's own where it is fixed, else 512 or less; with exact
     * tiles the one that computes the fewest pixels twice within the memory.
     */
    uint32_t tile_width;
    /**
     * Tile height; 0 where and only where tile_width is 0.
     */
    uint32_t tile_height;
    /**
     * What neighbouring tiles share, in pixels of the model's input. -1 (default): overlap_share counts.
     */
    int64_t overlap_px;
    /**
     * What neighbouring tiles share, as a share of the tile from 0 to below 1. Default 0.25.
     */
    double overlap_share;
    /**
     * How overlapping tiles become one map: GLEBE_BLEND_*.
     */
    int32_t blend;
    /**
     * What the model sees past the raster's edge: GLEBE_PADDING_*.
     */
    int32_t padding;
    /**
     * The value of GLEBE_PADDING_CONSTANT.
     */
    double padding_value;
    /**
     * Tiles a run. 0 (default): the model's own where it is fixed, else 1 on the processor and 4 on a device.
     */
    uint32_t batch;
    /**
     * How the output becomes probabilities: GLEBE_ACTIVATION_*.
     */
    int32_t activation;
    /**
     * Where the model runs: "cpu", "cuda", "cuda:1", "tensorrt:0". NULL (default): "cpu". Strict: a provider that
     * cannot be used is GLEBE_STATUS_PROVIDER_UNAVAILABLE, there is no fallback.
     */
    const char *provider;
    /**
     * Names of options of the provider, as ONNX Runtime has them ("gpu_mem_limit").
     */
    const char *const *provider_option_keys;
    /**
     * Their values.
     */
    const char *const *provider_option_values;
    /**
     * Number of names and of values. Default 0.
     */
    size_t provider_options_len;
    /**
     * What is written: GLEBE_PRODUCT_*.
     */
    int32_t product;
    /**
     * Sample type of the output: GLEBE_DATA_TYPE_*. Classes: U8 or U16; probabilities: F32, or U8 and U16 in steps
     * of 1/254 and 1/65534; logits: F32. GLEBE_DATA_TYPE_DEFAULT: the first of these that fits.
     */
    int32_t data_type;
    /**
     * A one-channel model's class 1 begins above this probability, 0 to 1. Default 0.5.
     */
    double threshold;
    /**
     * What invalid pixels get, where has_nodata is 1.
     */
    double nodata;
    /**
     * 1: nodata counts. 0 (default): the largest value of an integer type (255, 65535), NaN for F32.
     */
    int32_t has_nodata;
    /**
     * Files only: when nodata values make a pixel invalid, GLEBE_NODATA_RULE_*.
     */
    int32_t nodata_rule;
    /**
     * Files only: the output's format, GLEBE_FORMAT_*.
     */
    int32_t format;
    /**
     * Files only: the output's compression, GLEBE_COMPRESSION_*. All are lossless.
     */
    int32_t compression;
    /**
     * Files only: 1 replaces an existing output, and throws away what an interrupted job has left beside it (OUTPUT.part).
     * 0 (default): either is GLEBE_STATUS_ALREADY_EXISTS.
     */
    int32_t overwrite;
    /**
     * Files only: 1 goes on with what an interrupted job has left beside the output (OUTPUT.part), where there is something;
     * of a job with another model, raster or options it is GLEBE_STATUS_MISMATCH, with what differs. The finished file has
     * the bytes that it would have had without the interruption. Default 0.
     */
    int32_t resume;
    /**
     * Files only: names of the classes, in order.
     */
    const char *const *class_names;
    /**
     * Their number. 0 (default): those of the model's metadata.
     */
    size_t class_names_len;
    /**
     * Files only: short names of GDAL drivers that may read the input, beside GTiff, COG, PNG, JPEG and JP2OpenJPEG.
     * A driver added here reads untrusted files with all it can: VRT opens what the file names.
     */
    const char *const *drivers;
    /**
     * Their number. Default 0.
     */
    size_t drivers_len;
    /**
     * Stops the job when it is set. NULL (default): none.
     */
    const glebe_cancel_token *cancel;
    /**
     * Told after every batch. NULL (default): none.
     */
    glebe_progress_fn progress;
    /**
     * Passed to progress.
     */
    void *progress_user_data;
    /**
     * Called once with progress_user_data before each call that was given this struct returns, whatever the outcome
     * (also where progress is NULL). The only exception: a struct_size that no version has, with which nothing of the
     * struct can be read. NULL (default): nothing to release.
     */
    glebe_destroy_fn progress_destroy;
    /**
     * Bytes that the job's data may take, 1 MiB or more: tiles, tensors of the model's runs, what is kept of the raster, sums,
     * queues, GDAL's blocks; not the program, its libraries and the model's weights. A job that cannot fit is
     * GLEBE_STATUS_OUT_OF_MEMORY, with the least that would do. 0 (default): a quarter of what is free, at most 2 GiB.
     */
    uint64_t memory;
    /**
     * Files only: strength of the compression, 1 to 9 (Deflate) or 1 to 22 (Zstandard). 0 (default): 3 for Deflate, for
     * Zstandard what GDAL takes.
     */
    uint32_t compression_level;
    /**
     * How precisely the model computes, GLEBE_PRECISION_....
     */
    int32_t precision;
    /**
     * Whether conversion and normalisation of the samples become part of the model's graph, and the decision on classes
     * where nothing is blended, GLEBE_FUSE_...: tiles then go to the device as they are in the raster, and come back as class
     * numbers. The labels are the same. For samples of uint8, uint16 and int16.
     */
    int32_t fuse;
    /**
     * Batches at the model at the same time, up to 16, each with a session of its own: on a device upload, run and download
     * overlap; on the processor they share the threads. 0 (default): 2 on a device and for very small models, else 1.
     */
    uint32_t in_flight;
    /**
     * TensorRT only: a folder that keeps engines and their timings, so that later sessions start in seconds. Whoever can
     * write to it can run code through them. NULL (default): nothing is kept.
     */
    const char *engine_cache;
} glebe_segment_options;

/**
 * Which labelled images are taken, and how their labels become classes, in the words of the command line. Fill it with
 * glebe_evaluate_options_init, then change what is wanted.
 */
typedef struct {
    /**
     * sizeof(glebe_evaluate_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * The part of the data, in lists that say which a line is for: GLEBE_SPLIT_TRAIN, _VAL or _TEST (default).
     */
    int32_t split;
    /**
     * Folder that paths of the data are relative to. NULL (default): each list's own.
     */
    const char *root;
    /**
     * Vector labels: the field whose values say the class. NULL (default): every feature is class 1.
     */
    const char *label_field;
    /**
     * Vector labels: the layer, needed where a file has several. NULL (default): the only one.
     */
    const char *label_layer;
    /**
     * From values to classes, which are counted from 0: "forest=1,water=2,*=ignore". NULL (default): values are classes.
     */
    const char *classes;
    /**
     * Values of the labels that do not count: "255,-1". NULL (default): none.
     */
    const char *ignore_index;
    /**
     * What labels without data are (a raster's nodata value, mask or alpha): "ignore" or "background". NULL (default):
     * "ignore".
     */
    const char *label_nodata;
    /**
     * Vector labels: what pixels outside all features are: "background" or "ignore". NULL (default): "background".
     */
    const char *label_outside;
    /**
     * Vector labels: 1 labels every pixel that a feature touches, 0 (default) those whose middle lies in it.
     */
    int32_t all_touched;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} glebe_evaluate_options;

/**
 * Images and labels of one training step, in the caller's memory. Fill it with glebe_batch_init.
 *
 * All arrays are dense, the column fastest; they are read only and must stay as they are until the call returns.
 */
typedef struct {
    /**
     * sizeof(glebe_batch), set by the init function.
     */
    uint32_t struct_size;
    /**
     * Type of the labels: GLEBE_DATA_TYPE_U8, _I32 or _I64 for classes, _F32 for the numbers of a regression.
     */
    int32_t label_type;
    /**
     * [N, C, H, W], normalised as the model expects.
     */
    const float *images;
    /**
     * Number of values: N * C * H * W, or 0 where the features of all keys are kept.
     */
    size_t images_len;
    /**
     * Classes [N, H, W], or numbers [N, K, H, W], in the size of the model's output.
     */
    const void *labels;
    /**
     * Number of labels.
     */
    size_t labels_len;
    /**
     * [N, H, W]: 0 where a pixel does not count (nodata).
     */
    const uint8_t *mask;
    /**
     * Number of values. 0 (default): all pixels count.
     */
    size_t mask_len;
    /**
     * [N]: what each image is known by in the feature cache, the same number for the same image.
     */
    const uint64_t *keys;
    /**
     * Number of keys. 0 (default): the cache keeps nothing of this batch.
     */
    size_t keys_len;
} glebe_batch;

/**
 * What a training step is to be. Fill it with glebe_trainer_options_init, then set batch, height and width, and change
 * what else is wanted.
 *
 * Everything that pointers point to must stay as it is until glebe_trainer_new returns; the library keeps none of it,
 * the cancel token excepted.
 */
typedef struct {
    /**
     * sizeof(glebe_trainer_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * Threads. 0 (default): one a processor.
     */
    uint32_t threads;
    /**
     * Images of a batch, N. Must be set.
     */
    uint32_t batch;
    /**
     * Height of the images. Must be set.
     */
    uint32_t height;
    /**
     * Width of the images. Must be set.
     */
    uint32_t width;
    /**
     * GLEBE_BATCH_NORM_*.
     */
    int32_t batch_norm;
    /**
     * What is trained: "all", "head", "decoder", "norm", "bias", "lora:r=8", patterns over the names of initializers,
     * separated by commas, "!" before what is taken away ("decoder,!*.bias"). NULL (default): "all".
     */
    const char *params;
    /**
     * The loss: "ce", "bce", "dice", "jaccard", "focal", "lovasz", "mse", "l1", "huber" and others, weighted sums of
     * them ("ce+0.5*dice"). NULL (default): "ce".
     */
    const char *loss;
    /**
     * Weights of the classes.
     */
    const float *class_weights;
    /**
     * Their number. 0 (default): all 1.
     */
    size_t class_weights_len;
    /**
     * Label of pixels that do not count, where has_ignore_index is 1.
     */
    int64_t ignore_index;
    /**
     * 1: ignore_index counts. Default 0.
     */
    int32_t has_ignore_index;
    /**
     * Label smoothing from 0 (default) to below 1.
     */
    float label_smoothing;
    /**
     * Name of the output with the logits. NULL (default): the only one, or the first.
     */
    const char *output;
    /**
     * Name of an auxiliary output with logits. NULL (default): none.
     */
    const char *aux_output;
    /**
     * Weight of the auxiliary output's loss. Default 0.4.
     */
    float aux_weight;
    /**
     * μ of "sgd" and "rmsprop". Default 0.
     */
    float momentum;
    /**
     * "sgd", "adam", "amsgrad", "adamw", "rmsprop". NULL (default): "adamw".
     */
    const char *optimizer;
    /**
     * 1: Nesterov's form of SGD's momentum. Default 0.
     */
    int32_t nesterov;
    /**
     * β1 of the Adam family. Default 0.9.
     */
    float beta1;
    /**
     * β2 of the Adam family. Default 0.999.
     */
    float beta2;
    /**
     * α of "rmsprop". Default 0.99.
     */
    float alpha;
    /**
     * ε of the Adam family and "rmsprop". Default 1e-8.
     */
    float epsilon;
    /**
     * Weight decay. Below 0 (default): 0.01 for "adamw", else 0.
     */
    float weight_decay;
    /**
     * 0: scales and shifts of normalisation layers and biases are not decayed. Default 1, as in PyTorch.
     */
    int32_t decay_norm_and_bias;
    /**
     * Largest absolute value of a gradient's element. 0 (default): no limit.
     */
    float clip_value;
    /**
     * Largest Euclidean norm of all gradients together. 0 (default): no limit.
     */
    float clip_norm;
    /**
     * Decay of a moving average of the weights. 0 (default): no average.
     */
    float ema_decay;
    /**
     * Patterns over the names of initializers, each a group with rates of its own; the first that matches counts.
     */
    const char *const *group_patterns;
    /**
     * Factors of the learning rate, one a group.
     */
    const float *group_lr_multipliers;
    /**
     * Weight decays, one a group; below 0: the optimizer's. NULL (default): the optimizer's for all.
     */
    const float *group_weight_decays;
    /**
     * Number of groups. Default 0.
     */
    size_t groups_len;
    /**
     * 1: gradients come scaled by glebe_trainer_set_loss_scale, and updates by gradients that are not finite are
     * skipped. Default 0.
     */
    int32_t loss_scale;
    /**
     * 1: operators that give the same result in every run, where the provider has others. Default 0.
     */
    int32_t deterministic;
    /**
     * 1: standard operators and an update as a graph also on the processor. Default 0.
     */
    int32_t portable;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * Where the step runs: "cpu", "cuda:0". NULL (default): "cpu". Strict: there is no fallback.
     */
    const char *provider;
    /**
     * Names of options of the provider, as ONNX Runtime has them.
     */
    const char *const *provider_option_keys;
    /**
     * Their values.
     */
    const char *const *provider_option_values;
    /**
     * Number of names and of values. Default 0.
     */
    size_t provider_options_len;
    /**
     * Most bytes of the feature cache in memory: what the frozen part gives for an image is computed once.
     */
    uint64_t feature_memory;
    /**
     * Most bytes of the feature cache in a file. Both 0 (default): no cache.
     */
    uint64_t feature_file;
    /**
     * Folder of that file, which has no name and vanishes with the trainer. NULL (default): the system's temporary one.
     */
    const char *feature_folder;
    /**
     * Seed of the adapters' first values.
     */
    uint64_t seed;
    /**
     * Stops a running step when it is set. NULL (default): none.
     */
    const glebe_cancel_token *cancel;
} glebe_trainer_options;

/**
 * How a training goes. Fill it with glebe_fit_options_init, then set epochs, and change what else is wanted.
 *
 * Everything that pointers point to must stay as it is until glebe_trainer_set_fit_options returns; the library keeps
 * none of it.
 */
typedef struct {
    /**
     * sizeof(glebe_fit_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * What becomes of too few batches for an update at the end of an epoch: GLEBE_TAIL_*.
     */
    int32_t tail;
    /**
     * How many epochs there will be in all, those counted that are done. Must be set.
     */
    uint64_t epochs;
    /**
     * The learning rate, 0 or more: the largest of the schedule. Default 1e-4.
     */
    double learning_rate;
    /**
     * Batches of an update. Default 1.
     */
    uint64_t accumulate;
    /**
     * Validates after every so many epochs. Default 1.
     */
    uint64_t validate_every;
    /**
     * Decides the order of the data. Default 42.
     */
    uint64_t seed;
    /**
     * Which of several divisions of the data this is, added to the seed where there are more than one. Default -1.
     */
    int64_t split_index;
    /**
     * How many divisions of the data there are. 0 (default) or 1: no cross-validation.
     */
    uint64_t splits;
    /**
     * How the learning rate goes on from epoch to epoch: GLEBE_SCHEDULE_*.
     */
    int32_t schedule;
    /**
     * Which values of checkpoint_best are better: GLEBE_MODE_*.
     */
    int32_t checkpoint_mode;
    /**
     * Epochs at the beginning in which the rate rises evenly. 0 (default): none.
     */
    uint64_t schedule_warm_up;
    /**
     * The smallest rate, for GLEBE_SCHEDULE_POLYNOMIAL and GLEBE_SCHEDULE_COSINE. Default 0.
     */
    double schedule_least;
    /**
     * Above 0. Must be set, except for GLEBE_SCHEDULE_CONSTANT and GLEBE_SCHEDULE_COSINE.
     */
    double schedule_gamma;
    /**
     * Epochs of a step. Must be set for GLEBE_SCHEDULE_STEP.
     */
    uint64_t schedule_size;
    /**
     * Rising epochs above 0 after the warm-up, for GLEBE_SCHEDULE_MULTI_STEP.
     */
    const uint64_t *schedule_milestones;
    /**
     * Their number. Default 0.
     */
    size_t schedule_milestones_len;
    /**
     * Folder of the checkpoints, which is made where it is not there. NULL (default): there are none.
     */
    const char *checkpoint_folder;
    /**
     * Writes last.safetensors after every so many epochs, and after the last. Default 1.
     */
    uint64_t checkpoint_every;
    /**
     * How many of epoch-N.safetensors are kept beside it, the newest. Default 0.
     */
    uint64_t checkpoint_keep;
    /**
     * Metric that decides about best.safetensors: "val/Loss", for example. NULL (default): there is no best.
     */
    const char *checkpoint_best;
    /**
     * Names of the classes in the names of metrics, one for each of the model's. NULL (default): their numbers.
     */
    const char *const *class_names;
    /**
     * Their number. Default 0.
     */
    size_t class_names_len;
    /**
     * What is measured of predictions: GLEBE_SCORES_*.
     */
    int32_t scores;
    /**
     * 1: training batches are scored too, which costs a copy of their logits. Default 0.
     */
    int32_t score_training;
    /**
     * 1: goes back to the weights of best.safetensors when training has ended. Needs checkpoint_best. Default 0.
     */
    int32_t reload_best;
    /**
     * 1: evaluates with the moving averages of the weights. Needs ema_decay of glebe_trainer_options. Default 0.
     */
    int32_t evaluate_averages;
    /**
     * 1: goes on with a loss that is not finite. By default (0) it ends the run with GLEBE_STATUS_INVALID_STATE before
     * it spoils the weights.
     */
    int32_t allow_non_finite;
    /**
     * 0.
     */
    int32_t reserved;
    /**
     * Ends every epoch after so many training batches, for trials. 0 (default): it does not.
     */
    uint64_t limit_train_batches;
    /**
     * Ends the training after so many updates in all, those counted that are done; within an epoch where they come to
     * that, with its validation and checkpoints as after a whole one. 0 (default): it ends with the last epoch.
     */
    uint64_t max_steps;
} glebe_fit_options;

/**
 * Where a run stands. Initialise it with glebe_run_state_init; glebe_event_run_state and glebe_trainer_run_state fill it.
 */
typedef struct {
    /**
     * sizeof(glebe_run_state), set by the init function.
     */
    uint32_t struct_size;
    /**
     * What is being done: GLEBE_PHASE_*.
     */
    int32_t phase;
    /**
     * The epoch, from 1; 0 before the first.
     */
    uint64_t epoch;
    /**
     * How many epochs there will be.
     */
    uint64_t epochs;
    /**
     * The batch of the epoch or of the evaluation, from 1; 0 before the first.
     */
    uint64_t batch;
    /**
     * How many batches the epoch or the evaluation has; 0 before the first.
     */
    uint64_t batches;
    /**
     * Updates of the weights since the beginning, over all epochs.
     */
    uint64_t global_step;
    /**
     * Learning rate of the epoch or step.
     */
    double learning_rate;
    /**
     * Which part of the data glebe_trainer_infer is at: GLEBE_SPLIT_*.
     */
    int32_t split;
    /**
     * 1 where training ends after this epoch, else 0.
     */
    int32_t should_stop;
} glebe_run_state;

/**
 * What a finetuning is told: a configuration, which is what `glebe finetune --config` takes and every run writes as
 * config.toml, and settings over it. Fill it with glebe_finetuning_options_init, then set config, config_path or settings.
 *
 * The least that it takes is a model and training data: `model = "unet.onnx"` and, in the section data,
 * `train = "train.csv"`: a list of images and labels, or one pair `IMAGE;LABELS`. All keys, with their defaults, are in
 * docs/settings.md; one that there is not is an error that names the nearest.
 *
 * Everything that pointers point to must stay as it is until the function returns; the library keeps none of it, the
 * cancel token excepted.
 */
typedef struct {
    /**
     * sizeof(glebe_finetuning_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 1: goes on with what the folder of the run holds, where there is something: with the same settings, but for the
     * length of the training and what has no effect on its numbers. Default 0: the folder must be new or empty.
     */
    int32_t resume;
    /**
     * The configuration, in TOML. NULL (default): that of config_path, if any. Relative paths in it are relative to the
     * working directory.
     */
    const char *config;
    /**
     * A file with the configuration. NULL (default): none. Not together with config.
     */
    const char *config_path;
    /**
     * Settings of the form `section.key=value` over it, such as `training.steps=200`. A value that is no TOML is text:
     * `data.train=train.csv`.
     */
    const char *const *settings;
    /**
     * Their number. Default 0.
     */
    size_t settings_len;
    /**
     * Stops the run when it is set, also in the middle of a step; what its checkpoints hold can be gone on from. NULL
     * (default): none.
     */
    const glebe_cancel_token *cancel;
} glebe_finetuning_options;

/**
 * Number of batches of an epoch; asked when the epoch has begun.
 */
typedef size_t (*glebe_loader_batches_fn)(void *user_data);

/**
 * An epoch begins: the order of its batches may follow from `seed`, which is another in every epoch, and the same when
 * a run goes on from a checkpoint. A return value other than 0 ends the run, see glebe_loader_functions.
 */
typedef int32_t (*glebe_loader_begin_fn)(uint64_t seed, void *user_data);

/**
 * Batch `index` of the epoch, from 0. `batch` is initialised and empty: set its fields, of those within its struct_size.
 * The arrays must stay as they are until the next call of a function of this loader, or the end of the run. A return
 * value other than 0 ends the run, see glebe_loader_functions.
 */
typedef int32_t (*glebe_loader_batch_fn)(size_t index, glebe_batch *batch, void *user_data);

/**
 * How many images of batch `index` count, from 1 to N: the first ones; the others fill it up, and their pixels should be
 * masked. SIZE_MAX: all of them.
 */
typedef size_t (*glebe_loader_images_fn)(size_t index, void *user_data);

/**
 * The functions of a loader. Fill it with glebe_loader_functions_init, then set batches and batch.
 *
 * They are called on the thread that runs the trainer. A return value of begin or batch other than 0 ends the run: with
 * that status where it is one of GLEBE_STATUS_* above GLEBE_STATUS_INTERNAL, else with GLEBE_STATUS_CANCELLED; the
 * message names the function and the value. They may call functions of the library, but none of the trainer that runs
 * (GLEBE_STATUS_INVALID_STATE), and must free neither it nor the loader. They must return normally: no C++ exception and
 * no longjmp may leave them.
 */
typedef struct {
    /**
     * sizeof(glebe_loader_functions), set by the init function.
     */
    uint32_t struct_size;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * Number of batches. Must be set.
     */
    glebe_loader_batches_fn batches;
    /**
     * An epoch begins. NULL (default): the order is always the same.
     */
    glebe_loader_begin_fn begin;
    /**
     * A batch. Must be set.
     */
    glebe_loader_batch_fn batch;
    /**
     * Images of a batch that count. NULL (default): all of them.
     */
    glebe_loader_images_fn images;
    /**
     * Passed to the functions.
     */
    void *user_data;
    /**
     * Called once with user_data: when the loader is freed, or before glebe_loader_new_functions returns where it fails.
     * The only exception: a struct_size that no version has, with which nothing of the struct can be read. NULL
     * (default): nothing to release.
     */
    glebe_destroy_fn destroy;
} glebe_loader_functions;

/**
 * Told of one event: GLEBE_EVENT_*; be ready for numbers that this header does not know. What there is at the event is
 * asked of `context`, which is valid during the call only.
 *
 * The order of events, which later versions only add to:
 *
 *  fit       train_start | resume checkpoint_load
 *            for every epoch:  epoch_start
 *              for every batch:  batch_start forward_start backward_start backward_end
 *                                [optimizer_step_start optimizer_step_end] batch_end
 *              batches_end
 *              [validation_start
 *                for every batch:  batch_start evaluation_start metrics_start metrics_end batch_end
 *              evaluation_batches_end validation_end]
 *              epoch_metrics  checkpoint_save (for every checkpoint)  epoch_end
 *            train_end
 *  validate  validate_start, batches as in a validation, evaluation_batches_end, validate_end
 *  test      test_start, likewise, test_end
 *  predict   predict_start, for every batch: batch_start prediction_start prediction_end batch_end, predict_end
 *  infer     inference_start, for every split as in predict, inference_end
 *  exception wherever a run ends with an error
 *
 * Called on the thread that runs the trainer. A return value other than 0 ends the run: with that status where it is one
 * of GLEBE_STATUS_* above GLEBE_STATUS_INTERNAL, else with GLEBE_STATUS_CANCELLED; the message names the event and the
 * value, and all functions are told of GLEBE_EVENT_EXCEPTION, whose own return value counts for nothing.
 *
 * It may call functions of the library, but of the trainer that runs only those for names and shapes; the others give
 * GLEBE_STATUS_INVALID_STATE or zeros. It must not free what is in use. It must return normally: no C++ exception and no
 * longjmp may leave it.
 */
typedef int32_t (*glebe_event_fn)(int32_t event, glebe_event_context *context, void *user_data);

/**
 * Takes the logits of a batch, dense [N, K, H, W], of which the first `images` images count. They are valid during the
 * call. A return value other than 0 ends the run, as that of a glebe_event_fn does; what else is said there holds here
 * too.
 */
typedef int32_t (*glebe_logits_fn)(size_t batch,
                                   size_t images,
                                   const float *logits,
                                   size_t length,
                                   void *user_data);

/**
 * Which weights of a checkpoint are loaded. Fill it with glebe_load_options_init, then change what is wanted.
 */
typedef struct {
    /**
     * sizeof(glebe_load_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 1: tensors that are missing, too many or of another shape are left out; 0 (default): they are
     * GLEBE_STATUS_MISMATCH.
     */
    int32_t partial;
    /**
     * Only tensors whose names begin so, by what follows: "student.". NULL: all. The prefixes of wrappers ("model.",
     * "module.") need no mention.
     */
    const char *prefix;
    /**
     * Only tensors of these names, those in the model or in the checkpoint: patterns, separated by commas, with ! to
     * leave out: "!head.*". NULL: all.
     */
    const char *filter;
    /**
     * Key of the state dict in the file, where it is none of the usual ones: "model_ema". NULL: it is.
     */
    const char *key;
    /**
     * What BatchNorm adds to its variance, for those that the model's exporter folded: 1e-5, as in PyTorch.
     */
    double norm_epsilon;
} glebe_load_options;

/**
 * What an exported model says about the rasters that it wants, in its metadata, and how its weights are taken. Fill it
 * with glebe_export_options_init, then change what is wanted.
 *
 * What is not given stays as the model has it. A model that says what it wants needs no such option in
 * glebe_segment_options.
 */
typedef struct {
    /**
     * sizeof(glebe_export_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 1: replaces a file that is there. Default 0.
     */
    int32_t overwrite;
    /**
     * 1: takes the moving averages of a training of this library, not its weights. Default 0.
     */
    int32_t averages;
    /**
     * Width and height of a tile in pixels, up to 16384. 0 (default): as it is.
     */
    uint32_t tile;
    /**
     * The raster's bands (an array's channels), counted from 1, in the order of the model's channels.
     */
    const uint32_t *bands;
    /**
     * Their number. 0 (default): as they are.
     */
    size_t bands_len;
    /**
     * Divisors of the samples: the model is fed (x / scale - mean) / std. One value, or one a band.
     */
    const double *scale;
    /**
     * Their number. 0 (default): as they are.
     */
    size_t scale_len;
    /**
     * Means in scaled units. One value, or one a band.
     */
    const double *mean;
    /**
     * Their number. 0 (default): as they are.
     */
    size_t mean_len;
    /**
     * Standard deviations in scaled units. One value, or one a band.
     */
    const double *std;
    /**
     * Their number. 0 (default): as they are.
     */
    size_t std_len;
    /**
     * Names of the classes, in order; two for a model with one channel.
     */
    const char *const *class_names;
    /**
     * Their number. 0 (default): as they are.
     */
    size_t class_names_len;
    /**
     * The output with the classes. NULL (default): the first.
     */
    const char *output;
    /**
     * Alpha of adapters (lora), where the checkpoint holds any and does not say what they are scaled by. 0 (default): it
     * does.
     */
    double lora_alpha;
} glebe_export_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The short name of a status, for logs: "ok", "not-found", and "unknown" for a number that this version does not
 * know.
 *
 * @return a static string, never NULL.
 */
const char *glebe_status_name(glebe_status status);

/**
 * The version of the loaded library, such as "0.1.0"; GLEBE_VERSION is that of this header.
 *
 * @return a static string, never NULL.
 */
const char *glebe_version(void);

/**
 * The ABI version of the loaded library; GLEBE_ABI_VERSION is that of this header. Programs that load the library
 * with dlopen compare the two.
 */
uint32_t glebe_abi_version(void);

/**
 * What this build of the library is, as a JSON object: "version", "abi", "features" (list of names),
 * "oldest_onnxruntime", "gdal" (GDAL's version, null in a build without it).
 *
 * @return a static string, never NULL.
 */
const char *glebe_build_info(void);

/**
 * Frees the bytes and empties the struct, so that a second call does nothing. The struct itself is the caller's.
 *
 * @param buffer  nullable; one that is all zeros is let alone.
 */
void glebe_buffer_free(glebe_buffer *buffer);

/**
 * The status that the failed call returned; GLEBE_STATUS_OK for NULL.
 */
glebe_status glebe_error_code(const glebe_error *error);

/**
 * The whole text in one line: where (path, tile, band, tensor), what, and the causes.
 *
 * @return a string owned by the error; NULL for NULL.
 */
const char *glebe_error_message(const glebe_error *error);

/**
 * The file that the error is about.
 *
 * @return a string owned by the error; NULL where there is none.
 */
const char *glebe_error_path(const glebe_error *error);

/**
 * The tile where it happened, counted from 0 in the order of the job; -1 where there is none.
 */
int64_t glebe_error_tile(const glebe_error *error);

/**
 * The band that the error is about, counted from 1; -1 where there is none.
 */
int64_t glebe_error_band(const glebe_error *error);

/**
 * The model's tensor that the error is about.
 *
 * @return a string owned by the error; NULL where there is none.
 */
const char *glebe_error_tensor(const glebe_error *error);

/**
 * The number of causes: the chain of errors below this one.
 */
size_t glebe_error_cause_count(const glebe_error *error);

/**
 * The text of a cause, from 0, the nearest first. Unlike the message it may have several lines.
 *
 * @return a string owned by the error; NULL from glebe_error_cause_count on.
 */
const char *glebe_error_cause(const glebe_error *error, size_t index);

/**
 * Frees the error and all strings it gave.
 *
 * @param error  nullable.
 */
void glebe_error_free(glebe_error *error);

/**
 * Hands the messages of the library, of ONNX Runtime and of GDAL (inside calls of the library) to a function, for
 * the whole process. Without one they are dropped; nothing is ever written to stderr.
 *
 * A later call replaces the function. The user data of the one before is destroyed as soon as no thread is in it any
 * more: before this function returns, or at the end of the last call that is still at work in another thread.
 *
 * @param level      messages of this level and graver ones: GLEBE_LOG_*.
 * @param function   nullable: from now on messages are dropped.
 * @param user_data  nullable: passed to function.
 * @param destroy    nullable: called once with user_data, when function was replaced or could not be set.
 * @param error      nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an unknown level; GLEBE_STATUS_INVALID_STATE where the library is linked
 *         into a Rust program that has a log subscriber of its own.
 */
glebe_status glebe_log_set_callback(int32_t level,
                                    glebe_log_fn function,
                                    void *user_data,
                                    glebe_destroy_fn destroy,
                                    glebe_error **error);

/**
 * A token that is not set.
 *
 * @return a handle to free with glebe_cancel_token_free; never NULL.
 */
glebe_cancel_token *glebe_cancel_token_new(void);

/**
 * Asks the jobs that were given this token to stop: they return GLEBE_STATUS_CANCELLED, as a rule within the time
 * of one operator of the model, and leave no output.
 *
 * One atomic store: may be called from any thread and from a signal handler, before, during and after the jobs.
 */
void glebe_cancel_token_cancel(const glebe_cancel_token *token);

/**
 * Whether the token was set: 1 or 0. May be called from any thread.
 */
int32_t glebe_cancel_token_is_cancelled(const glebe_cancel_token *token);

/**
 * Frees the token. No call that was given it may still be running.
 *
 * @param token  nullable.
 */
void glebe_cancel_token_free(glebe_cancel_token *token);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_runtime_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_runtime_options_init(glebe_runtime_options *options,
                                        size_t size);

/**
 * Finds and loads ONNX Runtime; later calls give the one that is loaded.
 *
 * @param options  nullable: the defaults.
 * @param out      the handle, to free with glebe_runtime_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_RUNTIME_NOT_FOUND where no usable library is found (the text lists what was tried), or the
 *         one named cannot be used; GLEBE_STATUS_INVALID_STATE where another library than the one named is loaded
 *         already.
 */
glebe_status glebe_runtime_load(const glebe_runtime_options *options,
                                glebe_runtime **out,
                                glebe_error **error);

/**
 * ONNX Runtime's version, such as "1.31.1".
 *
 * @return a string owned by the handle; NULL for NULL.
 */
const char *glebe_runtime_version(const glebe_runtime *runtime);

/**
 * The library file that was loaded; a bare name where the system's search found it.
 *
 * @return a string owned by the handle; NULL for NULL.
 */
const char *glebe_runtime_library(const glebe_runtime *runtime);

/**
 * Why this library was taken: "option", "ORT_DYLIB_PATH", "beside glebe", "python environment" or "system".
 *
 * @return a string owned by the handle; NULL for NULL.
 */
const char *glebe_runtime_origin(const glebe_runtime *runtime);

/**
 * The execution providers, found out by trying each: a JSON list of objects with "name" ("cpu", "cuda",
 * "tensorrt"), "usable" (boolean) and "problem" (why it is not usable, else null).
 *
 * @param json   the text; free it with glebe_buffer_free.
 * @param error  nullable.
 */
glebe_status glebe_runtime_providers(const glebe_runtime *runtime,
                                     glebe_buffer *json,
                                     glebe_error **error);

/**
 * Frees the handle; models keep what they need. ONNX Runtime itself stays loaded.
 *
 * @param runtime  nullable.
 */
void glebe_runtime_free(glebe_runtime *runtime);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_model_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_model_options_init(glebe_model_options *options,
                                      size_t size);

/**
 * Reads and checks a model file. It must have one input [N, C, H, W] and an output [N, C, H, W] or [N, H, W], each
 * of float32 or float16. ONNX Runtime prepares it when the first job needs it.
 *
 * @param runtime  the runtime that it will run on; the model keeps what it needs of it.
 * @param path     the file.
 * @param options  nullable: the defaults.
 * @param out      the handle, to free with glebe_model_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_NOT_FOUND, GLEBE_STATUS_PERMISSION_DENIED, GLEBE_STATUS_IO; GLEBE_STATUS_MODEL_INVALID for a
 *         damaged file; GLEBE_STATUS_MODEL_UNSUPPORTED for a model that cannot score rasters;
 *         GLEBE_STATUS_LIMIT_EXCEEDED for one that asks for more than the limits allow.
 */
glebe_status glebe_model_open(const glebe_runtime *runtime,
                              const char *path,
                              const glebe_model_options *options,
                              glebe_model **out,
                              glebe_error **error);

/**
 * Checks a model that is in memory already. It cannot have weights in other files.
 *
 * @param runtime  the runtime that it will run on; the model keeps what it needs of it.
 * @param data     the bytes of the ONNX file; copied.
 * @param size     their number.
 * @param options  nullable: the defaults.
 * @param out      the handle, to free with glebe_model_free.
 * @param error    nullable.
 * @return as glebe_model_open; GLEBE_STATUS_OUT_OF_MEMORY.
 */
glebe_status glebe_model_open_bytes(const glebe_runtime *runtime,
                                    const uint8_t *data,
                                    size_t size,
                                    const glebe_model_options *options,
                                    glebe_model **out,
                                    glebe_error **error);

/**
 * What the model is and what it needs, as the JSON object that `glebe inspect --json` prints.
 *
 * @param json   the text; free it with glebe_buffer_free.
 * @param error  nullable.
 */
glebe_status glebe_model_inspect(const glebe_model *model, glebe_buffer *json, glebe_error **error);

/**
 * What a model file is and whether it can score rasters ("can_segment", "problem"): the same JSON object for any
 * sound ONNX file, without a runtime.
 *
 * @param path   the file.
 * @param json   the text; free it with glebe_buffer_free.
 * @param error  nullable.
 */
glebe_status glebe_inspect_file(const char *path,
                                glebe_buffer *json,
                                glebe_error **error);

/**
 * The file that the model came from.
 *
 * @return a string owned by the handle; NULL for a model from bytes.
 */
const char *glebe_model_path(const glebe_model *model);

/**
 * The name of the model's input.
 *
 * @return a string owned by the handle; NULL for NULL.
 */
const char *glebe_model_input_name(const glebe_model *model);

/**
 * The name of the output that is taken.
 *
 * @return a string owned by the handle; NULL for NULL.
 */
const char *glebe_model_output_name(const glebe_model *model);

/**
 * Channels of the input (bands of the raster); 0 where the model leaves them free.
 */
size_t glebe_model_input_channels(const glebe_model *model);

/**
 * Width of the tiles in pixels; 0 where the model leaves it free.
 */
size_t glebe_model_tile_width(const glebe_model *model);

/**
 * Height of the tiles in pixels; 0 where the model leaves it free.
 */
size_t glebe_model_tile_height(const glebe_model *model);

/**
 * Tiles a run; 0 where the model leaves them free.
 */
size_t glebe_model_batch(const glebe_model *model);

/**
 * The number of class names in the model's metadata; 0 where there are none.
 */
size_t glebe_model_class_name_count(const glebe_model *model);

/**
 * The name of a class, from 0, as the model's metadata has it.
 *
 * @return a string owned by the handle; NULL from glebe_model_class_name_count on.
 */
const char *glebe_model_class_name(const glebe_model *model, size_t index);

/**
 * Frees the model. No call that was given it may still be running.
 *
 * @param model  nullable.
 */
void glebe_model_free(glebe_model *model);

/**
 * Fills `image` with zeros and its size.
 *
 * @param image  the struct to fill.
 * @param size   sizeof(glebe_image).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_image_init(glebe_image *image,
                              size_t size);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_segment_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_segment_options_init(glebe_segment_options *options,
                                        size_t size);

/**
 * Type of the samples: GLEBE_DATA_TYPE_*.
 */
int32_t glebe_prediction_data_type(const glebe_prediction *prediction);

/**
 * Number of bands: one with class numbers, or one a class or channel.
 */
size_t glebe_prediction_bands(const glebe_prediction *prediction);

/**
 * Number of rows; other than the image's for models of another output scale.
 */
size_t glebe_prediction_height(const glebe_prediction *prediction);

/**
 * Number of columns; other than the image's for models of another output scale.
 */
size_t glebe_prediction_width(const glebe_prediction *prediction);

/**
 * The samples, dense [bands, height, width], the column fastest.
 *
 * @return memory owned by the prediction; NULL for NULL.
 */
const void *glebe_prediction_data(const glebe_prediction *prediction);

/**
 * Bytes of the samples.
 */
size_t glebe_prediction_size(const glebe_prediction *prediction);

/**
 * What marks invalid pixels in the samples; may be NaN. 0 for NULL.
 */
double glebe_prediction_nodata(const glebe_prediction *prediction);

/**
 * What was done, and how fast: the JSON object that `glebe segment --report` writes.
 *
 * @return a string owned by the prediction; NULL for NULL.
 */
const char *glebe_prediction_report(const glebe_prediction *prediction);

/**
 * Frees the prediction with its samples.
 *
 * @param prediction  nullable.
 */
void glebe_prediction_free(glebe_prediction *prediction);

/**
 * Scores a raster file and writes a GeoTIFF, which appears complete or not at all. It has the input's
 * georeferencing, and its size where the model's output is not at another scale.
 *
 * @param model    the model; other threads may use it at the same time.
 * @param input    the raster: a regular local file.
 * @param output   the file to write.
 * @param options  nullable: the defaults.
 * @param report   nullable: what was done, and how fast, as the JSON object that `glebe segment --report` writes;
 *                 free it with glebe_buffer_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an option that is wrong in itself;
 *         GLEBE_STATUS_ALREADY_EXISTS for an output without overwrite; GLEBE_STATUS_RASTER_INVALID,
 *         GLEBE_STATUS_RASTER_UNSUPPORTED; GLEBE_STATUS_MISMATCH where model, raster and options do not fit together;
 *         GLEBE_STATUS_PROVIDER_UNAVAILABLE; GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY;
 *         GLEBE_STATUS_RUNTIME; errors of files; GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL.
 */
glebe_status glebe_segment_file(const glebe_model *model,
                                const char *input,
                                const char *output,
                                const glebe_segment_options *options,
                                glebe_buffer *report,
                                glebe_error **error);

/**
 * Scores an image in memory. Nothing is read or written on disk.
 *
 * @param model    the model; other threads may use it at the same time.
 * @param image    the image.
 * @param options  nullable: the defaults. Those for files only are not looked at, except that they must be sound.
 * @param out      the result, to free with glebe_prediction_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an image or option that is wrong in itself;
 *         GLEBE_STATUS_MISMATCH where model, image and options do not fit together; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
 *         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
 */
glebe_status glebe_segment_array(const glebe_model *model,
                                 const glebe_image *image,
                                 const glebe_segment_options *options,
                                 glebe_prediction **out,
                                 glebe_error **error);

/**
 * Scores the middle of a raster (1536 x 1536 pixels at most) with two tilings, that of the options and another one, and
 * says how far the probabilities and the classes are apart. Nothing is written.
 *
 * @param model    the model; other threads may use it at the same time.
 * @param input    the raster: a regular local file.
 * @param options  nullable: the defaults. How it is scored; product, data_type and what is for output files are not looked
 *                 at, except that they must be sound. progress is not called.
 * @param json     the JSON object that `glebe inspect --seams --json` prints: `sample` (first column, first row, width,
 *                 height), `tilings` (two objects with `tile`, `overlap`, `blend`, `tiles`), `pixels`, `max_difference` and
 *                 `mean_difference` of probabilities, `disagreement`, the share of pixels with another class. Free it with
 *                 glebe_buffer_free.
 * @param error    nullable.
 * @return as glebe_segment_file gives for the model and the input.
 */
glebe_status glebe_model_seams(const glebe_model *model,
                               const char *input,
                               const glebe_segment_options *options,
                               glebe_buffer *json,
                               glebe_error **error);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_evaluate_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_evaluate_options_init(glebe_evaluate_options *options,
                                         size_t size);

/**
 * Scores labelled rasters as glebe_segment_file would with the same options, but compares the classes with the labels,
 * block by block, instead of writing them. Nothing is written.
 *
 * A pixel counts where its label counts and the image has data.
 *
 * @param model     the model; other threads may use it at the same time. Its output has the scale of its input.
 * @param data      the labelled images, each "IMAGE;LABELS" or a list: a file of lines image;labels or
 *                  raster,vector,split. Labels are rasters on the image's grid, or vector files (GeoPackage, GeoJSON,
 *                  Shapefile).
 * @param data_len  their number.
 * @param options   nullable: the defaults. Which images are taken, and how their labels become classes.
 * @param segment   nullable: the defaults. How they are scored; the product is classes, and what is for output files is not
 *                  looked at, except that it must be sound. cancel and progress are for all images together; progress says
 *                  which image is at work.
 * @param scores    counts and scores as the JSON object that `glebe evaluate --json` prints, the same bytes for the same
 *                  model, data and options: `images`, `pixels` (that count), `unlabelled` and `nodata` (that do not),
 *                  `mean_iou`, `mean_dice`, `iou_without_background`, `dice_without_background`, `accuracy`; `classes`, a
 *                  list of `class`, `name`, `iou`, `dice`, `precision`, `recall`, `labelled`, `predicted`, `hits`;
 *                  `matrix`, a list of rows, one a true class; `per_image`, a list of `image`, `labels`, `area`, `pixels`,
 *                  `unlabelled`, `nodata`, `mean_iou`, `mean_dice`, `accuracy`, `iou`, `matrix`. A score of nothing is
 *                  null. Free it with glebe_buffer_free.
 * @param report    nullable: the same object with times, as `glebe evaluate --report` writes it: `wall_s`, and in each
 *                  image's object `report` as of glebe_segment_file. Free it with glebe_buffer_free.
 * @param error     nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an option that is wrong in itself, a list that is none or has no line for the
 *         split, and where no pixel counts in any image; GLEBE_STATUS_MISMATCH where model, images, labels and options do
 *         not fit together, and for a label that is no class; GLEBE_STATUS_MODEL_UNSUPPORTED for a model whose output is at
 *         another scale than its input; GLEBE_STATUS_LIMIT_EXCEEDED for one of more than 1024 classes;
 *         GLEBE_STATUS_RASTER_INVALID, GLEBE_STATUS_RASTER_UNSUPPORTED, also for labels; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
 *         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; errors of files;
 *         GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL. What is wrong in a list is told with its line.
 */
glebe_status glebe_evaluate(const glebe_model *model,
                            const char *const *data,
                            size_t data_len,
                            const glebe_evaluate_options *options,
                            const glebe_segment_options *segment,
                            glebe_buffer *scores,
                            glebe_buffer *report,
                            glebe_error **error);

/**
 * Fills `batch` with the defaults: nothing.
 *
 * @param batch  the struct to fill.
 * @param size   sizeof(glebe_batch).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_batch_init(glebe_batch *batch,
                              size_t size);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_trainer_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_trainer_options_init(glebe_trainer_options *options,
                                        size_t size);

/**
 * Builds a training step; takes seconds.
 *
 * @param model    the model; may be freed afterwards.
 * @param options  what to train and how; batch, height and width must be set.
 * @param out      the trainer, to free with glebe_trainer_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an option out of range or a pattern that matches nothing;
 *         GLEBE_STATUS_MODEL_UNSUPPORTED naming the node that has no gradient; GLEBE_STATUS_MISMATCH for shapes that the
 *         model does not take; GLEBE_STATUS_NOT_SUPPORTED; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
 *         GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
 */
glebe_status glebe_trainer_new(const glebe_model *model,
                               const glebe_trainer_options *options,
                               glebe_trainer **out,
                               glebe_error **error);

/**
 * What training the model with these options would mean, without running anything: what is trained, which nodes the
 * gradient flows through, what stands in the way, the memory that it takes. A model that cannot be trained is no error
 * here: `problems` of the object says why.
 *
 * @param model    the model.
 * @param options  as for glebe_trainer_new.
 * @param json     the JSON object `training` of `glebe inspect --params --json`; free it with glebe_buffer_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an option out of range or a pattern that matches nothing;
 *         GLEBE_STATUS_MISMATCH for shapes that the model does not take; GLEBE_STATUS_MODEL_INVALID.
 */
glebe_status glebe_trainer_preflight(const glebe_model *model,
                                     const glebe_trainer_options *options,
                                     glebe_buffer *json,
                                     glebe_error **error);

/**
 * Frees the trainer. No call that was given it may still be running.
 *
 * @param trainer  nullable.
 */
void glebe_trainer_free(glebe_trainer *trainer);

/**
 * Loss and gradients of a batch, and the update of the weights.
 *
 * @param trainer        the trainer.
 * @param batch          images and labels.
 * @param learning_rate  0 or more.
 * @param loss           nullable: the loss before the update.
 * @param error          nullable.
 * @return GLEBE_STATUS_MISMATCH for arrays of wrong lengths; GLEBE_STATUS_INVALID_ARGUMENT for a label that is no class,
 *         saying where it stands; GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
 */
glebe_status glebe_trainer_step(glebe_trainer *trainer,
                                const glebe_batch *batch,
                                float learning_rate,
                                float *loss,
                                glebe_error **error);

/**
 * Loss and gradients of a batch; the gradients are added to those that wait for glebe_trainer_apply.
 *
 * @param trainer  the trainer.
 * @param batch    images and labels.
 * @param loss     nullable: the loss.
 * @param error    nullable.
 * @return as glebe_trainer_step.
 */
glebe_status glebe_trainer_accumulate(glebe_trainer *trainer,
                                      const glebe_batch *batch,
                                      float *loss,
                                      glebe_error **error);

/**
 * Updates the weights with the mean of the waiting gradients.
 *
 * @param trainer        the trainer.
 * @param learning_rate  0 or more.
 * @param skipped        nullable: 1 where the gradients were not finite and nothing was changed (with a loss scale only),
 *                       else 0.
 * @param norm           nullable: Euclidean norm of the gradients before clipping; NaN unless the optimizer clips by it
 *                       or has a loss scale.
 * @param error          nullable.
 * @return GLEBE_STATUS_INVALID_STATE where no gradients wait; GLEBE_STATUS_INVALID_ARGUMENT for the learning rate;
 *         GLEBE_STATUS_RUNTIME.
 */
glebe_status glebe_trainer_apply(glebe_trainer *trainer,
                                 float learning_rate,
                                 int32_t *skipped,
                                 float *norm,
                                 glebe_error **error);

/**
 * Forgets the waiting gradients.
 *
 * @param trainer  the trainer.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE while the trainer is in use.
 */
glebe_status glebe_trainer_discard(glebe_trainer *trainer, glebe_error **error);

/**
 * What the loss's gradient is multiplied with from the next batch on, and divided by before the update. Default 1.
 *
 * @param trainer  a trainer whose options had loss_scale 1.
 * @param scale    above 0.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for the scale; GLEBE_STATUS_INVALID_STATE without loss_scale, and while gradients
 *         wait.
 */
glebe_status glebe_trainer_set_loss_scale(glebe_trainer *trainer,
                                          float scale,
                                          glebe_error **error);

/**
 * Whether steps keep their logits for glebe_trainer_logits.
 *
 * @param trainer  the trainer.
 * @param wanted   1 or 0 (as it is at first).
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for another number.
 */
glebe_status glebe_trainer_want_logits(glebe_trainer *trainer, int32_t wanted, glebe_error **error);

/**
 * Copies the logits of the last step or glebe_trainer_accumulate, dense [N, K, H, W].
 *
 * @param trainer  the trainer.
 * @param logits   the memory to copy to.
 * @param length   number of values there: the product of glebe_trainer_logits_shape.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE unless they were wanted; GLEBE_STATUS_MISMATCH for another length.
 */
glebe_status glebe_trainer_logits(glebe_trainer *trainer,
                                  float *logits,
                                  size_t length,
                                  glebe_error **error);

/**
 * Shape [N, C, H, W] of the images.
 *
 * @param trainer  the trainer.
 * @param shape    nullable: the memory to copy up to `length` sizes to.
 * @param length   number of sizes there.
 * @return the number of sizes that there are: 4; 0 for NULL.
 */
size_t glebe_trainer_image_shape(const glebe_trainer *trainer, size_t *shape, size_t length);

/**
 * Shape [N, K, H, W] of the logits. Labels have [N, H, W] of it.
 *
 * @param trainer  the trainer.
 * @param shape    nullable: the memory to copy up to `length` sizes to.
 * @param length   number of sizes there.
 * @return the number of sizes that there are; 0 for NULL.
 */
size_t glebe_trainer_logits_shape(const glebe_trainer *trainer, size_t *shape, size_t length);

/**
 * Number of tensors that are trained, and of running statistics that steps update.
 */
size_t glebe_trainer_tensor_count(const glebe_trainer *trainer);

/**
 * Name of a tensor: of its initializer in the model.
 *
 * @return a string owned by the trainer; NULL from glebe_trainer_tensor_count on.
 */
const char *glebe_trainer_tensor_name(const glebe_trainer *trainer, size_t index);

/**
 * Shape of a tensor.
 *
 * @param trainer  the trainer.
 * @param index    its number, below glebe_trainer_tensor_count.
 * @param shape    nullable: the memory to copy up to `length` sizes to.
 * @param length   number of sizes there.
 * @return the number of sizes that there are; 0 for a scalar, for NULL, and from glebe_trainer_tensor_count on.
 */
size_t glebe_trainer_tensor_shape(const glebe_trainer *trainer,
                                  size_t index,
                                  size_t *shape,
                                  size_t length);

/**
 * Copies the elements of a tensor, dense in the order of its shape.
 *
 * @param trainer  the trainer.
 * @param kind     GLEBE_TENSOR_*.
 * @param name     its name.
 * @param values   the memory to copy to.
 * @param length   number of values there: the product of glebe_trainer_tensor_shape.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for a kind or name that there is not; GLEBE_STATUS_INVALID_STATE for gradients
 *         where none wait, and for averages without ema_decay; GLEBE_STATUS_MISMATCH for another length.
 */
glebe_status glebe_trainer_tensor(const glebe_trainer *trainer,
                                  int32_t kind,
                                  const char *name,
                                  float *values,
                                  size_t length,
                                  glebe_error **error);

/**
 * Number of updates so far.
 */
uint64_t glebe_trainer_updates(const glebe_trainer *trainer);

/**
 * Whether the feature cache keeps what the frozen part gives for the image with this key: 1 or 0. A batch whose keys are
 * all kept may come without images.
 */
int32_t glebe_trainer_has_features(const glebe_trainer *trainer,
                                   uint64_t key);

/**
 * All that steps change, as the bytes of a safetensors file: weights, statistics, the optimizer's state, averages, the
 * number of updates.
 *
 * @param trainer  the trainer.
 * @param out      the bytes; free them with glebe_buffer_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE while gradients wait; GLEBE_STATUS_RUNTIME.
 */
glebe_status glebe_trainer_state(const glebe_trainer *trainer,
                                 glebe_buffer *out,
                                 glebe_error **error);

/**
 * Goes on from a state of a trainer of the same model and options, bit by bit as that one would have. Waiting gradients
 * are forgotten.
 *
 * @param trainer  the trainer.
 * @param bytes    what glebe_trainer_state gave.
 * @param size     number of bytes.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for bytes that are no state; GLEBE_STATUS_MISMATCH for the state of another
 *         trainer.
 */
glebe_status glebe_trainer_set_state(glebe_trainer *trainer,
                                     const uint8_t *bytes,
                                     size_t size,
                                     glebe_error **error);

/**
 * Writes the finetuned model: the original file with the trained tensors' new elements and a note of what was trained in
 * its metadata. The file appears complete or not at all.
 *
 * @param trainer    the trainer.
 * @param path       the file to write.
 * @param averages   1: the moving averages in place of the weights; 0: the weights.
 * @param overwrite  1 replaces an existing file; 0: it is GLEBE_STATUS_ALREADY_EXISTS.
 * @param error      nullable.
 * @return GLEBE_STATUS_INVALID_STATE for averages without ema_decay; GLEBE_STATUS_LIMIT_EXCEEDED from 2 GiB on; errors of
 *         files.
 */
glebe_status glebe_trainer_export(const glebe_trainer *trainer,
                                  const char *path,
                                  int32_t averages,
                                  int32_t overwrite,
                                  glebe_error **error);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_fit_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_fit_options_init(glebe_fit_options *options,
                                    size_t size);

/**
 * Fills `state` with that of a run which has not begun.
 *
 * @param state  the struct to fill.
 * @param size   sizeof(glebe_run_state).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_run_state_init(glebe_run_state *state,
                                  size_t size);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_finetuning_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_finetuning_options_init(glebe_finetuning_options *options,
                                           size_t size);

/**
 * Fills `functions` with the defaults: none.
 *
 * @param functions  the struct to fill.
 * @param size       sizeof(glebe_loader_functions).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_loader_functions_init(glebe_loader_functions *functions,
                                         size_t size);

/**
 * A loader of the program's own.
 *
 * @param functions  its functions; copied.
 * @param out        the loader, to free with glebe_loader_free.
 * @param error      nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT where batches or batch is NULL.
 */
glebe_status glebe_loader_new_functions(const glebe_loader_functions *functions,
                                        glebe_loader **out,
                                        glebe_error **error);

/**
 * A loader of images and classes in memory, which are copied. The last batch is filled up with images of the first whose
 * pixels do not count, so that none is left out.
 *
 * @param trainer     the trainer whose batches these are: it tells the sizes of images and labels. It may be freed before
 *                    the loader.
 * @param images      [M, C, H, W], normalised as the model expects.
 * @param images_len  number of values: M * C * H * W.
 * @param labels      classes [M, H, W] in the size of the model's output.
 * @param labels_len  number of labels: M * H * W.
 * @param shuffled    1: in another order in every epoch, which the seed decides; 0: as they are.
 * @param out         the loader, to free with glebe_loader_free.
 * @param error       nullable.
 * @return GLEBE_STATUS_MISMATCH for arrays of wrong lengths; GLEBE_STATUS_OUT_OF_MEMORY.
 */
glebe_status glebe_loader_new_arrays(const glebe_trainer *trainer,
                                     const float *images,
                                     size_t images_len,
                                     const uint8_t *labels,
                                     size_t labels_len,
                                     int32_t shuffled,
                                     glebe_loader **out,
                                     glebe_error **error);

/**
 * A loader of labelled rasters, cut into batches window by window by threads that work ahead: for a trainer of one's own,
 * what glebe_finetuning_run with this configuration would train on, validate on or test.
 *
 * Of the configuration the sections `data`, `labels`, `sampling`, `augmentation` and `run` count, and of `training` the
 * seed, and steps, epochs and accumulation as far as they say how many samples an epoch has. Its model, and `resume` and
 * `cancel` of the options, do not.
 *
 * @param trainer  the trainer whose batches these are: it tells the sizes of images and labels and the classes, and its
 *                 model the bands and the normalisation where the configuration does not. It may be freed before the
 *                 loader.
 * @param options  where the data are and what becomes of them.
 * @param split    which part: GLEBE_SPLIT_TRAIN, _VAL or _TEST.
 * @param out      the loader, to free with glebe_loader_free.
 * @param error    nullable.
 * @return as glebe_finetuning_new; GLEBE_STATUS_INVALID_ARGUMENT for a part that the configuration does not have.
 */
glebe_status glebe_loader_new_rasters(const glebe_trainer *trainer,
                                      const glebe_finetuning_options *options,
                                      int32_t split,
                                      glebe_loader **out,
                                      glebe_error **error);

/**
 * Frees the loader. No run that was given it may still be at work.
 *
 * @param loader  nullable.
 */
void glebe_loader_free(glebe_loader *loader);

/**
 * The number of metrics.
 */
size_t glebe_metrics_count(const glebe_metrics *metrics);

/**
 * The name of a metric, from 0.
 *
 * @return a string owned by the metrics; NULL from glebe_metrics_count on.
 */
const char *glebe_metrics_name(const glebe_metrics *metrics, size_t index);

/**
 * The value of a metric, from 0; NaN from glebe_metrics_count on, and for NULL.
 */
double glebe_metrics_value(const glebe_metrics *metrics, size_t index);

/**
 * The value of the metric with this name.
 *
 * @param metrics  the metrics.
 * @param name     its name: "Loss".
 * @param value    the value.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT, saying which there are, for a name that is none.
 */
glebe_status glebe_metrics_get(const glebe_metrics *metrics,
                               const char *name,
                               double *value,
                               glebe_error **error);

/**
 * Frees the metrics and all strings they gave.
 *
 * @param metrics  nullable.
 */
void glebe_metrics_free(glebe_metrics *metrics);

/**
 * The name of an event: "train_start" for GLEBE_EVENT_TRAIN_START, and "unknown" for a number that this version does
 * not know.
 *
 * @return a static string, never NULL.
 */
const char *glebe_event_name(int32_t event);

/**
 * Lets a function be told of all events of the trainer's runs from now on, of GLEBE_EVENT_TRAINER_INIT at once. Several
 * are called in the order in which they were added.
 *
 * What a function has to remember when a run goes on in another process is not kept in checkpoints: keep it beside them,
 * at GLEBE_EVENT_CHECKPOINT_SAVE and GLEBE_EVENT_CHECKPOINT_LOAD.
 *
 * @param trainer    the trainer.
 * @param function   the function.
 * @param user_data  nullable: passed to function.
 * @param destroy    nullable: called once with user_data, when the trainer is freed, or before this function returns where
 *                   it fails.
 * @param error      nullable.
 * @return GLEBE_STATUS_INVALID_STATE while the trainer is in use; what the function returned for
 *         GLEBE_EVENT_TRAINER_INIT. It is not added then.
 */
glebe_status glebe_trainer_add_events(glebe_trainer *trainer,
                                      glebe_event_fn function,
                                      void *user_data,
                                      glebe_destroy_fn destroy,
                                      glebe_error **error);

/**
 * Where the run stands.
 *
 * @param context  the event's.
 * @param state    the struct to fill, initialised by glebe_run_state_init.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE after the event.
 */
glebe_status glebe_event_run_state(const glebe_event_context *context,
                                   glebe_run_state *state,
                                   glebe_error **error);

/**
 * The message of the checkpoint that was loaded last: "Loading checkpoint that was created at (epoch = 2, global_step =
 * 4)".
 *
 * @return a string that is valid during the event; NULL where none was loaded.
 */
const char *glebe_event_checkpoint_message(const glebe_event_context *context);

/**
 * The loss of the batch, from GLEBE_EVENT_BACKWARD_START or GLEBE_EVENT_METRICS_START to GLEBE_EVENT_BATCH_END.
 *
 * @param context  the event's.
 * @param loss     the loss.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE at other events, and after the event.
 */
glebe_status glebe_event_loss(const glebe_event_context *context,
                              double *loss,
                              glebe_error **error);

/**
 * Number of metrics: of the batch at GLEBE_EVENT_METRICS_END, of training at GLEBE_EVENT_BATCHES_END, of an evaluation
 * from GLEBE_EVENT_EVALUATION_BATCHES_END on, of the epoch from GLEBE_EVENT_EPOCH_METRICS on.
 */
size_t glebe_event_metric_count(const glebe_event_context *context);

/**
 * The name of a metric, from 0.
 *
 * @return a string that is valid during the event; NULL from glebe_event_metric_count on.
 */
const char *glebe_event_metric_name(const glebe_event_context *context, size_t index);

/**
 * The value of a metric, from 0; NaN from glebe_event_metric_count on, and for NULL.
 */
double glebe_event_metric_value(const glebe_event_context *context, size_t index);

/**
 * The value of the metric with this name.
 *
 * @param context  the event's.
 * @param name     its name: "Loss", "val/Loss".
 * @param value    the value.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT, saying which there are, for a name that is none; GLEBE_STATUS_INVALID_STATE
 *         after the event.
 */
glebe_status glebe_event_metric(const glebe_event_context *context,
                                const char *name,
                                double *value,
                                glebe_error **error);

/**
 * Adds a number to the metrics of the epoch or evaluation that is going on. What is logged with batches is averaged over
 * their images. Metrics of training get "train/" before their name, those of a validation "val/".
 *
 * @param context  the event's.
 * @param name     its name; a suffix behind one slash tells variants of a metric apart: "Dice/water".
 * @param value    the number.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for a name with two slashes; GLEBE_STATUS_INVALID_STATE at events that belong to
 *         no epoch or evaluation, behind GLEBE_EVENT_BATCHES_END and GLEBE_EVENT_EVALUATION_BATCHES_END, and after the
 *         event.
 */
glebe_status glebe_event_log(glebe_event_context *context,
                             const char *name,
                             double value,
                             glebe_error **error);

/**
 * The status of the error that ends the run, at GLEBE_EVENT_EXCEPTION; else GLEBE_STATUS_OK.
 */
glebe_status glebe_event_error_code(const glebe_event_context *context);

/**
 * The text of the error that ends the run, at GLEBE_EVENT_EXCEPTION: one line, as glebe_error_message gives it.
 *
 * @return a string that is valid during the event; NULL where there is none.
 */
const char *glebe_event_error_message(const glebe_event_context *context);

/**
 * Lets the training end after this epoch.
 *
 * @param context  the event's.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE after the event.
 */
glebe_status glebe_event_request_stop(glebe_event_context *context, glebe_error **error);

/**
 * At GLEBE_EVENT_OPTIMIZER_STEP_START: the gradients are forgotten, and the weights stay as they are.
 *
 * @param context  the event's.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE at other events, and after the event.
 */
glebe_status glebe_event_veto(glebe_event_context *context,
                              glebe_error **error);

/**
 * Sets the learning rate of the rest of the epoch; the next one has its own by the schedule.
 *
 * @param context        the event's.
 * @param learning_rate  0 or more.
 * @param error          nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for the learning rate; GLEBE_STATUS_INVALID_STATE after the event.
 */
glebe_status glebe_event_set_learning_rate(glebe_event_context *context,
                                           double learning_rate,
                                           glebe_error **error);

/**
 * Whether training batches give their logits from the next on, which costs a copy; as glebe_trainer_want_logits.
 *
 * @param context  the event's.
 * @param wanted   1 or 0 (as it is at first).
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for another number; GLEBE_STATUS_INVALID_STATE at GLEBE_EVENT_EXCEPTION, and
 *         after the event.
 */
glebe_status glebe_event_want_logits(glebe_event_context *context,
                                     int32_t wanted,
                                     glebe_error **error);

/**
 * The batch at hand as the loader gave it, from GLEBE_EVENT_BATCH_START to GLEBE_EVENT_BATCH_END. Its arrays are valid
 * during the event, and to be read only.
 *
 * @param context  the event's.
 * @param batch    the struct to fill, initialised by glebe_batch_init.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE at other events, and after the event.
 */
glebe_status glebe_event_batch(const glebe_event_context *context,
                               glebe_batch *batch,
                               glebe_error **error);

/**
 * How many images of the batch at hand count: the first ones; the others fill it up. 0 where there is no batch.
 */
size_t glebe_event_images(const glebe_event_context *context);

/**
 * The logits of the batch at hand, dense [N, K, H, W]: in evaluations and predictions always, in training where they were
 * wanted, see glebe_event_want_logits.
 *
 * @param context  the event's.
 * @param logits   the logits, valid during the event.
 * @param length   their number.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE where there are none, and after the event.
 */
glebe_status glebe_event_logits(const glebe_event_context *context,
                                const float **logits,
                                size_t *length,
                                glebe_error **error);

/**
 * What the pixels of the batch at hand are, as the loss sees them: classes [N, H, W], 0 where a pixel does not count, and
 * a mask [N, H, W], 0 where it does not, else 1. From GLEBE_EVENT_BACKWARD_START or GLEBE_EVENT_METRICS_START to
 * GLEBE_EVENT_BATCH_END.
 *
 * @param context  the event's.
 * @param classes  the classes, valid during the event.
 * @param mask     the mask, valid during the event.
 * @param length   number of values of each.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE at other events, for a regression, and after the event.
 */
glebe_status glebe_event_truth(const glebe_event_context *context,
                               const int64_t **classes,
                               const float **mask,
                               size_t *length,
                               glebe_error **error);

/**
 * Shape [N, C, H, W] of the images.
 *
 * @param context  the event's.
 * @param shape    nullable: the memory to copy up to `length` sizes to.
 * @param length   number of sizes there.
 * @return the number of sizes that there are: 4; 0 for NULL.
 */
size_t glebe_event_image_shape(const glebe_event_context *context, size_t *shape, size_t length);

/**
 * Shape [N, K, H, W] of the logits.
 *
 * @param context  the event's.
 * @param shape    nullable: the memory to copy up to `length` sizes to.
 * @param length   number of sizes there.
 * @return the number of sizes that there are; 0 for NULL.
 */
size_t glebe_event_logits_shape(const glebe_event_context *context, size_t *shape, size_t length);

/**
 * Number of tensors that are trained, and of running statistics, as glebe_trainer_tensor_count gives it.
 */
size_t glebe_event_tensor_count(const glebe_event_context *context);

/**
 * Name of a tensor: of its initializer in the model.
 *
 * @return a string that is valid during the event; NULL from glebe_event_tensor_count on.
 */
const char *glebe_event_tensor_name(const glebe_event_context *context, size_t index);

/**
 * Shape of a tensor.
 *
 * @param context  the event's.
 * @param index    its number, below glebe_event_tensor_count.
 * @param shape    nullable: the memory to copy up to `length` sizes to.
 * @param length   number of sizes there.
 * @return the number of sizes that there are; 0 for a scalar, for NULL, and from glebe_event_tensor_count on.
 */
size_t glebe_event_tensor_shape(const glebe_event_context *context,
                                size_t index,
                                size_t *shape,
                                size_t length);

/**
 * Copies the elements of a tensor, dense in the order of its shape: of a weight as it is now, or of the mean of its
 * waiting gradients, from GLEBE_EVENT_BACKWARD_START to the update.
 *
 * @param context  the event's.
 * @param kind     GLEBE_TENSOR_WEIGHT or GLEBE_TENSOR_GRADIENT.
 * @param name     its name.
 * @param values   the memory to copy to.
 * @param length   number of values there: the product of glebe_event_tensor_shape.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for a kind or name that there is not; GLEBE_STATUS_INVALID_STATE for gradients
 *         where none wait, and after the event; GLEBE_STATUS_MISMATCH for another length.
 */
glebe_status glebe_event_tensor(const glebe_event_context *context,
                                int32_t kind,
                                const char *name,
                                float *values,
                                size_t length,
                                glebe_error **error);

/**
 * Says how the training goes: for glebe_trainer_fit and all that follows it. May be called again between runs: for more
 * epochs, for example. Nothing has changed where it fails.
 *
 * @param trainer  the trainer.
 * @param options  how; epochs must be set.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for an option out of range; GLEBE_STATUS_NOT_SUPPORTED for checkpoints together
 *         with GLEBE_TAIL_CARRY and more than one batch an update; GLEBE_STATUS_MISMATCH for another seed than that of the checkpoint that the next fit goes
 *         on from; GLEBE_STATUS_IO for a folder that cannot be made; GLEBE_STATUS_INVALID_STATE while the trainer is in
 *         use.
 */
glebe_status glebe_trainer_set_fit_options(glebe_trainer *trainer,
                                           const glebe_fit_options *options,
                                           glebe_error **error);

/**
 * Trains for the epochs that are left, and validates in between where there are data for it. The weights are those of the
 * last update, also after an error; glebe_trainer_export writes them.
 *
 * After an error within an epoch the trainer can do all but go on with the fit: that needs a checkpoint
 * (glebe_trainer_resume, glebe_trainer_resume_newest).
 *
 * @param trainer     the trainer.
 * @param train       the batches to train on.
 * @param validation  nullable: the batches to validate on; not `train`.
 * @param error       nullable.
 * @return GLEBE_STATUS_INVALID_STATE without glebe_trainer_set_fit_options, where the fit before was interrupted within an
 *         epoch and none is resumed, and where trainer or loader are in use; as glebe_trainer_step; errors of files for
 *         checkpoints; what a function of a loader or an event returned.
 */
glebe_status glebe_trainer_fit(glebe_trainer *trainer,
                               glebe_loader *train,
                               glebe_loader *validation,
                               glebe_error **error);

/**
 * Validates, without training.
 *
 * @param trainer  the trainer.
 * @param data     the batches.
 * @param metrics  nullable: the metrics, to free with glebe_metrics_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE where trainer or loader are in use; as glebe_trainer_step; what a function of a
 *         loader or an event returned.
 */
glebe_status glebe_trainer_validate(glebe_trainer *trainer,
                                    glebe_loader *data,
                                    glebe_metrics **metrics,
                                    glebe_error **error);

/**
 * Tests: as glebe_trainer_validate, with the events of a test.
 *
 * @param trainer  the trainer.
 * @param data     the batches.
 * @param metrics  nullable: the metrics, to free with glebe_metrics_free.
 * @param error    nullable.
 * @return as glebe_trainer_validate.
 */
glebe_status glebe_trainer_test(glebe_trainer *trainer,
                                glebe_loader *data,
                                glebe_metrics **metrics,
                                glebe_error **error);

/**
 * Predicts: the logits of every batch.
 *
 * @param trainer    the trainer.
 * @param data       the batches; of the labels only their number counts.
 * @param function   nullable: takes the logits. (Event functions have them at GLEBE_EVENT_PREDICTION_END.)
 * @param user_data  nullable: passed to function.
 * @param destroy    nullable: called once with user_data before this function returns.
 * @param error      nullable.
 * @return as glebe_trainer_validate; what `function` returned.
 */
glebe_status glebe_trainer_predict(glebe_trainer *trainer,
                                   glebe_loader *data,
                                   glebe_logits_fn function,
                                   void *user_data,
                                   glebe_destroy_fn destroy,
                                   glebe_error **error);

/**
 * Predicts over parts of the data, in the order given, between GLEBE_EVENT_INFERENCE_START and
 * GLEBE_EVENT_INFERENCE_END; event functions take the logits.
 *
 * @param trainer  the trainer.
 * @param splits   which parts they are: GLEBE_SPLIT_TRAIN, _VAL or _TEST.
 * @param loaders  the batches of each; each loader once.
 * @param length   number of parts.
 * @param error    nullable.
 * @return as glebe_trainer_validate; GLEBE_STATUS_INVALID_ARGUMENT for a split that there is not.
 */
glebe_status glebe_trainer_infer(glebe_trainer *trainer,
                                 const int32_t *splits,
                                 glebe_loader *const *loaders,
                                 size_t length,
                                 glebe_error **error);

/**
 * Lets the next glebe_trainer_fit go on from a checkpoint: with the same options, data and event functions, bit by bit as
 * if it had never stopped.
 *
 * @param trainer  the trainer.
 * @param path     a checkpoint of a fit, or of glebe_trainer_save_checkpoint.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE without glebe_trainer_set_fit_options; GLEBE_STATUS_NOT_FOUND;
 *         GLEBE_STATUS_INVALID_ARGUMENT for a file that is no checkpoint; GLEBE_STATUS_NOT_SUPPORTED for one of a later
 *         version; GLEBE_STATUS_MISMATCH for one of another model, seed or set of trained tensors.
 */
glebe_status glebe_trainer_resume(glebe_trainer *trainer,
                                  const char *path,
                                  glebe_error **error);

/**
 * As glebe_trainer_resume, from the newest checkpoint of the folder of the options that can be read. The log tells of
 * those that cannot.
 *
 * @param trainer  the trainer.
 * @param found    nullable: 1 where there is one, else 0; the next fit begins anew then.
 * @param error    nullable.
 * @return as glebe_trainer_resume; GLEBE_STATUS_INVALID_STATE where the options have no checkpoint_folder.
 */
glebe_status glebe_trainer_resume_newest(glebe_trainer *trainer,
                                         int32_t *found,
                                         glebe_error **error);

/**
 * Writes where the training stands, at the end of an epoch, to go on from with glebe_trainer_resume. The file appears
 * complete or not at all, in the place of one that is there.
 *
 * @param trainer  the trainer.
 * @param path     the file to write.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE without glebe_trainer_set_fit_options, within an epoch (as an error has left it) and
 *         while gradients wait; errors of files.
 */
glebe_status glebe_trainer_save_checkpoint(glebe_trainer *trainer,
                                           const char *path,
                                           glebe_error **error);

/**
 * Where the runs of the trainer stand. Event functions ask glebe_event_run_state.
 *
 * @param trainer  the trainer.
 * @param state    the struct to fill, initialised by glebe_run_state_init.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE while the trainer is in use.
 */
glebe_status glebe_trainer_run_state(const glebe_trainer *trainer,
                                     glebe_run_state *state,
                                     glebe_error **error);

/**
 * The message of the checkpoint that was loaded last: "Loading checkpoint that was created at (epoch = 2, global_step =
 * 4)". Event functions ask glebe_event_checkpoint_message.
 *
 * @param trainer  the trainer.
 * @param message  the text, empty where none was loaded; free it with glebe_buffer_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_STATE while the trainer is in use.
 */
glebe_status glebe_trainer_checkpoint_message(const glebe_trainer *trainer,
                                              glebe_buffer *message,
                                              glebe_error **error);

/**
 * As glebe_trainer_fit; then the weights of best.safetensors come back, where checkpoint_best says which those are, and the
 * test data are tested. The log tells the numbers of samples before, and warns where there are no test data.
 *
 * @param trainer     the trainer.
 * @param train       the batches to train on.
 * @param validation  nullable: the batches to validate on.
 * @param test        nullable: the batches to test on. No loader may be given twice.
 * @param metrics     nullable: those of the test, to free with glebe_metrics_free; NULL without test data.
 * @param error       nullable.
 * @return as glebe_trainer_fit and glebe_trainer_test.
 */
glebe_status glebe_trainer_fit_and_test(glebe_trainer *trainer,
                                        glebe_loader *train,
                                        glebe_loader *validation,
                                        glebe_loader *test,
                                        glebe_metrics **metrics,
                                        glebe_error **error);

/**
 * Predicts all images and gives metrics as delira does: means over virtual batches, whatever the trainer's batch size; the
 * last one is as small as what is left. glebe_trainer_test scores all images at once, which is what a result should go by.
 * Event functions have the logits at GLEBE_EVENT_PREDICTION_END.
 *
 * @param trainer        the trainer.
 * @param data           the batches.
 * @param virtual_batch  images of a virtual batch, 1 or more.
 * @param metrics        the metrics, to free with glebe_metrics_free.
 * @param error          nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for a virtual batch of 0; as glebe_trainer_predict.
 */
glebe_status glebe_trainer_predict_all(glebe_trainer *trainer,
                                       glebe_loader *data,
                                       size_t virtual_batch,
                                       glebe_metrics **metrics,
                                       glebe_error **error);

/**
 * Adds the callbacks that write files of the runs to come into a folder; it is made where it is not there.
 *
 * @param trainer  the trainer; its options, whose class names and index of the split they take, are set before.
 * @param folder   the folder.
 * @param outputs  which files: GLEBE_OUTPUT_*, added up.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for no file or one that there is not; GLEBE_STATUS_INVALID_STATE without
 *         glebe_trainer_set_fit_options.
 */
glebe_status glebe_trainer_add_outputs(glebe_trainer *trainer,
                                       const char *folder,
                                       uint32_t outputs,
                                       glebe_error **error);

/**
 * Ends the training when a metric of the validation has not become better for a while, or is not finite. Several may be
 * added: who wants to stop, stops.
 *
 * @param trainer    the trainer.
 * @param metric     its name in the validation: "Loss", "MeanIoU".
 * @param mode       which values are better: GLEBE_MODE_*.
 * @param patience   how many validations in a row without a better value are borne.
 * @param min_delta  by how much a value must be better, 0 or more.
 * @param error      nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT. A metric that there is not ends the run at its first validation.
 */
glebe_status glebe_trainer_add_early_stopping(glebe_trainer *trainer,
                                              const char *metric,
                                              int32_t mode,
                                              uint64_t patience,
                                              double min_delta,
                                              glebe_error **error);

/**
 * Lowers the learning rate when a metric of the validation has not become better for a while: PyTorch's
 * ReduceLROnPlateau with a relative threshold of 1e-4.
 *
 * @param trainer   the trainer.
 * @param metric    its name in the validation: "Loss", "MeanIoU".
 * @param mode      which values are better: GLEBE_MODE_*.
 * @param factor    what the rate is multiplied with, above 0 and below 1.
 * @param patience  how many validations in a row without a better value are borne.
 * @param least     the smallest rate, 0 or more.
 * @param error     nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT. A metric that there is not ends the run at its first validation.
 */
glebe_status glebe_trainer_add_plateau(glebe_trainer *trainer,
                                       const char *metric,
                                       int32_t mode,
                                       double factor,
                                       uint64_t patience,
                                       double least,
                                       glebe_error **error);

/**
 * Lets the learning rate rise and fall once over all updates: PyTorch's OneCycleLR with its defaults, without a cycle of
 * the momentum. It takes the place of the schedule.
 *
 * @param trainer  the trainer.
 * @param most     the largest rate, above 0.
 * @param total    number of updates, 1 or more; behind the last the rate stays.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT.
 */
glebe_status glebe_trainer_add_one_cycle(glebe_trainer *trainer,
                                         double most,
                                         uint64_t total,
                                         glebe_error **error);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_load_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_load_options_init(glebe_load_options *options,
                                     size_t size);

/**
 * What a checkpoint holds, as the JSON object that `glebe inspect CHECKPOINT --json` prints: names and shapes of its
 * tensors, where it comes from, and `message`, the line that is logged when it is loaded. Lightning's .ckpt, .pth,
 * .pth.tar, safetensors and the library's own files are read; nothing in them is run.
 *
 * @param path   the file.
 * @param json   the text; free it with glebe_buffer_free.
 * @param error  nullable.
 * @return GLEBE_STATUS_NOT_FOUND, GLEBE_STATUS_PERMISSION_DENIED, GLEBE_STATUS_IO; GLEBE_STATUS_INVALID_ARGUMENT for a
 *         file that is damaged or no checkpoint; GLEBE_STATUS_NOT_SUPPORTED; GLEBE_STATUS_LIMIT_EXCEEDED.
 */
glebe_status glebe_checkpoint_inspect(const char *path,
                                      glebe_buffer *json,
                                      glebe_error **error);

/**
 * Takes over the weights of a checkpoint that another program or an earlier run has written, trained and frozen ones. The
 * optimizer begins anew, updates count from 0. Callbacks hear of it before the weights change. On failure the weights stay
 * as they were.
 *
 * The trainer is built anew, which takes as long as glebe_trainer_new.
 *
 * @param trainer  the trainer.
 * @param path     the file.
 * @param options  nullable: the defaults.
 * @param report   nullable: a JSON object with `message`, the line that says where the checkpoint comes from (empty where
 *                 it does not say), and `report`: `loaded`, `missing`, `unexpected`, `misshaped` with all names; free it
 *                 with glebe_buffer_free.
 * @param error    nullable.
 * @return as glebe_checkpoint_inspect; GLEBE_STATUS_MISMATCH where tensors are missing, too many or of another shape
 *         (unless partial), where nothing fits, and for a BatchNorm that is neither in the model nor can be folded;
 *         GLEBE_STATUS_INVALID_STATE while gradients wait; a callback's.
 */
glebe_status glebe_trainer_load_checkpoint(glebe_trainer *trainer,
                                           const char *path,
                                           const glebe_load_options *options,
                                           glebe_buffer *report,
                                           glebe_error **error);

/**
 * Fills `options` with the defaults.
 *
 * @param options  the struct to fill.
 * @param size     sizeof(glebe_export_options).
 * @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
 *         zeros.
 */
glebe_status glebe_export_options_init(glebe_export_options *options,
                                       size_t size);

/**
 * Writes a model with the weights of a checkpoint, and with what the options say in its metadata; everything else of the
 * file stays byte for byte. No runtime is needed. Of a training of this library (last.safetensors, best.safetensors) what
 * it did not train is the model's own, and adapters are merged; the model is then the file that it began from.
 *
 * The file appears as a whole or not at all.
 *
 * @param model       the model's file.
 * @param checkpoint  nullable: the weights. Without them the options alone are written.
 * @param path        the file to write, which is none of those that are read.
 * @param load        nullable: the defaults. Which weights of the checkpoint are taken.
 * @param options     nullable: the defaults.
 * @param report      nullable: a JSON object with `message`, the line that says where the checkpoint comes from (empty
 *                    where it does not say), `report` as of glebe_trainer_load_checkpoint (null without a checkpoint),
 *                    `merged`, the weights that an adapter is merged into, and `metadata`, what was written; free it with
 *                    glebe_buffer_free.
 * @param error       nullable.
 * @return GLEBE_STATUS_ALREADY_EXISTS for a file that is there, unless overwrite; as glebe_checkpoint_inspect and the
 *         opening of a model; GLEBE_STATUS_MISMATCH where tensors are missing, too many or of another shape (unless
 *         partial), for a training of another model, and where what is to be written does not fit the model;
 *         GLEBE_STATUS_INVALID_ARGUMENT where input and output are one file, and where there is nothing to do.
 */
glebe_status glebe_export(const char *model,
                          const char *checkpoint,
                          const char *path,
                          const glebe_load_options *load,
                          const glebe_export_options *options,
                          glebe_buffer *report,
                          glebe_error **error);

/**
 * Reads the configuration, opens the model, looks through lists, images and labels and builds the training step, which
 * takes seconds. Writes nothing.
 *
 * @param runtime  ONNX Runtime; may be freed afterwards.
 * @param options  what it is told: a model and training data at least.
 * @param out      the finetuning, to free with glebe_finetuning_free.
 * @param error    nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for a setting that is wrong in itself, with its key, or the nearest key to one that
 *         there is not; GLEBE_STATUS_NOT_FOUND; GLEBE_STATUS_MODEL_INVALID; GLEBE_STATUS_MODEL_UNSUPPORTED with what stands
 *         in the way of training; GLEBE_STATUS_RASTER_INVALID, GLEBE_STATUS_RASTER_UNSUPPORTED, with the list and the line;
 *         GLEBE_STATUS_MISMATCH where model, images and labels do not fit together; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
 *         GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL.
 */
glebe_status glebe_finetuning_new(const glebe_runtime *runtime,
                                  const glebe_finetuning_options *options,
                                  glebe_finetuning **out,
                                  glebe_error **error);

/**
 * What was found: a JSON object with
 *
 *  out        the folder of the run
 *  data       for train, val and test (null where there are none): images, windows, how many of these are left out and
 *             why, the samples of an epoch, the pixels of each class
 *  preflight  what is trained at what cost, as glebe_trainer_preflight tells it
 *  length     epochs, and steps of each
 *  init       the line that says where the checkpoint to start from comes from, and the report of its loading; null
 *             without one
 *
 * @param finetuning  the finetuning, also one that is being run or has been.
 * @param json        the text; free it with glebe_buffer_free.
 * @param error       nullable.
 */
glebe_status glebe_finetuning_found(const glebe_finetuning *finetuning,
                                    glebe_buffer *json,
                                    glebe_error **error);

/**
 * Lets a function be told of all events of the run: of GLEBE_EVENT_TRAINER_INIT when that begins, then of those of the
 * training and of the test behind it. Several are called in the order in which they were added, behind those that write
 * the files of the run.
 *
 * @param finetuning  the finetuning.
 * @param function    the function. Its value ends the run unless it is 0; GLEBE_STATUS_CANCELLED, for example.
 * @param user_data   nullable: passed to function.
 * @param destroy     nullable: called once with user_data: when the run has ended, when a finetuning that was not run is
 *                    freed, or before this function returns where it fails.
 * @param error       nullable.
 * @return GLEBE_STATUS_INVALID_STATE for a finetuning that is being run or has been.
 */
glebe_status glebe_finetuning_add_events(glebe_finetuning *finetuning,
                                         glebe_event_fn function,
                                         void *user_data,
                                         glebe_destroy_fn destroy,
                                         glebe_error **error);

/**
 * Trains, goes back to the best weights, tests them where there are test data, writes the model into the folder of the
 * run, and scores it on the whole images of validation and test data. The folder is made now.
 *
 * The metrics that decide about the best weights and about stopping early must be ones that the run measures, or that a
 * function logs at its events; where no function was added, that is known before the run begins.
 *
 * A finetuning runs once, whatever comes of it. After an error checkpoints and files stay as the last complete epoch left
 * them; a new finetuning with `resume` goes on from them.
 *
 * @param finetuning  the finetuning.
 * @param report      nullable: what was done, as the JSON object that `glebe finetune --report` writes: `out` and `model`
 *                    are paths; free it with glebe_buffer_free.
 * @param error       nullable.
 * @return GLEBE_STATUS_INVALID_ARGUMENT for a metric that there is not; GLEBE_STATUS_ALREADY_EXISTS for a folder with something in it; GLEBE_STATUS_MISMATCH for one with a run of other
 *         settings; GLEBE_STATUS_INVALID_STATE where it has been run, and for a loss that is not finite;
 *         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; errors of files; what an event function
 *         returned.
 */
glebe_status glebe_finetuning_run(glebe_finetuning *finetuning,
                                  glebe_buffer *report,
                                  glebe_error **error);

/**
 * Frees the finetuning. No call that was given it may still be running.
 *
 * @param finetuning  nullable.
 */
void glebe_finetuning_free(glebe_finetuning *finetuning);

/**
 * Finetunes in one call: glebe_finetuning_new and glebe_finetuning_run.
 *
 * @param runtime  ONNX Runtime.
 * @param options  what it is told: a model and training data at least.
 * @param report   nullable: what was done, as glebe_finetuning_run gives it; free it with glebe_buffer_free.
 * @param error    nullable.
 * @return as these two.
 */
glebe_status glebe_finetune(const glebe_runtime *runtime,
                            const glebe_finetuning_options *options,
                            glebe_buffer *report,
                            glebe_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GLEBE_H */
