// Checkpoints: what they tell, and their weights in a trainer.

#include <cstring>
#include <fstream>

#include "check.hpp"

namespace {

const std::string message = "Loading checkpoint that was created at (epoch = 2, global_step = 4)";

// linear.onnx is a 1 x 1 convolution of two bands to two classes with the weights 1, 0, 0, 1.
glebe::Trainer new_trainer() {
    glebe::TrainerOptions given;
    given.batch = 2;
    given.height = given.width = 2;
    given.threads = 1;
    return glebe::Trainer(glebe::Model(runtime(), file("linear.onnx")), given);
}

/// Writes a safetensors file, byte by byte, with one tensor `name` of linear.onnx's shape; gives its path.
std::string write(const std::string &path, const std::string &name, const std::vector<float> &values) {
    std::string header = "{\"__metadata__\":{\"epoch\":\"2\",\"global_step\":\"4\"},\"" + name +
                         "\":{\"dtype\":\"F32\",\"shape\":[2,2,1,1],\"data_offsets\":[0,16]}}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::string bytes;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        bytes.push_back(static_cast<char>((static_cast<std::uint64_t>(header.size()) >> shift) & 0xFF));
    }
    bytes += header;
    bytes.resize(bytes.size() + 16);
    std::memcpy(&bytes[bytes.size() - 16], values.data(), 16);
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
}

bool says(const std::string &json, const std::string &text) { return json.find(text) != std::string::npos; }

} // namespace

TEST(a_checkpoint_tells_what_it_holds) {
    const std::string path = write(file("cpp-weights.safetensors"), "model.weight", {0, 1, 1, 0});
    const std::string json = glebe::inspect_checkpoint(path);
    CHECK(says(json, "\"kind\": \"checkpoint\"") && says(json, "\"name\": \"model.weight\""));
    CHECK(says(json, message) && says(json, "\"global_step\": 4"));
    const auto error = THROWN(glebe::Error, (void)glebe::inspect_checkpoint(file("nothing.ckpt")));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_NOT_FOUND);
    CHECK(error.path() && says(*error.path(), "nothing.ckpt"));
    CHECK_EQUAL(THROWN(glebe::Error, (void)glebe::inspect_checkpoint(file("linear.onnx"))).status(),
                GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(weights_of_a_checkpoint_are_taken_over) {
    using Weights = std::vector<float>;
    const std::string path = write(file("cpp-weights.safetensors"), "model.weight", {0, 1, 1, 0});
    glebe::Trainer trainer = new_trainer();
    CHECK((trainer.weight("weight") == Weights{1, 0, 0, 1}));
    const std::string report = trainer.load_checkpoint(path);
    CHECK(says(report, message) && says(report, "\"stripped\": \"model.\"") && says(report, "\"missing\": []"));
    CHECK((trainer.weight("weight") == Weights{0, 1, 1, 0}));
    CHECK_EQUAL(trainer.checkpoint_message(), message);
    CHECK_EQUAL(trainer.updates(), std::uint64_t{0});

    // The settings reach it, and one that fits nothing changes nothing.
    const auto fails = [&](const glebe::LoadOptions &options) {
        return THROWN(glebe::Error, (void)trainer.load_checkpoint(path, options));
    };
    glebe::LoadOptions options;
    options.prefix = "student.";
    CHECK(says(fails(options).what(), "student."));
    options.prefix = "model.";
    (void)trainer.load_checkpoint(path, options);
    options.filter = "!weight";
    CHECK_EQUAL(fails(options).status(), GLEBE_STATUS_MISMATCH);
    options.filter = {};
    options.key = "model_ema";
    CHECK_EQUAL(fails(options).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    options.key = std::string("a\0b", 3);
    CHECK(says(fails(options).what(), "key has a NUL inside"));
    options.key = {};
    options.norm_epsilon = -1;
    CHECK(says(fails(options).what(), "epsilon"));
    CHECK_EQUAL(THROWN(glebe::Error, (void)trainer.load_checkpoint(file("nothing.ckpt"))).status(),
                GLEBE_STATUS_NOT_FOUND);
    CHECK((trainer.weight("weight") == Weights{0, 1, 1, 0}));

    // Its own state is a source too; of another program's there is a tensor too many.
    const std::string own = file("cpp-own.safetensors");
    const std::vector<std::uint8_t> state = trainer.state();
    std::ofstream(own, std::ios::binary).write(reinterpret_cast<const char *>(state.data()),
                                               static_cast<std::streamsize>(state.size()));
    glebe::Trainer other = new_trainer();
    CHECK(says(other.load_checkpoint(own), "\"message\": \"\""));
    CHECK((other.weight("weight") == Weights{0, 1, 1, 0}));
    const std::string foreign = write(file("cpp-foreign.safetensors"), "head", {5, 6, 7, 8});
    CHECK_EQUAL(THROWN(glebe::Error, (void)other.load_checkpoint(foreign)).status(), GLEBE_STATUS_MISMATCH);
    CHECK((other.weight("weight") == Weights{0, 1, 1, 0}));
}

TEST(callbacks_hear_of_weights_before_they_change) {
    class Listener : public glebe::Callback {
    public:
        std::vector<float> before;
        bool refuses = false;

    private:
        void checkpoint_load(glebe::EventContext &context) override {
            before = context.weight("weight");
            if (refuses) {
                throw std::out_of_range("not these");
            }
        }
    };
    const std::string path = write(file("cpp-heard.safetensors"), "weight", {2, 3, 4, 5});
    glebe::Trainer trainer = new_trainer();
    const auto listener = std::make_shared<Listener>();
    trainer.add(listener);
    listener->refuses = true;
    CHECK_EQUAL(std::string(THROWN(std::out_of_range, (void)trainer.load_checkpoint(path)).what()), "not these");
    CHECK((trainer.weight("weight") == std::vector<float>{1, 0, 0, 1}));
    listener->refuses = false;
    (void)trainer.load_checkpoint(path);
    CHECK((listener->before == std::vector<float>{1, 0, 0, 1}));
    CHECK((trainer.weight("weight") == std::vector<float>{2, 3, 4, 5}));
}

TEST(default_options_of_loading_are_those_of_the_library) {
    glebe_load_options expected;
    CHECK(glebe_load_options_init(&expected, sizeof expected) == GLEBE_STATUS_OK);
    const glebe_load_options found = glebe::detail::load_options({});
    CHECK(found.struct_size == expected.struct_size && found.partial == expected.partial);
    CHECK(found.prefix == nullptr && found.filter == nullptr && found.key == nullptr);
    CHECK(found.norm_epsilon == expected.norm_epsilon);
    glebe::LoadOptions partial;
    partial.partial = true;
    CHECK_EQUAL(glebe::detail::load_options(partial).partial, 1);
}

TEST(a_model_is_exported_with_other_weights_and_with_what_it_wants) {
    const std::string path = write(file("cpp-weights.safetensors"), "model.weight", {0, 1, 1, 0});
    glebe::ExportOptions options;
    options.bands = {2, 1};
    options.scale = {255};
    options.class_names = {"field", "road"};
    options.tile = 32;
    const std::string made = file("cpp-exported.onnx");
    const std::string report = glebe::export_model(file("linear.onnx"), path, made, options);
    CHECK(says(report, message) && says(report, "\"glebe.bands\": \"[2,1]\""));
    const glebe::Model model(runtime(), made);
    CHECK((model.class_names() == std::vector<std::string>{"field", "road"}));
    glebe::TrainerOptions given;
    given.batch = 1;
    given.height = given.width = 2;
    given.threads = 1;
    CHECK((glebe::Trainer(model, given).weight("weight") == std::vector<float>{0, 1, 1, 0}));

    // Its own weights, and other tags, in its place.
    const auto fails = [&](const std::string &checkpoint) {
        return THROWN(glebe::Error, (void)glebe::export_model(file("linear.onnx"), checkpoint, made, options));
    };
    CHECK_EQUAL(fails({}).status(), GLEBE_STATUS_ALREADY_EXISTS);
    options.overwrite = true;
    CHECK(says(glebe::export_model(file("linear.onnx"), {}, made, options), "\"report\": null"));
    CHECK((glebe::Trainer(glebe::Model(runtime(), made), given).weight("weight") == std::vector<float>{1, 0, 0, 1}));

    // What is wrong.
    options.averages = true;
    CHECK(says(fails(path).what(), "moving averages"));
    options.averages = false;
    options.lora_alpha = -1;
    CHECK(says(fails(path).what(), "alpha"));
    options.lora_alpha = 0;
    options.output = "nothing";
    CHECK(says(fails(path).what(), "nothing"));
    options.output = {};
    options.mean = {1, 2, 3};
    CHECK_EQUAL(fails(path).status(), GLEBE_STATUS_MISMATCH);
    options.mean = {};
    options.stddev = {0};
    CHECK(says(fails(path).what(), "std"));
    options.stddev = {};
    glebe::LoadOptions which;
    which.filter = "!*";
    const auto error =
        THROWN(glebe::Error, (void)glebe::export_model(file("linear.onnx"), path, made, options, which));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_MISMATCH);
    const auto empty = THROWN(glebe::Error, (void)glebe::export_model(file("linear.onnx"), {}, file("cpp-none.onnx")));
    CHECK(says(empty.what(), "nothing to export"));
}

TEST(default_options_of_exporting_are_those_of_the_library) {
    glebe_export_options expected;
    CHECK(glebe_export_options_init(&expected, sizeof expected) == GLEBE_STATUS_OK);
    const glebe::ExportOptions options;
    const glebe::detail::ExportCall call(options);
    const glebe_export_options &found = *call.get();
    CHECK(found.struct_size == expected.struct_size && found.overwrite == expected.overwrite);
    CHECK(found.averages == expected.averages && found.tile == expected.tile && found.output == nullptr);
    CHECK(found.bands_len == 0 && found.scale_len == 0 && found.mean_len == 0 && found.std_len == 0);
    CHECK(found.class_names_len == 0 && found.lora_alpha == expected.lora_alpha);
}
