/*
 * Finetunes a model on two arrays, images and labels:  finetune MODEL OUTPUT
 *
 *     cc -std=c11 finetune.c -o finetune $(pkg-config --cflags --libs glebe) -lm
 *
 * The arrays are made up here: blocks that are brighter in one band, which the model learns to find. A program of
 * yours has pixels and labels of its own, normalised as the model expects. The exit code is the library's status.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <glebe.h>

enum { BATCH = 2, SIDE = 64, STEPS = 30 };

/* Images [N, C, H, W] and labels [N, H, W]. */
static void make_up(float *images, int32_t *labels, size_t bands, unsigned seed)
{
    for (size_t n = 0; n < BATCH; n++)
        for (size_t y = 0; y < SIDE; y++)
            for (size_t x = 0; x < SIDE; x++) {
                int inside = ((x + seed) / 16 + (y + 3 * seed) / 16 + n) % 2 == 1;
                labels[(n * SIDE + y) * SIDE + x] = inside;
                for (size_t c = 0; c < bands; c++) {
                    double noise = sin((double)(x * 13 + y * 7 + c * 5 + seed)) * 0.3;
                    images[((n * bands + c) * SIDE + y) * SIDE + x] =
                        (float)(noise + (inside && c == 0 ? 1.0 : 0.0));
                }
            }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL OUTPUT\n", argv[0]);
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    glebe_error *error = NULL;
    glebe_runtime *runtime = NULL;
    glebe_model *model = NULL;
    glebe_trainer *trainer = NULL;
    float *images = NULL;
    int32_t *labels = NULL;

    glebe_trainer_options options;
    glebe_trainer_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.height = SIDE;
    options.width = SIDE;
    options.params = "all"; /* or "head", "decoder", "decoder.*,!*.bias" */
    options.loss = "ce";
    options.ignore_index = 255;
    options.has_ignore_index = 1;

    glebe_status status = glebe_runtime_load(NULL, &runtime, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_model_open(runtime, argv[1], NULL, &model, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_new(model, &options, &trainer, &error);

    if (status == GLEBE_STATUS_OK) {
        size_t shape[4];
        glebe_trainer_image_shape(trainer, shape, 4);
        size_t pixels = (size_t)BATCH * SIDE * SIDE;
        images = malloc(pixels * shape[1] * sizeof *images);
        labels = malloc(pixels * sizeof *labels);
        if (images == NULL || labels == NULL)
            status = GLEBE_STATUS_OUT_OF_MEMORY;
        glebe_batch batch;
        glebe_batch_init(&batch, sizeof batch);
        batch.images = images;
        batch.images_len = pixels * shape[1];
        batch.labels = labels;
        batch.labels_len = pixels;
        batch.label_type = GLEBE_DATA_TYPE_I32;
        for (unsigned step = 0; step < STEPS && status == GLEBE_STATUS_OK; step++) {
            float loss = 0;
            make_up(images, labels, shape[1], step % 4);
            status = glebe_trainer_step(trainer, &batch, 3e-2f, &loss, &error);
            if (status == GLEBE_STATUS_OK)
                printf("step %u loss %.4f\n", step + 1, loss);
        }
    }
    if (status == GLEBE_STATUS_OK)
        status = glebe_trainer_export(trainer, argv[2], 0, 1, &error);
    if (status != GLEBE_STATUS_OK)
        fprintf(stderr, "%s: %s\n", glebe_status_name(status), glebe_error_message(error));

    free(images);
    free(labels);
    glebe_error_free(error);
    glebe_trainer_free(trainer);
    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return status;
}
