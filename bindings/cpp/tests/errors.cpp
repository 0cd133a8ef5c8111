// Failures become exceptions that carry what the C error tells.

#include <type_traits>

#include "check.hpp"

static_assert(std::is_base_of_v<std::runtime_error, glebe::Error>);
static_assert(std::is_nothrow_copy_constructible_v<glebe::Error>, "std::terminate, should a copy throw while thrown");

TEST(a_missing_model_carries_status_and_path) {
    const auto error = THROWN(glebe::Error, glebe::Model(runtime(), file("none.onnx")));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_NOT_FOUND);
    CHECK_EQUAL(std::string(error.name()), "not-found");
    CHECK_EQUAL(error.path().value(), file("none.onnx"));
    CHECK(!error.tile() && !error.band() && !error.tensor());
    CHECK(std::string(error.what()).find("none.onnx") != std::string::npos);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
}

TEST(a_damaged_model_is_told) {
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Model(runtime(), file("broken.onnx"))).status(),
                GLEBE_STATUS_MODEL_INVALID);
    CHECK_EQUAL(THROWN(glebe::Error, (void)glebe::Model::from_bytes(runtime(), "ab", 2)).status(),
                GLEBE_STATUS_MODEL_INVALID);
    CHECK_EQUAL(THROWN(glebe::Error, (void)glebe::inspect_file(file("none.onnx"))).status(), GLEBE_STATUS_NOT_FOUND);
}

TEST(limits_of_the_options_count) {
    glebe::ModelOptions options;
    options.max_file_bytes = 10;
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Model(runtime(), file("identity.onnx"), options)).status(),
                GLEBE_STATUS_LIMIT_EXCEEDED);
}

TEST(a_missing_raster_carries_its_path) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const auto error = THROWN(glebe::Error, model.segment_file(file("none.tif"), file("out.tif")));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_NOT_FOUND);
    CHECK_EQUAL(error.path().value(), file("none.tif"));
}

TEST(an_existing_output_is_not_replaced_unasked) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    (void)model.segment_file(file("raster.tif"), file("twice.tif"), options);
    options.overwrite = false;
    const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("twice.tif"), options));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_ALREADY_EXISTS);
    CHECK_EQUAL(error.path().value(), file("twice.tif"));
}

TEST(a_band_that_is_not_there_is_told) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    options.bands = {1, 9};
    const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("band.tif"), options));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(std::string(error.what()).find('9') != std::string::npos);
}

TEST(wrong_options_are_told) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<float> samples(2 * 8 * 8);
    const glebe::Image image(samples, 2, 8, 8);
    const auto status = [&](const glebe::SegmentOptions &options) {
        return THROWN(glebe::Error, (void)model.segment_array(image, options)).status();
    };
    glebe::SegmentOptions options;
    options.blend = static_cast<glebe::Blend>(77);
    CHECK_EQUAL(status(options), GLEBE_STATUS_INVALID_ARGUMENT);
    options = {};
    options.overlap_share = 1.5;
    CHECK_EQUAL(status(options), GLEBE_STATUS_INVALID_ARGUMENT);
    options = {};
    options.provider = "abacus";
    CHECK_EQUAL(status(options), GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(a_nul_inside_a_string_is_refused_not_cut) {
    const std::string cut = file("identity.onnx") + std::string("\0.txt", 5);
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Model(runtime(), cut)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    options.class_names = {"water", std::string("a\0b", 3)};
    const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("nul.tif"), options));
    CHECK(std::string(error.what()).find("class_names") != std::string::npos);
}

TEST(an_error_without_an_object_is_named) {
    const glebe::Error error(GLEBE_STATUS_IO, static_cast<const glebe_error *>(nullptr));
    CHECK_EQUAL(std::string(error.what()), "io");
    CHECK(!error.path() && error.causes().empty());
}
