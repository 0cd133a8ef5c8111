/* Finetunings from beginning to end, and loaders of rasters for a trainer of one's own. */
#include "check.h"

enum { SETTINGS = 12, WEIGHTS = 6, EVENTS = 40 };

/* Windows of 16 x 16 in batches of 2: the 12 of the raster are 6 batches. */
static const char *const CONFIG = "[data]\n"
                                  "scale = 255\n"
                                  "[training]\n"
                                  "batch = 2\n"
                                  "size = 16\n"
                                  "epochs = 2\n"
                                  "learning_rate = 0.05\n"
                                  "[run]\n"
                                  "threads = 1\n"
                                  "loader_threads = 1\n";

static glebe_runtime *runtime;

/* Settings in the memory of one test. */
typedef struct {
    char texts[SETTINGS][2048];
    const char *pointers[SETTINGS];
    glebe_finetuning_options options;
} given;

static void set(given *own, const char *text)
{
    size_t index = own->options.settings_len++;
    CHECK(index < SETTINGS);
    snprintf(own->texts[index], sizeof own->texts[0], "%s", text);
    own->pointers[index] = own->texts[index];
    own->options.settings = own->pointers;
}

/* `data.val` of `IMAGE;LABELS` */
static void set_pair(given *own, const char *key, const char *image, const char *labels)
{
    char text[2048];
    snprintf(text, sizeof text, "%s=%s;%s", key, file(image), file(labels));
    set(own, text);
}

static void set_file(given *own, const char *key, const char *name)
{
    char text[2048];
    snprintf(text, sizeof text, "%s=%s", key, file(name));
    set(own, text);
}

/* A whole configuration that writes into `out`. */
static void start(given *own, const char *out)
{
    memset(own, 0, sizeof *own);
    CHECK(glebe_finetuning_options_init(&own->options, sizeof own->options) == GLEBE_STATUS_OK);
    CHECK(own->options.struct_size == sizeof own->options && own->options.resume == 0);
    CHECK(own->options.config == NULL && own->options.config_path == NULL && own->options.cancel == NULL);
    own->options.config = CONFIG;
    set_file(own, "model", "batches.onnx");
    set_file(own, "out", out);
    set_pair(own, "data.train", "in.tif", "labels.tif");
}

static int says(const glebe_buffer *json, const char *text)
{
    CHECK(json->data != NULL && json->data[json->size] == 0);
    return strstr((const char *)json->data, text) != NULL;
}

/* What an event function saw, and what it is to do. */
typedef struct {
    size_t counts[EVENTS];
    double losses[8];
    size_t losses_count;
    uint64_t acts_in; /* epoch; 0: none */
    const glebe_cancel_token *token;
    int32_t code;
    int32_t code_at_first;
    glebe_finetuning *running;
    int destroyed;
} watcher;

static int32_t watch(int32_t event, glebe_event_context *context, void *user_data)
{
    watcher *own = user_data;
    CHECK(event > 0 && event < EVENTS && own->destroyed == 0);
    own->counts[event]++;
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_event_run_state(context, &state, &error));
    if (event == GLEBE_EVENT_TRAINER_INIT)
        return own->code_at_first;
    if (event == GLEBE_EVENT_EPOCH_END) {
        CHECK(own->losses_count < 8);
        OK(glebe_event_metric(context, "train/Loss", &own->losses[own->losses_count++], &error));
    }
    if (event == GLEBE_EVENT_TRAIN_START && own->running != NULL) {
        glebe_buffer json = {NULL, 0};
        OK(glebe_finetuning_found(own->running, &json, &error));
        glebe_buffer_free(&json);
        FAILS(GLEBE_STATUS_INVALID_STATE, "in use", glebe_finetuning_run(own->running, &json, &error));
        FAILS(GLEBE_STATUS_INVALID_STATE, "in use",
              glebe_finetuning_add_events(own->running, watch, NULL, NULL, &error));
        /* The step's shapes and tensors are those of the model. */
        size_t shape[4];
        CHECK(glebe_event_logits_shape(context, shape, 4) == 4 && shape[0] == 2 && shape[1] == 2 && shape[2] == 16);
    }
    if (event == GLEBE_EVENT_BATCH_START && state.phase == GLEBE_PHASE_TRAIN && state.epoch == own->acts_in) {
        glebe_cancel_token_cancel(own->token);
        return own->code;
    }
    return 0;
}

static void destroy(void *user_data)
{
    ((watcher *)user_data)->destroyed++;
}

static glebe_finetuning *made(const given *own)
{
    glebe_finetuning *finetuning = NULL;
    OK(glebe_finetuning_new(runtime, &own->options, &finetuning, &error));
    CHECK(finetuning != NULL);
    return finetuning;
}

static void a_whole_run(void)
{
    given own;
    start(&own, "whole");
    set_pair(&own, "data.val", "in.tif", "labels.tif");
    set_pair(&own, "data.test", "in.tif", "labels.tif");
    glebe_finetuning *finetuning = made(&own);

    /* what was found; nothing is written yet */
    glebe_buffer json = {NULL, 0};
    OK(glebe_finetuning_found(finetuning, &json, &error));
    CHECK(says(&json, "\"data\"") && says(&json, "\"train\"") && says(&json, "\"windows\": 12"));
    CHECK(says(&json, "\"samples\": 12") && says(&json, "\"images\": 1") && says(&json, "\"class_pixels\""));
    CHECK(says(&json, "\"epochs\": 2") && says(&json, "\"steps\": 6") && says(&json, "\"init\": null"));
    CHECK(says(&json, "\"preflight\"") && says(&json, "\"trained_elements\": 6"));
    glebe_buffer_free(&json);
    CHECK(!exists(file("whole")));

    watcher seen = {0};
    seen.running = finetuning;
    OK(glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    CHECK(seen.counts[GLEBE_EVENT_TRAINER_INIT] == 0);
    OK(glebe_finetuning_run(finetuning, &json, &error));
    CHECK(seen.destroyed == 1);
    CHECK(seen.counts[GLEBE_EVENT_TRAINER_INIT] == 1 && seen.counts[GLEBE_EVENT_TRAIN_START] == 1);
    CHECK(seen.counts[GLEBE_EVENT_EPOCH_START] == 2 && seen.counts[GLEBE_EVENT_EPOCH_END] == 2);
    CHECK(seen.counts[GLEBE_EVENT_BACKWARD_END] == 12 && seen.counts[GLEBE_EVENT_OPTIMIZER_STEP_END] == 12);
    CHECK(seen.counts[GLEBE_EVENT_VALIDATION_END] == 2 && seen.counts[GLEBE_EVENT_TRAIN_END] == 1);
    CHECK(seen.counts[GLEBE_EVENT_TEST_START] == 1 && seen.counts[GLEBE_EVENT_TEST_END] == 1);
    /* 6 batches in two trainings, two validations and a test */
    CHECK(seen.counts[GLEBE_EVENT_BATCH_END] == 30 && seen.counts[GLEBE_EVENT_EXCEPTION] == 0);
    CHECK(seen.losses_count == 2 && seen.losses[1] < seen.losses[0]);

    CHECK(says(&json, "\"model\"") && says(&json, "whole/model.onnx") && says(&json, "\"steps\": 12"));
    CHECK(says(&json, "\"epochs\": 2") && says(&json, "\"val/Loss\"") && says(&json, "\"MeanIoU\""));
    CHECK(says(&json, "\"maps\"") && says(&json, "Loading checkpoint that was created at (epoch = "));
    CHECK(exists(file("whole/model.onnx")) && exists(file("whole/config.toml")));
    CHECK(exists(file("whole/Train/epoch_metrics.csv")) && exists(file("whole/curves.svg")));
    CHECK(exists(file("whole/checkpoints/best.safetensors")));
    /* capi.rs compares the report's scores with the map's; the model says itself what it wants of a raster. */
    FILE *report = fopen(file("report.json"), "wb");
    CHECK(report != NULL && fwrite(json.data, 1, json.size, report) == json.size && fclose(report) == 0);
    glebe_buffer_free(&json);
    glebe_model *tuned = open_model(runtime, "whole/model.onnx");
    OK(glebe_segment_file(tuned, file("in.tif"), file("map.tif"), NULL, NULL, &error));
    glebe_model_free(tuned);

    /* it runs once, and tells what it found at any time */
    FAILS(GLEBE_STATUS_INVALID_STATE, "has been run", glebe_finetuning_run(finetuning, &json, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "has been run",
          glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    CHECK(seen.destroyed == 2 && json.data == NULL);
    OK(glebe_finetuning_found(finetuning, &json, &error));
    glebe_buffer_free(&json);
    glebe_finetuning_free(finetuning);
    CHECK(seen.destroyed == 2);

    /* the folder is taken now */
    FAILS(GLEBE_STATUS_ALREADY_EXISTS, "not empty", glebe_finetune(runtime, &own.options, &json, &error));
    CHECK(json.data == NULL);
}

/* The same in one call, from a file, with a checkpoint to start from. */
static void one_call(void)
{
    given own;
    start(&own, "single");
    FILE *text = fopen(file("config.toml"), "wb");
    CHECK(text != NULL && fputs(CONFIG, text) >= 0 && fclose(text) == 0);
    char path[1024];
    snprintf(path, sizeof path, "%s", file("config.toml"));
    own.options.config_path = path;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "config and config_path",
          glebe_finetune(runtime, &own.options, NULL, &error));
    own.options.config = NULL;
    set(&own, "training.steps=3");
    set_file(&own, "init.checkpoint", "weights.safetensors");
    glebe_buffer json = {NULL, 0};
    OK(glebe_finetune(runtime, &own.options, &json, &error));
    CHECK(says(&json, "\"steps\": 3") && says(&json, "\"test\": null"));
    CHECK(says(&json, "Loading checkpoint that was created at (epoch = 2, global_step = 4)"));
    glebe_buffer_free(&json);
    CHECK(exists(file("single/model.onnx")));
}

/* Cancelled within the second epoch by a token, and gone on with; ended by what the function returns. */
static void runs_that_are_interrupted(void)
{
    given own;
    start(&own, "cancelled");
    glebe_cancel_token *token = glebe_cancel_token_new();
    own.options.cancel = token;
    glebe_finetuning *finetuning = made(&own);
    watcher seen = {0};
    seen.acts_in = 2;
    seen.token = token;
    OK(glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    glebe_buffer json = {NULL, 0};
    FAILS(GLEBE_STATUS_CANCELLED, "cancelled", glebe_finetuning_run(finetuning, &json, &error));
    CHECK(json.data == NULL && seen.destroyed == 1 && seen.counts[GLEBE_EVENT_EXCEPTION] == 1);
    CHECK(seen.counts[GLEBE_EVENT_EPOCH_END] == 1 && seen.counts[GLEBE_EVENT_TRAIN_END] == 0);
    FAILS(GLEBE_STATUS_INVALID_STATE, "has been run", glebe_finetuning_run(finetuning, &json, &error));
    glebe_finetuning_free(finetuning);
    CHECK(!exists(file("cancelled/model.onnx")) && exists(file("cancelled/checkpoints/last.safetensors")));
    glebe_cancel_token_free(token);

    /* on with the second epoch */
    own.options.cancel = NULL;
    own.options.resume = 1;
    finetuning = made(&own);
    memset(&seen, 0, sizeof seen);
    OK(glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    OK(glebe_finetuning_run(finetuning, &json, &error));
    CHECK(seen.counts[GLEBE_EVENT_RESUME] == 1 && seen.counts[GLEBE_EVENT_EPOCH_END] == 1);
    CHECK(says(&json, "\"steps\": 12") && exists(file("cancelled/model.onnx")));
    glebe_buffer_free(&json);
    glebe_finetuning_free(finetuning);
    set(&own, "training.learning_rate=0.5");
    FAILS(GLEBE_STATUS_MISMATCH, "training.learning_rate", glebe_finetune(runtime, &own.options, &json, &error));

    start(&own, "ended");
    finetuning = made(&own);
    memset(&seen, 0, sizeof seen);
    seen.acts_in = 1;
    seen.code = GLEBE_STATUS_LIMIT_EXCEEDED;
    OK(glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    FAILS(GLEBE_STATUS_LIMIT_EXCEEDED, "batch_start", glebe_finetuning_run(finetuning, NULL, &error));
    CHECK(seen.destroyed == 1 && !exists(file("ended/model.onnx")));
    glebe_finetuning_free(finetuning);

    /* ended before it begins: not even the folder is made */
    start(&own, "unbegun");
    finetuning = made(&own);
    memset(&seen, 0, sizeof seen);
    seen.code_at_first = GLEBE_STATUS_NOT_SUPPORTED;
    OK(glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    FAILS(GLEBE_STATUS_NOT_SUPPORTED, "trainer_init", glebe_finetuning_run(finetuning, NULL, &error));
    CHECK(seen.destroyed == 1 && !exists(file("unbegun")));
    glebe_finetuning_free(finetuning);

    /* one that never runs releases what it was given */
    start(&own, "never");
    finetuning = made(&own);
    memset(&seen, 0, sizeof seen);
    OK(glebe_finetuning_add_events(finetuning, watch, &seen, destroy, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "function is NULL",
          glebe_finetuning_add_events(finetuning, NULL, &seen, destroy, &error));
    CHECK(seen.destroyed == 1);
    seen.destroyed = 0;
    glebe_finetuning_free(finetuning);
    CHECK(seen.destroyed == 1 && !exists(file("never")));
}

static void what_is_refused(void)
{
    glebe_finetuning *finetuning = NULL;
    given own;
#define REFUSED(kind, text, change)                                                                        \
    do {                                                                                                   \
        start(&own, "refused");                                                                            \
        change;                                                                                            \
        FAILS(kind, text, glebe_finetuning_new(runtime, &own.options, &finetuning, &error));               \
        CHECK(finetuning == NULL && !exists(file("refused")));                                             \
    } while (0)
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "did you mean \"learning_rate\"?",
            own.options.config = "[training]\nlearning_rat = 1\n");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "did you mean \"steps\"?", set(&own, "training.step=3"));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "section.key=value", set(&own, "training.steps"));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "line 1", own.options.config = "training = \n");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "model: expected an ONNX model", set(&own, "model="));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "data.train: expected at least one list", set(&own, "data.train=[]"));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "training.epochs", set(&own, "training.epochs=\"ten\""));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "validation data", set(&own, "early_stopping.patience=2"));
    REFUSED(GLEBE_STATUS_NOT_FOUND, "none.csv", set_file(&own, "data.train", "none.csv"));
    REFUSED(GLEBE_STATUS_NOT_FOUND, "none.tif", set_pair(&own, "data.train", "none.tif", "labels.tif"));
    REFUSED(GLEBE_STATUS_NOT_FOUND, "none.onnx", set_file(&own, "model", "none.onnx"));
    REFUSED(GLEBE_STATUS_MODEL_INVALID, "damaged.onnx", set_file(&own, "model", "damaged.onnx"));
    REFUSED(GLEBE_STATUS_MISMATCH, "wrong.tif", set_pair(&own, "data.train", "in.tif", "wrong.tif"));
    REFUSED(GLEBE_STATUS_MISMATCH, "3 bands", set_pair(&own, "data.train", "two.tif", "labels.tif"));
    REFUSED(GLEBE_STATUS_NOT_FOUND, "none.toml", own.options.config = NULL;
            own.options.config_path = file("none.toml"));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "config is not UTF-8", own.options.config = "model = \"\xff\"");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "settings is NULL", own.options.settings = NULL);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "settings[1] is NULL", own.pointers[1] = NULL);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "resume is 2", own.options.resume = 2);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size is 0", own.options.struct_size = 0);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "glebe_finetuning_options_init", own.options.struct_size = 44);

    start(&own, "refused");
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "runtime is NULL", glebe_finetune(NULL, &own.options, NULL, &error));
    set_pair(&own, "data.val", "in.tif", "labels.tif");
    set(&own, "training.best=val/MeanIo");
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "val/MeanIoU", glebe_finetune(runtime, &own.options, NULL, &error));
    glebe_finetuning *unmeasured = made(&own);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "val/MeanIoU", glebe_finetuning_run(unmeasured, NULL, &error));
    glebe_finetuning_free(unmeasured);
    set(&own, "training.step=3");
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "did you mean", glebe_finetune(runtime, &own.options, NULL, &error));
    CHECK(!exists(file("refused")));

    /* later versions' options must be zeros */
    struct {
        glebe_finetuning_options options;
        uint64_t later;
    } longer;
    CHECK(glebe_finetuning_options_init(&longer.options, sizeof longer) == GLEBE_STATUS_OK);
    CHECK(longer.options.struct_size == sizeof longer && longer.later == 0);
    longer.later = 1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "does not know",
          glebe_finetuning_new(runtime, &longer.options, &finetuning, &error));
    CHECK(glebe_finetuning_options_init(&longer.options, 40) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_finetuning_options_init(NULL, sizeof longer) == GLEBE_STATUS_INVALID_ARGUMENT);
    glebe_finetuning_free(NULL);
}

static glebe_trainer *new_trainer(const char *name)
{
    glebe_model *model = open_model(runtime, name);
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.batch = 2;
    options.height = options.width = 16;
    options.threads = 1;
    glebe_trainer *trainer = NULL;
    OK(glebe_trainer_new(model, &options, &trainer, &error));
    glebe_model_free(model);
    return trainer;
}

static void weights_of(glebe_trainer *trainer, float *weights)
{
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_WEIGHT, "weights", weights, WEIGHTS, &error));
}

/* A trainer of one's own with the same batches comes to the same weights, bit by bit. */
static void loaders_of_rasters(void)
{
    given own;
    start(&own, "divided");
    set(&own, "data.val_fraction=0.25");
    set(&own, "training.best=last");
    set(&own, "outputs.maps=false");
    OK(glebe_finetune(runtime, &own.options, NULL, &error));
    float expected[WEIGHTS], found[WEIGHTS];
    glebe_trainer *trainer = new_trainer("divided/model.onnx");
    weights_of(trainer, expected);
    glebe_trainer_free(trainer);

    trainer = new_trainer("batches.onnx");
    weights_of(trainer, found);
    CHECK(memcmp(expected, found, sizeof found) != 0);
    glebe_fit_options fit;
    CHECK(glebe_fit_options_init(&fit, sizeof fit) == GLEBE_STATUS_OK);
    fit.epochs = 2;
    fit.learning_rate = 0.05;
    OK(glebe_trainer_set_fit_options(trainer, &fit, &error));
    glebe_loader *train = NULL, *validation = NULL, *test = NULL;
    OK(glebe_loader_new_rasters(trainer, &own.options, GLEBE_SPLIT_TRAIN, &train, &error));
    OK(glebe_loader_new_rasters(trainer, &own.options, GLEBE_SPLIT_VAL, &validation, &error));
    OK(glebe_trainer_fit(trainer, train, validation, &error));
    weights_of(trainer, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    /* A quarter of 12 blocks is for validation. */
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_trainer_run_state(trainer, &state, &error));
    CHECK(state.global_step == 2 * 5);

    /* what is refused */
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "data.test: expected at least one list",
          glebe_loader_new_rasters(trainer, &own.options, GLEBE_SPLIT_TEST, &test, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "split is 0",
          glebe_loader_new_rasters(trainer, &own.options, GLEBE_SPLIT_NONE, &test, &error));
    set_pair(&own, "data.test", "two.tif", "labels.tif");
    FAILS(GLEBE_STATUS_MISMATCH, "3 bands",
          glebe_loader_new_rasters(trainer, &own.options, GLEBE_SPLIT_TEST, &test, &error));
    set_pair(&own, "data.val", "in.tif", "labels.tif");
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "expected one of them, got both",
          glebe_loader_new_rasters(trainer, &own.options, GLEBE_SPLIT_VAL, &test, &error));
    CHECK(test == NULL);
    glebe_loader_free(train);
    glebe_loader_free(validation);
    glebe_trainer_free(trainer);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    runtime = load();
    a_whole_run();
    one_call();
    runs_that_are_interrupted();
    what_is_refused();
    loaders_of_rasters();
    glebe_runtime_free(runtime);
    CHECK(error == NULL);
    return 0;
}
