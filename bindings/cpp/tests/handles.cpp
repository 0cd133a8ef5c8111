// Handles move and free; views and options hold together.

#include <fstream>
#include <iterator>
#include <type_traits>

#include "check.hpp"

template <class T>
constexpr bool moves_only = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(moves_only<glebe::Runtime> && moves_only<glebe::Model>);
static_assert(moves_only<glebe::CancelToken> && moves_only<glebe::Prediction>);
static_assert(std::is_copy_constructible_v<glebe::SegmentOptions> && std::is_aggregate_v<glebe::SegmentOptions>);
static_assert(!std::is_constructible_v<glebe::Image, std::vector<float>, std::size_t, std::size_t, std::size_t>,
              "a view of a temporary");
static_assert(std::is_constructible_v<glebe::Image, std::vector<float> &, std::size_t, std::size_t, std::size_t>);

TEST(models_move) {
    glebe::Model first(runtime(), file("identity.onnx"));
    const glebe_model *handle = first.get();
    glebe::Model second = std::move(first);
    CHECK(second.get() == handle);
    CHECK(first.get() == nullptr); // NOLINT: what is left is what is tested
    CHECK_EQUAL(first.input_channels(), 0u);
    CHECK_EQUAL(first.input_name(), "");
    CHECK(first.class_names().empty() && !first.path());
    const auto error = THROWN(glebe::Error, (void)first.inspect());
    CHECK_EQUAL(error.status(), GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(std::string(error.what()).find("model") != std::string::npos);

    first = glebe::Model(runtime(), file("identity.onnx"));
    second = std::move(first);
    CHECK(second.get() != nullptr && second.get() != handle);
    CHECK_EQUAL(second.input_channels(), 2u);
}

TEST(a_model_outlives_its_runtime) {
    auto own = std::make_unique<glebe::Runtime>();
    const glebe::Model model(*own, file("identity.onnx"));
    own.reset();
    const std::vector<float> samples(2 * 4 * 4, 1.0F);
    CHECK_EQUAL(model.segment_array(glebe::Image(samples, 2, 4, 4)).bands(), 1u);
}

TEST(models_say_what_they_are) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    CHECK_EQUAL(model.path().value(), file("identity.onnx"));
    CHECK_EQUAL(model.input_name(), "image");
    CHECK_EQUAL(model.output_name(), "logits");
    CHECK_EQUAL(model.input_channels(), 2u);
    CHECK_EQUAL(model.tile_width() + model.tile_height() + model.batch(), 0u);
    CHECK(model.class_names().empty());
    CHECK(model.inspect().find("\"can_segment\"") != std::string::npos);
    CHECK(glebe::inspect_file(file("identity.onnx")).find("\"can_segment\"") != std::string::npos);
}

TEST(a_model_from_bytes) {
    std::ifstream in(file("identity.onnx"), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const glebe::Model model = glebe::Model::from_bytes(runtime(), bytes.data(), bytes.size());
    bytes.assign(bytes.size(), '\0');
    CHECK(!model.path());
    CHECK_EQUAL(model.input_channels(), 2u);
}

TEST(images_must_be_as_large_as_they_say) {
    std::vector<std::uint16_t> samples(24);
    const glebe::Image image(samples, 2, 3, 4);
    CHECK(image.data_type() == glebe::DataType::u16);
    CHECK_EQUAL(image.channels() * 100 + image.height() * 10 + image.width(), 234u);
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Image(samples, 2, 3, 5)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Image(samples, 2, 3, 0)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    // 2^33 * 2^33 * 8 would be 0 in 64 bits.
    const std::size_t large = std::size_t{1} << 33U;
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Image(samples, large, large, 8)).status(),
                GLEBE_STATUS_INVALID_ARGUMENT);
    samples.clear();
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Image(samples, 0, 0, 0)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(sample_types_go_by_size_and_sign) {
    using glebe::DataType;
    using glebe::detail::data_type_of;
    CHECK(data_type_of<unsigned char>() == DataType::u8 && data_type_of<unsigned short>() == DataType::u16);
    CHECK(data_type_of<unsigned>() == DataType::u32 && data_type_of<int>() == DataType::i32);
    CHECK(data_type_of<long long>() == DataType::i64 && data_type_of<unsigned long long>() == DataType::u64);
    CHECK(data_type_of<long>() == (sizeof(long) == 8 ? DataType::i64 : DataType::i32));
    CHECK(data_type_of<float>() == DataType::f32 && data_type_of<double>() == DataType::f64);
    CHECK(data_type_of<bool>() == DataType::automatic && data_type_of<char>() == DataType::automatic);
    CHECK(data_type_of<signed char>() == DataType::automatic && data_type_of<void *>() == DataType::automatic);
}

// The defaults are written in glebe.hpp once more, for people; they must be those of the library.
TEST(default_options_are_those_of_the_library) {
    glebe_segment_options c;
    CHECK_EQUAL(glebe_segment_options_init(&c, sizeof c), GLEBE_STATUS_OK);
    const glebe::SegmentOptions options;
    const glebe::detail::SegmentCall call(options);
    const glebe_segment_options &cpp = *call.get();
    CHECK_EQUAL(cpp.struct_size, c.struct_size);
    CHECK_EQUAL(cpp.threads, c.threads);
    CHECK_EQUAL(cpp.bands_len + cpp.scale_len + cpp.mean_len + cpp.std_len + cpp.provider_options_len, 0u);
    CHECK_EQUAL(cpp.class_names_len + cpp.drivers_len, 0u);
    CHECK(cpp.tile_width == c.tile_width && cpp.tile_height == c.tile_height);
    CHECK(cpp.overlap_px == c.overlap_px && !(cpp.overlap_share < c.overlap_share) &&
          !(cpp.overlap_share > c.overlap_share));
    CHECK(cpp.blend == c.blend && cpp.padding == c.padding && cpp.batch == c.batch);
    CHECK(cpp.activation == c.activation && cpp.provider == c.provider && cpp.product == c.product);
    CHECK(cpp.data_type == c.data_type && cpp.has_nodata == c.has_nodata && cpp.nodata_rule == c.nodata_rule);
    CHECK(!(cpp.threshold < c.threshold) && !(cpp.threshold > c.threshold));
    CHECK(cpp.format == c.format && cpp.compression == c.compression && cpp.overwrite == c.overwrite);
    CHECK(cpp.cancel == nullptr && cpp.progress == nullptr && cpp.progress_destroy == nullptr);

    glebe_model_options model;
    CHECK_EQUAL(glebe_model_options_init(&model, sizeof model), GLEBE_STATUS_OK);
    CHECK_EQUAL(glebe::ModelOptions().external_data, model.external_data != 0);
    CHECK_EQUAL(glebe::ModelOptions().max_file_bytes, model.max_file_bytes);
    CHECK_EQUAL(glebe::ModelOptions().max_weight_bytes, model.max_weight_bytes);
}

TEST(every_option_reaches_the_c_struct) {
    const glebe::CancelToken token;
    glebe::SegmentOptions options;
    options.threads = 3;
    options.bands = {2, 1};
    options.scale = {10};
    options.mean = {1, 2};
    options.stddev = {3, 4, 5};
    options.tile_width = 64;
    options.tile_height = 32;
    options.overlap_px = 8;
    options.blend = glebe::Blend::hann;
    options.padding = glebe::Padding::constant;
    options.padding_value = 7;
    options.batch = 2;
    options.activation = glebe::Activation::sigmoid;
    options.provider = "cuda:1";
    options.provider_options = {{"a", "b"}, {"c", "d"}};
    options.product = glebe::Product::logits;
    options.data_type = glebe::DataType::f32;
    options.nodata = -1;
    options.nodata_rule = glebe::NodataRule::any;
    options.format = glebe::Format::gtiff;
    options.compression = glebe::Compression::zstd;
    options.overwrite = true;
    options.class_names = {"water", "land"};
    options.drivers = {"ENVI"};
    options.cancel = &token;
    options.progress = [](const glebe::Progress &) { return true; };
    const glebe::detail::SegmentCall call(options);
    const glebe_segment_options &c = *call.get();
    CHECK(c.threads == 3 && c.bands_len == 2 && c.bands[0] == 2 && c.bands[1] == 1);
    CHECK(c.scale_len == 1 && c.mean_len == 2 && c.std_len == 3 && c.std[2] > 4 && c.mean[1] > 1 && c.scale[0] > 9);
    CHECK(c.tile_width == 64 && c.tile_height == 32 && c.overlap_px == 8);
    CHECK(c.blend == GLEBE_BLEND_HANN && c.padding == GLEBE_PADDING_CONSTANT && c.padding_value > 6 && c.batch == 2);
    CHECK(c.activation == GLEBE_ACTIVATION_SIGMOID && c.product == GLEBE_PRODUCT_LOGITS);
    CHECK_EQUAL(std::string(c.provider), "cuda:1");
    CHECK_EQUAL(c.provider_options_len, 2u);
    CHECK_EQUAL(std::string(c.provider_option_keys[1]) + c.provider_option_values[0], "cb");
    CHECK(c.data_type == GLEBE_DATA_TYPE_F32 && c.has_nodata == 1 && c.nodata < 0);
    CHECK(c.nodata_rule == GLEBE_NODATA_RULE_ANY && c.format == GLEBE_FORMAT_GTIFF);
    CHECK(c.compression == GLEBE_COMPRESSION_ZSTD && c.overwrite == 1);
    CHECK(c.class_names_len == 2 && std::string(c.class_names[1]) == "land");
    CHECK(c.drivers_len == 1 && std::string(c.drivers[0]) == "ENVI");
    CHECK(c.cancel == token.get() && c.progress != nullptr && c.progress_user_data != nullptr);
}
