// Progress, cancelling, and exceptions that pass through the library without touching it.

#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include "check.hpp"

namespace {

/// An exception that is of no standard class, and cannot be copied.
struct Own {
    int number;
    explicit Own(int value) : number(value) {}
    Own(const Own &) = delete;
    Own &operator=(const Own &) = delete;
};

bool exists(const std::string &path) { return std::ifstream(path).good(); }

/// The model still gives what it should.
void check_works(const glebe::Model &model) {
    const std::vector<float> samples(2 * 8 * 8, 3.0F);
    glebe::SegmentOptions options;
    options.threads = 1;
    options.product = glebe::Product::logits;
    const auto prediction = model.segment_array(glebe::Image(samples, 2, 8, 8), options);
    CHECK_EQUAL(prediction.at<float>(1, 7, 7), 3.0F);
}

} // namespace

TEST(what_the_callback_throws_comes_out_of_a_file_job) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    int calls = 0;
    options.progress = [&](const glebe::Progress &) -> bool {
        if (++calls == 2) {
            throw std::runtime_error("enough");
        }
        return true;
    };
    const auto error =
        THROWN(std::runtime_error, model.segment_file(file("raster.tif"), file("thrown.tif"), options));
    CHECK_EQUAL(std::string(error.what()), "enough");
    CHECK_EQUAL(calls, 2);
    CHECK(!exists(file("thrown.tif")));
    check_works(model);
}

TEST(the_very_exception_comes_out_of_an_array_job) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const std::vector<float> samples(2 * 40 * 40);
    glebe::SegmentOptions options = small_tiles();
    const Own *thrown = nullptr;
    options.progress = [](const glebe::Progress &) -> bool { throw Own(42); };
    try {
        (void)model.segment_array(glebe::Image(samples, 2, 40, 40), options);
    } catch (const Own &own) {
        thrown = &own;
        CHECK_EQUAL(own.number, 42);
    }
    CHECK(thrown != nullptr);
    check_works(model);
}

TEST(an_exception_after_the_last_tile_counts_too) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    options.progress = [](const glebe::Progress &now) -> bool {
        if (now.done == now.total) {
            throw std::string("late");
        }
        return true;
    };
    CHECK_EQUAL(THROWN(std::string, model.segment_file(file("raster.tif"), file("late.tif"), options)), "late");
    CHECK(!exists(file("late.tif")));
    check_works(model);
}

TEST(errors_of_jobs_inside_a_callback_come_out_too) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    options.progress = [&](const glebe::Progress &) {
        check_works(model);
        (void)model.segment_file(file("none.tif"), file("nested.tif"));
        return true;
    };
    const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("nested.tif"), options));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_NOT_FOUND);
    check_works(model);
}

TEST(false_cancels) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::SegmentOptions options = small_tiles();
    options.progress = [](const glebe::Progress &now) { return now.done < 3; };
    const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("false.tif"), options));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_CANCELLED);
    CHECK(!exists(file("false.tif")));
    check_works(model);
}

TEST(a_callback_lives_as_long_as_its_options) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const auto owned = std::make_shared<int>(0);
    {
        glebe::SegmentOptions options = small_tiles();
        options.progress = [owned](const glebe::Progress &) { return ++*owned > 0; };
        CHECK_EQUAL(owned.use_count(), 2);
        (void)model.segment_file(file("raster.tif"), file("owned.tif"), options);
        (void)model.segment_file(file("raster.tif"), file("owned.tif"), options);
        CHECK_EQUAL(owned.use_count(), 2);
    }
    CHECK_EQUAL(owned.use_count(), 1);
    CHECK(*owned > 8);
}

TEST(another_thread_cancels) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    const glebe::CancelToken token;
    std::mutex mutex;
    std::condition_variable changed;
    bool begun = false;
    std::thread other([&] {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return begun; });
        token.cancel();
        changed.notify_all();
    });
    glebe::SegmentOptions options = small_tiles();
    options.cancel = &token;
    options.progress = [&](const glebe::Progress &) {
        std::unique_lock<std::mutex> lock(mutex);
        begun = true;
        changed.notify_all();
        changed.wait(lock, [&] { return token.is_cancelled(); });
        return true;
    };
    glebe_status status = GLEBE_STATUS_OK;
    try {
        (void)model.segment_file(file("raster.tif"), file("cancelled.tif"), options);
    } catch (const glebe::Error &error) {
        status = error.status();
    }
    other.join();
    CHECK_EQUAL(status, GLEBE_STATUS_CANCELLED);
    CHECK(token.is_cancelled() && !exists(file("cancelled.tif")));
    check_works(model);
}

TEST(tokens_move_and_stay_set) {
    const glebe::Model model(runtime(), file("identity.onnx"));
    glebe::CancelToken first;
    CHECK(!first.is_cancelled());
    first.cancel();
    const glebe::CancelToken second = std::move(first);
    CHECK(second.is_cancelled());
    glebe::SegmentOptions options = small_tiles();
    options.cancel = &second;
    for (int i = 0; i < 2; ++i) {
        const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("set.tif"), options));
        CHECK_EQUAL(error.status(), GLEBE_STATUS_CANCELLED);
    }
    // A token that was moved from cannot cancel: it is not taken for one.
    options.cancel = &first; // NOLINT: what is left is what is tested
    const auto error = THROWN(glebe::Error, model.segment_file(file("raster.tif"), file("set.tif"), options));
    CHECK_EQUAL(error.status(), GLEBE_STATUS_INVALID_ARGUMENT);
}
