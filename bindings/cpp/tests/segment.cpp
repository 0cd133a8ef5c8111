// Scoring: values, files, threads.

#include <cmath>
#include <numeric>
#include <thread>

#include "check.hpp"

#if __has_include(<span>) && __cplusplus >= 202002L
#include <span>
static_assert(std::is_constructible_v<std::span<const float>, glebe::Span<const float>>);
#endif

// The model's output is its input.
static const std::size_t channels = 2, height = 20, width = 33;

static std::vector<float> ramp() {
    std::vector<float> samples(channels * height * width);
    std::iota(samples.begin(), samples.end(), -100.0F);
    return samples;
}

static glebe::SegmentOptions logits() {
    glebe::SegmentOptions options = small_tiles();
    options.product = glebe::Product::logits;
    return options;
}

static bool same(const glebe::Prediction &prediction, const std::vector<float> &expected) {
    const auto got = prediction.samples<float>();
    return std::vector<float>(got.begin(), got.end()) == expected;
}

TEST(arrays_come_back_value_by_value) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<float> samples = ramp();
    const auto prediction = model.segment_array(glebe::Image(samples, channels, height, width), logits());
    CHECK(prediction.data_type() == glebe::DataType::f32);
    CHECK_EQUAL(prediction.bands(), channels);
    CHECK_EQUAL(prediction.height(), height);
    CHECK_EQUAL(prediction.width(), width);
    CHECK(std::isnan(prediction.nodata()));
    CHECK(same(prediction, samples));
    CHECK_EQUAL(prediction.at<float>(1, 2, 3), samples[(1 * height + 2) * width + 3]);
    CHECK(prediction.report().find("\"pixels\"") != std::string::npos);

    (void)THROWN(std::out_of_range, (void)prediction.at<float>(2, 0, 0));
    (void)THROWN(std::out_of_range, (void)prediction.at<float>(0, 0, width));
    CHECK_EQUAL(THROWN(glebe::Error, (void)prediction.samples<double>()).status(), GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(scale_mean_and_deviation_are_applied) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<std::uint8_t> samples(channels * 4 * 4, 200);
    glebe::SegmentOptions options = logits();
    options.scale = {100};
    options.mean = {0, 1};
    options.stddev = {0.5};
    const auto prediction = model.segment_array(glebe::Image(samples, channels, 4, 4), options);
    CHECK_EQUAL(prediction.at<float>(0, 3, 3), 4.0F);
    CHECK_EQUAL(prediction.at<float>(1, 0, 0), 2.0F);
}

TEST(strides_and_interleaved_pixels) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<float> samples = ramp();
    std::vector<float> pixels(samples.size());
    for (std::size_t at = 0; at < samples.size(); ++at) {
        pixels[at % (height * width) * channels + at / (height * width)] = samples[at];
    }
    const auto image = glebe::Image::interleaved(pixels.data(), height, width, channels);
    CHECK(same(model.segment_array(image, logits()), samples));

    // Rows and columns exchanged, twice.
    const auto turned = glebe::Image::strided(samples.data(), channels, width, height, height * width, 1, width);
    const auto prediction = model.segment_array(turned, logits());
    CHECK_EQUAL(prediction.height(), width);
    CHECK_EQUAL(prediction.at<float>(1, 30, 5), samples[(1 * height + 5) * width + 30]);
}

TEST(classes_and_masked_pixels) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<std::int16_t> samples = {1, 5, -3, 4, /* channel 1 */ 2, 4, -2, 4};
    const std::vector<std::uint8_t> mask = {1, 1, 1, 0};
    auto image = glebe::Image(samples, 2, 2, 2);
    image.valid(mask.data());
    const auto prediction = model.segment_array(image);
    CHECK(prediction.data_type() == glebe::DataType::u8);
    const auto classes = prediction.samples<std::uint8_t>();
    CHECK_EQUAL(classes.size(), 4u);
    CHECK(classes[0] == 1 && classes[1] == 0 && classes[2] == 1 && classes[3] == 255);
    CHECK(!classes.empty() && prediction.nodata() > 254);
}

TEST(an_image_of_other_channels_does_not_fit) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<float> samples(3 * 8 * 8);
    const auto error = THROWN(glebe::Error, (void)model.segment_array(glebe::Image(samples, 3, 8, 8)));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_MISMATCH);
}

TEST(files_in_files_out) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = logits();
    options.format = glebe::Format::gtiff;
    options.compression = glebe::Compression::lzw;
    options.class_names = {"water", "land"};
    std::uint64_t calls = 0, last = 0;
    double elapsed = 0;
    options.progress = [&](const glebe::Progress &now) {
        CHECK(now.done > last && now.done <= now.total && now.elapsed_s >= elapsed);
        last = now.done;
        elapsed = now.elapsed_s;
        ++calls;
        return true;
    };
    // tests/cpp.rs compares the file with its input.
    const std::string report = model.segment_file(file("raster.tif"), file("logits.tif"), options);
    CHECK(report.find("\"tiles\"") != std::string::npos && report.front() == '{');
    CHECK(calls > 4);
}

TEST(one_model_works_in_several_threads) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<float> samples = ramp();
    std::vector<std::thread> threads;
    std::vector<int> good(3, 0);
    for (int &result : good) {
        threads.emplace_back([&] {
            const auto prediction = model.segment_array(glebe::Image(samples, channels, height, width), logits());
            result = same(prediction, samples) ? 1 : 0;
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK_EQUAL(std::accumulate(good.begin(), good.end(), 0), 3);
}
