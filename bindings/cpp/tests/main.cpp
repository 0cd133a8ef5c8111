// Runs all tests in this process, one after the other: tests FOLDER

#include <cstdio>
#include <exception>

#include "check.hpp"

int main(int count, char **arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: tests FOLDER\n");
        return 2;
    }
    folder() = arguments[1];
    int failed = 0;
    for (const Test &test : tests()) {
        try {
            test.body();
            std::printf("ok      %s\n", test.name);
        } catch (const std::exception &error) {
            std::printf("FAILED  %s: %s\n", test.name, error.what());
            ++failed;
        } catch (...) {
            std::printf("FAILED  %s: something that is no std::exception\n", test.name);
            ++failed;
        }
        std::fflush(stdout);
    }
    std::printf("%zu tests, %d failed\n", tests().size(), failed);
    return failed == 0 && !tests().empty() ? 0 : 1;
}
