/* Sized structs: smaller, equal, larger with zeros and with something in the tail; every field checked. */
#include <math.h>

#include "check.h"

#include <stddef.h>

typedef struct {
    glebe_segment_options known;
    uint64_t later[2];
} future_options;

typedef struct {
    glebe_image known;
    uint64_t later;
} future_image;

static glebe_model *model;
static unsigned char samples[BANDS * PIXELS];

static glebe_status score(const glebe_segment_options *options)
{
    glebe_image image = image_of(samples, GLEBE_DATA_TYPE_U8);
    glebe_prediction *out = NULL;
    glebe_status status = glebe_segment_array(model, &image, options, &out, &error);
    CHECK((status == GLEBE_STATUS_OK) == (out != NULL));
    glebe_prediction_free(out);
    return status;
}

#define REFUSED(text, change)                                        \
    do {                                                             \
        glebe_segment_options options = four_tiles();                \
        change;                                                      \
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, text, score(&options)); \
    } while (0)

/* Size of the options in the first version. */
#define FIRST_SIZE offsetof(glebe_segment_options, memory)

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    fill(samples);
    glebe_runtime *runtime = load();
    model = open_model(runtime, "bands.onnx");

    /* init */
    glebe_segment_options options;
    memset(&options, 0xaa, sizeof options);
    CHECK(glebe_segment_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    CHECK(options.struct_size == sizeof options);
    CHECK(options.overlap_px == -1 && options.overlap_share == 0.25 && options.threshold == 0.5);
    CHECK(options.progress == NULL && options.precision == GLEBE_PRECISION_MODEL && options.engine_cache == NULL && options.provider == NULL);
    CHECK(glebe_segment_options_init(&options, FIRST_SIZE - 8) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_segment_options_init(&options, 0) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_segment_options_init(&options, SIZE_MAX) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_segment_options_init(NULL, sizeof options) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(options.struct_size == sizeof options);

    /* equal */
    OK(score(NULL));
    OK(score(&options));

    /* larger: a program of a later version */
    future_options future;
    memset(&future, 0xaa, sizeof future);
    CHECK(glebe_segment_options_init(&future.known, sizeof future) == GLEBE_STATUS_OK);
    CHECK(future.known.struct_size == sizeof future && future.later[0] == 0 && future.later[1] == 0);
    OK(score(&future.known));
    future.later[1] = (uint64_t)1 << 63;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "does not know", score(&future.known));

    /* smaller: a program of the first version, with whatever lies behind its struct */
    glebe_segment_options first;
    memset(&first, 0xaa, sizeof first);
    CHECK(glebe_segment_options_init(&first, FIRST_SIZE) == GLEBE_STATUS_OK);
    CHECK(first.struct_size == FIRST_SIZE && first.memory == UINT64_C(0xaaaaaaaaaaaaaaaa));
    OK(score(&first));

    /* too small, absurd, uninitialised */
    const uint32_t wrong[] = {0, 4, FIRST_SIZE - 8, sizeof options + 4, 8192, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.struct_size = wrong[i];
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size", score(&options));
    }

    /* the same for images */
    future_image larger;
    CHECK(glebe_image_init(&larger.known, sizeof larger) == GLEBE_STATUS_OK);
    uint32_t size = larger.known.struct_size;
    larger.known = image_of(samples, GLEBE_DATA_TYPE_U8);
    larger.known.struct_size = size;
    glebe_prediction *out = NULL;
    OK(glebe_segment_array(model, &larger.known, NULL, &out, &error));
    glebe_prediction_free(out);
    larger.later = 1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "glebe_image",
          glebe_segment_array(model, &larger.known, NULL, &out, &error));
    larger.known.struct_size = 8;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size",
          glebe_segment_array(model, &larger.known, NULL, &out, &error));

    /* each field is looked at */
    const uint32_t zero[] = {0};
    const uint32_t bands[] = {3, 2, 1};
    const double numbers[] = {1, 2};
    const char *const names[] = {"gpu_mem_limit", NULL};
    REFUSED("threads", options.threads = 5000);
    REFUSED("bands are counted from 1", (options.bands = zero, options.bands_len = 1));
    REFUSED("bands is NULL", options.bands_len = 1);
    REFUSED("bands", (options.bands = bands, options.bands_len = SIZE_MAX));
    REFUSED("scale is NULL", options.scale_len = 3);
    REFUSED("mean", (options.mean = numbers, options.mean_len = SIZE_MAX / 8));
    REFUSED("std is NULL", options.std_len = 3);
    REFUSED("tile", options.tile_height = 0);
    REFUSED("overlap_px", options.overlap_px = -2);
    REFUSED("overlap", options.overlap_px = 32);
    REFUSED("overlap", (options.overlap_px = -1, options.overlap_share = 1.0));
    REFUSED("overlap", (options.overlap_px = -1, options.overlap_share = NAN));
    REFUSED("blend is 7", options.blend = 7);
    REFUSED("blend is -1", options.blend = -1);
    REFUSED("padding is 3", options.padding = 3);
    REFUSED("padding value", (options.padding = GLEBE_PADDING_CONSTANT, options.padding_value = INFINITY));
    REFUSED("batch", options.batch = 100000);
    REFUSED("activation is 4", options.activation = 4);
    REFUSED("unknown provider", options.provider = "gpu");
    REFUSED("provider is not UTF-8", options.provider = "\xff");
    REFUSED("provider_option_keys is NULL", options.provider_options_len = 1);
    REFUSED("provider_option_keys[1] is NULL",
            (options.provider_option_keys = names, options.provider_option_values = names,
             options.provider_options_len = 2));
    REFUSED("provider cpu has no options",
            (options.provider_option_keys = names, options.provider_option_values = names,
             options.provider_options_len = 1));
    REFUSED("product is 3", options.product = 3);
    REFUSED("data_type is 10", options.data_type = 10);
    REFUSED("float64", options.data_type = GLEBE_DATA_TYPE_F64);
    REFUSED("threshold", options.threshold = NAN);
    REFUSED("nodata", (options.has_nodata = 1, options.nodata = 0));
    REFUSED("has_nodata is 2", options.has_nodata = 2);
    REFUSED("nodata_rule is 2", options.nodata_rule = 2);
    REFUSED("format is 2", options.format = 2);
    REFUSED("compression is 4", options.compression = 4);
    REFUSED("overwrite is -1", options.overwrite = -1);
    REFUSED("resume is 2", options.resume = 2);
    REFUSED("compression_level is 300", options.compression_level = 300);
    REFUSED("precision is 2", options.precision = 2);
    REFUSED("fuse is 3", options.fuse = 3);
    REFUSED("in flight 17", options.in_flight = 17);
    REFUSED("only tensorrt", options.engine_cache = "engines");
    REFUSED("class_names is NULL", options.class_names_len = 1);
    REFUSED("drivers is NULL", options.drivers_len = 1);

    /* and taken: all of them at once */
    options = four_tiles();
    options.bands = bands;
    options.bands_len = 3;
    options.scale = options.std = numbers;
    options.scale_len = options.std_len = options.mean_len = 1;
    options.mean = numbers + 1;
    options.blend = GLEBE_BLEND_HANN;
    options.overlap_px = 8;
    options.padding = GLEBE_PADDING_CONSTANT;
    options.padding_value = 3;
    options.batch = 1;
    options.provider = "cpu";
    options.activation = GLEBE_ACTIVATION_SIGMOID;
    options.product = GLEBE_PRODUCT_PROBABILITIES;
    options.data_type = GLEBE_DATA_TYPE_U16;
    options.threshold = 0.25;
    options.has_nodata = 1;
    options.nodata = 65535;
    options.in_flight = 2;
    OK(score(&options));
    options.precision = GLEBE_PRECISION_FP16;
    options.fuse = GLEBE_FUSE_ON;
    OK(score(&options));

    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return 0;
}
