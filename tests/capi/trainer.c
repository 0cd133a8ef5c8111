/* Training steps: numbers, state, what is refused. */
#include <math.h>

#include "check.h"

enum { N = 2, SIDE = 4, PLANE = SIDE * SIDE, IMAGES = N * BANDS * PLANE, LABELS = N * PLANE };

static glebe_model *model;
static float images[IMAGES];
static unsigned char labels[LABELS];

static glebe_trainer_options step_options(void)
{
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    CHECK(options.struct_size == sizeof options && options.decay_norm_and_bias == 1);
    options.batch = N;
    options.height = options.width = SIDE;
    options.threads = 1;
    options.optimizer = "sgd";
    return options;
}

static glebe_batch batch_of(void)
{
    glebe_batch batch;
    CHECK(glebe_batch_init(&batch, sizeof batch) == GLEBE_STATUS_OK);
    batch.images = images;
    batch.images_len = IMAGES;
    batch.labels = labels;
    batch.labels_len = LABELS;
    batch.label_type = GLEBE_DATA_TYPE_U8;
    return batch;
}

static glebe_trainer *trainer_of(const glebe_trainer_options *options)
{
    glebe_trainer *trainer = NULL;
    OK(glebe_trainer_new(model, options, &trainer, &error));
    CHECK(trainer != NULL);
    return trainer;
}

static float value(size_t n, size_t c, size_t pixel)
{
    return images[(n * BANDS + c) * PLANE + pixel];
}

/* The cross-entropy and its gradient by the weights [2, 3, 1, 1], by definition. */
static double by_hand(const float *weights, double *gradient)
{
    double loss = 0;
    memset(gradient, 0, 6 * sizeof *gradient);
    for (size_t n = 0; n < N; n++)
        for (size_t pixel = 0; pixel < PLANE; pixel++) {
            double logits[2] = {0, 0};
            for (size_t k = 0; k < 2; k++)
                for (size_t c = 0; c < BANDS; c++)
                    logits[k] += (double)weights[k * BANDS + c] * value(n, c, pixel);
            double sum = exp(logits[0]) + exp(logits[1]);
            size_t label = labels[n * PLANE + pixel];
            loss += (log(sum) - logits[label]) / LABELS;
            for (size_t k = 0; k < 2; k++)
                for (size_t c = 0; c < BANDS; c++)
                    gradient[k * BANDS + c] +=
                        (exp(logits[k]) / sum - (k == label)) * value(n, c, pixel) / LABELS;
        }
    return loss;
}

static void steps_are_right(int portable)
{
    glebe_trainer_options options = step_options();
    options.portable = portable;
    glebe_trainer *trainer = trainer_of(&options);
    glebe_batch batch = batch_of();
    size_t shape[4] = {0, 0, 0, 0};
    CHECK(glebe_trainer_image_shape(trainer, shape, 4) == 4);
    CHECK(shape[0] == N && shape[1] == BANDS && shape[2] == SIDE && shape[3] == SIDE);
    CHECK(glebe_trainer_logits_shape(trainer, shape, 2) == 4);
    CHECK(shape[0] == N && shape[1] == 2 && shape[2] == SIDE);
    CHECK(glebe_trainer_tensor_count(trainer) == 1);
    CHECK(strcmp(glebe_trainer_tensor_name(trainer, 0), "weights") == 0);
    CHECK(glebe_trainer_tensor_name(trainer, 1) == NULL);
    CHECK(glebe_trainer_tensor_shape(trainer, 0, shape, 4) == 4 && shape[0] == 2 && shape[1] == 3 && shape[2] == 1);
    CHECK(glebe_trainer_tensor_shape(trainer, 0, NULL, 0) == 4);

    float weights[6], found[6], loss = NAN;
    double gradient[6];
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_WEIGHT, "weights", weights, 6, &error));
    CHECK(weights[0] == 1 && weights[1] == 0 && weights[5] == 1);
    for (int step = 0; step < 3; step++) {
        double expected = by_hand(weights, gradient);
        OK(glebe_trainer_step(trainer, &batch, 0.25f, &loss, &error));
        CHECK(fabs(loss - expected) < 1e-5);
        for (size_t i = 0; i < 6; i++)
            weights[i] -= 0.25f * (float)gradient[i];
        OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_WEIGHT, "weights", found, 6, &error));
        for (size_t i = 0; i < 6; i++)
            CHECK(fabsf(found[i] - weights[i]) < 1e-5f);
    }
    CHECK(glebe_trainer_updates(trainer) == 3);

    /* Gradients and logits on request, and the veto. */
    float logits[LABELS * 2];
    FAILS(GLEBE_STATUS_INVALID_STATE, "no logits", glebe_trainer_logits(trainer, logits, LABELS * 2, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "no gradients wait", glebe_trainer_apply(trainer, 0.1f, NULL, NULL, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "no gradients wait",
          glebe_trainer_tensor(trainer, GLEBE_TENSOR_GRADIENT, "weights", found, 6, &error));
    OK(glebe_trainer_want_logits(trainer, 1, &error));
    OK(glebe_trainer_accumulate(trainer, &batch, &loss, &error));
    by_hand(weights, gradient);
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_GRADIENT, "weights", found, 6, &error));
    for (size_t i = 0; i < 6; i++)
        CHECK(fabs(found[i] - gradient[i]) < 1e-5);
    OK(glebe_trainer_logits(trainer, logits, LABELS * 2, &error));
    double first = 0;
    for (size_t c = 0; c < BANDS; c++)
        first += (double)weights[c] * value(0, c, 0);
    CHECK(fabs(logits[0] - first) < 1e-4);
    FAILS(GLEBE_STATUS_MISMATCH, "room for 64 values, got 63",
          glebe_trainer_logits(trainer, logits, 63, &error));
    OK(glebe_trainer_discard(trainer, &error));
    int32_t skipped = 7;
    float norm = 0;
    OK(glebe_trainer_accumulate(trainer, &batch, NULL, &error));
    OK(glebe_trainer_apply(trainer, 0.0f, &skipped, &norm, &error));
    CHECK(skipped == 0 && isnan(norm));

    /* The state, and going on from it. */
    glebe_buffer state = {NULL, 0};
    OK(glebe_trainer_state(trainer, &state, &error));
    glebe_trainer *other = trainer_of(&options);
    OK(glebe_trainer_set_state(other, state.data, state.size, &error));
    CHECK(glebe_trainer_updates(other) == 4);
    float a = 0, b = 1;
    OK(glebe_trainer_step(trainer, &batch, 0.1f, &a, &error));
    OK(glebe_trainer_step(other, &batch, 0.1f, &b, &error));
    CHECK(a == b);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "not a safetensors file",
          glebe_trainer_set_state(other, state.data, state.size - 1, &error));
    glebe_buffer_free(&state);
    glebe_trainer_free(other);

    /* The finetuned model is a model. */
    const char *path = file(portable ? "portable.onnx" : "tuned.onnx");
    OK(glebe_trainer_export(trainer, path, 0, 0, &error));
    FAILS(GLEBE_STATUS_ALREADY_EXISTS, ".onnx", glebe_trainer_export(trainer, path, 0, 0, &error));
    OK(glebe_trainer_export(trainer, path, 0, 1, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "moving average", glebe_trainer_export(trainer, path, 1, 1, &error));
    glebe_runtime *runtime = load();
    glebe_model *tuned = open_model(runtime, portable ? "portable.onnx" : "tuned.onnx");
    glebe_model_free(tuned);
    glebe_runtime_free(runtime);
    glebe_trainer_free(trainer);
}

static void refused(glebe_status status, const char *text, glebe_trainer_options options)
{
    glebe_trainer *trainer = NULL;
    FAILS(status, text, glebe_trainer_new(model, &options, &trainer, &error));
    CHECK(trainer == NULL);
}

#define REFUSED(status, text, change)                     \
    do {                                                  \
        glebe_trainer_options options = step_options();   \
        change;                                           \
        refused(status, text, options);                   \
    } while (0)

#define BAD_BATCH(status, text, change)                                                   \
    do {                                                                                  \
        glebe_batch batch = batch_of();                                                   \
        change;                                                                           \
        FAILS(status, text, glebe_trainer_step(trainer, &batch, 0.1f, NULL, &error));     \
    } while (0)

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    for (size_t i = 0; i < IMAGES; i++)
        images[i] = (float)((i * 37) % 19) / 19.0f - 0.5f;
    for (size_t i = 0; i < LABELS; i++)
        labels[i] = (unsigned char)(i % 3 == 0);
    glebe_runtime *runtime = load();
    model = open_model(runtime, "batches.onnx");
    glebe_runtime_free(runtime);

    steps_are_right(0);
    steps_are_right(1);

    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "batch of 1 or more", options.batch = 0);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "unknown optimizer", options.optimizer = "sdg");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "momentum", options.momentum = 1.0f);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "decoder.*", options.params = "decoder.*");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "loss", options.loss = "crossentropy");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "batch_norm is 3", options.batch_norm = 3);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "nesterov is 2", options.nesterov = 2);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "reserved", options.reserved = 1);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size", options.struct_size = 8);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "image", options.feature_memory = 1 << 20);
    const char *pattern = "nothing";
    const float one = 1.0f;
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "nothing", {
        options.group_patterns = &pattern;
        options.group_lr_multipliers = &one;
        options.groups_len = 1;
    });
    const float weight[3] = {1, 2, 3};
    REFUSED(GLEBE_STATUS_MISMATCH, "class weights", {
        options.class_weights = weight;
        options.class_weights_len = 3;
    });
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "group_lr_multipliers is NULL", {
        options.group_patterns = &pattern;
        options.groups_len = 1;
    });

    glebe_trainer_options options = step_options();
    glebe_cancel_token *token = glebe_cancel_token_new();
    options.cancel = token;
    options.ema_decay = 0.5f;
    glebe_trainer *trainer = trainer_of(&options);
    BAD_BATCH(GLEBE_STATUS_MISMATCH, "96 samples", batch.images_len = 95);
    BAD_BATCH(GLEBE_STATUS_MISMATCH, "labels", batch.labels_len = 31);
    BAD_BATCH(GLEBE_STATUS_INVALID_ARGUMENT, "label_type is 0", batch.label_type = 0);
    BAD_BATCH(GLEBE_STATUS_INVALID_ARGUMENT, "images is NULL", batch.images = NULL);
    BAD_BATCH(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size", batch.struct_size = 0);
    labels[17] = 2;
    BAD_BATCH(GLEBE_STATUS_INVALID_ARGUMENT, "label 2 in image 1 at row 0, column 1", (void)0);
    labels[17] = 0;
    glebe_batch batch = batch_of();
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "learning rate", glebe_trainer_step(trainer, &batch, -1.0f, NULL, &error));
    FAILS(GLEBE_STATUS_INVALID_STATE, "loss scale", glebe_trainer_set_loss_scale(trainer, 2.0f, &error));
    float found[6];
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "kind is 3", glebe_trainer_tensor(trainer, 3, "weights", found, 6, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "weight", glebe_trainer_tensor(trainer, 0, "weight", found, 6, &error));
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_AVERAGE, "weights", found, 6, &error));
    CHECK(found[0] == 1 && glebe_trainer_updates(trainer) == 0 && glebe_trainer_has_features(trainer, 1) == 0);
    glebe_cancel_token_cancel(token);
    FAILS(GLEBE_STATUS_CANCELLED, "", glebe_trainer_step(trainer, &batch, 0.1f, NULL, &error));
    CHECK(glebe_trainer_updates(trainer) == 0);
    glebe_trainer_free(trainer);
    glebe_trainer_free(NULL);
    glebe_cancel_token_free(token);
    glebe_model_free(model);
    return 0;
}
