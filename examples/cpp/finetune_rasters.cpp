// Finetunes a model on labelled rasters: finetune_rasters MODEL TRAIN VAL OUT
//
//     c++ -std=c++17 finetune_rasters.cpp $(pkg-config --cflags --libs glebe) -o finetune_rasters
//
// TRAIN and VAL are lists of images and labels, or one pair IMAGE;LABELS each. OUT is the folder of all that is written:
// the model, checkpoints, metrics, curves, pictures; then OUT/scores.json, what the model scores on the whole images of
// VAL, and OUT/best.onnx, the best checkpoint as a model. The exit code is the status of glebe.h.

#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <string>

#include <glebe.hpp>

namespace {

// Prints a line an epoch.
class Printer : public glebe::Callback {
    void epoch_end(glebe::EventContext &context) override {
        const glebe::RunState state = context.state();
        std::printf("epoch %d of %d, loss %.4f\n", static_cast<int>(state.epoch), static_cast<int>(state.epochs),
                    context.metric("val/Loss"));
    }
};

} // namespace

int main(int count, char **arguments) {
    if (count != 5) {
        std::fprintf(stderr, "usage: finetune_rasters MODEL TRAIN VAL OUT\n");
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    try {
        // What is the same in every run; everything else has a default, and a setting over it.
        glebe::FinetuningOptions options;
        options.config = "[data]\n"
                         "scale = 255\n"
                         "[sampling]\n"
                         "kind = \"balanced\"\n"
                         "[training]\n"
                         "epochs = 5\n"
                         "learning_rate = 1e-2\n"
                         "size = 32\n";
        const std::string out = arguments[4];
        options.settings = {std::string("model=") + arguments[1], std::string("data.train=") + arguments[2],
                            std::string("data.val=") + arguments[3], "out=" + out};
        const glebe::Runtime runtime;
        glebe::Finetuning finetuning(runtime, options);
        finetuning.add(std::make_shared<Printer>());
        (void)finetuning.run(); // the report, as JSON

        glebe::EvaluateOptions part;
        part.split = glebe::Split::val; // of lists that say which line is for what
        const glebe::Model model(runtime, out + "/model.onnx");
        std::ofstream(out + "/scores.json") << model.evaluate({arguments[3]}, part).scores;
        (void)glebe::export_model(arguments[1], out + "/checkpoints/best.safetensors", out + "/best.onnx");
        for (const char *name : {"model.onnx", "scores.json", "best.onnx"}) {
            std::printf("%s/%s\n", out.c_str(), name);
        }
        return GLEBE_STATUS_OK;
    } catch (const glebe::Error &error) {
        std::fprintf(stderr, "finetune_rasters: %s\n", error.what());
        return error.status();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "finetune_rasters: %s\n", error.what());
        return GLEBE_STATUS_INTERNAL;
    }
}
