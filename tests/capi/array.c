/* Arrays in memory: values, sample types, strides, validity, images that cannot be. */
#include <math.h>

#include "check.h"

static glebe_model *model;
static unsigned char dense[BANDS * PIXELS];

static glebe_prediction *score(const glebe_image *image, const glebe_segment_options *options)
{
    glebe_prediction *out = NULL;
    OK(glebe_segment_array(model, image, options, &out, &error));
    return out;
}

static void classes_are_right(glebe_prediction *prediction, const unsigned char *valid)
{
    CHECK(glebe_prediction_data_type(prediction) == GLEBE_DATA_TYPE_U8);
    CHECK(glebe_prediction_bands(prediction) == 1);
    CHECK(glebe_prediction_height(prediction) == HEIGHT);
    CHECK(glebe_prediction_width(prediction) == WIDTH);
    CHECK(glebe_prediction_size(prediction) == PIXELS);
    CHECK(glebe_prediction_nodata(prediction) == 255);
    CHECK(strstr(glebe_prediction_report(prediction), "\"product\": \"classes\"") != NULL);
    const unsigned char *data = glebe_prediction_data(prediction);
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++) {
            size_t at = y * WIDTH + x;
            CHECK(data[at] == (valid && !valid[at] ? 255 : expected_class(y, x)));
        }
    glebe_prediction_free(prediction);
}

/* The same image in another type. */
#define TYPED(type, number)                              \
    do {                                                 \
        static type typed[BANDS * PIXELS];               \
        for (size_t i = 0; i < BANDS * PIXELS; i++)      \
            typed[i] = (type)dense[i];                   \
        glebe_image image = image_of(typed, number);     \
        classes_are_right(score(&image, &options), NULL); \
    } while (0)

#define REFUSED(text, change)                                                                      \
    do {                                                                                           \
        glebe_image image = image_of(dense, GLEBE_DATA_TYPE_U8);                                   \
        glebe_prediction *out = NULL;                                                              \
        change;                                                                                    \
        FAILS(GLEBE_STATUS_INVALID_ARGUMENT, text,                                                 \
              glebe_segment_array(model, &image, &options, &out, &error));                         \
        CHECK(out == NULL);                                                                        \
    } while (0)

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    fill(dense);
    glebe_runtime *runtime = load();
    model = open_model(runtime, "bands.onnx");
    glebe_segment_options options = four_tiles();

    TYPED(uint8_t, GLEBE_DATA_TYPE_U8);
    TYPED(uint16_t, GLEBE_DATA_TYPE_U16);
    TYPED(int16_t, GLEBE_DATA_TYPE_I16);
    TYPED(uint32_t, GLEBE_DATA_TYPE_U32);
    TYPED(int32_t, GLEBE_DATA_TYPE_I32);
    TYPED(uint64_t, GLEBE_DATA_TYPE_U64);
    TYPED(int64_t, GLEBE_DATA_TYPE_I64);
    TYPED(float, GLEBE_DATA_TYPE_F32);
    TYPED(double, GLEBE_DATA_TYPE_F64);

    /* interleaved pixels, in a wider row */
    static uint16_t interleaved[HEIGHT * (WIDTH + 5) * BANDS];
    for (size_t c = 0; c < BANDS; c++)
        for (size_t y = 0; y < HEIGHT; y++)
            for (size_t x = 0; x < WIDTH; x++)
                interleaved[(y * (WIDTH + 5) + x) * BANDS + c] = sample(c, y, x);
    glebe_image image = image_of(interleaved, GLEBE_DATA_TYPE_U16);
    image.channel_stride = 1;
    image.column_stride = BANDS;
    image.row_stride = (WIDTH + 5) * BANDS;
    classes_are_right(score(&image, NULL), NULL);

    /* validity: whole tiles, and single pixels with odd bytes for "valid" */
    static unsigned char valid[PIXELS];
    for (size_t i = 0; i < PIXELS; i++)
        valid[i] = (unsigned char)(i % WIDTH < 32 ? 0 : (i % 3) * 100);
    image = image_of(dense, GLEBE_DATA_TYPE_U8);
    image.valid = valid;
    classes_are_right(score(&image, &options), valid);

    /* raw output: the first and the third band, NaN where the input has none */
    static float floats[BANDS * PIXELS];
    for (size_t i = 0; i < BANDS * PIXELS; i++)
        floats[i] = (float)dense[i] / 4;
    floats[5] = NAN;
    image = image_of(floats, GLEBE_DATA_TYPE_F32);
    options.product = GLEBE_PRODUCT_LOGITS;
    glebe_prediction *prediction = score(&image, &options);
    CHECK(glebe_prediction_data_type(prediction) == GLEBE_DATA_TYPE_F32);
    CHECK(glebe_prediction_bands(prediction) == 2);
    CHECK(glebe_prediction_size(prediction) == 2 * PIXELS * sizeof(float));
    CHECK(isnan(glebe_prediction_nodata(prediction)));
    const float *logits = glebe_prediction_data(prediction);
    for (size_t i = 0; i < PIXELS; i++) {
        if (i == 5)
            CHECK(isnan(logits[i]) && isnan(logits[PIXELS + i]));
        else
            CHECK(logits[i] == floats[i] && logits[PIXELS + i] == floats[2 * PIXELS + i]);
    }
    glebe_prediction_free(prediction);

    /* probabilities in closed form, normalised on the way in */
    const double scale[] = {64};
    options.scale = scale;
    options.scale_len = 1;
    options.product = GLEBE_PRODUCT_PROBABILITIES;
    image = image_of(dense, GLEBE_DATA_TYPE_U8);
    prediction = score(&image, &options);
    const float *probabilities = glebe_prediction_data(prediction);
    for (size_t i = 0; i < PIXELS; i++) {
        double a = dense[i] / 64.0, b = dense[2 * PIXELS + i] / 64.0;
        CHECK(fabs(probabilities[PIXELS + i] - 1 / (1 + exp(a - b))) < 1e-6);
    }
    glebe_prediction_free(prediction);
    options = four_tiles();

    /* one pixel */
    unsigned char pixel[] = {1, 0, 2};
    image = image_of(pixel, GLEBE_DATA_TYPE_U8);
    image.height = image.width = 1;
    prediction = score(&image, NULL);
    CHECK(glebe_prediction_size(prediction) == 1);
    CHECK(*(const unsigned char *)glebe_prediction_data(prediction) == 1);
    glebe_prediction_free(prediction);

    REFUSED("image [C, H, W] = [3, 0, 64] is empty", image.height = 0);
    REFUSED("data_type", image.data_type = GLEBE_DATA_TYPE_DEFAULT);
    REFUSED("data_type is -1", image.data_type = -1);
    REFUSED("data of the image is NULL", image.data = NULL);
    REFUSED("aligned", (image.data_type = GLEBE_DATA_TYPE_U16, image.data = dense + 1));
    REFUSED("memory can hold", image.width = SIZE_MAX);
    REFUSED("memory can hold", (image.width = SIZE_MAX / 2, image.height = 2, image.channels = 1));
    REFUSED("memory can hold", image.channels = SIZE_MAX / PIXELS + 1);
    REFUSED("memory can hold", (image.row_stride = SIZE_MAX, image.column_stride = 1, image.channel_stride = 1));
    REFUSED("memory can hold", (image.row_stride = 0, image.column_stride = 1, image.channel_stride = PIXELS));
    REFUSED("memory can hold",
            (image.data_type = GLEBE_DATA_TYPE_F64, image.channel_stride = SIZE_MAX / 16, image.row_stride = 1,
             image.column_stride = 1));
    REFUSED("channel", (options.bands = (const uint32_t[]){1, 2, 4}, options.bands_len = 3));
    options = four_tiles();
    image = image_of(dense, GLEBE_DATA_TYPE_U8);
    image.channels = 2;
    glebe_prediction *out = NULL;
    FAILS(GLEBE_STATUS_MISMATCH, "expects 3 bands", glebe_segment_array(model, &image, NULL, &out, &error));
    options.provider = "cuda";
    image.channels = 3;
    glebe_status status = glebe_segment_array(model, &image, &options, &out, NULL);
    CHECK(status == GLEBE_STATUS_PROVIDER_UNAVAILABLE || status == GLEBE_STATUS_OK);
    if (status != GLEBE_STATUS_OK)
        CHECK(out == NULL);
    glebe_prediction_free(out);

    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return 0;
}
