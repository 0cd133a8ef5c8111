/* Messages: levels, sources, replacing, removing, a callback that calls back. */
#include "check.h"

typedef struct {
    int told;
    int destroyed;
    int from_ort;
    int from_glebe;
    int32_t gravest;
    int32_t finest;
} witness;

static witness first, second, third;

static void destroy(void *user_data)
{
    ((witness *)user_data)->destroyed++;
}

static void told(int32_t level, const char *target, const char *message, void *user_data)
{
    witness *w = user_data;
    CHECK(w->destroyed == 0);
    CHECK(level >= GLEBE_LOG_ERROR && level <= GLEBE_LOG_TRACE);
    CHECK(target != NULL && message != NULL && message[0] != 0);
    w->told++;
    w->from_ort += strncmp(target, "ort", 3) == 0;
    w->from_glebe += strncmp(target, "glebe", 5) == 0;
    if (w->gravest == 0 || level < w->gravest)
        w->gravest = level;
    if (level > w->finest)
        w->finest = level;
}

/* Calls into the library, which has messages of its own, and replaces itself. */
static void recursive(int32_t level, const char *target, const char *message, void *user_data)
{
    told(level, target, message, user_data);
    glebe_error *inner = NULL;
    glebe_buffer json = {NULL, 0};
    CHECK(glebe_inspect_file("/nowhere.onnx", &json, &inner) == GLEBE_STATUS_NOT_FOUND);
    glebe_error_free(inner);
    glebe_runtime *runtime = NULL;
    CHECK(glebe_runtime_load(NULL, &runtime, NULL) == GLEBE_STATUS_OK);
    glebe_runtime_free(runtime);
    CHECK(glebe_log_set_callback(GLEBE_LOG_TRACE, told, &third, destroy, NULL) == GLEBE_STATUS_OK);
    CHECK(((witness *)user_data)->destroyed == 0);
}

static void score(glebe_runtime *runtime, const char *name)
{
    static unsigned char samples[BANDS * PIXELS];
    glebe_model *model = open_model(runtime, name);
    glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
    glebe_segment_options options = four_tiles();
    glebe_prediction *out = NULL;
    OK(glebe_segment_array(model, &image, &options, &out, &error));
    glebe_prediction_free(out);
    glebe_model_free(model);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];

    /* refused registrations are released */
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "level is 6",
          glebe_log_set_callback(6, told, &first, destroy, &error));
    CHECK(first.destroyed == 1);
    memset(&first, 0, sizeof first);
    OK(glebe_log_set_callback(GLEBE_LOG_WARN, NULL, &first, destroy, &error));
    CHECK(first.destroyed == 1 && first.told == 0);
    memset(&first, 0, sizeof first);

    /* the library and ONNX Runtime speak */
    OK(glebe_log_set_callback(GLEBE_LOG_DEBUG, told, &first, destroy, &error));
    glebe_runtime *runtime = load();
    CHECK(first.from_glebe >= 1);
    score(runtime, "noisy.onnx");
    CHECK(first.from_ort >= 1 && first.gravest == GLEBE_LOG_WARN && first.finest <= GLEBE_LOG_DEBUG);

    /* replaced, and quieter */
    OK(glebe_log_set_callback(GLEBE_LOG_ERROR, told, &second, destroy, &error));
    CHECK(first.destroyed == 1 && second.destroyed == 0);
    int before = first.told;
    score(runtime, "noisy.onnx");
    CHECK(first.told == before && second.told == 0);

    /* off keeps the function */
    OK(glebe_log_set_callback(GLEBE_LOG_OFF, told, &first, NULL, &error));
    CHECK(second.destroyed == 1);
    score(runtime, "noisy.onnx");
    CHECK(first.told == before);

    /* a callback that calls the library and replaces itself */
    memset(&second, 0, sizeof second);
    OK(glebe_log_set_callback(GLEBE_LOG_TRACE, recursive, &second, destroy, &error));
    score(runtime, "noisy.onnx");
    CHECK(second.told == 1 && second.destroyed == 1);
    CHECK(third.told > 0 && third.finest == GLEBE_LOG_TRACE && third.destroyed == 0);

    /* removed */
    OK(glebe_log_set_callback(GLEBE_LOG_OFF, NULL, NULL, NULL, &error));
    CHECK(third.destroyed == 1);
    before = third.told;
    score(runtime, "noisy.onnx");
    CHECK(third.told == before);

    glebe_runtime_free(runtime);
    return 0;
}
