/* Files: a raster in, a GeoTIFF out (looked at by the test around this program), and what can go wrong. */
#include "check.h"

/* Stops after the second tile. */
static int32_t stop(const glebe_progress *progress, void *user_data)
{
    (void)user_data;
    return progress->done >= 2;
}

/* A job that is stopped leaves its work, and one that may resumes it. */
static void interrupted(const glebe_model *model)
{
    glebe_segment_options options = four_tiles();
    glebe_buffer report = {NULL, 0};
    options.progress = stop;
    FAILS(GLEBE_STATUS_CANCELLED, "2 of 4 tiles are kept in later.tif.part",
          glebe_segment_file(model, file("in.tif"), file("later.tif"), &options, NULL, &error));
    CHECK(!exists(file("later.tif")) && exists(file("later.tif.part/journal")));
    options.progress = NULL;
    FAILS(GLEBE_STATUS_ALREADY_EXISTS, "later.tif.part",
          glebe_segment_file(model, file("in.tif"), file("later.tif"), &options, NULL, &error));
    options.resume = 1;
    options.nodata = 77;
    options.has_nodata = 1;
    FAILS(GLEBE_STATUS_MISMATCH, "nodata: 255 then, 77 now",
          glebe_segment_file(model, file("in.tif"), file("later.tif"), &options, NULL, &error));
    options.has_nodata = 0;
    OK(glebe_segment_file(model, file("in.tif"), file("later.tif"), &options, &report, &error));
    CHECK(strstr((const char *)report.data, "\"tiles_resumed\": 2") != NULL);
    CHECK(exists(file("later.tif")) && !exists(file("later.tif.part/journal")));
    glebe_buffer_free(&report);
}

/* Limits and levels. */
static void limited(const glebe_model *model)
{
    glebe_segment_options options = four_tiles();
    options.memory = 1000;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "memory limit 1000 bytes: expected 1 MiB or more",
          glebe_segment_file(model, file("in.tif"), file("bad.tif"), &options, NULL, &error));
    options.memory = 1 << 20;
    FAILS(GLEBE_STATUS_OUT_OF_MEMORY, "expected a limit of at least",
          glebe_segment_file(model, file("in.tif"), file("bad.tif"), &options, NULL, &error));
    options.memory = (uint64_t)256 << 20;
    options.compression_level = 10;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "level 10",
          glebe_segment_file(model, file("in.tif"), file("bad.tif"), &options, NULL, &error));
    options.compression_level = 256;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "compression_level is 256",
          glebe_segment_file(model, file("in.tif"), file("bad.tif"), &options, NULL, &error));
    options.compression_level = 9;
    OK(glebe_segment_file(model, file("in.tif"), file("limited.tif"), &options, NULL, &error));
    CHECK(!exists(file("bad.tif")) && !exists(file("bad.tif.part")));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    glebe_runtime *runtime = load();
    glebe_model *model = open_model(runtime, "bands.onnx");
    glebe_segment_options options = four_tiles();
    glebe_buffer report = {NULL, 0};

    OK(glebe_segment_file(model, file("in.tif"), file("out.tif"), &options, &report, &error));
    CHECK(report.data[report.size] == 0);
    CHECK(strstr((const char *)report.data, "\"tiles\": 4") != NULL);
    CHECK(strstr((const char *)report.data, "\"class_pixels\": [") != NULL);
    glebe_buffer_free(&report);

    FAILS(GLEBE_STATUS_ALREADY_EXISTS, "out.tif",
          glebe_segment_file(model, file("in.tif"), file("out.tif"), &options, &report, &error));
    CHECK(report.data == NULL);
    options.overwrite = 1;
    const char *const names[] = {"no", "yes"};
    options.class_names = names;
    options.class_names_len = 2;
    options.format = GLEBE_FORMAT_GTIFF;
    options.compression = GLEBE_COMPRESSION_LZW;
    OK(glebe_segment_file(model, file("in.tif"), file("out.tif"), &options, NULL, &error));
    options.class_names_len = 1;
    FAILS(GLEBE_STATUS_MISMATCH, "class names",
          glebe_segment_file(model, file("in.tif"), file("bad.tif"), &options, NULL, &error));

    options = four_tiles();
    CHECK(glebe_segment_file(model, file("two.tif"), file("bad.tif"), &options, NULL, &error) ==
          GLEBE_STATUS_MISMATCH);
    CHECK(strcmp(glebe_error_path(error), file("two.tif")) == 0);
    CHECK(strcmp(glebe_error_tensor(error), "x") == 0);
    glebe_error_free(error);
    error = NULL;
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.tif",
          glebe_segment_file(model, file("nothing.tif"), file("bad.tif"), &options, NULL, &error));
    FAILS(GLEBE_STATUS_RASTER_INVALID, "damaged.onnx",
          glebe_segment_file(model, file("damaged.onnx"), file("bad.tif"), &options, NULL, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "same file",
          glebe_segment_file(model, file("in.tif"), file("in.tif"), &options, NULL, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "virtual file system",
          glebe_segment_file(model, "/vsimem/in.tif", file("bad.tif"), &options, NULL, &error));
    const uint32_t bands[] = {1, 2, 9};
    options.bands = bands;
    options.bands_len = 3;
    CHECK(glebe_segment_file(model, file("in.tif"), file("bad.tif"), &options, NULL, &error) ==
          GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_error_band(error) == 9);
    glebe_error_free(error);
    error = NULL;
    CHECK(!exists(file("bad.tif")));
    interrupted(model);
    limited(model);

    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return 0;
}
