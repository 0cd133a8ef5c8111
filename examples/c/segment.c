/*
 * Scores a raster with a model:  segment MODEL INPUT OUTPUT
 *
 *     cc -std=c11 segment.c -o segment $(pkg-config --cflags --libs glebe)
 *
 * Ctrl-C stops the job and leaves no output. The exit code is the library's status.
 */
#include <signal.h>
#include <stdio.h>

#include <glebe.h>

static glebe_cancel_token *token;

/* One atomic store: allowed in a signal handler. */
static void on_interrupt(int number)
{
    (void)number;
    glebe_cancel_token_cancel(token);
}

static int32_t on_progress(const glebe_progress *progress, void *user_data)
{
    (void)user_data;
    fprintf(stderr, "\r%llu of %llu tiles", (unsigned long long)progress->done,
            (unsigned long long)progress->total);
    if (progress->done == progress->total)
        fputc('\n', stderr);
    return 0; /* anything else cancels */
}

static void on_message(int32_t level, const char *target, const char *message, void *user_data)
{
    (void)level;
    (void)user_data;
    fprintf(stderr, "%s: %s\n", target, message);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL INPUT OUTPUT\n", argv[0]);
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    token = glebe_cancel_token_new();
    signal(SIGINT, on_interrupt);
    glebe_log_set_callback(GLEBE_LOG_WARN, on_message, NULL, NULL, NULL);

    glebe_segment_options options;
    glebe_segment_options_init(&options, sizeof options);
    options.overwrite = 1;
    options.threads = 1;
    options.cancel = token;
    options.progress = on_progress;

    glebe_error *error = NULL;
    glebe_runtime *runtime = NULL;
    glebe_model *model = NULL;
    glebe_buffer report = {NULL, 0};
    glebe_status status = glebe_runtime_load(NULL, &runtime, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_model_open(runtime, argv[1], NULL, &model, &error);
    if (status == GLEBE_STATUS_OK)
        status = glebe_segment_file(model, argv[2], argv[3], &options, &report, &error);
    if (status == GLEBE_STATUS_OK)
        printf("%s\n", (const char *)report.data);
    else
        fprintf(stderr, "%s: %s\n", glebe_status_name(status), glebe_error_message(error));

    glebe_buffer_free(&report);
    glebe_error_free(error);
    glebe_model_free(model);
    glebe_runtime_free(runtime);
    glebe_log_set_callback(GLEBE_LOG_OFF, NULL, NULL, NULL, NULL);
    signal(SIGINT, SIG_DFL);
    glebe_cancel_token_free(token);
    return status;
}
