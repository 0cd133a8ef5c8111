/* Checkpoints: what they tell, and their weights in a trainer. */
#include "check.h"

static const char *const MESSAGE = "Loading checkpoint that was created at (epoch = 2, global_step = 4)";

static int says(const glebe_buffer *json, const char *text)
{
    CHECK(json->data != NULL && json->data[json->size] == 0);
    return strstr((const char *)json->data, text) != NULL;
}

static void weights_of(const glebe_trainer *trainer, float *weights)
{
    OK(glebe_trainer_tensor(trainer, GLEBE_TENSOR_WEIGHT, "weights", weights, 6, &error));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    const char *path = file("weights.safetensors");

    glebe_buffer json = {NULL, 0};
    OK(glebe_checkpoint_inspect(path, &json, &error));
    CHECK(says(&json, "\"kind\": \"checkpoint\"") && says(&json, "\"name\": \"model.weights\""));
    CHECK(says(&json, MESSAGE) && says(&json, "\"global_step\": 4"));
    glebe_buffer_free(&json);
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.ckpt", glebe_checkpoint_inspect(file("nothing.ckpt"), &json, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "bands.onnx", glebe_checkpoint_inspect(file("bands.onnx"), &json, &error));
    CHECK(json.data == NULL);

    glebe_runtime *runtime = load();
    glebe_model *model = open_model(runtime, "bands.onnx");
    glebe_runtime_free(runtime);
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.batch = 1;
    options.height = options.width = 4;
    options.threads = 1;
    glebe_trainer *trainer = NULL;
    OK(glebe_trainer_new(model, &options, &trainer, &error));
    glebe_model_free(model);

    float before[6], after[6];
    weights_of(trainer, before);
    CHECK(before[5] == 1.0f && before[4] == 0.0f);
    OK(glebe_trainer_load_checkpoint(trainer, path, NULL, &json, &error));
    CHECK(says(&json, MESSAGE) && says(&json, "\"stripped\": \"model.\"") && says(&json, "\"missing\": []"));
    glebe_buffer_free(&json);
    weights_of(trainer, after);
    CHECK(after[5] == 0.0f && after[4] == 1.0f && after[0] == 1.0f);
    CHECK(glebe_trainer_updates(trainer) == 0);

    /* the settings reach it */
    glebe_load_options which;
    CHECK(glebe_load_options_init(&which, sizeof which) == GLEBE_STATUS_OK);
    CHECK(which.struct_size == sizeof which && which.partial == 0 && which.norm_epsilon == 1e-5);
    which.prefix = "student.";
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "student.",
          glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    which.prefix = "model.";
    OK(glebe_trainer_load_checkpoint(trainer, path, &which, NULL, &error));
    which.filter = "!weights";
    FAILS(GLEBE_STATUS_MISMATCH, "no tensor", glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    which.filter = ",";
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "pattern",
          glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    which.filter = NULL;
    which.key = "model_ema";
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "keys", glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    which.key = NULL;
    which.partial = 2;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "partial",
          glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    which.partial = 0;
    which.norm_epsilon = -1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "epsilon",
          glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    which.struct_size = 3;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "glebe_load_options",
          glebe_trainer_load_checkpoint(trainer, path, &which, &json, &error));
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.ckpt",
          glebe_trainer_load_checkpoint(trainer, file("nothing.ckpt"), NULL, &json, &error));
    CHECK(json.data == NULL);

    /* a state of its own is a source of weights, and one that is none changes nothing */
    OK(glebe_trainer_state(trainer, &json, &error));
    FILE *out = fopen(file("state.safetensors"), "wb");
    CHECK(out != NULL && fwrite(json.data, 1, json.size, out) == json.size && fclose(out) == 0);
    out = fopen(file("short.safetensors"), "wb");
    CHECK(out != NULL && fwrite(json.data, 1, json.size - 8, out) == json.size - 8 && fclose(out) == 0);
    glebe_buffer_free(&json);
    OK(glebe_trainer_load_checkpoint(trainer, file("state.safetensors"), NULL, &json, &error));
    CHECK(says(&json, "\"message\": \"\""));
    glebe_buffer_free(&json);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "short.safetensors",
          glebe_trainer_load_checkpoint(trainer, file("short.safetensors"), NULL, &json, &error));
    weights_of(trainer, before);
    CHECK(memcmp(before, after, sizeof before) == 0);
    glebe_trainer_free(trainer);
    return 0;
}
