// Runs of a trainer: callbacks as objects, exceptions that pass through, loaders, checkpoints.

#include <cmath>

#include <utility>
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

constexpr std::size_t image_len = 8;
constexpr std::size_t label_len = 4;

// So many batches of two images.
std::vector<float> images(std::size_t batches) {
    std::vector<float> values(batches * 2 * image_len);
    for (std::size_t index = 0; index < values.size(); ++index) {
        values[index] = static_cast<float>((index * 37) % 23) / 23.0F - 0.5F;
    }
    return values;
}

std::vector<std::uint8_t> labels(std::size_t batches) {
    std::vector<std::uint8_t> values(batches * 2 * label_len);
    for (std::size_t index = 0; index < values.size(); ++index) {
        values[index] = index % 3 == 0 ? 1 : 0;
    }
    return values;
}

glebe::Loader loader(const glebe::Trainer &trainer, std::size_t batches, bool shuffled = false) {
    return glebe::Loader(trainer, images(batches), labels(batches), shuffled);
}

void fit(glebe::Trainer &trainer) {
    glebe::Loader train = loader(trainer, 2);
    glebe::Loader validation = loader(trainer, 1);
    trainer.fit(train, validation);
}

/// An exception that is of no standard class, and cannot be copied.
struct Own {
    int number;
    explicit Own(int value) : number(value) {}
    Own(const Own &) = delete;
    Own &operator=(const Own &) = delete;
};

/// Notes the name of every event, by its own function.
class Recorder : public glebe::Callback {
public:
    std::string log;

#define NOTED(name)                                                                                                    \
    void name(glebe::EventContext &) override { log += #name " "; }
    NOTED(trainer_init)
    NOTED(train_start)
    NOTED(resume)
    NOTED(epoch_start)
    NOTED(batch_start)
    NOTED(forward_start)
    NOTED(backward_start)
    NOTED(backward_end)
    NOTED(optimizer_step_start)
    NOTED(optimizer_step_end)
    NOTED(batch_end)
    NOTED(batches_end)
    NOTED(validation_start)
    NOTED(evaluation_start)
    NOTED(metrics_start)
    NOTED(metrics_end)
    NOTED(evaluation_batches_end)
    NOTED(validation_end)
    NOTED(epoch_metrics)
    NOTED(checkpoint_save)
    NOTED(epoch_end)
    NOTED(train_end)
    NOTED(validate_start)
    NOTED(validate_end)
    NOTED(test_start)
    NOTED(test_end)
    NOTED(predict_start)
    NOTED(prediction_start)
    NOTED(prediction_end)
    NOTED(predict_end)
    NOTED(checkpoint_load)
    NOTED(inference_start)
    NOTED(inference_end)
#undef NOTED
    void exception(glebe::EventContext &context) override {
        log += "exception ";
        error = context.error().value_or("none");
        status = context.error_status();
    }

    std::string error;
    glebe_status status = GLEBE_STATUS_OK;

    std::string taken() { return std::exchange(log, ""); }
};

const std::string batch = "batch_start forward_start backward_start backward_end optimizer_step_start "
                          "optimizer_step_end batch_end ";
const std::string evaluation =
    "batch_start evaluation_start metrics_start metrics_end batch_end evaluation_batches_end ";
const std::string epoch = "epoch_start " + batch + batch + "batches_end validation_start " + evaluation +
                          "validation_end epoch_metrics checkpoint_save epoch_end ";
const std::string prediction = "predict_start batch_start prediction_start prediction_end batch_end predict_end ";

/// Throws at one event.
class Thrower : public glebe::Callback {
public:
    explicit Thrower(glebe::Event where) : where_(where) {}

    void event(glebe::Event which, glebe::EventContext &) override {
        if (which == where_) {
            throw Own(static_cast<int>(which));
        }
    }

private:
    glebe::Event where_;
};

/// The number of the Own that `body` throws; 0 where it throws none.
template <class Body>
int own_of(Body &&body) {
    try {
        body();
    } catch (const Own &own) {
        return own.number;
    }
    return 0;
}

/// Batches over vectors; throws where it is told to.
class Source : public glebe::Batches {
public:
    Source(std::size_t count, std::string fails) : images_(images_of(count)), labels_(labels_of(count)), fails_(fails) {}

    std::size_t batches() override { return when("batches"), images_.size() / (2 * image_len); }
    void begin(std::uint64_t) override { when("begin"); }
    glebe::Batch batch(std::size_t index) override {
        when("batch");
        return glebe::Batch(glebe::Span<const float>(images_.data() + index * 2 * image_len, 2 * image_len),
                            glebe::Span<const std::uint8_t>(labels_.data() + index * 2 * label_len, 2 * label_len));
    }
    std::optional<std::size_t> images(std::size_t) override {
        when("images");
        return std::nullopt;
    }

private:
    static std::vector<float> images_of(std::size_t count) { return ::images(count); }
    static std::vector<std::uint8_t> labels_of(std::size_t count) { return ::labels(count); }

    void when(const std::string &where) const {
        if (where == fails_) {
            throw std::out_of_range(where);
        }
    }

    std::vector<float> images_;
    std::vector<std::uint8_t> labels_;
    std::string fails_;
};

} // namespace

TEST(a_callback_is_told_of_everything_by_name) {
    glebe::Trainer trainer = new_trainer();
    glebe::FitOptions options = fit_options(2);
    options.checkpoint_folder = file("cpp-checkpoints");
    trainer.set_fit_options(options);
    const auto recorder = std::make_shared<Recorder>();
    trainer.add(recorder);
    CHECK_EQUAL(recorder->taken(), "trainer_init ");
    fit(trainer);
    CHECK_EQUAL(recorder->taken(), "train_start " + epoch + epoch + "train_end ");
    const glebe::RunState state = trainer.run_state();
    CHECK(state.epoch == 2 && state.epochs == 2 && state.global_step == 4 && state.phase == glebe::Phase::idle);

    glebe::Loader data = loader(trainer, 1);
    const glebe::Metrics metrics = trainer.validate(data);
    CHECK(metrics.at(0).first == "Loss" && metrics[0].second > 0);
    CHECK_EQUAL(recorder->taken(), "validate_start " + evaluation + "validate_end ");
    CHECK(trainer.test(data) == metrics);
    CHECK_EQUAL(recorder->taken(), "test_start " + evaluation + "test_end ");
    std::size_t taken = 0;
    trainer.predict(data, [&](std::size_t index, std::size_t count, glebe::Span<const float> logits) {
        CHECK(index == 0 && count == 2);
        taken += logits.size();
    });
    CHECK_EQUAL(taken, std::size_t{16});
    trainer.predict(data);
    CHECK_EQUAL(recorder->taken(), prediction + prediction);
    glebe::Loader other = loader(trainer, 1);
    trainer.infer({{glebe::Split::test, &data}, {glebe::Split::train, &other}});
    CHECK_EQUAL(recorder->taken(), "inference_start " + prediction + prediction + "inference_end ");
    trainer.save_checkpoint(file("cpp.safetensors"));

    glebe::Trainer again = new_trainer();
    options.epochs = 3;
    again.set_fit_options(options);
    again.add(recorder);
    CHECK(again.checkpoint_message().empty());
    CHECK(again.resume_newest());
    again.resume(file("cpp.safetensors"));
    fit(again);
    CHECK_EQUAL(recorder->taken(), "trainer_init resume checkpoint_load " + epoch + "train_end ");
    CHECK_EQUAL(again.checkpoint_message(),
                "Loading checkpoint that was created at (epoch = 2, global_step = 4)");

    // A moved trainer has its callbacks.
    glebe::Trainer moved(std::move(again));
    (void)moved.validate(data);
    CHECK_EQUAL(recorder->taken(), "validate_start " + evaluation + "validate_end ");
}

TEST(what_a_callback_throws_comes_out_of_every_run) {
    glebe::Trainer reference = new_trainer();
    for (std::int32_t number = GLEBE_EVENT_TRAIN_START; number <= GLEBE_EVENT_INFERENCE_END; ++number) {
        if (number == GLEBE_EVENT_EXCEPTION) {
            continue;
        }
        glebe::Trainer trainer = new_trainer();
        glebe::FitOptions options = fit_options(1);
        options.checkpoint_folder = file("cpp-thrown");
        trainer.set_fit_options(options);
        const auto recorder = std::make_shared<Recorder>();
        trainer.add(std::make_shared<Thrower>(static_cast<glebe::Event>(number)));
        trainer.add(recorder);
        glebe::Loader data = loader(trainer, 1);
        const int thrown = own_of([&] {
            fit(trainer);
            (void)trainer.validate(data);
            (void)trainer.test(data);
            trainer.infer({{glebe::Split::val, &data}});
            CHECK(trainer.resume_newest());
            fit(trainer);
        });
        CHECK_EQUAL(thrown, number);
        CHECK(recorder->error.find(std::string("failed at ") + glebe_event_name(number)) != std::string::npos);
        CHECK_EQUAL(recorder->status, GLEBE_STATUS_CANCELLED);
        CHECK(recorder->log.size() > 10 && recorder->log.substr(recorder->log.size() - 10) == "exception ");
    }
    // While it is told of an exception there is nobody left to tell.
    class Sore : public Recorder {
        void train_start(glebe::EventContext &) override { throw std::runtime_error("first"); }
        void exception(glebe::EventContext &) override { throw std::runtime_error("second"); }
    };
    glebe::Trainer trainer = new_trainer();
    trainer.set_fit_options(fit_options(1));
    const auto sore = std::make_shared<Sore>();
    trainer.add(sore);
    CHECK_EQUAL(std::string(THROWN(std::runtime_error, fit(trainer)).what()), "first");
    // Not added: nothing of it is kept.
    const auto early = std::make_shared<Thrower>(glebe::Event::trainer_init);
    CHECK_EQUAL(own_of([&] { trainer.add(early); }), GLEBE_EVENT_TRAINER_INIT);
    CHECK_EQUAL(early.use_count(), 1L);
    CHECK_EQUAL(THROWN(glebe::Error, trainer.add(nullptr)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    // An error of the library within a callback comes out as it is.
    class Greedy : public glebe::Callback {
        void train_end(glebe::EventContext &context) override { (void)context.logits(); }
    };
    glebe::Trainer asked = new_trainer();
    asked.set_fit_options(fit_options(1));
    asked.add(std::make_shared<Greedy>());
    const auto error = THROWN(glebe::Error, fit(asked));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_INVALID_STATE);
    CHECK(std::string(error.what()).find("no logits") != std::string::npos);
    // What takes logits may throw too.
    glebe::Loader data = loader(asked, 1);
    CHECK_EQUAL(own_of([&] {
        asked.predict(data, [](std::size_t, std::size_t, glebe::Span<const float>) { throw Own(7); });
    }), 7);
}

TEST(what_is_thrown_in_a_call_of_the_c_interface_is_not_of_the_next_call) {
    glebe::Trainer trainer = new_trainer();
    trainer.set_fit_options(fit_options(1));
    // Throws once.
    class Once : public glebe::Callback {
        void validate_start(glebe::EventContext &) override {
            if (!std::exchange(thrown_, true)) {
                throw Own(7);
            }
        }

        bool thrown_ = false;
    };
    trainer.add(std::make_shared<Once>());
    glebe::Loader data = loader(trainer, 1);
    glebe_metrics *metrics = nullptr;
    CHECK(glebe_trainer_validate(trainer.get(), data.get(), &metrics, nullptr) != GLEBE_STATUS_OK);
    glebe_metrics_free(metrics);
    CHECK(!trainer.validate(data).empty());
}

TEST(callbacks_live_as_long_as_their_trainer) {
    const auto recorder = std::make_shared<Recorder>();
    {
        glebe::Trainer trainer = new_trainer();
        trainer.add(recorder);
        trainer.add(recorder);
        CHECK(recorder.use_count() > 1);
    }
    CHECK_EQUAL(recorder.use_count(), 1L);
}

TEST(batches_of_a_class_give_what_arrays_give) {
    class Losses : public glebe::Callback {
    public:
        std::vector<double> values;

    private:
        void batch_end(glebe::EventContext &context) override { values.push_back(context.loss().value()); }
    };
    std::vector<std::vector<double>> found;
    for (const bool arrays : {true, false}) {
        glebe::Trainer trainer = new_trainer();
        trainer.set_fit_options(fit_options(2));
        const auto losses = std::make_shared<Losses>();
        trainer.add(losses);
        glebe::Loader train =
            arrays ? loader(trainer, 2) : glebe::Loader(std::make_shared<Source>(std::size_t{2}, ""));
        trainer.fit(train);
        CHECK_EQUAL(losses->values.size(), std::size_t{4});
        found.push_back(losses->values);
    }
    CHECK(found[0] == found[1]);
    for (const std::string where : {"batches", "begin", "batch", "images"}) {
        glebe::Trainer trainer = new_trainer();
        trainer.set_fit_options(fit_options(1));
        const auto source = std::make_shared<Source>(std::size_t{1}, where);
        {
            glebe::Loader train(source);
            CHECK_EQUAL(std::string(THROWN(std::out_of_range, trainer.fit(train)).what()), where);
            glebe::Loader moved(std::move(train));
            CHECK_EQUAL(std::string(THROWN(std::out_of_range, (void)trainer.validate(moved)).what()), where);
            CHECK_EQUAL(THROWN(glebe::Error, (void)trainer.validate(train)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
        }
        CHECK_EQUAL(source.use_count(), 1L);
    }
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Loader(std::shared_ptr<glebe::Batches>())).status(),
                GLEBE_STATUS_INVALID_ARGUMENT);
    const glebe::Trainer trainer = new_trainer();
    CHECK_EQUAL(THROWN(glebe::Error, glebe::Loader(trainer, {1.0F}, {1})).status(), GLEBE_STATUS_MISMATCH);
}

TEST(a_callback_sees_and_decides) {
    class Curious : public glebe::Callback {
    public:
        int seen = 0;

    private:
        void batch_start(glebe::EventContext &context) override {
            context.want_logits(true);
            context.set_learning_rate(0.125);
            CHECK(THROWN(glebe::Error, context.veto()).status() == GLEBE_STATUS_INVALID_STATE);
            const glebe_batch given = context.batch();
            CHECK(given.images_len == 2 * image_len && given.labels_len == 2 * label_len && context.images() == 2);
            CHECK(given.images[3] == images(1)[3]);
        }
        void backward_end(glebe::EventContext &context) override {
            CHECK((context.image_shape() == std::vector<std::size_t>{2, 2, 2, 2}));
            CHECK(context.logits_shape() == context.image_shape());
            CHECK(context.tensors().size() == 1 && context.tensors()[0].name == "weight");
            CHECK((context.weight("weight") == std::vector<float>{1, 0, 0, 1}));
            // The model gives back what it gets.
            const glebe::Span<const float> logits = context.logits();
            CHECK(std::vector<float>(logits.begin(), logits.end()) == images(1));
            CHECK(context.gradient("weight").size() == 4 && context.gradient("weight")[0] != 0);
            CHECK(THROWN(glebe::Error, (void)context.weight("nothing")).status() == GLEBE_STATUS_INVALID_ARGUMENT);
            const glebe::EventContext::Truth truth = context.truth();
            CHECK(truth.classes.size() == 2 * label_len && truth.mask.size() == 2 * label_len);
            CHECK(truth.classes[3] == labels(1)[3] && truth.mask[3] == 1.0F);
            ++seen;
        }
        void optimizer_step_start(glebe::EventContext &context) override { context.veto(); }
        void batch_end(glebe::EventContext &context) override { context.log("Seen", seen); }
        void epoch_end(glebe::EventContext &context) override {
            CHECK(context.metric("train/Seen") == seen && context.metrics().at(0).first == "train/Loss");
            CHECK(context.metric("train/LearningRate") == 0.125);
            CHECK(!context.loss() && !context.error() && !context.checkpoint_message());
            CHECK(context.state().batches == 1 && context.state().phase == glebe::Phase::train);
            if (context.state().epoch == 2) {
                context.request_stop();
            }
        }
    };
    glebe::Trainer trainer = new_trainer();
    trainer.set_fit_options(fit_options(9));
    const auto curious = std::make_shared<Curious>();
    trainer.add(curious);
    glebe::Loader train = loader(trainer, 1);
    trainer.fit(train);
    CHECK(curious->seen == 2 && trainer.run_state().should_stop && trainer.run_state().global_step == 0);
    CHECK((trainer.weight("weight") == std::vector<float>{1, 0, 0, 1}));
}

TEST(default_options_of_fits_are_those_of_the_library) {
    glebe_fit_options expected;
    CHECK(glebe_fit_options_init(&expected, sizeof expected) == GLEBE_STATUS_OK);
    const glebe::FitOptions given;
    const glebe::detail::FitCall call(given);
    const glebe_fit_options &found = *call.get();
    CHECK(found.struct_size == expected.struct_size && found.tail == expected.tail && found.epochs == expected.epochs);
    CHECK(found.learning_rate == expected.learning_rate && found.accumulate == expected.accumulate);
    CHECK(found.validate_every == expected.validate_every && found.seed == expected.seed);
    CHECK(found.split_index == expected.split_index && found.splits == expected.splits);
    CHECK(found.schedule == expected.schedule && found.schedule_warm_up == expected.schedule_warm_up);
    CHECK(found.schedule_least == expected.schedule_least && found.schedule_gamma == expected.schedule_gamma);
    CHECK(found.schedule_size == expected.schedule_size);
    CHECK(found.schedule_milestones_len == expected.schedule_milestones_len);
    CHECK(found.checkpoint_folder == nullptr && found.checkpoint_best == nullptr);
    CHECK(found.checkpoint_every == expected.checkpoint_every && found.checkpoint_keep == expected.checkpoint_keep);
    CHECK(found.checkpoint_mode == expected.checkpoint_mode);
    CHECK(found.class_names_len == expected.class_names_len && found.scores == expected.scores);
    CHECK(found.score_training == expected.score_training && found.reload_best == expected.reload_best);
    CHECK(found.evaluate_averages == expected.evaluate_averages);
    CHECK(found.allow_non_finite == expected.allow_non_finite && found.reserved == 0);
    CHECK(found.limit_train_batches == expected.limit_train_batches && found.max_steps == expected.max_steps);
    glebe::Trainer trainer = new_trainer();
    CHECK_EQUAL(THROWN(glebe::Error, trainer.set_fit_options(given)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    glebe::FitOptions falling = fit_options(3);
    falling.schedule = glebe::Schedule::multi_step;
    falling.schedule_gamma = 0.5;
    falling.schedule_milestones = {1, 2};
    trainer.set_fit_options(falling);
    glebe::Loader train = loader(trainer, 1);
    trainer.fit(train);
    CHECK_EQUAL(trainer.run_state().learning_rate, 2.5e-3);
}
