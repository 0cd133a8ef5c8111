/* Progress, cancelling, and user data that is released exactly once in every exit. */
#include "check.h"

static glebe_model *model;
static unsigned char samples[BANDS * PIXELS];

typedef struct {
    int told;
    int destroyed;
    int cancel_at; /* call that returns 1; 0: none */
    const glebe_cancel_token *cancel; /* set by the first call */
    uint64_t done;
} witness;

static int32_t told(const glebe_progress *progress, void *user_data)
{
    witness *w = user_data;
    CHECK(w->destroyed == 0);
    CHECK(progress->struct_size >= sizeof *progress);
    CHECK(progress->done > w->done && progress->done <= progress->total && progress->total == 4);
    CHECK(progress->elapsed_s >= 0);
    w->done = progress->done;
    w->told++;
    if (w->cancel != NULL)
        glebe_cancel_token_cancel(w->cancel);
    /* the library may be called from here, on the same model */
    glebe_buffer json = {NULL, 0};
    CHECK(glebe_model_inspect(model, &json, NULL) == GLEBE_STATUS_OK);
    glebe_buffer_free(&json);
    return w->told == w->cancel_at ? -7 : 0;
}

static void destroy(void *user_data)
{
    ((witness *)user_data)->destroyed++;
}

static glebe_segment_options watched(witness *w)
{
    glebe_segment_options options = four_tiles();
    memset(w, 0, sizeof *w);
    options.progress = told;
    options.progress_user_data = w;
    options.progress_destroy = destroy;
    return options;
}

static glebe_status score(const glebe_model *with, const glebe_segment_options *options)
{
    glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
    glebe_prediction *out = NULL;
    glebe_status status = glebe_segment_array(with, &image, options, &out, &error);
    glebe_prediction_free(out);
    return status;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    fill(samples);
    glebe_runtime *runtime = load();
    model = open_model(runtime, "bands.onnx");
    witness w;

    /* success */
    glebe_segment_options options = watched(&w);
    OK(score(model, &options));
    CHECK(w.told == 4 && w.done == 4 && w.destroyed == 1);
    /* the same struct again: once for each call */
    w.done = 0;
    w.destroyed = 0;
    OK(score(model, &options));
    CHECK(w.destroyed == 1);

    /* cancelled by the callback */
    options = watched(&w);
    w.cancel_at = 2;
    FAILS(GLEBE_STATUS_CANCELLED, "cancelled", score(model, &options));
    CHECK(w.told == 2 && w.destroyed == 1);

    /* cancelled by a token: from within, and before the start */
    glebe_cancel_token *token = glebe_cancel_token_new();
    options = watched(&w);
    options.cancel = w.cancel = token;
    FAILS(GLEBE_STATUS_CANCELLED, "cancelled", score(model, &options));
    CHECK(w.told == 1 && w.destroyed == 1);
    options = watched(&w);
    options.cancel = token;
    FAILS(GLEBE_STATUS_CANCELLED, "cancelled", score(model, &options));
    CHECK(w.told == 0 && w.destroyed == 1);
    glebe_cancel_token_free(token);

    /* errors before the start */
    options = watched(&w);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "model is NULL", score(NULL, &options));
    CHECK(w.told == 0 && w.destroyed == 1);
    options = watched(&w);
    options.blend = 99;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "blend", score(model, &options));
    CHECK(w.told == 0 && w.destroyed == 1);
    options = watched(&w);
    glebe_prediction *out = NULL;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "image is NULL",
          glebe_segment_array(model, NULL, &options, &out, &error));
    CHECK(w.destroyed == 1);
    glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
    options = watched(&w);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "out is NULL",
          glebe_segment_array(model, &image, &options, NULL, &error));
    CHECK(w.destroyed == 1);
    image.channels = 2;
    options = watched(&w);
    FAILS(GLEBE_STATUS_MISMATCH, "bands", glebe_segment_array(model, &image, &options, &out, &error));
    CHECK(w.destroyed == 1);

    /* a struct of a later version with an unknown option: refused, and released */
    struct {
        glebe_segment_options known;
        uint64_t later;
    } future = {watched(&w), 1};
    future.known.struct_size = sizeof future;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "does not know", score(model, &future.known));
    CHECK(w.destroyed == 1);

    /* nothing to tell, something to release; and the other way round */
    options = watched(&w);
    options.progress = NULL;
    OK(score(model, &options));
    CHECK(w.told == 0 && w.destroyed == 1);
    options = watched(&w);
    options.progress_destroy = NULL;
    OK(score(model, &options));
    CHECK(w.told == 4 && w.destroyed == 0);

    /* files */
    options = watched(&w);
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.tif",
          glebe_segment_file(model, file("nothing.tif"), file("cancelled.tif"), &options, NULL, &error));
    CHECK(w.destroyed == 1);
    options = watched(&w);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "input is NULL",
          glebe_segment_file(model, NULL, file("cancelled.tif"), &options, NULL, &error));
    CHECK(w.destroyed == 1);
    options = watched(&w);
    w.cancel_at = 1;
    FAILS(GLEBE_STATUS_CANCELLED, "",
          glebe_segment_file(model, file("in.tif"), file("cancelled.tif"), &options, NULL, &error));
    CHECK(w.told == 1 && w.destroyed == 1 && !exists(file("cancelled.tif")));
    options = watched(&w);
    OK(glebe_segment_file(model, file("in.tif"), file("finished.tif"), &options, NULL, &error));
    CHECK(w.told == 4 && w.destroyed == 1 && exists(file("finished.tif")));

    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return 0;
}
