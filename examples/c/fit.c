/*
 * Trains a model for some epochs, and says how it goes:  fit MODEL OUTPUT CHECKPOINTS
 *
 *     cc -std=c11 fit.c -o fit $(pkg-config --cflags --libs glebe) -lm
 *
 * Run it again after it was interrupted: it goes on from the newest checkpoint. The folder CHECKPOINTS gets the metrics
 * and their curves too. The images are made up: blocks that are brighter in one band. The exit code is the library's
 * status.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <glebe.h>

enum { BATCH = 2, SIDE = 64, IMAGES = 8, EPOCHS = 5 };

/* Image number n [C, H, W] and its labels [H, W]. */
static void make_up(float *image, uint8_t *labels, size_t bands, size_t n)
{
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++) {
            int inside = ((x + n) / 16 + (y + 3 * n) / 16) % 2 == 1;
            labels[y * SIDE + x] = (uint8_t)inside;
            for (size_t c = 0; c < bands; c++) {
                double noise = sin((double)(x * 13 + y * 7 + c * 5 + n)) * 0.3;
                image[(c * SIDE + y) * SIDE + x] = (float)(noise + (inside && c == 0 ? 1.0 : 0.0));
            }
        }
}

/* Prints a line an epoch, and ends the training when it is good enough. */
static int32_t told(int32_t event, glebe_event_context *context, void *user_data)
{
    double loss = 0;
    (void)user_data;
    if (event == GLEBE_EVENT_CHECKPOINT_LOAD)
        printf("%s\n", glebe_event_checkpoint_message(context));
    if (event != GLEBE_EVENT_VALIDATION_END)
        return 0;
    glebe_run_state state;
    glebe_run_state_init(&state, sizeof state);
    glebe_status status = glebe_event_run_state(context, &state, NULL);
    if (status == GLEBE_STATUS_OK)
        status = glebe_event_metric(context, "Loss", &loss, NULL);
    printf("epoch %d of %d, loss %.4f\n", (int)state.epoch, (int)state.epochs, loss);
    if (status == GLEBE_STATUS_OK && loss < 0.01)
        status = glebe_event_request_stop(context, NULL);
    return status; /* ends the run unless it is 0 */
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL OUTPUT CHECKPOINTS\n", argv[0]);
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    glebe_error *error = NULL;
    glebe_runtime *runtime = NULL;
    glebe_model *model = NULL;
    glebe_trainer *trainer = NULL;
    glebe_loader *train = NULL, *validation = NULL;
    glebe_trainer_options options;
    glebe_trainer_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.height = options.width = SIDE;
    glebe_fit_options fit;
    glebe_fit_options_init(&fit, sizeof fit);
    fit.epochs = EPOCHS;
    fit.learning_rate = 5e-2;
    fit.schedule = GLEBE_SCHEDULE_COSINE;
    fit.checkpoint_folder = argv[3];

    glebe_status status = glebe_runtime_load(NULL, &runtime, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_model_open(runtime, argv[1], NULL, &model, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_new(model, &options, &trainer, &error);
    size_t shape[4] = {0};
    glebe_trainer_image_shape(trainer, shape, 4);
    const size_t plane = SIDE * SIDE, image = shape[1] * plane, used = IMAGES - BATCH;
    float *images = malloc(IMAGES * image * sizeof *images + 1);
    uint8_t *labels = malloc(IMAGES * plane);
    if (status == GLEBE_STATUS_OK && (images == NULL || labels == NULL))
        status = GLEBE_STATUS_OUT_OF_MEMORY;
    for (size_t n = 0; n < IMAGES && status == GLEBE_STATUS_OK; n++)
        make_up(images + n * image, labels + n * plane, shape[1], n);

    /* The last batch is for validation. */
    if (status == GLEBE_STATUS_OK)
        status = glebe_loader_new_arrays(trainer, images, used * image, labels, used * plane, 1, &train, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_loader_new_arrays(trainer, images + used * image, BATCH * image, labels + used * plane,
                                         BATCH * plane, 0, &validation, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_set_fit_options(trainer, &fit, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_add_events(trainer, told, NULL, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_add_outputs(trainer, argv[3], GLEBE_OUTPUT_EPOCH_CSV | GLEBE_OUTPUT_CURVES, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_resume_newest(trainer, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_fit(trainer, train, validation, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_export(trainer, argv[2], 0, 1, &error);
    if (status != GLEBE_STATUS_OK)
        fprintf(stderr, "%s: %s\n", glebe_status_name(status), error ? glebe_error_message(error) : "no memory");

    free(images);
    free(labels);
    glebe_error_free(error);
    glebe_loader_free(train);
    glebe_loader_free(validation);
    glebe_trainer_free(trainer);
    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return status;
}
