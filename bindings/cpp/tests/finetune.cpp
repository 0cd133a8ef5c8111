// Finetunings from beginning to end, and loaders of rasters.

#include <fstream>
#include <utility>

#include "check.hpp"

namespace {

constexpr const char *config = "[data]\n"
                               "scale = 200\n"
                               "[training]\n"
                               "batch = 2\n"
                               "size = 16\n"
                               "epochs = 2\n"
                               "learning_rate = 0.05\n"
                               "[run]\n"
                               "threads = 1\n"
                               "loader_threads = 1\n";

// truth.tif has the classes that linear.onnx gives raster.tif, the other way round.
glebe::FinetuningOptions options(const std::string &out) {
    glebe::FinetuningOptions options;
    options.config = config;
    options.settings = {"model=" + file("linear.onnx"), "out=" + file(out),
                        "data.train=" + file("raster.tif") + ";" + file("truth.tif")};
    return options;
}

bool says(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

bool exists(const std::string &name) { return std::ifstream(file(name)).good(); }

struct Thrown {
    int number;
};

// Counts, and throws where it is told to.
class Watcher : public glebe::Callback {
public:
    int epochs = 0;
    int steps = 0;
    int trains = 0;
    int throws_in = 0;
    std::vector<double> losses;
    std::string last_error;
    const glebe::CancelToken *token = nullptr;
    glebe::Finetuning *running = nullptr;

    void train_start(glebe::EventContext &) override {
        ++trains;
        if (running != nullptr) {
            CHECK(says(running->found(), "\"preflight\""));
            CHECK_EQUAL(THROWN(glebe::Error, (void)running->run()).status(), GLEBE_STATUS_INVALID_STATE);
        }
    }
    void optimizer_step_end(glebe::EventContext &) override { ++steps; }
    void epoch_end(glebe::EventContext &context) override {
        ++epochs;
        losses.push_back(context.metric("train/Loss"));
        if (epochs == throws_in) {
            throw Thrown{17};
        }
        if (token != nullptr) {
            token->cancel();
        }
    }
    void exception(glebe::EventContext &context) override { last_error = context.error().value_or(""); }
};

} // namespace

TEST(a_finetuning_from_beginning_to_end) {
    glebe::FinetuningOptions given = options("cpp-whole");
    given.settings.push_back("data.val_fraction=0.25");
    glebe::Finetuning finetuning(runtime(), given);
    CHECK(says(finetuning.found(), "\"trained_elements\": 4"));
    CHECK(!exists("cpp-whole"));
    const auto watcher = std::make_shared<Watcher>();
    finetuning.add(watcher);
    watcher->running = &finetuning;
    const std::string report = finetuning.run();
    CHECK(says(report, "cpp-whole/model.onnx") && says(report, "\"maps\""));
    CHECK(watcher->trains == 1 && watcher->epochs == 2 && watcher->losses[1] < watcher->losses[0]);
    CHECK(exists("cpp-whole/model.onnx") && exists("cpp-whole/curves.svg"));
    // Given back when the run had ended.
    finetuning = glebe::Finetuning(runtime(), options("cpp-other"));
    CHECK_EQUAL(watcher.use_count(), 1);

    CHECK_EQUAL(THROWN(glebe::Error, (void)glebe::finetune(runtime(), given)).status(), GLEBE_STATUS_ALREADY_EXISTS);
    given = options("cpp-single");
    given.config.clear();
    given.config_path = file("cpp-config.toml");
    std::ofstream(given.config_path) << config;
    given.settings.push_back("training.steps=2");
    CHECK(says(glebe::finetune(runtime(), given), "\"steps\": 2"));
}

TEST(finetunings_are_interrupted_and_go_on) {
    glebe::CancelToken token;
    glebe::FinetuningOptions given = options("cpp-cancelled");
    given.cancel = &token;
    glebe::Finetuning cancelled(runtime(), given);
    const auto first = std::make_shared<Watcher>();
    first->token = &token;
    cancelled.add(first);
    CHECK_EQUAL(THROWN(glebe::Error, (void)cancelled.run()).status(), GLEBE_STATUS_CANCELLED);
    CHECK(first->epochs == 1 && !first->last_error.empty());
    CHECK_EQUAL(THROWN(glebe::Error, (void)cancelled.run()).status(), GLEBE_STATUS_INVALID_STATE);
    CHECK_EQUAL(THROWN(glebe::Error, cancelled.add(first)).status(), GLEBE_STATUS_INVALID_STATE);
    CHECK(!exists("cpp-cancelled/model.onnx"));

    given.cancel = nullptr;
    given.resume = true;
    glebe::Finetuning rest(runtime(), given);
    const auto second = std::make_shared<Watcher>();
    rest.add(second);
    CHECK(says(rest.run(), "\"epochs\": 2"));
    CHECK(second->trains == 0 && second->epochs == 1 && exists("cpp-cancelled/model.onnx"));

    // What a callback throws comes out as it is, and all others are told.
    glebe::Finetuning thrown(runtime(), options("cpp-thrown"));
    const auto thrower = std::make_shared<Watcher>();
    const auto other = std::make_shared<Watcher>();
    thrower->throws_in = 1;
    thrown.add(thrower);
    thrown.add(other);
    int number = 0;
    try {
        (void)thrown.run();
    } catch (const Thrown &own) {
        number = own.number;
    }
    CHECK_EQUAL(number, 17);
    CHECK(other->epochs == 0 && !other->last_error.empty() && !exists("cpp-thrown/model.onnx"));
}

TEST(finetunings_that_are_refused) {
    const auto fails = [](const glebe::FinetuningOptions &given) {
        return THROWN(glebe::Error, (void)glebe::Finetuning(runtime(), given));
    };
    glebe::FinetuningOptions given = options("cpp-refused");
    given.settings.push_back("training.step=3");
    CHECK(says(fails(given).what(), "did you mean \"steps\"?"));
    given = options("cpp-refused");
    given.settings[2] = "data.train=" + file("none.csv");
    CHECK_EQUAL(fails(given).status(), GLEBE_STATUS_NOT_FOUND);
    given = options("cpp-refused");
    given.config_path = "both.toml";
    CHECK(says(fails(given).what(), "config and config_path"));
    given = options("cpp-refused");
    given.settings[1] = std::string("out=a\0b", 7);
    CHECK(says(fails(given).what(), "settings has a NUL inside"));
    glebe::CancelToken token;
    const glebe::CancelToken taken = std::move(token);
    given = options("cpp-refused");
    given.cancel = &token;
    CHECK(says(fails(given).what(), "moved from"));
    CHECK(!exists("cpp-refused"));

    glebe::Finetuning finetuning(runtime(), options("cpp-refused"));
    CHECK(says(THROWN(glebe::Error, finetuning.add(nullptr)).what(), "callback is NULL"));
    const glebe::Finetuning moved = std::move(finetuning);
    CHECK(says(moved.found(), "\"data\""));
    CHECK_EQUAL(THROWN(glebe::Error, (void)finetuning.run()).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK_EQUAL(THROWN(glebe::Error, (void)finetuning.found()).status(), GLEBE_STATUS_INVALID_ARGUMENT);
}

TEST(loaders_of_rasters_feed_a_trainer) {
    glebe::TrainerOptions step;
    step.batch = 2;
    step.height = step.width = 16;
    step.threads = 1;
    glebe::Trainer trainer(glebe::Model(runtime(), file("linear.onnx")), step);
    glebe::FitOptions fit;
    fit.epochs = 2;
    fit.learning_rate = 0.05;
    trainer.set_fit_options(fit);
    glebe::FinetuningOptions given = options("cpp-unused");
    given.settings.push_back("data.val_fraction=0.25");
    glebe::Loader train(trainer, given, glebe::Split::train);
    glebe::Loader validation(trainer, given, glebe::Split::val);
    const glebe::Metrics before = trainer.validate(validation);
    trainer.fit(train, validation);
    const glebe::Metrics after = trainer.validate(validation);
    CHECK(before[0].first == "Loss" && after[0].second < before[0].second);
    const auto fails = [&](glebe::Split split) {
        return THROWN(glebe::Error, (void)glebe::Loader(trainer, given, split));
    };
    CHECK(says(fails(glebe::Split::test).what(), "data.test: expected at least one list"));
    CHECK(says(fails(glebe::Split::none).what(), "split is 0"));
}
