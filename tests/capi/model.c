/* Runtime and models: opening, what they tell, errors with their fields, outputs left alone on failure. */
#include "check.h"

static size_t read_all(const char *path, unsigned char **data)
{
    FILE *open = fopen(path, "rb");
    CHECK(open != NULL);
    CHECK(fseek(open, 0, SEEK_END) == 0);
    long size = ftell(open);
    rewind(open);
    *data = malloc((size_t)size);
    CHECK(fread(*data, 1, (size_t)size, open) == (size_t)size);
    fclose(open);
    return (size_t)size;
}

static void text_is_terminated(const glebe_buffer *buffer)
{
    CHECK(buffer->data != NULL && buffer->size > 0);
    CHECK(buffer->data[buffer->size] == 0);
    CHECK(strlen((const char *)buffer->data) == buffer->size);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];

    /* runtime */
    glebe_runtime_options where;
    CHECK(glebe_runtime_options_init(&where, sizeof where) == GLEBE_STATUS_OK);
    where.library = "/nowhere/libonnxruntime.so";
    glebe_runtime *runtime = NULL;
    FAILS(GLEBE_STATUS_RUNTIME_NOT_FOUND, "nowhere", glebe_runtime_load(&where, &runtime, &error));
    CHECK(runtime == NULL);
    where.library = NULL;
    where.reserved = 1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "reserved", glebe_runtime_load(&where, &runtime, &error));
    where.reserved = 0;
    OK(glebe_runtime_load(&where, &runtime, &error));
    CHECK(strncmp(glebe_runtime_version(runtime), "1.", 2) == 0);
    CHECK(strstr(glebe_runtime_library(runtime), "onnxruntime") != NULL);
    CHECK(glebe_runtime_origin(runtime) != NULL);
    glebe_runtime *again = load();
    CHECK(strcmp(glebe_runtime_library(again), glebe_runtime_library(runtime)) == 0);
    glebe_runtime_free(again);
    where.library = "/nowhere/libonnxruntime.so";
    FAILS(GLEBE_STATUS_INVALID_STATE, "already", glebe_runtime_load(&where, &again, &error));
    glebe_buffer json = {NULL, 0};
    OK(glebe_runtime_providers(runtime, &json, &error));
    text_is_terminated(&json);
    CHECK(strstr((const char *)json.data, "\"name\": \"cpu\"") != NULL);
    CHECK(strstr((const char *)json.data, "\"usable\": true") != NULL);
    glebe_buffer_free(&json);
    CHECK(json.data == NULL && json.size == 0);
    glebe_buffer_free(&json);

    /* a model from a file */
    glebe_model *model = open_model(runtime, "bands.onnx");
    CHECK(strcmp(glebe_model_path(model), file("bands.onnx")) == 0);
    CHECK(strcmp(glebe_model_input_name(model), "x") == 0);
    CHECK(strcmp(glebe_model_output_name(model), "y") == 0);
    CHECK(glebe_model_input_channels(model) == 3);
    CHECK(glebe_model_tile_width(model) == 0 && glebe_model_tile_height(model) == 0);
    CHECK(glebe_model_batch(model) == 1);
    CHECK(glebe_model_class_name_count(model) == 2);
    CHECK(strcmp(glebe_model_class_name(model, 0), "land") == 0);
    CHECK(strcmp(glebe_model_class_name(model, 1), "water") == 0);
    CHECK(glebe_model_class_name(model, 2) == NULL);
    CHECK(glebe_model_class_name(model, SIZE_MAX) == NULL);
    OK(glebe_model_inspect(model, &json, &error));
    text_is_terminated(&json);
    CHECK(strstr((const char *)json.data, "\"can_segment\": true") != NULL);
    glebe_buffer_free(&json);
    glebe_model_free(model);

    /* the same from bytes, which may go as soon as it is open; and it outlives the runtime's handle */
    unsigned char *bytes = NULL;
    size_t size = read_all(file("bands.onnx"), &bytes);
    glebe_model_options how;
    CHECK(glebe_model_options_init(&how, sizeof how) == GLEBE_STATUS_OK);
    how.output = "y";
    OK(glebe_model_open_bytes(runtime, bytes, size, &how, &model, &error));
    memset(bytes, 0xff, size);
    CHECK(glebe_model_path(model) == NULL);
    CHECK(glebe_model_input_channels(model) == 3);
    glebe_runtime_free(runtime);
    OK(glebe_model_inspect(model, &json, &error));
    glebe_buffer_free(&json);
    glebe_model_free(model);
    runtime = load();

    /* failures */
    glebe_model *untouched = (glebe_model *)&size;
    model = untouched;
    FAILS(GLEBE_STATUS_MODEL_INVALID, "", glebe_model_open_bytes(runtime, bytes, size, NULL, &model, &error));
    FAILS(GLEBE_STATUS_MODEL_INVALID, "", glebe_model_open_bytes(runtime, NULL, 0, NULL, &model, &error));
    FAILS(GLEBE_STATUS_MODEL_INVALID, "damaged.onnx",
          glebe_model_open(runtime, file("damaged.onnx"), NULL, &model, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "not UTF-8", glebe_model_open(runtime, "\xff", NULL, &model, &error));
    how.output = "z";
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "no output \"z\"",
          glebe_model_open(runtime, file("bands.onnx"), &how, &model, &error));
    how.output = NULL;
    how.external_data = 2;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "external_data",
          glebe_model_open(runtime, file("bands.onnx"), &how, &model, &error));
    how.external_data = 0;
    how.max_file_bytes = 10;
    FAILS(GLEBE_STATUS_LIMIT_EXCEEDED, "",
          glebe_model_open(runtime, file("bands.onnx"), &how, &model, &error));
    CHECK(glebe_model_open(runtime, file("damaged.onnx"), NULL, &model, NULL) == GLEBE_STATUS_MODEL_INVALID);
    CHECK(model == untouched);

    /* fields of an error */
    CHECK(glebe_model_open(runtime, file("nothing.onnx"), NULL, &model, &error) == GLEBE_STATUS_NOT_FOUND);
    CHECK(glebe_error_code(error) == GLEBE_STATUS_NOT_FOUND);
    CHECK(strcmp(glebe_error_path(error), file("nothing.onnx")) == 0);
    CHECK(strstr(glebe_error_message(error), "nothing.onnx") != NULL);
    CHECK(glebe_error_tile(error) == -1 && glebe_error_band(error) == -1);
    CHECK(glebe_error_tensor(error) == NULL);
    CHECK(glebe_error_cause_count(error) == 1);
    CHECK(glebe_error_cause(error, 0) != NULL && glebe_error_cause(error, 1) == NULL);
    glebe_error_free(error);
    error = NULL;

    /* a file without a runtime */
    OK(glebe_inspect_file(file("bands.onnx"), &json, &error));
    text_is_terminated(&json);
    CHECK(strstr((const char *)json.data, "\"kind\": \"model\"") != NULL);
    glebe_buffer_free(&json);
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.onnx", glebe_inspect_file(file("nothing.onnx"), &json, &error));
    CHECK(json.data == NULL);

    free(bytes);
    glebe_runtime_free(runtime);
    return 0;
}
