/* One model in several threads; a token set by another thread and by a signal handler; an error read elsewhere. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "check.h"

static const glebe_model *model;
static unsigned char samples[BANDS * PIXELS];
static glebe_cancel_token *token;

static void *score(void *argument)
{
    (void)argument;
    for (int round = 0; round < 20; round++) {
        glebe_segment_options options = four_tiles();
        glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
        glebe_prediction *out = NULL;
        CHECK(glebe_segment_array(model, &image, &options, &out, NULL) == GLEBE_STATUS_OK);
        const unsigned char *data = glebe_prediction_data(out);
        for (size_t i = 0; i < PIXELS; i++)
            CHECK(data[i] == expected_class(i / WIDTH, i % WIDTH));
        glebe_prediction_free(out);
    }
    return NULL;
}

static void *cancel(void *argument)
{
    (void)argument;
    glebe_cancel_token_cancel(token);
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
    glebe_cancel_token_cancel(token);
}

static void *read_error(void *argument)
{
    CHECK(strstr(glebe_error_message(argument), "cancelled") != NULL);
    glebe_error_free(argument);
    return NULL;
}

/* Runs until somebody sets the token; then the job must end. */
static int32_t wait_for_token(const glebe_progress *progress, void *user_data)
{
    (void)user_data;
    if (progress->done == 1)
        while (!glebe_cancel_token_is_cancelled(token)) {
            struct timespec pause = {0, 1000000};
            nanosleep(&pause, NULL);
        }
    return 0;
}

static glebe_status score_until_cancelled(void)
{
    glebe_segment_options options = four_tiles();
    options.cancel = token;
    options.progress = wait_for_token;
    glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
    glebe_prediction *out = NULL;
    return glebe_segment_array(model, &image, &options, &out, &error);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    fill(samples);
    glebe_runtime *runtime = load();
    glebe_model *opened = open_model(runtime, "bands.onnx");
    model = opened;

    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, score, NULL) == 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    token = glebe_cancel_token_new();
    CHECK(pthread_create(&threads[0], NULL, cancel, NULL) == 0);
    CHECK(score_until_cancelled() == GLEBE_STATUS_CANCELLED);
    CHECK(pthread_join(threads[0], NULL) == 0);
    CHECK(pthread_create(&threads[0], NULL, read_error, error) == 0);
    CHECK(pthread_join(threads[0], NULL) == 0);
    error = NULL;
    glebe_cancel_token_free(token);

    token = glebe_cancel_token_new();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    alarm(1);
    FAILS(GLEBE_STATUS_CANCELLED, "cancelled", score_until_cancelled());
    glebe_cancel_token_free(token);

    glebe_model_free(opened);
    glebe_runtime_free(runtime);
    return 0;
}
