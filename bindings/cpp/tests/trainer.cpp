// Training steps: numbers, state, options that reach C, errors.

#include <cmath>

#include "check.hpp"

namespace {

// linear.onnx is a 1 x 1 convolution of two bands to two classes with the weights 1, 0, 0, 1.
glebe::TrainerOptions options() {
    glebe::TrainerOptions given;
    given.batch = 1;
    given.height = 2;
    given.width = 2;
    given.threads = 1;
    given.optimizer = "sgd";
    return given;
}

const std::vector<float> images = {1, 2, -1, 0, 0.5F, 1, 3, -2};
const std::vector<std::uint8_t> labels = {0, 1, 1, 255};

// Mean over the pixels that count of log(exp(a) + exp(b)) - logit of the label.
double expected_loss() {
    double sum = 0;
    for (std::size_t pixel = 0; pixel < 3; ++pixel) {
        const double a = images[pixel];
        const double b = images[4 + pixel];
        sum += std::log(std::exp(a) + std::exp(b)) - (labels[pixel] == 0 ? a : b);
    }
    return sum / 3;
}

template <class Call>
glebe_status status_of(Call &&call) {
    try {
        call();
    } catch (const glebe::Error &error) {
        return error.status();
    }
    return GLEBE_STATUS_OK;
}

} // namespace

TEST(a_trainer_steps_saves_and_exports) {
    glebe::TrainerOptions given = options();
    given.ignore_index = 255;
    given.ema_decay = 0.5F;
    given.groups = {{"weight", 2.0F, {}}};
    const glebe::Model model(runtime(), file("linear.onnx"));
    glebe::Trainer trainer(model, given);
    CHECK((trainer.image_shape() == std::vector<std::size_t>{1, 2, 2, 2}));
    CHECK((trainer.logits_shape() == std::vector<std::size_t>{1, 2, 2, 2}));
    const auto tensors = trainer.tensors();
    CHECK(tensors.size() == 1 && tensors[0].name == "weight");
    CHECK((tensors[0].shape == std::vector<std::size_t>{2, 2, 1, 1}));

    const glebe::Batch batch(images, labels);
    trainer.want_logits(true);
    CHECK(std::abs(trainer.accumulate(batch) - expected_loss()) < 1e-5);
    CHECK(trainer.logits() == images);
    const std::vector<float> gradient = trainer.gradient("weight");
    CHECK(!trainer.apply(0.25F).skipped && trainer.updates() == 1);
    const std::vector<float> weight = trainer.weight("weight");
    const std::vector<float> average = trainer.average("weight");
    const std::vector<float> before = {1, 0, 0, 1};
    for (std::size_t index = 0; index < 4; ++index) {
        // The group doubles the learning rate.
        CHECK(std::abs(weight[index] - (before[index] - 0.5F * gradient[index])) < 1e-6F);
        CHECK(std::abs(average[index] - (before[index] + weight[index]) / 2) < 1e-6F);
    }

    glebe::Trainer other(model, given);
    other.set_state(trainer.state());
    CHECK(other.step(batch, 0.1F) == trainer.step(batch, 0.1F));
    CHECK(other.weight("weight") == trainer.weight("weight"));
    trainer.export_model(file("tuned.onnx"), true);
    trainer.export_averages(file("average.onnx"), true);
    glebe::Trainer tuned(glebe::Model(runtime(), file("tuned.onnx")), given);
    CHECK(tuned.weight("weight") == trainer.weight("weight"));
    CHECK(status_of([&] { trainer.export_model(file("tuned.onnx")); }) == GLEBE_STATUS_ALREADY_EXISTS);

    glebe::Trainer moved(std::move(other));
    CHECK(moved.updates() == 2);
    CHECK(status_of([&] { other.discard(); }) == GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(labels_masks_and_keys_reach_the_step) {
    const glebe::Model model(runtime(), file("linear.onnx"));
    glebe::Trainer trainer(model, options());
    const std::vector<std::int64_t> wide = {0, 1, 1, 0};
    const std::vector<std::uint8_t> mask = {1, 1, 1, 0};
    glebe::Batch batch(images, wide);
    batch.mask(glebe::Span<const std::uint8_t>(mask.data(), mask.size()));
    CHECK(std::abs(trainer.accumulate(batch) - expected_loss()) < 1e-5);
    trainer.discard();
    CHECK(status_of([&] { (void)trainer.gradient("weight"); }) == GLEBE_STATUS_INVALID_STATE);
    CHECK(status_of([&] { (void)trainer.weight("nothing"); }) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(status_of([&] { trainer.step(glebe::Batch(images, labels), 0.1F); }) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(status_of([&] { trainer.set_loss_scale(2.0F); }) == GLEBE_STATUS_INVALID_STATE);
    CHECK(!trainer.has_features(1));
}

TEST(default_options_of_training_are_those_of_the_library) {
    glebe_trainer_options expected;
    CHECK(glebe_trainer_options_init(&expected, sizeof expected) == GLEBE_STATUS_OK);
    const glebe::TrainerOptions given;
    const glebe::detail::TrainerCall call(given);
    const glebe_trainer_options &found = *call.get();
    CHECK(found.aux_weight == expected.aux_weight && found.momentum == expected.momentum);
    CHECK(found.beta1 == expected.beta1 && found.beta2 == expected.beta2 && found.alpha == expected.alpha);
    CHECK(found.epsilon == expected.epsilon && found.weight_decay == expected.weight_decay);
    CHECK(found.decay_norm_and_bias == expected.decay_norm_and_bias && found.loss_scale == expected.loss_scale);
    CHECK(found.clip_value == expected.clip_value && found.clip_norm == expected.clip_norm);
    CHECK(found.ema_decay == expected.ema_decay && found.groups_len == expected.groups_len);
    CHECK(found.batch_norm == expected.batch_norm && found.portable == expected.portable);
    CHECK(found.has_ignore_index == expected.has_ignore_index && found.seed == expected.seed);
    CHECK(found.feature_memory == expected.feature_memory && found.feature_file == expected.feature_file);
}

TEST(what_stands_in_the_way_of_training_is_told) {
    const glebe::Model model(runtime(), file("linear.onnx"));
    glebe::TrainerOptions given = options();
    const std::string report = glebe::Trainer::preflight(model, given);
    CHECK(report.find("\"problems\": []") != std::string::npos);
    CHECK(report.find("\"trained_elements\": 4") != std::string::npos);
    given.params = "decoder.*";
    CHECK(status_of([&] { glebe::Trainer trainer(model, given); }) == GLEBE_STATUS_INVALID_ARGUMENT);
    given = options();
    given.params = std::string("a\0b", 3);
    CHECK(status_of([&] { glebe::Trainer trainer(model, given); }) == GLEBE_STATUS_INVALID_ARGUMENT);
    const glebe::CancelToken token;
    given = options();
    given.cancel = &token;
    glebe::Trainer trainer(model, given);
    token.cancel();
    CHECK(status_of([&] { trainer.step(glebe::Batch(images, labels), 0.1F); }) != GLEBE_STATUS_OK);
}
