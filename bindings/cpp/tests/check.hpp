// The few lines of a test framework that these tests need.

#ifndef GLEBE_TESTS_CHECK_HPP
#define GLEBE_TESTS_CHECK_HPP

#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <glebe.hpp>

struct Test {
    const char *name;
    void (*body)();
};

/// All tests of the program, in no order.
inline std::vector<Test> &tests() {
    static std::vector<Test> list;
    return list;
}

/// The folder with what tests/cpp.rs wrote (models, rasters), where outputs go too.
inline std::string &folder() {
    static std::string path;
    return path;
}

inline std::string file(const std::string &name) { return folder() + "/" + name; }

/// One for all tests: loading is not what they test.
inline const glebe::Runtime &runtime() {
    static const glebe::Runtime one;
    return one;
}

/// Small tiles and one thread: many batches, and quick under valgrind.
inline glebe::SegmentOptions small_tiles() {
    glebe::SegmentOptions options;
    options.threads = 1;
    options.tile_width = 16;
    options.tile_height = 16;
    options.overwrite = true;
    return options;
}

/// A failed check.
struct Failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const char *where, int line, const std::string &what) {
    throw Failed(std::string(where) + ":" + std::to_string(line) + ": " + what);
}

template <class Left, class Right>
void check_equal(const Left &left, const Right &right, const char *text, const char *where, int line) {
    if (!(left == right)) {
        std::ostringstream out;
        out << text << ": " << left << " is not " << right;
        fail(where, line, out.str());
    }
}

/// Runs `body`, which must throw an E, and gives a copy of it.
template <class E>
E thrown_by(const std::function<void()> &body, const char *where, int line) {
    try {
        body();
    } catch (const E &error) {
        return error;
    } catch (const std::exception &error) {
        fail(where, line, std::string("another exception: ") + error.what());
    }
    fail(where, line, "no exception");
}

#define TEST(name)                                                                                                     \
    static void name();                                                                                                \
    static const bool name##_listed = (tests().push_back({#name, name}), true);                                       \
    static void name()

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail(__FILE__, __LINE__, #condition);                                                                      \
        }                                                                                                              \
    } while (false)

#define CHECK_EQUAL(left, right) check_equal((left), (right), #left, __FILE__, __LINE__)

#define THROWN(E, ...) thrown_by<E>([&] { __VA_ARGS__; }, __FILE__, __LINE__)

#endif
