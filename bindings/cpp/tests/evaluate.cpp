// Metrics on labelled rasters.

#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"

static std::string dense(const std::string &json) {
    std::string text;
    for (const char letter : json) {
        if (letter != ' ' && letter != '\n') {
            text += letter;
        }
    }
    return text;
}

static bool holds(const std::string &json, const std::string &words) {
    return dense(json).find(words) != std::string::npos;
}

// The model's output is its input, so that the class is the greater band; its own map stands for the labels.
static std::string labels_of(const glebe::Model &model) {
    (void)model.segment_file(file("raster.tif"), file("labels.tif"), small_tiles());
    return file("raster.tif") + ";" + file("labels.tif");
}

static std::size_t pixels_of_class_1() {
    std::size_t count = 0;
    for (int y = 0; y < 40; ++y) {
        for (int x = 0; x < 50; ++x) {
            count += (x * 4 + y * 5) % 200 > (x * 3 + y * 7) % 200 ? 1 : 0;
        }
    }
    return count;
}

static std::string matrix(std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
    return "\"matrix\":[[" + std::to_string(a) + "," + std::to_string(b) + "],[" + std::to_string(c) + "," +
           std::to_string(d) + "]],\"per_image\"";
}

TEST(counts_are_those_of_labels_and_map) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::string data = labels_of(model);
    const std::size_t one = pixels_of_class_1();
    const std::size_t zero = 2000 - one;

    // The network looks at single pixels.
    CHECK(holds(model.seams(file("raster.tif"), small_tiles()), "\"disagreement\":0.0"));
    CHECK_EQUAL(THROWN(glebe::Error, (void)model.seams(file("no.tif"))).status(), GLEBE_STATUS_NOT_FOUND);
    const glebe::Evaluation all = model.evaluate({data}, {}, small_tiles());
    CHECK(holds(all.scores, matrix(zero, 0, 0, one)) && holds(all.scores, "\"accuracy\":1.0,"));
    CHECK(holds(all.report, "\"wall_s\":") && !holds(all.scores, "\"wall_s\":"));
    CHECK_EQUAL(model.evaluate({data}).scores, all.scores);

    glebe::EvaluateOptions options;
    options.classes = "0=1,1=0";
    CHECK(holds(model.evaluate({data, data}, options).scores, matrix(0, 2 * one, 2 * zero, 0)));
    options.classes.clear();
    options.ignore_index = {7, 0};
    CHECK(holds(model.evaluate({data}, options).scores, matrix(0, 0, 0, one)));
    options.ignore_index = {0, 1};
    CHECK_EQUAL(THROWN(glebe::Error, (void)model.evaluate({data}, options)).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    options = {};
    options.root = file("nowhere");
    CHECK_EQUAL(THROWN(glebe::Error, (void)model.evaluate({"raster.tif;labels.tif"}, options)).status(),
                GLEBE_STATUS_NOT_FOUND);
}

TEST(progress_of_an_evaluation_names_the_image) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::string data = labels_of(model);
    glebe::SegmentOptions segment = small_tiles();
    std::vector<std::uint64_t> finished;
    segment.progress = [&](const glebe::Progress &now) {
        if (now.done == now.total) {
            finished.push_back(now.image);
        }
        return now.images == 2;
    };
    (void)model.evaluate({data, data}, {}, segment);
    CHECK(finished == (std::vector<std::uint64_t>{0, 1}));
    segment.progress = [](const glebe::Progress &now) -> bool {
        if (now.image == 1) {
            throw std::string("stop");
        }
        return true;
    };
    CHECK_EQUAL(THROWN(std::string, (void)model.evaluate({data, data}, {}, segment)), "stop");
}
