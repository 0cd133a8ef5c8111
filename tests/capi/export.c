/* Models with the weights of checkpoints, written without a runtime. */
#include "check.h"

static int says(const glebe_buffer *json, const char *text)
{
    CHECK(json->data != NULL && json->data[json->size] == 0);
    return strstr((const char *)json->data, text) != NULL;
}

/* What a model file is, as JSON. */
static int is(const char *name, const char *text)
{
    glebe_buffer json = {NULL, 0};
    OK(glebe_inspect_file(file(name), &json, &error));
    int found = says(&json, text);
    glebe_buffer_free(&json);
    return found;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    /* file() has a few places for paths: these stay */
    char model[4096], weights[4096], out[4096];
    snprintf(model, sizeof model, "%s", file("bands.onnx"));
    snprintf(weights, sizeof weights, "%s", file("weights.safetensors"));
    snprintf(out, sizeof out, "%s", file("out.onnx"));

    /* weights alone */
    glebe_buffer json = {NULL, 0};
    OK(glebe_export(model, weights, out, NULL, NULL, &json, &error));
    CHECK(says(&json, "Loading checkpoint that was created at (epoch = 2, global_step = 4)"));
    CHECK(says(&json, "\"stripped\": \"model.\"") && says(&json, "\"merged\": []"));
    glebe_buffer_free(&json);
    glebe_runtime *runtime = load();
    glebe_model *made = open_model(runtime, "out.onnx");
    glebe_runtime_free(runtime);
    CHECK(glebe_model_class_name_count(made) == 2);
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.batch = 1;
    options.height = options.width = 4;
    options.threads = 1;
    glebe_trainer *trainer = NULL;
    OK(glebe_trainer_new(made, &options, &trainer, &error));
    float values[6];
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_WEIGHT, "weights", values, 6, &error));
    CHECK(values[0] == 1.0f && values[4] == 1.0f && values[5] == 0.0f);
    glebe_trainer_free(trainer);
    glebe_model_free(made);

    /* nothing is replaced unasked, nor is what is read */
    FAILS(GLEBE_STATUS_ALREADY_EXISTS, "out.onnx", glebe_export(model, weights, out, NULL, NULL, &json, &error));
    glebe_export_options tags;
    CHECK(glebe_export_options_init(&tags, sizeof tags) == GLEBE_STATUS_OK);
    CHECK(tags.struct_size == sizeof tags && tags.overwrite == 0 && tags.bands == NULL && tags.lora_alpha == 0);
    CHECK(glebe_export_options_init(&tags, 8) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_export_options_init(NULL, sizeof tags) == GLEBE_STATUS_INVALID_ARGUMENT);
    tags.overwrite = 1;
    OK(glebe_export(model, weights, out, NULL, &tags, NULL, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "same file", glebe_export(model, weights, model, NULL, &tags, &json, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "same file",
          glebe_export(model, weights, weights, NULL, &tags, &json, &error));

    /* what the model says */
    const uint32_t bands[3] = {3, 2, 1};
    const double scale[1] = {255}, mean[3] = {0.1, 0.2, 0.3}, deviation[1] = {0.25};
    const char *names[2] = {"field", "road"};
    tags.bands = bands;
    tags.bands_len = 3;
    tags.scale = scale;
    tags.scale_len = 1;
    tags.mean = mean;
    tags.mean_len = 3;
    tags.std = deviation;
    tags.std_len = 1;
    tags.class_names = names;
    tags.class_names_len = 2;
    tags.tile = 64;
    OK(glebe_export(model, NULL, out, NULL, &tags, &json, &error));
    CHECK(says(&json, "\"report\": null") && says(&json, "\"glebe.mean\": \"[0.1,0.2,0.3]\""));
    CHECK(says(&json, "\"glebe.bands\": \"[3,2,1]\"") && says(&json, "\"glebe.tile\": \"64\""));
    glebe_buffer_free(&json);
    CHECK(is("out.onnx", "road") && !is("out.onnx", "water") && is("bands.onnx", "water"));

    /* what is wrong */
#define REFUSED(kind, text, change)                                                                        \
    do {                                                                                                   \
        glebe_export_options own = tags;                                                                   \
        change;                                                                                            \
        FAILS(kind, text, glebe_export(model, weights, file("none.onnx"), NULL, &own, &json, &error));     \
        CHECK(!exists(file("none.onnx")));                                                                       \
    } while (0)
    REFUSED(GLEBE_STATUS_MISMATCH, "expects 3 bands", own.bands_len = 2);
    REFUSED(GLEBE_STATUS_MISMATCH, "mean", own.mean_len = 2);
    REFUSED(GLEBE_STATUS_MISMATCH, "expected 2", own.class_names_len = 1);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "16384", own.tile = 20000);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "bands", own.bands = NULL);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "class_names", own.class_names = NULL);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "overwrite", own.overwrite = 2);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "averages", own.averages = -1);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "moving averages", own.averages = 1);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "alpha", own.lora_alpha = -1);
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "nothing", own.output = "nothing");
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "glebe_export_options", own.struct_size = 3);
    glebe_load_options which;
    CHECK(glebe_load_options_init(&which, sizeof which) == GLEBE_STATUS_OK);
    which.prefix = "student.";
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "student.",
          glebe_export(model, weights, file("none.onnx"), &which, &tags, &json, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "no checkpoint",
          glebe_export(model, NULL, file("none.onnx"), &which, &tags, &json, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "nothing to export",
          glebe_export(model, NULL, file("none.onnx"), NULL, NULL, &json, &error));
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.ckpt",
          glebe_export(model, file("nothing.ckpt"), file("none.onnx"), NULL, &tags, &json, &error));
    FAILS(GLEBE_STATUS_MODEL_INVALID, "damaged.onnx",
          glebe_export(file("damaged.onnx"), weights, file("none.onnx"), NULL, &tags, &json, &error));
    CHECK(json.data == NULL && !exists(file("none.onnx")));
    return 0;
}
