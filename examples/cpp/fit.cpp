// Trains a model for some epochs, and says how it goes: fit MODEL OUTPUT CHECKPOINTS
//
//     c++ -std=c++17 fit.cpp $(pkg-config --cflags --libs glebe) -o fit
//
// Run it again after it was interrupted: it goes on from the newest checkpoint. The folder CHECKPOINTS gets the metrics
// and their curves too. The images are made up: squares that are brighter in the first band. The exit code is the status
// of glebe.h.

#include <cmath>
#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

#include <glebe.hpp>

namespace {

// Images [count, C, H, W] and labels [count, H, W] of checks, from number `first` on.
glebe::Loader make_up(const glebe::Trainer &trainer, std::size_t first, std::size_t count, bool shuffled) {
    const std::vector<std::size_t> shape = trainer.image_shape();
    std::vector<float> images;
    std::vector<std::uint8_t> labels;
    for (std::size_t n = first; n < first + count; ++n) {
        for (std::size_t c = 0; c < shape[1]; ++c) {
            for (std::size_t y = 0; y < shape[2]; ++y) {
                for (std::size_t x = 0; x < shape[3]; ++x) {
                    const bool inside = ((x + n) / 16 + (y + 3 * n) / 16) % 2 == 1;
                    const double noise = 0.3 * std::sin(static_cast<double>(x * 13 + y * 7 + c * 5 + n));
                    images.push_back(static_cast<float>(noise) + (inside && c == 0 ? 1.0F : 0.0F));
                    if (c == 0) {
                        labels.push_back(inside ? 1 : 0);
                    }
                }
            }
        }
    }
    return glebe::Loader(trainer, images, labels, shuffled);
}

// Prints a line an epoch, and ends the training when it is good enough.
class Printer : public glebe::Callback {
    void checkpoint_load(glebe::EventContext &context) override {
        std::printf("%s\n", context.checkpoint_message().value_or("").c_str());
    }

    void validation_end(glebe::EventContext &context) override {
        const double loss = context.metric("Loss");
        const glebe::RunState state = context.state();
        std::printf("epoch %d of %d, loss %.4f\n", static_cast<int>(state.epoch), static_cast<int>(state.epochs), loss);
        if (loss < 0.01) {
            context.request_stop();
        }
    }
};

} // namespace

int main(int count, char **arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: fit MODEL OUTPUT CHECKPOINTS\n");
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    try {
        glebe::TrainerOptions options;
        options.batch = 2;
        options.height = options.width = 64;
        glebe::FitOptions fit;
        fit.epochs = 5;
        fit.learning_rate = 5e-2;
        fit.schedule = glebe::Schedule::cosine;
        fit.checkpoint_folder = arguments[3];
        const glebe::Runtime runtime;
        glebe::Trainer trainer(glebe::Model(runtime, arguments[1]), options);
        trainer.set_fit_options(fit);
        trainer.add(std::make_shared<Printer>());
        trainer.add_outputs(arguments[3], glebe::Output::epoch_csv | glebe::Output::curves);
        glebe::Loader train = make_up(trainer, 0, 6, true);
        glebe::Loader validation = make_up(trainer, 6, 2, false);
        (void)trainer.resume_newest();
        trainer.fit(train, validation);
        trainer.export_model(arguments[2], true);
        return GLEBE_STATUS_OK;
    } catch (const glebe::Error &error) {
        std::fprintf(stderr, "fit: %s\n", error.what());
        return error.status();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "fit: %s\n", error.what());
        return GLEBE_STATUS_INTERNAL;
    }
}
