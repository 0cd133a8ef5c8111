// Scores a raster: segment MODEL INPUT OUTPUT [SCALE]
//
//     c++ -std=c++17 segment.cpp $(pkg-config --cflags --libs glebe) -o segment
//     ./segment landcover.onnx sentinel.tif map.tif 10000
//
// Progress goes to stderr, the report (JSON) to stdout; the exit code is the status of glebe.h, 0 when all went well.
// Ctrl-C stops the job and leaves no output.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include <glebe.hpp>

namespace {

const glebe::CancelToken *interrupted = nullptr;

// Cancelling is the one call that a signal handler may make.
extern "C" void on_interrupt(int) { interrupted->cancel(); }

// A token that Ctrl-C sets, for as long as the object lives.
struct Interrupts {
    glebe::CancelToken token;

    Interrupts() {
        interrupted = &token;
        std::signal(SIGINT, on_interrupt);
    }
    ~Interrupts() { std::signal(SIGINT, SIG_DFL); }
};

bool show(const glebe::Progress &now) {
    std::fprintf(stderr, "\r%llu of %llu tiles, %.1f s", static_cast<unsigned long long>(now.done),
                 static_cast<unsigned long long>(now.total), now.elapsed_s);
    if (now.done == now.total) {
        std::fputc('\n', stderr);
    }
    return true; // false would cancel the job
}

} // namespace

int main(int count, char **arguments) {
    if (count < 4 || count > 5) {
        std::fprintf(stderr, "usage: segment MODEL INPUT OUTPUT [SCALE]\n");
        return GLEBE_STATUS_INVALID_ARGUMENT;
    }
    try {
        const Interrupts interrupts;
        glebe::SegmentOptions options;
        options.cancel = &interrupts.token;
        options.progress = show;
        options.overwrite = true;
        if (count == 5) {
            // The model is fed x / SCALE: 255 for pictures, 10000 for reflectances of Sentinel-2.
            options.scale = {std::strtod(arguments[4], nullptr)};
        }

        const glebe::Runtime runtime;
        const glebe::Model model(runtime, arguments[1]);
        const std::string report = model.segment_file(arguments[2], arguments[3], options);
        std::printf("%s\n", report.c_str());
        return GLEBE_STATUS_OK;
    } catch (const glebe::Error &error) {
        std::fprintf(stderr, "\nsegment: %s\n", error.what());
        return error.status();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "\nsegment: %s\n", error.what());
        return GLEBE_STATUS_INTERNAL;
    }
}
