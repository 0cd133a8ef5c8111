// Finetunes a model on images and labels in memory: finetune MODEL OUTPUT [PARAMS]
//
//     c++ -std=c++17 finetune.cpp $(pkg-config --cflags --libs glebe) -o finetune
//     ./finetune unet.onnx finetuned.onnx head
//
// The images are made up: squares that are brighter in the first band. The exit code is the status of glebe.h.

#include <cmath>
#include <cstdio>
#include <exception>
#include <vector>

#include <glebe.hpp>

namespace {

struct Data {
    std::vector<float> images;
    std::vector<std::uint8_t> labels;
};

// Images [N, C, H, W] and labels [N, H, W] of checks, shifted by `seed`.
Data make_up(const std::vector<std::size_t> &shape, std::size_t seed) {
    Data data;
    for (std::size_t n = 0; n < shape[0]; ++n) {
        for (std::size_t c = 0; c < shape[1]; ++c) {
            for (std::size_t y = 0; y < shape[2]; ++y) {
                for (std::size_t x = 0; x < shape[3]; ++x) {
                    const bool inside = ((x + seed) / 16 + (y + 3 * seed) / 16 + n) % 2 == 1;
                    const double noise = 0.3 * std::sin(static_cast<double>(x * 13 + y * 7 + c * 5 + seed));
                    data.images.push_back(static_cast<float>(noise) + (inside && c == 0 ? 1.0F : 0.0F));
                    if (c == 0) {
                        data.labels.push_back(inside ? 1 : 0);
                    }
                }
            }
        }
    }
    return data;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3 || count > 4) {
        std::fprintf(stderr, "usage: finetune MODEL OUTPUT [PARAMS]\n");
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    try {
        glebe::TrainerOptions options;
        options.batch = 2;
        options.height = options.width = 64;
        options.params = count == 4 ? arguments[3] : "all";
        options.ignore_index = 255;
        const glebe::Runtime runtime;
        const glebe::Model model(runtime, arguments[1]);
        glebe::Trainer trainer(model, options);
        for (std::size_t step = 0; step < 30; ++step) {
            const Data data = make_up(trainer.image_shape(), step % 4);
            const float loss = trainer.step(glebe::Batch(data.images, data.labels), 3e-2F);
            std::printf("step %zu loss %.4f\n", step + 1, static_cast<double>(loss));
        }
        trainer.export_model(arguments[2], true);
        return GLEBE_STATUS_OK;
    } catch (const glebe::Error &error) {
        std::fprintf(stderr, "finetune: %s\n", error.what());
        return error.status();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "finetune: %s\n", error.what());
        return GLEBE_STATUS_INTERNAL;
    }
}
