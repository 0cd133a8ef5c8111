/* What the C programs of the tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glebe.h"

/* Ends the program unless the condition holds. */
#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

/* The error of the last call under OK or FAILS. */
static glebe_error *error = NULL;

/* The call succeeds and leaves `error` alone. */
#define OK(call)                                                                            \
    do {                                                                                    \
        glebe_status status_ = (call);                                                      \
        if (status_ != GLEBE_STATUS_OK) {                                                   \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call,               \
                    glebe_status_name(status_), error ? glebe_error_message(error) : "-");  \
            exit(1);                                                                        \
        }                                                                                   \
        CHECK(error == NULL);                                                               \
    } while (0)

/* The call fails with this status and a message that holds this text. */
#define FAILS(expected, text, call)                                                         \
    do {                                                                                    \
        glebe_status status_ = (call);                                                      \
        if (status_ != (expected) || error == NULL || glebe_error_code(error) != status_ || \
            strstr(glebe_error_message(error), (text)) == NULL) {                           \
            fprintf(stderr, "%s:%d: %s: got %s: %s\n", __FILE__, __LINE__, #call,           \
                    glebe_status_name(status_), error ? glebe_error_message(error) : "-");  \
            exit(1);                                                                        \
        }                                                                                   \
        glebe_error_free(error);                                                            \
        error = NULL;                                                                       \
    } while (0)

/* DIR/name, from a small ring of buffers; DIR is the program's first argument. */
static const char *folder = ".";

static inline const char *file(const char *name)
{
    static char ring[8][1024];
    static int next = 0;
    char *text = ring[next++ % 8];
    snprintf(text, sizeof ring[0], "%s/%s", folder, name);
    return text;
}

static inline int exists(const char *path)
{
    FILE *open = fopen(path, "rb");
    if (open != NULL)
        fclose(open);
    return open != NULL;
}

static inline glebe_runtime *load(void)
{
    glebe_runtime *runtime = NULL;
    OK(glebe_runtime_load(NULL, &runtime, &error));
    CHECK(runtime != NULL);
    return runtime;
}

static inline glebe_model *open_model(glebe_runtime *runtime, const char *name)
{
    glebe_model *model = NULL;
    OK(glebe_model_open(runtime, file(name), NULL, &model, &error));
    CHECK(model != NULL);
    return model;
}

/* Options of one thread and four tiles for the fixtures' rasters. */
static inline glebe_segment_options four_tiles(void)
{
    glebe_segment_options options;
    CHECK(glebe_segment_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.threads = 1;
    options.tile_width = options.tile_height = 32;
    options.overlap_px = 0;
    return options;
}

/* The fixtures' samples: harness.rs has the same. */
enum { WIDTH = 64, HEIGHT = 48, BANDS = 3, PIXELS = WIDTH * HEIGHT };

static inline unsigned char sample(size_t band, size_t y, size_t x)
{
    return (unsigned char)((x * 7 + y * 13 + band * 101) % 251);
}

static inline int expected_class(size_t y, size_t x)
{
    return sample(2, y, x) > sample(0, y, x);
}

static inline void fill(unsigned char *samples)
{
    for (size_t c = 0; c < BANDS; c++)
        for (size_t y = 0; y < HEIGHT; y++)
            for (size_t x = 0; x < WIDTH; x++)
                samples[(c * HEIGHT + y) * WIDTH + x] = sample(c, y, x);
}

static inline glebe_image image_of(const void *samples, int32_t data_type)
{
    glebe_image image;
    CHECK(glebe_image_init(&image, sizeof image) == GLEBE_STATUS_OK);
    image.data_type = data_type;
    image.channels = BANDS;
    image.height = HEIGHT;
    image.width = WIDTH;
    image.data = samples;
    return image;
}

#endif
