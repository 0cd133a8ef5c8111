// The library as a whole: versions, the runtime, messages.

#include <atomic>

#include "check.hpp"

// In second.cpp, where the header is included once more: inline functions must be the same in both.
glebe::Runtime second_runtime();
const void *second_address();

TEST(versions_are_those_of_the_header) {
    CHECK_EQUAL(glebe::version(), GLEBE_VERSION);
    CHECK_EQUAL(glebe::abi_version(), static_cast<std::uint32_t>(GLEBE_ABI_VERSION));
    CHECK(glebe::build_info().find("\"features\"") != std::string::npos);
    glebe::check_abi();
}

TEST(another_abi_is_refused) {
    const auto error = THROWN(glebe::Error, glebe::detail::require_abi(GLEBE_ABI_VERSION + 1));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_NOT_SUPPORTED);
    CHECK(std::string(error.what()).find("built for 1") != std::string::npos);
}

TEST(runtime_says_what_it_is) {
    const glebe::Runtime again;
    CHECK_EQUAL(again.version(), runtime().version());
    CHECK(again.library().find("libonnxruntime") != std::string::npos);
    CHECK_EQUAL(again.origin(), "beside glebe");
    CHECK(again.providers().find("\"cpu\"") != std::string::npos);
}

TEST(a_runtime_that_is_not_there_is_told) {
    glebe::RuntimeOptions options;
    options.library = file("no-such-runtime.so");
    runtime();
    const auto error = THROWN(glebe::Error, glebe::Runtime{options});
    CHECK(error.status() == GLEBE_STATUS_INVALID_STATE || error.status() == GLEBE_STATUS_RUNTIME_NOT_FOUND);
}

TEST(two_translation_units_share_one_header) {
    CHECK_EQUAL(second_runtime().library(), runtime().library());
    CHECK(second_address() == reinterpret_cast<const void *>(&glebe::check_abi));
}

TEST(messages_come_and_their_function_is_destroyed_once) {
    struct Counted {
        std::atomic<int> &alive;
        explicit Counted(std::atomic<int> &count) : alive(count) { ++alive; }
        Counted(const Counted &other) : alive(other.alive) { ++alive; }
        Counted &operator=(const Counted &) = delete;
        ~Counted() { --alive; }
    };
    std::atomic<int> alive{0};
    std::atomic<int> told{0};
    const glebe::Model model(runtime(), file("identity.onnx"));
    {
        const Counted counted(alive);
        glebe::set_log_callback(glebe::LogLevel::trace,
                                [counted, &told](glebe::LogLevel level, std::string_view target, std::string_view) {
                                    CHECK(level >= glebe::LogLevel::error && level <= glebe::LogLevel::trace);
                                    CHECK(!target.empty());
                                    ++told;
                                    throw 1; // nobody to tell; the job goes on
                                });
    }
    CHECK_EQUAL(alive.load(), 1);
    (void)model.segment_file(file("raster.tif"), file("logged.tif"), small_tiles());
    CHECK(told.load() > 0);

    glebe::set_log_callback(glebe::LogLevel::off, nullptr);
    CHECK_EQUAL(alive.load(), 0);
    const int before = told.load();
    (void)model.segment_file(file("raster.tif"), file("logged.tif"), small_tiles());
    CHECK_EQUAL(told.load(), before);

    // What could not be set is destroyed too.
    const auto refused = static_cast<glebe::LogLevel>(99);
    const auto set = [&] {
        const Counted counted(alive);
        glebe::set_log_callback(refused, [counted](glebe::LogLevel, std::string_view, std::string_view) {});
    };
    CHECK_EQUAL(THROWN(glebe::Error, set()).status(), GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK_EQUAL(alive.load(), 0);
}
