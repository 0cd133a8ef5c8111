/* A child made by fork: the parent's handles are refused there, and can be freed. The parent goes on. */
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    static unsigned char samples[BANDS * PIXELS];
    glebe_runtime *runtime = load();
    glebe_model *model = open_model(runtime, "bands.onnx");
    glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
    glebe_prediction *out = NULL;
    OK(glebe_segment_array(model, &image, NULL, &out, &error));

    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        glebe_prediction *none = NULL;
        FAILS(GLEBE_STATUS_INVALID_STATE, "fork", glebe_segment_array(model, &image, NULL, &none, &error));
        glebe_buffer json = {NULL, 0};
        FAILS(GLEBE_STATUS_INVALID_STATE, "fork", glebe_model_inspect(model, &json, &error));
        CHECK(strcmp(glebe_model_output_name(model), "y") == 0);
        CHECK(glebe_prediction_bands(out) == 1);
        glebe_prediction_free(out);
        glebe_model_free(model);
        glebe_runtime_free(runtime);
        _exit(0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    glebe_prediction_free(out);
    OK(glebe_segment_array(model, &image, NULL, &out, &error));
    glebe_prediction_free(out);
    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return 0;
}
