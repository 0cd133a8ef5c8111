// The files of a run, the callbacks that come with the library, and a test of the best checkpoint.

#include <cmath>
#include <fstream>
#include <limits>

#include "check.hpp"

namespace {

// linear.onnx is a 1 x 1 convolution of two bands to two classes with the weights 1, 0, 0, 1.
glebe::Trainer new_trainer() {
    glebe::TrainerOptions given;
    given.batch = 2;
    given.height = given.width = 2;
    given.threads = 1;
    return glebe::Trainer(glebe::Model(runtime(), file("linear.onnx")), given);
}

glebe::FitOptions fit_options(std::uint64_t epochs) {
    glebe::FitOptions options;
    options.epochs = epochs;
    options.learning_rate = 1e-2;
    return options;
}

constexpr std::size_t plane = 4;

float sample(std::size_t index) { return static_cast<float>((index * 37) % 23) / 23.0F - 0.5F; }

std::uint8_t label(std::size_t index) { return index % 3 == 0 ? 1 : 0; }

// Of so many images.
glebe::Loader loader(const glebe::Trainer &trainer, std::size_t count) {
    std::vector<float> images;
    std::vector<std::uint8_t> labels;
    for (std::size_t index = 0; index < count * 2 * plane; ++index) {
        images.push_back(sample(index));
    }
    for (std::size_t index = 0; index < count * plane; ++index) {
        labels.push_back(label(index));
    }
    return glebe::Loader(trainer, images, labels);
}

/// The share of right pixels of images `first` to `end` where the model gives back what it gets.
double accuracy(std::size_t first, std::size_t end) {
    std::size_t right = 0;
    for (std::size_t image = first; image < end; ++image) {
        for (std::size_t pixel = 0; pixel < plane; ++pixel) {
            const bool second = sample((2 * image + 1) * plane + pixel) > sample(2 * image * plane + pixel);
            if (second == (label(image * plane + pixel) == 1)) {
                ++right;
            }
        }
    }
    return static_cast<double>(right) / static_cast<double>((end - first) * plane);
}

/// A metric by name; NaN where there is none.
double value(const glebe::Metrics &metrics, const std::string &name) {
    for (const auto &[known, number] : metrics) {
        if (known == name) {
            return number;
        }
    }
    return std::numeric_limits<double>::quiet_NaN();
}

bool exists(const std::string &name) { return std::ifstream(file(name)).good(); }

std::string text_of(const std::string &name) {
    std::ifstream in(file(name));
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

bool says(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

/// The learning rate of every update.
class Rates : public glebe::Callback {
public:
    std::vector<double> values;

private:
    void optimizer_step_start(glebe::EventContext &context) override {
        values.push_back(context.state().learning_rate);
    }
};

} // namespace

TEST(a_run_writes_its_files) {
    glebe::Trainer trainer = new_trainer();
    CHECK_EQUAL(THROWN(glebe::Error, trainer.add_outputs(file("cpp-out"))).status(), GLEBE_STATUS_INVALID_STATE);
    glebe::FitOptions options = fit_options(3);
    options.class_names = {"ground", "house"};
    options.score_training = true;
    options.checkpoint_folder = file("cpp-out/checkpoints");
    options.checkpoint_best = "val/MeanIoU";
    options.checkpoint_mode = glebe::Mode::highest;
    trainer.set_fit_options(options);
    CHECK_EQUAL(THROWN(glebe::Error, trainer.add_outputs(file("cpp-out"), glebe::Output{})).status(),
                GLEBE_STATUS_INVALID_ARGUMENT);
    trainer.add_outputs(file("cpp-out"));
    trainer.add_outputs(file("cpp-few"), glebe::Output::batch_losses | glebe::Output::curves);
    glebe::Loader train = loader(trainer, 4);
    glebe::Loader validation = loader(trainer, 2);
    glebe::Loader test = loader(trainer, 3);
    const std::optional<glebe::Metrics> metrics = trainer.fit_and_test(train, &validation, &test);
    CHECK(metrics.has_value());
    CHECK(value(*metrics, "Loss") > 0 && value(*metrics, "IoU/house") >= 0);
    CHECK_EQUAL(text_of("cpp-out/Train/epoch_metrics.csv").substr(0, 36), "loss,learning_rate,Accuracy,MeanIoU,");
    CHECK(says(text_of("cpp-out/Val/epoch_metrics.csv"), "IoU/house"));
    CHECK_EQUAL(text_of("cpp-out/batch_losses.csv").substr(0, 21), "epoch,batch,loss\n1,1,");
    CHECK(says(text_of("cpp-out/best_validation_epoch/Test/metrics.csv"), ",house,"));
    CHECK(says(text_of("cpp-out/run.toml"), "status = \"done\""));
    CHECK(exists("cpp-out/pictures/epoch-002/val_batch-001_image-2.png"));
    CHECK(exists("cpp-few/batch_losses.csv") && exists("cpp-few/curves.svg"));
    CHECK(!exists("cpp-few/run.toml") && !exists("cpp-few/Train/epoch_metrics.csv"));

    // No test data, no metrics; one loader twice; one that holds nothing.
    CHECK(!trainer.fit_and_test(train, nullptr, nullptr).has_value());
    CHECK_EQUAL(THROWN(glebe::Error, trainer.fit_and_test(train, &train, nullptr)).status(),
                GLEBE_STATUS_INVALID_STATE);
    const glebe::Loader moved(std::move(test));
    const auto error = THROWN(glebe::Error, trainer.fit_and_test(train, nullptr, &test));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK_EQUAL(std::string(error.what()), "test is NULL");
}

TEST(predictions_are_scored_in_virtual_batches) {
    glebe::Trainer trainer = new_trainer();
    trainer.set_fit_options(fit_options(1));
    glebe::Loader data = loader(trainer, 5);
    const double single = value(trainer.predict_all(data, 1), "Accuracy");
    CHECK(std::abs(single - accuracy(0, 5)) < 1e-12);
    const double uneven = value(trainer.predict_all(data, 4), "Accuracy");
    CHECK(std::abs(uneven - (accuracy(0, 4) + accuracy(4, 5)) / 2) < 1e-12);
    CHECK(std::abs(single - uneven) > 1e-3);
    CHECK_EQUAL(THROWN(glebe::Error, (void)trainer.predict_all(data, 0)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(what_callbacks_throw_comes_out_of_whole_runs) {
    class Thrower : public glebe::Callback {
        void test_start(glebe::EventContext &) override { throw std::out_of_range("test"); }
        void prediction_start(glebe::EventContext &) override { throw std::out_of_range("prediction"); }
    };
    glebe::Trainer trainer = new_trainer();
    trainer.set_fit_options(fit_options(1));
    trainer.add(std::make_shared<Thrower>());
    glebe::Loader train = loader(trainer, 2);
    glebe::Loader test = loader(trainer, 2);
    CHECK_EQUAL(std::string(THROWN(std::out_of_range, trainer.fit_and_test(train, nullptr, &test)).what()), "test");
    CHECK_EQUAL(std::string(THROWN(std::out_of_range, (void)trainer.predict_all(train)).what()), "prediction");
}

TEST(rates_follow_one_cycle) {
    glebe::Trainer trainer = new_trainer();
    glebe::FitOptions options = fit_options(7);
    options.scores = glebe::Scores::none;
    trainer.set_fit_options(options);
    CHECK_EQUAL(THROWN(glebe::Error, trainer.add_one_cycle(0.1, 0)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    trainer.add_one_cycle(0.01, 7);
    const auto rates = std::make_shared<Rates>();
    trainer.add(rates);
    glebe::Loader train = loader(trainer, 2);
    trainer.fit(train);
    CHECK_EQUAL(rates->values.size(), std::size_t{7});
    // PyTorch's first rate is the largest divided by 25, its last one that divided by 10000.
    CHECK(std::abs(rates->values[0] - 0.01 / 25) < 1e-12 && rates->values[1] > rates->values[0]);
    CHECK(std::abs(rates->values[6] - 0.01 / 25 / 1e4) < 1e-12);
    // The loss alone is measured.
    CHECK_EQUAL(trainer.validate(train).size(), std::size_t{1});
}

TEST(rates_fall_on_a_plateau) {
    glebe::Trainer trainer = new_trainer();
    trainer.set_fit_options(fit_options(5));
    CHECK_EQUAL(THROWN(glebe::Error, trainer.add_plateau("Loss", glebe::Mode::lowest, 1.0, 1)).status(),
                GLEBE_STATUS_INVALID_ARGUMENT);
    // The loss falls: who wants it high sees no better value after the first.
    trainer.add_plateau("Loss", glebe::Mode::highest, 0.5, 0, 3e-3);
    const auto rates = std::make_shared<Rates>();
    trainer.add(rates);
    glebe::Loader train = loader(trainer, 2);
    glebe::Loader validation = loader(trainer, 2);
    trainer.fit(train, validation);
    const std::vector<double> expected = {1e-2, 1e-2, 5e-3, 3e-3, 3e-3};
    CHECK_EQUAL(rates->values.size(), expected.size());
    for (std::size_t index = 0; index < expected.size(); ++index) {
        CHECK(std::abs(rates->values[index] - expected[index]) < 1e-12);
    }
}

TEST(a_run_stops_early) {
    glebe::Trainer trainer = new_trainer();
    glebe::FitOptions options = fit_options(50);
    // Nothing becomes better.
    options.learning_rate = 0;
    options.limit_train_batches = 1;
    trainer.set_fit_options(options);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const auto fails = [&](const std::string &metric, double min_delta) {
        return THROWN(glebe::Error, trainer.add_early_stopping(metric, glebe::Mode::lowest, 1, min_delta));
    };
    CHECK(says(fails("Loss", nan).what(), "min_delta"));
    CHECK(says(fails(std::string("a\0b", 3), 0).what(), "metric has a NUL inside"));
    trainer.add_early_stopping("Loss", glebe::Mode::lowest, 2);
    glebe::Loader train = loader(trainer, 4);
    glebe::Loader validation = loader(trainer, 2);
    trainer.fit(train, validation);
    CHECK(trainer.run_state().epoch == 4 && trainer.run_state().global_step == 4);
}

TEST(a_run_ends_after_its_steps) {
    glebe::Trainer trainer = new_trainer();
    glebe::FitOptions options = fit_options(50);
    options.max_steps = 3;
    trainer.set_fit_options(options);
    glebe::Loader train = loader(trainer, 4);
    trainer.fit(train);
    CHECK(trainer.run_state().epoch == 2 && trainer.run_state().global_step == 3);
}

TEST(options_of_fits_reach_the_library) {
    glebe::FitOptions given = fit_options(1);
    given.class_names = {"ground", "house"};
    given.scores = glebe::Scores::geo_deep_learning;
    given.score_training = true;
    given.limit_train_batches = 6;
    const glebe::detail::FitCall call(given);
    const glebe_fit_options &found = *call.get();
    CHECK(found.class_names_len == 2 && std::string(found.class_names[1]) == "house");
    CHECK(found.scores == GLEBE_SCORES_GEO_DEEP_LEARNING && found.score_training == 1);
    CHECK(found.limit_train_batches == 6);
    CHECK(found.reload_best == 0 && found.evaluate_averages == 0 && found.allow_non_finite == 0);

    glebe::Trainer trainer = new_trainer();
    const auto fails = [&](const glebe::FitOptions &options) {
        return THROWN(glebe::Error, trainer.set_fit_options(options));
    };
    glebe::FitOptions options = fit_options(1);
    options.class_names = {"one"};
    CHECK(says(fails(options).what(), "2 class names"));
    options.class_names = {std::string("a\0b", 3), "b"};
    CHECK(says(fails(options).what(), "class_names has a NUL inside"));
    options = fit_options(1);
    options.reload_best = true;
    CHECK(says(fails(options).what(), "no metric says which"));
    options = fit_options(1);
    options.evaluate_averages = true;
    CHECK_EQUAL(fails(options).status(), GLEBE_STATUS_INVALID_STATE);
    // A loss that is not finite ends the run, unless it is allowed.
    std::vector<float> images(2 * 2 * plane, std::numeric_limits<float>::infinity());
    glebe::Loader infinite(trainer, images, std::vector<std::uint8_t>(2 * plane));
    options = fit_options(1);
    trainer.set_fit_options(options);
    CHECK_EQUAL(THROWN(glebe::Error, trainer.fit(infinite)).status(), GLEBE_STATUS_INVALID_STATE);
    glebe::Trainer bold = new_trainer();
    options.allow_non_finite = true;
    bold.set_fit_options(options);
    bold.fit(infinite);
    CHECK_EQUAL(bold.run_state().epoch, std::uint64_t{1});
}
