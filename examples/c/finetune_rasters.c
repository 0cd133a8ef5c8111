/*
 * Finetunes a model on labelled rasters:  finetune_rasters MODEL TRAIN VAL OUT
 *
 *     cc -std=c11 finetune_rasters.c -o finetune_rasters $(pkg-config --cflags --libs glebe)
 *
 * TRAIN and VAL are lists of images and labels, or one pair IMAGE;LABELS each. OUT is the folder of all that is written:
 * the model, checkpoints, metrics, curves, pictures; then OUT/scores.json, what the model scores on the whole images of
 * VAL, and OUT/best.onnx, the best checkpoint as a model. The exit code is the library's status.
 */
#include <stdio.h>

#include <glebe.h>

/* What is the same in every run; everything else has a default, and a setting over it. */
static const char *const CONFIG = "[data]\n"
                                  "scale = 255\n"
                                  "[sampling]\n"
                                  "kind = \"balanced\"\n"
                                  "[training]\n"
                                  "epochs = 5\n"
                                  "learning_rate = 1e-2\n"
                                  "size = 32\n";

/* Prints a line an epoch. */
static int32_t told(int32_t event, glebe_event_context *context, void *user_data)
{
    double loss = 0;
    (void)user_data;
    if (event != GLEBE_EVENT_EPOCH_END)
        return 0;
    glebe_run_state state;
    glebe_run_state_init(&state, sizeof state);
    glebe_status status = glebe_event_run_state(context, &state, NULL);
    if (status == GLEBE_STATUS_OK)
        status = glebe_event_metric(context, "val/Loss", &loss, NULL);
    printf("epoch %d of %d, loss %.4f\n", (int)state.epoch, (int)state.epochs, loss);
    return status; /* ends the run unless it is 0 */
}

/* Writes what `model` scores on the images of `data` into a file. */
static glebe_status evaluate(const glebe_runtime *runtime, const char *model_path, const char *data, const char *path,
                             glebe_error **error)
{
    glebe_model *model = NULL;
    glebe_buffer scores = {NULL, 0}; /* JSON */
    glebe_evaluate_options options;
    glebe_evaluate_options_init(&options, sizeof options);
    options.split = GLEBE_SPLIT_VAL; /* of lists that say which line is for what */
    glebe_status status = glebe_model_open(runtime, model_path, NULL, &model, error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_evaluate(model, &data, 1, &options, NULL, &scores, NULL, error);
    if (status == GLEBE_STATUS_OK) {
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(scores.data, 1, scores.size, file) != scores.size)
            status = GLEBE_STATUS_IO;
        if (file && fclose(file) != 0)
            status = GLEBE_STATUS_IO;
    }
    glebe_buffer_free(&scores);
    glebe_model_free(model);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s MODEL TRAIN VAL OUT\n", argv[0]);
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    char texts[4][4096];
    const char *const keys[] = {"model", "data.train", "data.val", "out"};
    const char *settings[4];
    for (int i = 0; i < 4; i++) {
        snprintf(texts[i], sizeof texts[i], "%s=%s", keys[i], argv[i + 1]);
        settings[i] = texts[i];
    }
    glebe_finetuning_options options;
    glebe_finetuning_options_init(&options, sizeof options);
    options.config = CONFIG;
    options.settings = settings;
    options.settings_len = 4;

    glebe_error *error = NULL;
    glebe_runtime *runtime = NULL;
    glebe_finetuning *finetuning = NULL;
    glebe_buffer report = {NULL, 0}; /* JSON: scores, times, paths */
    glebe_status status = glebe_runtime_load(NULL, &runtime, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_finetuning_new(runtime, &options, &finetuning, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_finetuning_add_events(finetuning, told, NULL, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_finetuning_run(finetuning, &report, &error);

    char files[4][4096]; /* below the folder */
    const char *const names[] = {"model.onnx", "scores.json", "checkpoints/best.safetensors", "best.onnx"};
    for (int i = 0; i < 4; i++)
        snprintf(files[i], sizeof files[i], "%s/%s", argv[4], names[i]);
    if (status == GLEBE_STATUS_OK)
        status = evaluate(runtime, files[0], argv[3], files[1], &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_export(argv[1], files[2], files[3], NULL, NULL, NULL, &error);
    if (status == GLEBE_STATUS_OK)
        printf("%s\n%s\n%s\n", files[0], files[1], files[3]);
    else
        fprintf(stderr, "%s: %s\n", glebe_status_name(status), error ? glebe_error_message(error) : files[1]);

    glebe_buffer_free(&report);
    glebe_error_free(error);
    glebe_finetuning_free(finetuning);
    glebe_runtime_free(runtime);
    return status;
}
