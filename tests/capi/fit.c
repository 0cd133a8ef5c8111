/* Runs of a trainer: the order of events, what functions may ask and do there, checkpoints, loaders, what is refused. */
#include <math.h>

#include "check.h"

enum { N = 2, SIDE = 4, PLANE = SIDE * SIDE, IMAGES = N * BANDS * PLANE, LABELS = N * PLANE, LOGITS = N * 2 * PLANE };
enum { BATCHES = 3, WEIGHTS = 6, MANY = 512 };

static glebe_model *model;
/* Two batches for training, one for validation. */
static float images[BATCHES * IMAGES];
static unsigned char labels[BATCHES * LABELS];

static void make_up(void)
{
    for (size_t i = 0; i < BATCHES * IMAGES; i++)
        images[i] = (float)((i * 37) % 23) / 23.0f - 0.5f;
    for (size_t i = 0; i < BATCHES * LABELS; i++)
        labels[i] = (unsigned char)(i % 3 == 0);
}

static glebe_trainer *new_trainer(void)
{
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.batch = N;
    options.height = options.width = SIDE;
    options.threads = 1;
    glebe_trainer *trainer = NULL;
    OK(glebe_trainer_new(model, &options, &trainer, &error));
    return trainer;
}

static glebe_fit_options fit_options(uint64_t epochs)
{
    glebe_fit_options options;
    CHECK(glebe_fit_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    CHECK(options.struct_size == sizeof options && options.seed == 42 && options.split_index == -1);
    options.epochs = epochs;
    options.learning_rate = 1e-2;
    return options;
}

static glebe_trainer *fit_trainer(uint64_t epochs)
{
    glebe_trainer *trainer = new_trainer();
    glebe_fit_options options = fit_options(epochs);
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    return trainer;
}

static glebe_loader *arrays(glebe_trainer *trainer, size_t first, size_t count, int32_t shuffled)
{
    glebe_loader *loader = NULL;
    OK(glebe_loader_new_arrays(trainer, images + first * IMAGES, count * IMAGES, labels + first * LABELS,
                               count * LABELS, shuffled, &loader, &error));
    return loader;
}

static glebe_run_state state_of(glebe_trainer *trainer)
{
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_trainer_run_state(trainer, &state, &error));
    return state;
}

static void weights_of(glebe_trainer *trainer, float *weights)
{
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_WEIGHT, "weights", weights, WEIGHTS, &error));
}

/* What an event function is to do, and what became of it. */
typedef struct {
    glebe_trainer *trainer;
    int32_t log[MANY];
    size_t count;
    int32_t fails_at; /* 0: nowhere */
    int32_t code;
    int vetoes;
    uint64_t stops_in; /* epoch; 0: none */
    double losses[MANY];
    size_t losses_count;
    char last_error[512];
    glebe_status last_code;
    int destroyed;
    glebe_event_context *kept;
} watcher;

static int32_t watch(int32_t event, glebe_event_context *context, void *user_data)
{
    watcher *own = user_data;
    CHECK(own->destroyed == 0 && own->count < MANY);
    own->log[own->count++] = event;
    own->kept = context;
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_event_run_state(context, &state, &error));
    if (event == GLEBE_EVENT_EXCEPTION) {
        own->last_code = glebe_event_error_code(context);
        snprintf(own->last_error, sizeof own->last_error, "%s", glebe_event_error_message(context));
    } else {
        CHECK(glebe_event_error_message(context) == NULL && glebe_event_error_code(context) == GLEBE_STATUS_OK);
    }
    if (event == GLEBE_EVENT_BATCH_END && state.phase == GLEBE_PHASE_TRAIN)
        OK(glebe_event_loss(context, &own->losses[own->losses_count++], &error));
    if (event == GLEBE_EVENT_OPTIMIZER_STEP_START && own->vetoes)
        OK(glebe_event_veto(context, &error));
    if (event == GLEBE_EVENT_EPOCH_START && state.epoch == own->stops_in)
        OK(glebe_event_request_stop(context, &error));
    return event == own->fails_at ? own->code : 0;
}

static void destroy(void *user_data)
{
    ((watcher *)user_data)->destroyed++;
}

static glebe_trainer *watched(watcher *own, uint64_t epochs)
{
    own->trainer = fit_trainer(epochs);
    OK(glebe_trainer_add_events(own->trainer, watch, own, destroy, &error));
    return own->trainer;
}

static glebe_status fit(glebe_trainer *trainer)
{
    glebe_loader *train = arrays(trainer, 0, 2, 0), *validation = arrays(trainer, 2, 1, 0);
    glebe_status status = glebe_trainer_fit(trainer, train, validation, &error);
    glebe_loader_free(train);
    glebe_loader_free(validation);
    return status;
}

/* The names of the events so far are `expected`, which has spaces in between; forgets them. */
static void were(watcher *own, const char *expected)
{
    char found[MANY * 32] = "";
    for (size_t i = 0; i < own->count; i++) {
        strcat(found, i > 0 ? " " : "");
        strcat(found, glebe_event_name(own->log[i]));
    }
    own->count = 0;
    if (strcmp(found, expected) != 0) {
        fprintf(stderr, "expected %s\n     got %s\n", expected, found);
        exit(1);
    }
}

#define BATCH "batch_start forward_start backward_start backward_end optimizer_step_start optimizer_step_end batch_end "
#define EVALUATION "batch_start evaluation_start metrics_start metrics_end batch_end evaluation_batches_end "
#define EPOCH "epoch_start " BATCH BATCH "batches_end validation_start " EVALUATION "validation_end epoch_metrics epoch_end "
#define PREDICTION "predict_start batch_start prediction_start prediction_end batch_end predict_end"

static void events_come_in_order(void)
{
    watcher own = {0};
    glebe_trainer *trainer = watched(&own, 2);
    were(&own, "trainer_init");
    OK(fit(trainer));
    were(&own, "train_start " EPOCH EPOCH "train_end");
    glebe_run_state state = state_of(trainer);
    CHECK(state.epoch == 2 && state.epochs == 2 && state.global_step == 4 && state.phase == GLEBE_PHASE_IDLE);
    CHECK(state.learning_rate == 1e-2 && state.should_stop == 0 && state.split == GLEBE_SPLIT_NONE);

    glebe_loader *data = arrays(trainer, 2, 1, 0), *other = arrays(trainer, 0, 1, 0);
    OK(glebe_trainer_validate(trainer, data, NULL, &error));
    were(&own, "validate_start " EVALUATION "validate_end");
    OK(glebe_trainer_test(trainer, data, NULL, &error));
    were(&own, "test_start " EVALUATION "test_end");
    OK(glebe_trainer_predict(trainer, data, NULL, NULL, NULL, &error));
    were(&own, PREDICTION);
    const int32_t splits[] = {GLEBE_SPLIT_TEST, GLEBE_SPLIT_VAL};
    glebe_loader *loaders[] = {data, other};
    OK(glebe_trainer_infer(trainer, splits, loaders, 2, &error));
    were(&own, "inference_start " PREDICTION " " PREDICTION " inference_end");
    const int32_t wrong[] = {GLEBE_SPLIT_TEST, GLEBE_SPLIT_NONE};
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "split is 0", glebe_trainer_infer(trainer, wrong, loaders, 2, &error));
    loaders[1] = data;
    FAILS(GLEBE_STATUS_INVALID_STATE, "loader is in use", glebe_trainer_infer(trainer, splits, loaders, 2, &error));
    loaders[1] = NULL;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "loaders[1] is NULL",
          glebe_trainer_infer(trainer, splits, loaders, 2, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "loader is in use", glebe_trainer_fit(trainer, data, data, &error));
    CHECK(own.count == 0 && own.destroyed == 0);
    glebe_loader_free(data);
    glebe_loader_free(other);
    glebe_trainer_free(trainer);
    CHECK(own.destroyed == 1);
    CHECK(strcmp(glebe_event_name(0), "unknown") == 0 && strcmp(glebe_event_name(1000), "unknown") == 0);
}

static void functions_veto_and_stop(void)
{
    watcher own = {0};
    own.vetoes = 1;
    glebe_trainer *trainer = watched(&own, 3);
    own.stops_in = 2;
    float before[WEIGHTS], after[WEIGHTS];
    weights_of(trainer, before);
    OK(fit(trainer));
    weights_of(trainer, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    glebe_run_state state = state_of(trainer);
    CHECK(state.epoch == 2 && state.global_step == 0 && state.should_stop == 1);
    CHECK(own.losses_count == 4 && own.losses[0] == own.losses[2] && own.losses[1] == own.losses[3]);
    for (size_t i = 0; i < own.count; i++)
        CHECK(own.log[i] != GLEBE_EVENT_OPTIMIZER_STEP_END);
    /* It had stopped. */
    own.count = 0;
    OK(fit(trainer));
    were(&own, "train_start train_end");
    glebe_trainer_free(trainer);
    /* The same without vetoes does change them. */
    trainer = fit_trainer(1);
    OK(fit(trainer));
    weights_of(trainer, after);
    CHECK(memcmp(before, after, sizeof before) != 0);
    glebe_trainer_free(trainer);
}

/* Everything that a trainer can be asked for, until something fails. */
static glebe_status all_runs(glebe_trainer *trainer)
{
    glebe_loader *data = arrays(trainer, 0, 1, 0);
    const int32_t split = GLEBE_SPLIT_VAL;
    glebe_status status = fit(trainer);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_validate(trainer, data, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_test(trainer, data, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_infer(trainer, &split, &data, 1, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_resume_newest(trainer, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        status = fit(trainer);
    glebe_loader_free(data);
    return status;
}

static void every_event_can_fail(void)
{
    /* Under memcheck one event in six will do: they go the same way. */
    const int32_t step = getenv("GLEBE_TEST_MEMCHECK") != NULL ? 6 : 1;
    for (int32_t event = GLEBE_EVENT_TRAIN_START; event <= GLEBE_EVENT_INFERENCE_END; event += step) {
        if (event == GLEBE_EVENT_EXCEPTION)
            continue;
        watcher own = {0}, after = {0};
        glebe_trainer *trainer = watched(&own, 1);
        glebe_fit_options options = fit_options(1);
        options.checkpoint_folder = file("failing");
        OK(glebe_trainer_set_fit_options(trainer, &options, &error));
        after.trainer = trainer;
        OK(glebe_trainer_add_events(trainer, watch, &after, destroy, &error));
        own.fails_at = event;
        own.code = event % 3 == 0 ? GLEBE_STATUS_IO : event % 3 == 1 ? -7 : GLEBE_STATUS_INTERNAL;
        char expected[128];
        snprintf(expected, sizeof expected, "event function 1 failed at %s: the function returned %d",
                 glebe_event_name(event), own.code);
        const glebe_status status = event % 3 == 0 ? GLEBE_STATUS_IO : GLEBE_STATUS_CANCELLED;
        FAILS(status, expected, all_runs(trainer));
        CHECK(own.log[own.count - 2] == event && own.log[own.count - 1] == GLEBE_EVENT_EXCEPTION);
        CHECK(after.log[after.count - 1] == GLEBE_EVENT_EXCEPTION);
        CHECK(own.last_code == status && strstr(own.last_error, expected) != NULL);
        CHECK(strcmp(own.last_error, after.last_error) == 0);
        CHECK(state_of(trainer).phase == GLEBE_PHASE_IDLE);

        /* It can be used still, and says where it cannot go on. */
        own.fails_at = 0;
        own.count = after.count = 0;
        glebe_loader *data = arrays(trainer, 0, 1, 0);
        OK(glebe_trainer_validate(trainer, data, NULL, &error));
        glebe_loader_free(data);
        glebe_status again = fit(trainer);
        int within = event >= GLEBE_EVENT_EPOCH_START && event < GLEBE_EVENT_EPOCH_END;
        if (within) {
            CHECK(again == GLEBE_STATUS_INVALID_STATE && error != NULL);
            CHECK(strstr(glebe_error_message(error), "epoch 1 was interrupted") != NULL);
            glebe_error_free(error);
            error = NULL;
        } else {
            CHECK(again == GLEBE_STATUS_OK);
        }
        glebe_trainer_free(trainer);
        CHECK(own.destroyed == 1 && after.destroyed == 1);
    }
    /* At the first event it is not added. */
    watcher own = {0};
    own.fails_at = GLEBE_EVENT_TRAINER_INIT;
    own.code = 99;
    glebe_trainer *trainer = fit_trainer(1);
    FAILS(GLEBE_STATUS_CANCELLED, "failed at trainer_init: the function returned 99",
          glebe_trainer_add_events(trainer, watch, &own, destroy, &error));
    CHECK(own.destroyed == 1);
    own.destroyed = 0;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "function is NULL",
          glebe_trainer_add_events(trainer, NULL, &own, destroy, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "trainer is NULL",
          glebe_trainer_add_events(NULL, watch, &own, destroy, &error));
    CHECK(own.destroyed == 2);
    own.count = 0;
    OK(fit(trainer));
    CHECK(own.count == 0);
    glebe_trainer_free(trainer);
}

/* A loader of functions over the arrays. */
typedef struct {
    size_t first, count;
    int begun, destroyed;
    uint64_t seed;
    int32_t begin_code, batch_code;
    size_t images_len, counting;
    glebe_trainer *uses;
} source;

static size_t source_batches(void *user_data)
{
    return ((source *)user_data)->count;
}

static int32_t source_begin(uint64_t seed, void *user_data)
{
    source *own = user_data;
    own->begun++;
    own->seed = seed;
    return own->begin_code;
}

static int32_t source_batch(size_t index, glebe_batch *batch, void *user_data)
{
    source *own = user_data;
    CHECK(index < own->count && batch->struct_size >= sizeof *batch && batch->images == NULL);
    if (own->uses != NULL)
        FAILS(GLEBE_STATUS_INVALID_STATE, "in use", glebe_trainer_discard(own->uses, &error));
    batch->images = images + (own->first + index) * IMAGES;
    batch->images_len = own->images_len;
    batch->labels = labels + (own->first + index) * LABELS;
    batch->labels_len = LABELS;
    batch->label_type = GLEBE_DATA_TYPE_U8;
    return own->batch_code;
}

static size_t source_images(size_t index, void *user_data)
{
    (void)index;
    return ((source *)user_data)->counting;
}

static void source_destroy(void *user_data)
{
    ((source *)user_data)->destroyed++;
}

static glebe_loader_functions functions_of(source *own)
{
    glebe_loader_functions functions;
    CHECK(glebe_loader_functions_init(&functions, sizeof functions) == GLEBE_STATUS_OK);
    functions.batches = source_batches;
    functions.begin = source_begin;
    functions.batch = source_batch;
    functions.user_data = own;
    functions.destroy = source_destroy;
    return functions;
}

static glebe_loader *loader_of(source *own)
{
    glebe_loader *loader = NULL;
    glebe_loader_functions functions = functions_of(own);
    if (own->counting != 0)
        functions.images = source_images;
    OK(glebe_loader_new_functions(&functions, &loader, &error));
    return loader;
}

static void loaders_give_the_same(void)
{
    watcher first = {0}, second = {0};
    glebe_trainer *trainer = watched(&first, 3);
    OK(fit(trainer));
    glebe_trainer *other = watched(&second, 3);
    source train = {.count = 2, .images_len = IMAGES, .uses = other};
    source validation = {.first = 2, .count = 1, .images_len = IMAGES, .counting = N};
    glebe_loader *loader = loader_of(&train), *of_validation = loader_of(&validation);
    OK(glebe_trainer_fit(other, loader, of_validation, &error));
    CHECK(train.begun == 3 && validation.begun == 3 && validation.seed == 42 && train.seed != 42);
    CHECK(first.losses_count == 6 && second.losses_count == 6);
    CHECK(memcmp(first.losses, second.losses, 6 * sizeof *first.losses) == 0);
    CHECK(first.losses[4] < first.losses[0] && first.losses[5] < first.losses[1]);
    float weights[WEIGHTS], found[WEIGHTS];
    weights_of(trainer, weights);
    weights_of(other, found);
    CHECK(memcmp(weights, found, sizeof weights) == 0);
    CHECK(train.destroyed == 0);
    glebe_loader_free(loader);
    glebe_loader_free(of_validation);
    glebe_loader_free(NULL);
    CHECK(train.destroyed == 1 && validation.destroyed == 1);
    glebe_trainer_free(trainer);
    glebe_trainer_free(other);
}

/* What a loader gives ends the run with this error. */
static void ends_with(glebe_status status, const char *text, source own)
{
    glebe_trainer *trainer = fit_trainer(1);
    glebe_loader *loader = loader_of(&own);
    FAILS(status, text, glebe_trainer_fit(trainer, loader, NULL, &error));
    FAILS(status, text, glebe_trainer_validate(trainer, loader, NULL, &error));
    glebe_loader_free(loader);
    glebe_trainer_free(trainer);
    CHECK(own.destroyed == 1);
}

static void loaders_fail(void)
{
    ends_with(GLEBE_STATUS_CANCELLED, "the loader's begin function returned -1",
              (source){.count = 1, .images_len = IMAGES, .begin_code = -1});
    ends_with(GLEBE_STATUS_NOT_FOUND, "the loader's batch function, for batch 0, returned 3",
              (source){.count = 1, .images_len = IMAGES, .batch_code = GLEBE_STATUS_NOT_FOUND});
    ends_with(GLEBE_STATUS_INVALID_ARGUMENT, "no batches", (source){.count = 0});
    ends_with(GLEBE_STATUS_MISMATCH, "96 samples", (source){.count = 1, .images_len = 95});
    ends_with(GLEBE_STATUS_MISMATCH, "images that count", (source){.count = 1, .images_len = IMAGES, .counting = 3});

    source own = {0};
    glebe_loader *loader = NULL;
    glebe_loader_functions functions = functions_of(&own);
    functions.batch = NULL;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "batch is NULL", glebe_loader_new_functions(&functions, &loader, &error));
    functions = functions_of(&own);
    functions.batches = NULL;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "batches is NULL", glebe_loader_new_functions(&functions, &loader, &error));
    functions = functions_of(&own);
    functions.reserved = 1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "reserved", glebe_loader_new_functions(&functions, &loader, &error));
    functions = functions_of(&own);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "out is NULL", glebe_loader_new_functions(&functions, NULL, &error));
    CHECK(own.destroyed == 4 && loader == NULL);
    glebe_trainer *trainer = new_trainer();
    FAILS(GLEBE_STATUS_MISMATCH, "48 samples",
          glebe_loader_new_arrays(trainer, images, IMAGES - 1, labels, LABELS, 0, &loader, &error));
    FAILS(GLEBE_STATUS_MISMATCH, "16 labels",
          glebe_loader_new_arrays(trainer, images, IMAGES, labels, LABELS - 1, 0, &loader, &error));
    FAILS(GLEBE_STATUS_MISMATCH, "", glebe_loader_new_arrays(trainer, NULL, 0, NULL, 0, 0, &loader, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "shuffled is 2",
          glebe_loader_new_arrays(trainer, images, IMAGES, labels, LABELS, 2, &loader, &error));
    CHECK(loader == NULL);
    glebe_trainer_free(trainer);
}

/* Compares what an event gives with a trainer that steps by hand beside it. */
typedef struct {
    glebe_trainer *by_hand;
    glebe_trainer *own;
    int seen;
} curious;

static glebe_batch batch_at(size_t index)
{
    glebe_batch batch;
    CHECK(glebe_batch_init(&batch, sizeof batch) == GLEBE_STATUS_OK);
    batch.images = images + index * IMAGES;
    batch.images_len = IMAGES;
    batch.labels = labels + index * LABELS;
    batch.labels_len = LABELS;
    batch.label_type = GLEBE_DATA_TYPE_U8;
    return batch;
}

static int32_t ask(int32_t event, glebe_event_context *context, void *user_data)
{
    curious *own = user_data;
    const float *logits = NULL;
    size_t length = 0, shape[4] = {0};
    float values[LOGITS], found[WEIGHTS];
    double number = 0, loss = 0;
    if (event == GLEBE_EVENT_TRAINER_INIT)
        return 0;
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_event_run_state(context, &state, &error));
    /* Names and shapes are there at every event, of the trainer too; nothing else of it is. */
    CHECK(glebe_event_tensor_count(context) == 1 && strcmp(glebe_event_tensor_name(context, 0), "weights") == 0);
    CHECK(glebe_event_tensor_name(context, 1) == NULL && glebe_event_tensor_shape(context, 1, NULL, 0) == 0);
    CHECK(glebe_event_tensor_shape(context, 0, shape, 4) == 4 && shape[0] == 2 && shape[1] == BANDS && shape[3] == 1);
    CHECK(glebe_event_image_shape(context, shape, 4) == 4 && shape[0] == N && shape[1] == BANDS && shape[3] == SIDE);
    CHECK(glebe_event_logits_shape(context, shape, 2) == 4 && shape[0] == N && shape[1] == 2);
    CHECK(glebe_trainer_tensor_count(own->own) == 1 && glebe_trainer_image_shape(own->own, NULL, 0) == 4);
    CHECK(glebe_trainer_updates(own->own) == 0);
    FAILS(GLEBE_STATUS_INVALID_STATE, "in use",
          glebe_trainer_tensor(own->own, GLEBE_TENSOR_WEIGHT, "weights", found, WEIGHTS, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "in use", glebe_trainer_run_state(own->own, &state, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "in use", glebe_trainer_add_events(own->own, ask, NULL, NULL, &error));
    glebe_loader *mine = arrays(own->own, 0, 1, 0);
    FAILS(GLEBE_STATUS_INVALID_STATE, "in use", glebe_trainer_fit(own->own, mine, NULL, &error));
    glebe_loader_free(mine);
    /* Another trainer may run meanwhile. */
    if (event == GLEBE_EVENT_EPOCH_START) {
        glebe_trainer *other = fit_trainer(1);
        OK(fit(other));
        glebe_trainer_free(other);
    }

    glebe_batch batch = batch_at(0);
    if (event == GLEBE_EVENT_TRAIN_END)
        FAILS(GLEBE_STATUS_INVALID_STATE, "too late", glebe_event_log(context, "Batch", 1, &error));
    if (event == GLEBE_EVENT_EPOCH_METRICS) {
        OK(glebe_event_metric(context, "train/Batch", &number, &error));
        CHECK(number == 1.5);
    }
    if (event == GLEBE_EVENT_BATCHES_END) {
        CHECK(glebe_event_metric_count(context) == 2 && glebe_event_metric_name(context, 2) == NULL);
        CHECK(strcmp(glebe_event_metric_name(context, 0), "train/Loss") == 0);
        CHECK(strcmp(glebe_event_metric_name(context, 1), "train/LearningRate") == 0);
        OK(glebe_event_metric(context, "train/LearningRate", &number, &error));
        CHECK(number == 5e-3 && glebe_event_metric_value(context, 1) == number);
        CHECK(isnan(glebe_event_metric_value(context, 2)));
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "there are [train/Loss, train/LearningRate]",
              glebe_event_metric(context, "loss", &number, &error));
        CHECK(glebe_event_images(context) == 0);
        FAILS(GLEBE_STATUS_INVALID_STATE, "no batch", glebe_event_batch(context, &batch, &error));
        FAILS(GLEBE_STATUS_INVALID_STATE, "no logits", glebe_event_logits(context, &logits, &length, &error));
        FAILS(GLEBE_STATUS_INVALID_STATE, "no loss", glebe_event_loss(context, &loss, &error));
    }
    if (state.phase != GLEBE_PHASE_TRAIN || state.batch == 0)
        return 0;
    CHECK(state.batches == 2);
    size_t index = (size_t)state.batch - 1;
    if (event == GLEBE_EVENT_BATCH_START) {
        OK(glebe_event_want_logits(context, 1, &error));
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "wanted is 2", glebe_event_want_logits(context, 2, &error));
        OK(glebe_event_set_learning_rate(context, 5e-3, &error));
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "learning rate", glebe_event_set_learning_rate(context, NAN, &error));
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "learning rate", glebe_event_set_learning_rate(context, -1, &error));
        FAILS(GLEBE_STATUS_INVALID_STATE, "at optimizer_step_start", glebe_event_veto(context, &error));
        CHECK(glebe_event_images(context) == N);
        OK(glebe_event_batch(context, &batch, &error));
        CHECK(batch.images == images + index * IMAGES && batch.images_len == IMAGES && batch.mask_len == 0);
        CHECK(batch.labels == labels + index * LABELS && batch.labels_len == LABELS);
        CHECK(batch.label_type == GLEBE_DATA_TYPE_U8 && batch.keys == NULL && batch.struct_size == sizeof batch);
        batch.struct_size = 3;
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size", glebe_event_batch(context, &batch, &error));
        batch = batch_at(index);
        float expected = NAN;
        OK(glebe_trainer_accumulate(own->by_hand, &batch, &expected, &error));
        FAILS(GLEBE_STATUS_INVALID_STATE, "no gradients",
              glebe_event_tensor(context, GLEBE_TENSOR_GRADIENT, "weights", found, WEIGHTS, &error));
    }
    if (event == GLEBE_EVENT_BACKWARD_END) {
        OK(glebe_event_logits(context, &logits, &length, &error));
        OK(glebe_trainer_logits(own->by_hand, values, LOGITS, &error));
        CHECK(length == LOGITS && memcmp(logits, values, sizeof values) == 0);
        const int64_t *classes = NULL;
        const float *mask = NULL;
        OK(glebe_event_truth(context, &classes, &mask, &length, &error));
        CHECK(length == LABELS);
        for (size_t i = 0; i < LABELS; i++)
            CHECK(classes[i] == labels[index * LABELS + i] && mask[i] == 1);
        for (int32_t kind = GLEBE_TENSOR_WEIGHT; kind <= GLEBE_TENSOR_GRADIENT; kind++) {
            OK(glebe_event_tensor(context, kind, "weights", found, WEIGHTS, &error));
            OK(glebe_trainer_tensor(own->by_hand, kind, "weights", values, WEIGHTS, &error));
            CHECK(memcmp(found, values, sizeof found) == 0);
        }
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "kind is 2",
              glebe_event_tensor(context, GLEBE_TENSOR_AVERAGE, "weights", found, WEIGHTS, &error));
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "weight",
              glebe_event_tensor(context, GLEBE_TENSOR_WEIGHT, "weight", found, WEIGHTS, &error));
        FAILS(GLEBE_STATUS_MISMATCH, "room for 6",
              glebe_event_tensor(context, GLEBE_TENSOR_WEIGHT, "weights", found, 5, &error));
        own->seen++;
    }
    if (event == GLEBE_EVENT_BATCH_END) {
        OK(glebe_event_log(context, "Batch", (double)state.batch, &error));
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "a/b/c", glebe_event_log(context, "a/b/c", 1, &error));
    }
    if (event == GLEBE_EVENT_OPTIMIZER_STEP_END)
        OK(glebe_trainer_apply(own->by_hand, 5e-3f, NULL, NULL, &error));
    return 0;
}

static void functions_see_what_there_is(void)
{
    curious own = {new_trainer(), fit_trainer(2), 0};
    OK(glebe_trainer_want_logits(own.by_hand, 1, &error));
    OK(glebe_trainer_add_events(own.own, ask, &own, NULL, &error));
    source train = {.count = 2, .images_len = IMAGES};
    glebe_loader *loader = loader_of(&train);
    OK(glebe_trainer_fit(own.own, loader, NULL, &error));
    CHECK(own.seen == 4 && state_of(own.own).global_step == 4);
    float expected[WEIGHTS], found[WEIGHTS];
    weights_of(own.by_hand, expected);
    weights_of(own.own, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    glebe_loader_free(loader);
    glebe_trainer_free(own.by_hand);
    glebe_trainer_free(own.own);
}

static void a_context_is_over_with_its_event(void)
{
    watcher own = {0};
    glebe_trainer *trainer = watched(&own, 1);
    OK(fit(trainer));
    double number;
    float values[WEIGHTS];
    const float *logits;
    size_t length;
    glebe_run_state state;
    glebe_batch batch = batch_at(0);
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_run_state(own.kept, &state, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_loss(own.kept, &number, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_metric(own.kept, "Loss", &number, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_batch(own.kept, &batch, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_logits(own.kept, &logits, &length, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over",
          glebe_event_tensor(own.kept, GLEBE_TENSOR_WEIGHT, "weights", values, WEIGHTS, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_request_stop(own.kept, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_veto(own.kept, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_set_learning_rate(own.kept, 1, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "over", glebe_event_want_logits(own.kept, 1, &error));
    CHECK(glebe_event_metric_count(own.kept) == 0 && glebe_event_metric_name(own.kept, 0) == NULL);
    CHECK(isnan(glebe_event_metric_value(own.kept, 0)) && glebe_event_images(own.kept) == 0);
    CHECK(glebe_event_error_message(own.kept) == NULL && glebe_event_checkpoint_message(own.kept) == NULL);
    glebe_trainer_free(trainer);
}

/* The class scores of the model as it comes: bands 0 and 2. */
static float score(const float *batch, size_t n, size_t k, size_t pixel)
{
    return batch[(n * BANDS + 2 * k) * PLANE + pixel];
}

typedef struct {
    size_t calls;
    int32_t code;
    int destroyed;
} taker;

static int32_t take(size_t batch, size_t count, const float *logits, size_t length, void *user_data)
{
    taker *own = user_data;
    CHECK(batch == own->calls++ && length == LOGITS && count == (batch == 0 ? N : 1));
    for (size_t n = 0; n < count; n++)
        for (size_t k = 0; k < 2; k++)
            for (size_t pixel = 0; pixel < PLANE; pixel++)
                CHECK(logits[(n * 2 + k) * PLANE + pixel] == score(images + batch * IMAGES, n, k, pixel));
    return own->code;
}

static void destroy_taker(void *user_data)
{
    ((taker *)user_data)->destroyed++;
}

static void evaluations_are_right(void)
{
    glebe_trainer *trainer = new_trainer();
    glebe_loader *data = arrays(trainer, 0, 2, 0), *odd = NULL;
    double expected = 0, found = NAN;
    for (size_t image = 0; image < 2 * N; image++)
        for (size_t pixel = 0; pixel < PLANE; pixel++) {
            double a = score(images, image, 0, pixel), b = score(images, image, 1, pixel);
            expected += (log(exp(a) + exp(b)) - (labels[image * PLANE + pixel] ? b : a)) / (2 * N * PLANE);
        }
    glebe_metrics *metrics = NULL;
    OK(glebe_trainer_validate(trainer, data, &metrics, &error));
    OK(glebe_metrics_get(metrics, "Loss", &found, &error));
    CHECK(fabs(found - expected) < 1e-6);
    CHECK(strcmp(glebe_metrics_name(metrics, 0), "Loss") == 0 && glebe_metrics_value(metrics, 0) == found);
    const size_t count = glebe_metrics_count(metrics);
    CHECK(count >= 1 && glebe_metrics_name(metrics, count) == NULL && isnan(glebe_metrics_value(metrics, count)));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "no metric \"loss\"", glebe_metrics_get(metrics, "loss", &found, &error));
    glebe_metrics_free(metrics);
    glebe_metrics_free(NULL);
    OK(glebe_trainer_test(trainer, data, &metrics, &error));
    CHECK(glebe_metrics_value(metrics, 0) == found);
    glebe_metrics_free(metrics);

    /* Three images: the second batch is filled up. */
    OK(glebe_loader_new_arrays(trainer, images, IMAGES / 2 * 3, labels, LABELS / 2 * 3, 0, &odd, &error));
    taker own = {0};
    OK(glebe_trainer_predict(trainer, odd, take, &own, destroy_taker, &error));
    CHECK(own.calls == 2 && own.destroyed == 1);
    own = (taker){.code = GLEBE_STATUS_IO};
    FAILS(GLEBE_STATUS_IO, "for batch 0, returned 6",
          glebe_trainer_predict(trainer, odd, take, &own, destroy_taker, &error));
    CHECK(own.calls == 1 && own.destroyed == 1);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "data is NULL",
          glebe_trainer_predict(trainer, NULL, take, &own, destroy_taker, &error));
    CHECK(own.destroyed == 2);
    glebe_loader_free(odd);
    glebe_loader_free(data);
    glebe_trainer_free(trainer);
}

static void steps_and_fits_share_one_trainer(void)
{
    glebe_trainer *trainer = fit_trainer(1), *by_hand = new_trainer();
    glebe_batch batch = batch_at(2);
    OK(glebe_trainer_step(trainer, &batch, 0.1f, NULL, &error));
    OK(fit(trainer));
    OK(glebe_trainer_step(trainer, &batch, 0.1f, NULL, &error));
    const float rates[] = {0.1f, 1e-2f, 1e-2f, 0.1f};
    const size_t batches[] = {2, 0, 1, 2};
    for (size_t i = 0; i < 4; i++) {
        batch = batch_at(batches[i]);
        OK(glebe_trainer_step(by_hand, &batch, rates[i], NULL, &error));
    }
    float expected[WEIGHTS], found[WEIGHTS];
    weights_of(by_hand, expected);
    weights_of(trainer, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    CHECK(glebe_trainer_updates(trainer) == 4 && state_of(trainer).global_step == 2);
    glebe_trainer_free(trainer);
    glebe_trainer_free(by_hand);
}

/* Four epochs of shuffled batches with a falling rate. */
static glebe_fit_options long_options(const char *checkpoints)
{
    glebe_fit_options options = fit_options(4);
    options.schedule = GLEBE_SCHEDULE_COSINE;
    options.checkpoint_folder = checkpoints;
    return options;
}

static glebe_status fit_shuffled(glebe_trainer *trainer)
{
    glebe_loader *train = arrays(trainer, 0, 3, 1);
    glebe_status status = glebe_trainer_fit(trainer, train, NULL, &error);
    glebe_loader_free(train);
    return status;
}

static int32_t cut_power(int32_t event, glebe_event_context *context, void *user_data)
{
    (void)user_data;
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_event_run_state(context, &state, &error));
    return event == GLEBE_EVENT_OPTIMIZER_STEP_END && state.epoch == 3 && state.batch == 2 ? -1 : 0;
}

static int32_t hear(int32_t event, glebe_event_context *context, void *user_data)
{
    if (event == GLEBE_EVENT_CHECKPOINT_LOAD)
        snprintf(user_data, 256, "%s", glebe_event_checkpoint_message(context));
    return 0;
}

static void a_training_goes_on(void)
{
    const char *message = "Loading checkpoint that was created at (epoch = 2, global_step = 6)";
    glebe_buffer expected = {0}, found = {0};
    glebe_trainer *whole = new_trainer();
    glebe_fit_options options = long_options(NULL);
    OK(glebe_trainer_set_fit_options(whole, &options, &error));
    OK(fit_shuffled(whole));
    OK(glebe_trainer_state(whole, &expected, &error));
    OK(glebe_trainer_checkpoint_message(whole, &found, &error));
    CHECK(found.size == 0);
    glebe_buffer_free(&found);
    OK(glebe_trainer_save_checkpoint(whole, file("whole.safetensors"), &error));
    OK(glebe_trainer_save_checkpoint(whole, file("whole.safetensors"), &error));
    glebe_trainer_free(whole);

    glebe_trainer *cut = new_trainer();
    options = long_options(file("checkpoints"));
    int32_t is_found = -1;
    FAILS(GLEBE_STATUS_INVALID_STATE, "glebe_trainer_set_fit_options",
          glebe_trainer_resume_newest(cut, &is_found, &error));
    OK(glebe_trainer_set_fit_options(cut, &options, &error));
    OK(glebe_trainer_resume_newest(cut, &is_found, &error));
    CHECK(is_found == 0);
    OK(glebe_trainer_add_events(cut, cut_power, NULL, NULL, &error));
    FAILS(GLEBE_STATUS_CANCELLED, "failed at optimizer_step_end", fit_shuffled(cut));
    FAILS(GLEBE_STATUS_INVALID_STATE, "epoch 3 was interrupted",
          glebe_trainer_save_checkpoint(cut, file("cut.safetensors"), &error));
    CHECK(!exists(file("cut.safetensors")) && exists(file("checkpoints/last.safetensors")));
    glebe_trainer_free(cut);

    watcher own = {0};
    char told[256] = "";
    glebe_trainer *again = watched(&own, 4);
    OK(glebe_trainer_add_events(again, hear, told, NULL, &error));
    OK(glebe_trainer_set_fit_options(again, &options, &error));
    OK(glebe_trainer_resume_newest(again, &is_found, &error));
    CHECK(is_found == 1 && state_of(again).epoch == 0);
    glebe_fit_options other = options;
    other.seed = 7;
    FAILS(GLEBE_STATUS_MISMATCH, "another seed", glebe_trainer_set_fit_options(again, &other, &error));
    OK(fit_shuffled(again));
    CHECK(own.log[1] == GLEBE_EVENT_RESUME && own.log[2] == GLEBE_EVENT_CHECKPOINT_LOAD);
    CHECK(strcmp(told, message) == 0);
    OK(glebe_trainer_checkpoint_message(again, &found, &error));
    CHECK(strcmp((const char *)found.data, message) == 0);
    glebe_buffer_free(&found);
    CHECK(state_of(again).epoch == 4 && state_of(again).global_step == 12);
    OK(glebe_trainer_state(again, &found, &error));
    CHECK(found.size == expected.size && memcmp(found.data, expected.data, found.size) == 0);
    glebe_buffer_free(&found);
    glebe_trainer_free(again);

    /* By its path: it is at the end. */
    glebe_trainer *last = new_trainer();
    FAILS(GLEBE_STATUS_INVALID_STATE, "glebe_trainer_set_fit_options",
          glebe_trainer_resume(last, file("whole.safetensors"), &error));
    options = long_options(NULL);
    OK(glebe_trainer_set_fit_options(last, &options, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "checkpoints", glebe_trainer_resume_newest(last, NULL, &error));
    FAILS(GLEBE_STATUS_NOT_FOUND, "none.safetensors", glebe_trainer_resume(last, file("none.safetensors"), &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "batches.onnx", glebe_trainer_resume(last, file("batches.onnx"), &error));
    OK(glebe_trainer_resume(last, file("whole.safetensors"), &error));
    OK(fit_shuffled(last));
    OK(glebe_trainer_state(last, &found, &error));
    CHECK(found.size == expected.size && memcmp(found.data, expected.data, found.size) == 0);
    glebe_buffer_free(&found);
    glebe_buffer_free(&expected);
    glebe_trainer_free(last);
}

/* The learning rates of the epochs. */
typedef struct {
    double rates[8];
    size_t count;
} rates;

static int32_t note_rate(int32_t event, glebe_event_context *context, void *user_data)
{
    rates *own = user_data;
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_event_run_state(context, &state, &error));
    if (event == GLEBE_EVENT_EPOCH_START)
        own->rates[own->count++] = state.learning_rate;
    return 0;
}

#define RATES(change, ...)                                                           \
    do {                                                                             \
        const double expected_[] = {__VA_ARGS__};                                    \
        rates own_ = {.count = 0};                                                   \
        glebe_fit_options options = fit_options(sizeof expected_ / sizeof *expected_); \
        options.learning_rate = 1.0;                                                 \
        change;                                                                      \
        glebe_trainer *trainer_ = new_trainer();                                     \
        OK(glebe_trainer_set_fit_options(trainer_, &options, &error));               \
        OK(glebe_trainer_add_events(trainer_, note_rate, &own_, NULL, &error));      \
        OK(fit(trainer_));                                                           \
        CHECK(own_.count == sizeof expected_ / sizeof *expected_);                   \
        for (size_t i = 0; i < own_.count; i++)                                      \
            CHECK(fabs(own_.rates[i] - expected_[i]) < 1e-12);                       \
        glebe_trainer_free(trainer_);                                                \
    } while (0)

#define REFUSED(status, text, change)                                                     \
    do {                                                                                  \
        glebe_fit_options options = fit_options(4);                                       \
        change;                                                                           \
        FAILS(status, text, glebe_trainer_set_fit_options(trainer, &options, &error));    \
    } while (0)

static void options_are_read(void)
{
    const uint64_t milestones[] = {1, 3};
    RATES((void)0, 1, 1);
    RATES((options.schedule = GLEBE_SCHEDULE_POLYNOMIAL, options.schedule_gamma = 2), 1, 0.5625, 0.25, 0.0625);
    RATES((options.schedule = GLEBE_SCHEDULE_COSINE, options.schedule_least = 0.5), 1, 0.75);
    RATES((options.schedule = GLEBE_SCHEDULE_EXPONENTIAL, options.schedule_gamma = 0.5, options.schedule_warm_up = 1),
          0.5, 1, 0.5);
    RATES((options.schedule = GLEBE_SCHEDULE_STEP, options.schedule_gamma = 0.5, options.schedule_size = 2), 1, 1, 0.5);
    RATES((options.schedule = GLEBE_SCHEDULE_MULTI_STEP, options.schedule_gamma = 0.1,
           options.schedule_milestones = milestones, options.schedule_milestones_len = 2),
          1, 0.1, 0.1, 0.01);

    glebe_trainer *trainer = new_trainer();
    glebe_loader *data = arrays(trainer, 0, 1, 0);
    FAILS(GLEBE_STATUS_INVALID_STATE, "glebe_trainer_set_fit_options", glebe_trainer_fit(trainer, data, NULL, &error));
    glebe_loader_free(data);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "epochs is 0", options.epochs = 0);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "learning rate", options.learning_rate = NAN);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "got 0", options.accumulate = 0);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "got 0", options.validate_every = 0);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "tail is 2", options.tail = 2);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "schedule is 6", options.schedule = 6);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "schedule is -1", options.schedule = -1);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "gamma above 0", options.schedule = GLEBE_SCHEDULE_EXPONENTIAL);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "leaves nothing", options.schedule_warm_up = 4);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "schedule_milestones is NULL",
            (options.schedule = GLEBE_SCHEDULE_MULTI_STEP, options.schedule_milestones_len = 1));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "checkpoint_mode is 2", options.checkpoint_mode = 2);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "checkpoints: expected 1 epoch",
            (options.checkpoint_folder = file("x"), options.checkpoint_every = 0));
    REFUSED(GLEBE_STATUS_NOT_SUPPORTED, "gradients that wait",
            (options.checkpoint_folder = file("x"), options.tail = GLEBE_TAIL_CARRY, options.accumulate = 2));
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size", options.struct_size = 8);
    CHECK(!exists(file("x")));
    struct {
        glebe_fit_options known;
        uint64_t later;
    } future = {fit_options(1), 1};
    future.known.struct_size = sizeof future;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "does not know",
          glebe_trainer_set_fit_options(trainer, &future.known, &error));
    future.later = 0;
    OK(glebe_trainer_set_fit_options(trainer, &future.known, &error));
    /* A state of a later version keeps its size, and what only that knows. */
    struct {
        glebe_run_state known;
        uint64_t later;
    } state;
    CHECK(glebe_run_state_init(&state.known, sizeof state) == GLEBE_STATUS_OK);
    state.later = 5;
    OK(glebe_trainer_run_state(trainer, &state.known, &error));
    CHECK(state.known.struct_size == sizeof state && state.known.epochs == 1 && state.later == 5);

    /* All that is left: batches of an update, the seed by its division, the best checkpoint. */
    glebe_fit_options options = fit_options(2);
    options.accumulate = 2;
    options.splits = 3;
    options.split_index = 1;
    options.checkpoint_folder = file("best");
    options.checkpoint_every = 2;
    options.checkpoint_keep = 1;
    options.checkpoint_best = "val/Loss";
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    OK(fit(trainer));
    CHECK(state_of(trainer).global_step == 2);
    CHECK(exists(file("best/best.safetensors")) && exists(file("best/epoch-2.safetensors")));
    CHECK(!exists(file("best/epoch-1.safetensors")));
    options.splits = 0;
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    FAILS(GLEBE_STATUS_MISMATCH, "expected 42, got 43",
          glebe_trainer_resume(trainer, file("best/last.safetensors"), &error));
    options.epochs = 3;
    options.checkpoint_best = "val/IoU";
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "no metric \"val/IoU\"", fit(trainer));
    glebe_trainer_free(trainer);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    make_up();
    glebe_runtime *runtime = load();
    model = open_model(runtime, "batches.onnx");
    glebe_runtime_free(runtime);
    events_come_in_order();
    functions_veto_and_stop();
    every_event_can_fail();
    loaders_give_the_same();
    loaders_fail();
    functions_see_what_there_is();
    a_context_is_over_with_its_event();
    evaluations_are_right();
    steps_and_fits_share_one_trainer();
    a_training_goes_on();
    options_are_read();
    glebe_model_free(model);
    return 0;
}
