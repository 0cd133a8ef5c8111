/*
 * glebe.hpp: glebe.h for C++17.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * EXAMPLE
 *
 *     glebe::Runtime runtime;
 *     glebe::Model model(runtime, "model.onnx");
 *     glebe::SegmentOptions options;
 *     options.scale = {10000};
 *     options.progress = [](const glebe::Progress &now) { return now.done < 1000; };
 *     model.segment_file("in.tif", "out.tif", options);
 *
 * Link with -lglebe. Longer examples are examples/cpp/segment.cpp, finetune_rasters.cpp and fit.cpp. There is nothing to compile but this header; it
 * may be included in any number of translation units. What glebe.h says of files, threads, forks and memory holds
 * here too; this page tells what C++ adds.
 *
 * ERRORS are exceptions: glebe::Error, with the status of glebe.h. std::bad_alloc may come from the strings and
 * vectors of this header. Functions marked noexcept report nothing. A call that throws has no effect beside what
 * glebe.h says.
 *
 * CALLBACKS may throw anything. Nothing is thrown through the library: the exception is kept, the job is cancelled,
 * and the same exception leaves the function that started the job. The model can be used afterwards.
 *
 * HANDLES (Runtime, Model, CancelToken, Prediction, Trainer, Loader, Finetuning) can be moved, not copied, and free what they hold. One that was
 * moved from holds nothing: it may be assigned to and destroyed; functions that can fail throw
 * GLEBE_STATUS_INVALID_ARGUMENT, the others return zeros and empty strings. Handles may be destroyed in any order.
 * get() gives the C handle, for functions of glebe.h that have no counterpart here.
 *
 * THREADS. const functions of one handle may be called by several threads at the same time; functions that are not
 * const (moving, assigning, destroying) need it for themselves. SegmentOptions may be shared by jobs that run side
 * by side only if its progress function can bear that.
 *
 * STRINGS are UTF-8. File names are std::string; a std::filesystem::path converts to it by itself on POSIX. A
 * string with a NUL inside is GLEBE_STATUS_INVALID_ARGUMENT, not silently cut.
 */

#ifndef GLEBE_HPP
#define GLEBE_HPP

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "glebe.hpp needs C++17: compile with -std=c++17 or newer"
#endif

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "glebe.h"

namespace glebe {

/// Sample types: GLEBE_DATA_TYPE_*.
enum class DataType : std::int32_t {
    automatic = GLEBE_DATA_TYPE_DEFAULT, ///< As fits: in options only.
    u8 = GLEBE_DATA_TYPE_U8,
    u16 = GLEBE_DATA_TYPE_U16,
    i16 = GLEBE_DATA_TYPE_I16,
    u32 = GLEBE_DATA_TYPE_U32,
    i32 = GLEBE_DATA_TYPE_I32,
    u64 = GLEBE_DATA_TYPE_U64,
    i64 = GLEBE_DATA_TYPE_I64,
    f32 = GLEBE_DATA_TYPE_F32,
    f64 = GLEBE_DATA_TYPE_F64,
};

/// How overlapping tiles become one map: GLEBE_BLEND_*.
enum class Blend : std::int32_t {
    crop = GLEBE_BLEND_CROP,
    gaussian = GLEBE_BLEND_GAUSSIAN,
    hann = GLEBE_BLEND_HANN,
    linear = GLEBE_BLEND_LINEAR,
    constant = GLEBE_BLEND_CONSTANT,
    exact = GLEBE_BLEND_EXACT,
    automatic = GLEBE_BLEND_AUTO,
};

/// What the model sees past the raster's edge: GLEBE_PADDING_*.
enum class Padding : std::int32_t {
    reflect = GLEBE_PADDING_REFLECT,
    edge = GLEBE_PADDING_EDGE,
    constant = GLEBE_PADDING_CONSTANT,
};

/// How the output becomes probabilities: GLEBE_ACTIVATION_*.
enum class Activation : std::int32_t {
    automatic = GLEBE_ACTIVATION_AUTO,
    softmax = GLEBE_ACTIVATION_SOFTMAX,
    sigmoid = GLEBE_ACTIVATION_SIGMOID,
    none = GLEBE_ACTIVATION_NONE,
};

/// What is written: GLEBE_PRODUCT_*.
enum class Product : std::int32_t {
    classes = GLEBE_PRODUCT_CLASSES,
    probabilities = GLEBE_PRODUCT_PROBABILITIES,
    logits = GLEBE_PRODUCT_LOGITS,
};

/// How precisely the model computes: GLEBE_PRECISION_*.
enum class Precision : std::int32_t {
    model = GLEBE_PRECISION_MODEL,
    fp16 = GLEBE_PRECISION_FP16,
};

/// When the work around the model becomes part of its graph: GLEBE_FUSE_*.
enum class Fuse : std::int32_t {
    automatic = GLEBE_FUSE_AUTO,
    on = GLEBE_FUSE_ON,
    off = GLEBE_FUSE_OFF,
};

/// When nodata values make a pixel invalid: GLEBE_NODATA_RULE_*.
enum class NodataRule : std::int32_t {
    all = GLEBE_NODATA_RULE_ALL,
    any = GLEBE_NODATA_RULE_ANY,
};

/// The output's format: GLEBE_FORMAT_*.
enum class Format : std::int32_t {
    cog = GLEBE_FORMAT_COG,
    gtiff = GLEBE_FORMAT_GTIFF,
};

/// The output's compression: GLEBE_COMPRESSION_*.
enum class Compression : std::int32_t {
    deflate = GLEBE_COMPRESSION_DEFLATE,
    lzw = GLEBE_COMPRESSION_LZW,
    zstd = GLEBE_COMPRESSION_ZSTD,
    none = GLEBE_COMPRESSION_NONE,
};

/// How grave a message is: GLEBE_LOG_*.
enum class LogLevel : std::int32_t {
    off = GLEBE_LOG_OFF,
    error = GLEBE_LOG_ERROR,
    warn = GLEBE_LOG_WARN,
    info = GLEBE_LOG_INFO,
    debug = GLEBE_LOG_DEBUG,
    trace = GLEBE_LOG_TRACE,
};

namespace detail {

/// Frees a C handle with the function of its class.
template <auto Free>
struct Freed {
    template <class T>
    void operator()(T *handle) const noexcept {
        Free(handle);
    }
};

/// Owns a C handle. Move-only; NULL when moved from.
template <class T, auto Free>
using Handle = std::unique_ptr<T, Freed<Free>>;

/// Owns a glebe_buffer for as long as its text is copied.
struct Buffer {
    glebe_buffer bytes = {nullptr, 0};

    Buffer() = default;
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() { glebe_buffer_free(&bytes); }

    [[nodiscard]] std::vector<std::uint8_t> copy() const {
        return bytes.data == nullptr ? std::vector<std::uint8_t>()
                                     : std::vector<std::uint8_t>(bytes.data, bytes.data + bytes.size);
    }

    [[nodiscard]] std::string text() const {
        return bytes.data == nullptr ? std::string()
                                     : std::string(reinterpret_cast<const char *>(bytes.data), bytes.size);
    }
};

/// A string of an accessor; empty for NULL.
[[nodiscard]] inline std::string text(const char *string) { return string == nullptr ? "" : string; }

/// The first string that is not NULL; the second never is.
[[nodiscard]] inline const char *first_text(const char *string, const char *other) noexcept {
    return string == nullptr ? other : string;
}

/// A string of an accessor; none for NULL.
[[nodiscard]] inline std::optional<std::string> optional_text(const char *string) {
    return string == nullptr ? std::nullopt : std::optional<std::string>(string);
}

/// A number of an accessor; none for -1.
[[nodiscard]] inline std::optional<std::int64_t> optional_number(std::int64_t number) noexcept {
    return number < 0 ? std::nullopt : std::optional<std::int64_t>(number);
}

} // namespace detail

/// What went wrong. what() is the whole text in one line: where (path, tile, band, tensor), what, and the causes.
///
/// Copies share what they hold, so that copying never throws.
class [[gnu::visibility("default")]] Error : public std::runtime_error {
public:
    /// An error of the program's own; the library's are made by the functions that fail.
    Error(glebe_status status, const std::string &message)
        : std::runtime_error(message), status_(status), place_(std::make_shared<const Place>()) {}

    /// Copies what a C error tells; the object stays the caller's. NULL: the name of the status is the text.
    Error(glebe_status status, const glebe_error *error)
        : std::runtime_error(detail::first_text(glebe_error_message(error), glebe_status_name(status))),
          status_(status), place_(std::make_shared<const Place>(error)) {}

    /// GLEBE_STATUS_*, never GLEBE_STATUS_OK. Be ready for numbers that glebe.h does not name yet.
    [[nodiscard]] glebe_status status() const noexcept { return status_; }

    /// The short name of the status: "not-found".
    [[nodiscard]] const char *name() const noexcept { return glebe_status_name(status_); }

    /// The file that the error is about.
    [[nodiscard]] const std::optional<std::string> &path() const noexcept { return place_->path; }

    /// The tile where it happened, counted from 0 in the order of the job.
    [[nodiscard]] std::optional<std::int64_t> tile() const noexcept { return place_->tile; }

    /// The band that the error is about, counted from 1.
    [[nodiscard]] std::optional<std::int64_t> band() const noexcept { return place_->band; }

    /// The model's tensor that the error is about.
    [[nodiscard]] const std::optional<std::string> &tensor() const noexcept { return place_->tensor; }

    /// The chain of errors below this one, the nearest first. Unlike what() they may have several lines.
    [[nodiscard]] const std::vector<std::string> &causes() const noexcept { return place_->causes; }

private:
    struct Place {
        std::optional<std::string> path;
        std::optional<std::int64_t> tile;
        std::optional<std::int64_t> band;
        std::optional<std::string> tensor;
        std::vector<std::string> causes;

        Place() = default;
        explicit Place(const glebe_error *error)
            : path(detail::optional_text(glebe_error_path(error))),
              tile(detail::optional_number(glebe_error_tile(error))),
              band(detail::optional_number(glebe_error_band(error))),
              tensor(detail::optional_text(glebe_error_tensor(error))) {
            const std::size_t count = glebe_error_cause_count(error);
            causes.reserve(count);
            for (std::size_t index = 0; index < count; ++index) {
                causes.push_back(detail::text(glebe_error_cause(error, index)));
            }
        }
    };

    glebe_status status_;
    std::shared_ptr<const Place> place_;
};

namespace detail {

/// How a call of the C ABI ended.
class Outcome {
public:
    /// Runs `call(glebe_error **)`.
    template <class Call>
    explicit Outcome(Call &&call) {
        glebe_error *error = nullptr;
        status_ = call(&error);
        error_.reset(error);
    }

    /// @throws Error where the call failed.
    void check() const {
        if (status_ != GLEBE_STATUS_OK) {
            throw Error(status_, error_.get());
        }
    }

private:
    glebe_status status_ = GLEBE_STATUS_OK;
    Handle<glebe_error, glebe_error_free> error_;
};

/// Runs `call(glebe_error **)` and throws its error.
template <class Call>
void call(Call &&function) {
    Outcome(std::forward<Call>(function)).check();
}

/// For functions that fail without an error object.
inline void check(glebe_status status) {
    if (status != GLEBE_STATUS_OK) {
        throw Error(status, static_cast<const glebe_error *>(nullptr));
    }
}

/// The string for C, which would end it at the first NUL.
[[nodiscard]] inline const char *c_string(const std::string &string, const char *name) {
    if (string.find('\0') != std::string::npos) {
        throw Error(GLEBE_STATUS_INVALID_ARGUMENT, std::string(name) + " has a NUL inside");
    }
    return string.c_str();
}

/// As c_string; NULL for the empty string.
[[nodiscard]] inline const char *c_string_or_null(const std::string &string, const char *name) {
    return string.empty() ? nullptr : c_string(string, name);
}

/// As c_string, of each; valid as long as the strings.
[[nodiscard]] inline std::vector<const char *> c_strings(const std::vector<std::string> &strings, const char *name) {
    std::vector<const char *> list;
    list.reserve(strings.size());
    for (const std::string &string : strings) {
        list.push_back(c_string(string, name));
    }
    return list;
}

inline void require_abi(std::uint32_t loaded) {
    if (loaded != GLEBE_ABI_VERSION) {
        throw Error(GLEBE_STATUS_NOT_SUPPORTED, "the loaded libglebe has ABI version " + std::to_string(loaded) +
                                                    ": this program was built for " +
                                                    std::to_string(GLEBE_ABI_VERSION));
    }
}

/// The DataType of samples of type T. Integers go by size and sign, so that `long` and `long long` both fit.
template <class T>
[[nodiscard]] constexpr DataType data_type_of() noexcept {
    constexpr bool text = std::is_same_v<T, bool> || std::is_same_v<T, char> || std::is_same_v<T, wchar_t> ||
                          std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;
    if constexpr (std::is_same_v<T, float>) {
        return DataType::f32;
    } else if constexpr (std::is_same_v<T, double>) {
        return DataType::f64;
    } else if constexpr (std::is_integral_v<T> && !text && std::is_unsigned_v<T>) {
        return sizeof(T) == 1   ? DataType::u8
               : sizeof(T) == 2 ? DataType::u16
               : sizeof(T) == 4 ? DataType::u32
                                : DataType::u64;
    } else if constexpr (std::is_integral_v<T> && !text && sizeof(T) > 1) {
        return sizeof(T) == 2 ? DataType::i16 : sizeof(T) == 4 ? DataType::i32 : DataType::i64;
    } else {
        return DataType::automatic;
    }
}

template <class T>
[[nodiscard]] constexpr DataType sample_type() noexcept {
    constexpr DataType type = data_type_of<T>();
    static_assert(type != DataType::automatic, "samples are integers of 8 bits (unsigned only) to 64, float or double");
    return type;
}

} // namespace detail

/// The version of the loaded library, such as "0.1.0"; GLEBE_VERSION is that of the headers.
[[nodiscard]] inline std::string version() { return glebe_version(); }

/// The ABI version of the loaded library; GLEBE_ABI_VERSION is that of the headers.
[[nodiscard]] inline std::uint32_t abi_version() noexcept { return glebe_abi_version(); }

/// What the loaded library is, as a JSON object: see glebe_build_info.
[[nodiscard]] inline std::string build_info() { return glebe_build_info(); }

/// Throws where the loaded library is of another ABI than this header. Runtime, CancelToken, inspect_file,
/// inspect_checkpoint and set_log_callback do it by themselves; nothing else can be called without one of them.
///
/// @throws Error GLEBE_STATUS_NOT_SUPPORTED.
inline void check_abi() { detail::require_abi(glebe_abi_version()); }

/// A view of elements in memory that somebody else owns. Converts to std::span<T> where there is one.
template <class T>
class Span {
public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;

    constexpr Span() noexcept = default;
    constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

    [[nodiscard]] constexpr T *data() const noexcept { return data_; }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr T *begin() const noexcept { return data_; }
    [[nodiscard]] constexpr T *end() const noexcept { return data_ + size_; }

    /// The element `index`, which must be below size(); not checked.
    [[nodiscard]] constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/// Told one message: its level, where it comes from ("glebe::...", "glebe::gdal", "ort::...") and its text, one or
/// more lines without a line break at the end. The views are valid during the call only.
using LogFunction = std::function<void(LogLevel level, std::string_view target, std::string_view message)>;

/// How far a job is.
struct Progress {
    std::uint64_t done;  ///< Tiles done.
    std::uint64_t total; ///< Tiles of the job.
    double elapsed_s;    ///< Seconds since the job began.
    std::uint64_t image = 0;  ///< The image at work, from 0, where several are evaluated: each is a job of its own.
    std::uint64_t images = 1; ///< Their number; 1 elsewhere.
};

/// Told after every batch of tiles, on the thread that called the job: true goes on, false cancels it, and what it
/// throws cancels the job and comes out of the function that started it. It may use the job's model, also to run
/// other jobs.
using ProgressFunction = std::function<bool(const Progress &now)>;

namespace detail {

extern "C" {

// Functions that the library calls: of C's linkage, and nothing leaves them. Where a log function throws there is
// nobody to tell: the message was not for the caller of the moment, and the thread may be one of ONNX Runtime's.
inline void glebe_hpp_log(std::int32_t level, const char *target, const char *message, void *function) noexcept {
    try {
        (*static_cast<const LogFunction *>(function))(static_cast<LogLevel>(level), target, message);
    } catch (...) {
    }
}

inline void glebe_hpp_log_destroy(void *function) noexcept { delete static_cast<LogFunction *>(function); }

} // extern "C"

} // namespace detail

/// Hands the messages of the library, of ONNX Runtime and of GDAL (inside calls of the library) to a function, for
/// the whole process. A later call replaces it.
///
/// @param level     messages of this level and graver ones.
/// @param function  called from any thread, and from several at the same time; what it throws is dropped. Empty:
///                  messages are dropped. It is destroyed exactly once, as soon as it was replaced and no thread is
///                  in it; what its destructor throws ends the program.
/// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for an unknown level; GLEBE_STATUS_INVALID_STATE where the library is
///         linked into a Rust program that has a log subscriber of its own.
inline void set_log_callback(LogLevel level, LogFunction function) {
    check_abi();
    auto owned = function ? std::make_unique<LogFunction>(std::move(function)) : nullptr;
    const bool some = owned != nullptr;
    detail::call([&](glebe_error **error) {
        return glebe_log_set_callback(static_cast<std::int32_t>(level), some ? detail::glebe_hpp_log : nullptr,
                                      owned.release(), some ? detail::glebe_hpp_log_destroy : nullptr, error);
    });
}

/// What a model file is and whether it can score rasters ("can_segment", "problem"), as a JSON object, without a
/// runtime.
///
/// @throws Error as Model's constructor, without GLEBE_STATUS_MODEL_UNSUPPORTED.
[[nodiscard]] inline std::string inspect_file(const std::string &path) {
    check_abi();
    const char *c_path = detail::c_string(path, "path");
    detail::Buffer json;
    detail::call([&](glebe_error **error) { return glebe_inspect_file(c_path, &json.bytes, error); });
    return json.text();
}

/// What a checkpoint holds, as the JSON object that `glebe inspect CHECKPOINT --json` prints: names and shapes of its
/// tensors, where it comes from, and "message", the line that is logged when it is loaded. Nothing in the file is run.
/// See glebe_checkpoint_inspect.
///
/// @throws Error GLEBE_STATUS_NOT_FOUND, GLEBE_STATUS_PERMISSION_DENIED, GLEBE_STATUS_IO; GLEBE_STATUS_INVALID_ARGUMENT
///         for a file that is damaged or no checkpoint; GLEBE_STATUS_NOT_SUPPORTED; GLEBE_STATUS_LIMIT_EXCEEDED.
[[nodiscard]] inline std::string inspect_checkpoint(const std::string &path) {
    check_abi();
    const char *c_path = detail::c_string(path, "path");
    detail::Buffer json;
    detail::call([&](glebe_error **error) { return glebe_checkpoint_inspect(c_path, &json.bytes, error); });
    return json.text();
}

/// How to find ONNX Runtime.
struct RuntimeOptions {
    /// The library file (libonnxruntime.so...). Empty: the environment variable ORT_DYLIB_PATH; else beside libglebe;
    /// else the onnxruntime package of the active Python environment; else the system's search.
    std::string library{};
};

/// ONNX Runtime, loaded. A process has one, which stays loaded until the process ends; all objects stand for it.
class Runtime {
public:
    /// Finds and loads ONNX Runtime; later calls give the one that is loaded.
    ///
    /// @throws Error GLEBE_STATUS_RUNTIME_NOT_FOUND where no usable library is found (the text lists what was
    /// tried), or
    ///         the one named cannot be used; GLEBE_STATUS_INVALID_STATE where another library than the one named is
    ///         loaded already; GLEBE_STATUS_NOT_SUPPORTED for a libglebe of another ABI.
    explicit Runtime(const RuntimeOptions &options = {}) {
        check_abi();
        glebe_runtime_options given;
        detail::check(glebe_runtime_options_init(&given, sizeof given));
        given.library = detail::c_string_or_null(options.library, "library");
        glebe_runtime *handle = nullptr;
        detail::call([&](glebe_error **error) { return glebe_runtime_load(&given, &handle, error); });
        handle_.reset(handle);
    }

    /// ONNX Runtime's version, such as "1.31.1".
    [[nodiscard]] std::string version() const { return detail::text(glebe_runtime_version(get())); }

    /// The library file that was loaded; a bare name where the system's search found it.
    [[nodiscard]] std::string library() const { return detail::text(glebe_runtime_library(get())); }

    /// Why this library was taken: "option", "ORT_DYLIB_PATH", "beside glebe", "python environment" or "system".
    [[nodiscard]] std::string origin() const { return detail::text(glebe_runtime_origin(get())); }

    /// The execution providers, found out by trying each, as a JSON list: see glebe_runtime_providers.
    [[nodiscard]] std::string providers() const {
        detail::Buffer json;
        detail::call([&](glebe_error **error) { return glebe_runtime_providers(get(), &json.bytes, error); });
        return json.text();
    }

    [[nodiscard]] const glebe_runtime *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<glebe_runtime, glebe_runtime_free> handle_;
};

/// Asks running jobs to stop. Any number of jobs may share one; once set it stays set.
class CancelToken {
public:
    /// A token that is not set.
    ///
    /// @throws Error GLEBE_STATUS_NOT_SUPPORTED for a libglebe of another ABI.
    CancelToken() {
        check_abi();
        handle_.reset(glebe_cancel_token_new());
    }

    /// The jobs that were given this token throw GLEBE_STATUS_CANCELLED, as a rule within the time of one operator
    /// of the model, and leave no output. May be called from any thread and from a signal handler.
    void cancel() const noexcept { glebe_cancel_token_cancel(get()); }

    /// Whether the token was set. May be called from any thread.
    [[nodiscard]] bool is_cancelled() const noexcept { return glebe_cancel_token_is_cancelled(get()) != 0; }

    [[nodiscard]] const glebe_cancel_token *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<glebe_cancel_token, glebe_cancel_token_free> handle_;
};

/// A view of an image in memory that somebody else owns: channels, rows and columns of samples of one type, in any
/// order. The memory is read only, and must stay as it is until the call that was given the view returns.
class Image {
public:
    /// Dense samples [channels, height, width], the column fastest.
    ///
    /// @tparam T  an integer of 8 bits (unsigned only), 16, 32 or 64, float or double.
    template <class T>
    Image(const T *data, std::size_t channels, std::size_t height, std::size_t width)
        : Image(strided(data, channels, height, width, 0, 0, 0)) {}

    /// Dense samples [channels, height, width] of a vector.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT where it has more or fewer than channels * height * width
    /// elements.
    template <class T>
    Image(const std::vector<T> &data, std::size_t channels, std::size_t height, std::size_t width)
        : Image(data.data(), channels, height, width) {
        std::size_t left = data.size();
        for (const std::size_t length : {channels, height, width}) {
            left = length != 0 && left % length == 0 ? left / length : 0;
        }
        if (left != 1) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT,
                        "an image of " + std::to_string(channels) + " x " + std::to_string(height) + " x " +
                            std::to_string(width) + " has a vector of " + std::to_string(data.size()) + " samples");
        }
    }

    /// A view must not outlive its samples.
    template <class T>
    Image(const std::vector<T> &&, std::size_t, std::size_t, std::size_t) = delete;

    /// Dense samples [height, width, channels], the channel fastest: the pixels of picture libraries.
    template <class T>
    [[nodiscard]] static Image interleaved(const T *data, std::size_t height, std::size_t width, std::size_t channels) {
        return strided(data, channels, height, width, 1, width * channels, channels);
    }

    /// Any order: the sample of channel c, row y and column x is the element c * channel_stride + y * row_stride +
    /// x * column_stride from data. All strides in elements; all three 0: dense [channels, height, width].
    template <class T>
    [[nodiscard]] static Image strided(const T *data, std::size_t channels, std::size_t height, std::size_t width,
                                       std::size_t channel_stride, std::size_t row_stride, std::size_t column_stride) {
        Image image;
        image.view_.data_type = static_cast<std::int32_t>(detail::sample_type<T>());
        image.view_.channels = channels;
        image.view_.height = height;
        image.view_.width = width;
        image.view_.channel_stride = channel_stride;
        image.view_.row_stride = row_stride;
        image.view_.column_stride = column_stride;
        image.view_.data = data;
        return image;
    }

    /// Says which pixels are valid: a byte a pixel, dense [height, width], 0 where the pixel holds no data and
    /// comes back as nodata. NULL (default): all are. (Pixels with samples that are not finite never are.)
    Image &valid(const std::uint8_t *mask) noexcept {
        view_.valid = mask;
        return *this;
    }

    [[nodiscard]] DataType data_type() const noexcept { return static_cast<DataType>(view_.data_type); }
    [[nodiscard]] std::size_t channels() const noexcept { return view_.channels; }
    [[nodiscard]] std::size_t height() const noexcept { return view_.height; }
    [[nodiscard]] std::size_t width() const noexcept { return view_.width; }

    /// The view for C; valid as long as this object.
    [[nodiscard]] const glebe_image *get() const noexcept { return &view_; }

private:
    Image() { detail::check(glebe_image_init(&view_, sizeof view_)); }

    glebe_image view_{};
};

/// What a scoring job is asked to do. Change what is wanted; the rest are the library's defaults.
///
/// What does not fit the model is GLEBE_STATUS_MISMATCH when the job begins.
struct SegmentOptions {
    /// Threads of the model. 0: one a processor.
    std::uint32_t threads = 0;
    /// The raster's bands (an array's channels), counted from 1, in the order of the model's channels. Empty: as
    /// the model's metadata says, else all that are not alpha.
    std::vector<std::uint32_t> bands{};
    /// Divisors of the samples: the model is fed (x / scale - mean) / stddev. One value, or one a band. Empty: as the
    /// model's metadata says, else 1.
    std::vector<double> scale{};
    /// Means in scaled units. One value, or one a band. Empty: as the model's metadata says, else 0.
    std::vector<double> mean{};
    /// Standard deviations in scaled units (`std` in glebe.h). One value, or one a band. Empty: as the model's
    /// metadata says, else 1.
    std::vector<double> stddev{};
    /// Tile width in pixels of the model's input. 0: the model's own where it is fixed, else 512 or less.
    std::uint32_t tile_width = 0;
    /// Tile height; 0 where and only where tile_width is 0.
    std::uint32_t tile_height = 0;
    /// What neighbouring tiles share, in pixels of the model's input. None: overlap_share counts.
    std::optional<std::uint32_t> overlap_px{};
    /// What neighbouring tiles share, as a share of the tile from 0 to below 1.
    double overlap_share = 0.25;
    /// How overlapping tiles become one map.
    Blend blend = Blend::automatic;
    /// What the model sees past the raster's edge.
    Padding padding = Padding::reflect;
    /// The value of Padding::constant, in the raster's own units.
    double padding_value = 0.0;
    /// Tiles a run. 0: the model's own where it is fixed, else 1 on the processor and 4 on a device.
    std::uint32_t batch = 0;
    /// How the output becomes probabilities.
    Activation activation = Activation::automatic;
    /// Where the model runs: "cpu", "cuda", "cuda:1", "tensorrt:0". Empty: "cpu". Strict: there is no fallback.
    std::string provider{};
    /// Names and values of options of the provider, as ONNX Runtime has them ("gpu_mem_limit").
    std::vector<std::pair<std::string, std::string>> provider_options{};
    /// What is written.
    Product product = Product::classes;
    /// Sample type of the output. Classes: u8 or u16; probabilities: f32, or u8 and u16 in steps of 1/254 and
    /// 1/65534; logits: f32. Automatic: the first of these that fits.
    DataType data_type = DataType::automatic;
    /// A one-channel model's class 1 begins above this probability, 0 to 1.
    double threshold = 0.5;
    /// What invalid pixels get. None: the largest value of an integer type (255, 65535), NaN for f32.
    std::optional<double> nodata{};
    /// Files only: when nodata values make a pixel invalid.
    NodataRule nodata_rule = NodataRule::all;
    /// Files only: the output's format.
    Format format = Format::cog;
    /// Files only: the output's compression. All are lossless.
    Compression compression = Compression::deflate;
    /// Files only: strength of the compression, 1 to 9 (deflate) or 1 to 22 (zstd). 0: 3 for deflate, for zstd what GDAL takes.
    std::uint32_t compression_level = 0;
    /// Files only: replaces an existing output and throws away what an interrupted job has left beside it (OUTPUT.part);
    /// without it either is GLEBE_STATUS_ALREADY_EXISTS.
    bool overwrite = false;
    /// Files only: goes on with what an interrupted job has left beside the output, where there is something; of a job with
    /// another model, raster or options it is GLEBE_STATUS_MISMATCH.
    bool resume = false;
    /// Bytes that the job's data may take; see glebe_segment_options. 0: a quarter of what is free, at most 2 GiB.
    std::uint64_t memory = 0;
    /// How precisely the model computes.
    Precision precision = Precision::model;
    /// Whether the work around the model becomes part of its graph; see glebe_segment_options.
    Fuse fuse = Fuse::automatic;
    /// Batches at the model at the same time, up to 16. 0: 2 on a device and for very small models, else 1.
    std::uint32_t in_flight = 0;
    /// TensorRT only: a folder that keeps engines and their timings. Empty: nothing is kept.
    std::string engine_cache{};
    /// Files only: names of the classes, in order. Empty: those of the model's metadata.
    std::vector<std::string> class_names{};
    /// Files only: short names of GDAL drivers that may read the input, beside GTiff, COG, PNG, JPEG and
    /// JP2OpenJPEG. A driver added here reads untrusted files with all it can: VRT opens what the file names.
    std::vector<std::string> drivers{};
    /// Stops the job when it is set; must live until the job returns. NULL: none.
    const CancelToken *cancel = nullptr;
    /// Told after every batch. Empty: nobody.
    ProgressFunction progress{};
};

namespace detail {

/// One call of segment_*: the C struct with what it points to, and the exception that the progress function threw.
/// Stands in one place, since the C struct points into it, and lives shorter than the options.
class SegmentCall {
public:
    explicit SegmentCall(const SegmentOptions &options);
    SegmentCall(const SegmentCall &) = delete;
    SegmentCall &operator=(const SegmentCall &) = delete;

    [[nodiscard]] const glebe_segment_options *get() const noexcept { return &given_; }

    /// 0 to go on. Nothing is thrown: the caller is the library.
    [[nodiscard]] std::int32_t tell(const glebe_progress &now) noexcept {
        try {
            return progress_(Progress{now.done, now.total, now.elapsed_s, now.image, now.images}) ? 0 : 1;
        } catch (...) {
            thrown_ = std::current_exception();
            return 1;
        }
    }

    /// Throws what the progress function threw; nothing where it did not.
    void rethrow() const {
        if (thrown_) {
            std::rethrow_exception(thrown_);
        }
    }

private:
    const ProgressFunction &progress_;
    std::vector<const char *> keys_;
    std::vector<const char *> values_;
    std::vector<const char *> class_names_;
    std::vector<const char *> drivers_;
    glebe_segment_options given_{};
    std::exception_ptr thrown_;
};

extern "C" inline std::int32_t glebe_hpp_progress(const glebe_progress *now, void *call) noexcept {
    return static_cast<SegmentCall *>(call)->tell(*now);
}

inline SegmentCall::SegmentCall(const SegmentOptions &options)
    : progress_(options.progress), class_names_(c_strings(options.class_names, "class_names")),
      drivers_(c_strings(options.drivers, "drivers")) {
    for (const auto &[key, value] : options.provider_options) {
        keys_.push_back(c_string(key, "provider_options"));
        values_.push_back(c_string(value, "provider_options"));
    }
    check(glebe_segment_options_init(&given_, sizeof given_));
    given_.threads = options.threads;
    given_.bands = options.bands.data();
    given_.bands_len = options.bands.size();
    given_.scale = options.scale.data();
    given_.scale_len = options.scale.size();
    given_.mean = options.mean.data();
    given_.mean_len = options.mean.size();
    given_.std = options.stddev.data();
    given_.std_len = options.stddev.size();
    given_.tile_width = options.tile_width;
    given_.tile_height = options.tile_height;
    given_.overlap_px = options.overlap_px ? static_cast<std::int64_t>(*options.overlap_px) : -1;
    given_.overlap_share = options.overlap_share;
    given_.blend = static_cast<std::int32_t>(options.blend);
    given_.padding = static_cast<std::int32_t>(options.padding);
    given_.padding_value = options.padding_value;
    given_.batch = options.batch;
    given_.activation = static_cast<std::int32_t>(options.activation);
    given_.provider = c_string_or_null(options.provider, "provider");
    given_.provider_option_keys = keys_.data();
    given_.provider_option_values = values_.data();
    given_.provider_options_len = keys_.size();
    given_.product = static_cast<std::int32_t>(options.product);
    given_.data_type = static_cast<std::int32_t>(options.data_type);
    given_.threshold = options.threshold;
    given_.nodata = options.nodata.value_or(0.0);
    given_.has_nodata = options.nodata ? 1 : 0;
    given_.nodata_rule = static_cast<std::int32_t>(options.nodata_rule);
    given_.format = static_cast<std::int32_t>(options.format);
    given_.compression = static_cast<std::int32_t>(options.compression);
    given_.overwrite = options.overwrite ? 1 : 0;
    given_.resume = options.resume ? 1 : 0;
    given_.memory = options.memory;
    given_.compression_level = options.compression_level;
    given_.precision = static_cast<std::int32_t>(options.precision);
    given_.fuse = static_cast<std::int32_t>(options.fuse);
    given_.in_flight = options.in_flight;
    given_.engine_cache = c_string_or_null(options.engine_cache, "engine_cache");
    given_.class_names = class_names_.data();
    given_.class_names_len = class_names_.size();
    given_.drivers = drivers_.data();
    given_.drivers_len = drivers_.size();
    if (options.cancel != nullptr) {
        given_.cancel = options.cancel->get();
        if (given_.cancel == nullptr) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT, "cancel: the token was moved from");
        }
    }
    // The user data lives on the caller's stack, so that there is nothing to destroy.
    if (options.progress) {
        given_.progress = glebe_hpp_progress;
        given_.progress_user_data = this;
    }
}

} // namespace detail

/// What scoring an array gave: samples [bands, height, width]. Immutable.
class [[nodiscard]] Prediction {
public:
    /// Type of the samples.
    [[nodiscard]] DataType data_type() const noexcept {
        return static_cast<DataType>(glebe_prediction_data_type(get()));
    }

    /// Number of bands: one with class numbers, or one a class or channel.
    [[nodiscard]] std::size_t bands() const noexcept { return glebe_prediction_bands(get()); }

    /// Number of rows; other than the image's for models of another output scale.
    [[nodiscard]] std::size_t height() const noexcept { return glebe_prediction_height(get()); }

    /// Number of columns; other than the image's for models of another output scale.
    [[nodiscard]] std::size_t width() const noexcept { return glebe_prediction_width(get()); }

    /// What marks invalid pixels in the samples; may be NaN.
    [[nodiscard]] double nodata() const noexcept { return glebe_prediction_nodata(get()); }

    /// What was done, and how fast: the JSON object that `glebe segment --report` writes.
    [[nodiscard]] std::string report() const { return detail::text(glebe_prediction_report(get())); }

    /// The samples, dense [bands, height, width], the column fastest: as long as this object lives.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT where they are not of type T.
    template <class T>
    [[nodiscard]] Span<const T> samples() const & {
        if (detail::sample_type<T>() != data_type()) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT,
                        "the samples are of data type " + std::to_string(glebe_prediction_data_type(get())) +
                            ": asked for " + std::to_string(static_cast<std::int32_t>(detail::sample_type<T>())));
        }
        return {static_cast<const T *>(glebe_prediction_data(get())), glebe_prediction_size(get()) / sizeof(T)};
    }

    /// The samples would die with the temporary.
    template <class T>
    Span<const T> samples() const && = delete;

    /// One sample; band, row and column from 0.
    ///
    /// @throws Error as samples().
    /// @throws std::out_of_range
    template <class T>
    [[nodiscard]] T at(std::size_t band, std::size_t row, std::size_t column) const {
        if (band >= bands() || row >= height() || column >= width()) {
            throw std::out_of_range("glebe::Prediction::at");
        }
        const Span<const T> all = samples<T>();
        return all[(band * height() + row) * width() + column];
    }

    [[nodiscard]] const glebe_prediction *get() const noexcept { return handle_.get(); }

private:
    friend class Model;
    explicit Prediction(glebe_prediction *handle) noexcept : handle_(handle) {}

    detail::Handle<glebe_prediction, glebe_prediction_free> handle_;
};

/// How to open a model.
struct ModelOptions {
    /// Whether weights may be in other files, if these are plain files in the model's folder or below it.
    bool external_data = true;
    /// The output to take. Empty: the first.
    std::string output{};
    /// Most bytes that the model file may have. 0: 2 GiB, more than which no ONNX file can have.
    std::uint64_t max_file_bytes = 0;
    /// Most bytes that all weights together may have, those in other files included. 0: 8 GiB.
    std::uint64_t max_weight_bytes = 0;
};

/// A part of the data: GLEBE_SPLIT_*.
enum class Split : std::int32_t {
    none = GLEBE_SPLIT_NONE,
    train = GLEBE_SPLIT_TRAIN,
    val = GLEBE_SPLIT_VAL,
    test = GLEBE_SPLIT_TEST,
};

/// Which labelled images are taken, and how their labels become classes, in the words of the command line:
/// glebe_evaluate_options.
struct EvaluateOptions {
    /// The part of the data, in lists that say which a line is for.
    Split split = Split::test;
    /// Folder that paths of the data are relative to. Empty: each list's own.
    std::string root{};
    /// Vector labels: the field whose values say the class. Empty: every feature is class 1.
    std::string label_field{};
    /// Vector labels: the layer, needed where a file has several.
    std::string label_layer{};
    /// From values to classes, which are counted from 0: "forest=1,water=2,*=ignore". Empty: values are classes.
    std::string classes{};
    /// Values of the labels that do not count.
    std::vector<std::int64_t> ignore_index{};
    /// What labels without data are (a raster's nodata value, mask or alpha): "ignore" or "background".
    std::string label_nodata = "ignore";
    /// Vector labels: what pixels outside all features are: "background" or "ignore".
    std::string label_outside = "background";
    /// Vector labels: label every pixel that a feature touches, not only those whose middle lies in it.
    bool all_touched = false;
};

/// What evaluating gave, as JSON objects.
struct Evaluation {
    std::string scores; ///< Counts and scores, as `glebe evaluate --json` prints them: see glebe_evaluate.
    std::string report; ///< The same with times, as `glebe evaluate --report` writes them.
};

/// An opened model. Immutable: one model can work on many jobs at the same time, each in the thread that called it.
class Model {
public:
    /// Reads and checks a model file. It must have one input [N, C, H, W] and an output [N, C, H, W] or [N, H, W],
    /// each of float32 or float16. The model keeps what it needs of the runtime.
    ///
    /// @throws Error GLEBE_STATUS_NOT_FOUND, GLEBE_STATUS_PERMISSION_DENIED, GLEBE_STATUS_IO;
    /// GLEBE_STATUS_MODEL_INVALID
    ///         for a damaged file; GLEBE_STATUS_MODEL_UNSUPPORTED for a model that cannot score rasters;
    ///         GLEBE_STATUS_LIMIT_EXCEEDED for one that asks for more than the limits allow.
    Model(const Runtime &runtime, const std::string &path, const ModelOptions &options = {}) {
        const glebe_model_options given = c_options(options);
        const char *c_path = detail::c_string(path, "path");
        open([&](glebe_model **handle, glebe_error **error) {
            return glebe_model_open(runtime.get(), c_path, &given, handle, error);
        });
    }

    /// Checks a model that is in memory already. It cannot have weights in other files.
    ///
    /// @param data  the bytes of the ONNX file; copied.
    /// @param size  their number.
    /// @throws Error as the constructor; GLEBE_STATUS_OUT_OF_MEMORY.
    [[nodiscard]] static Model from_bytes(const Runtime &runtime, const void *data, std::size_t size,
                                          const ModelOptions &options = {}) {
        const glebe_model_options given = c_options(options);
        Model model;
        model.open([&](glebe_model **handle, glebe_error **error) {
            return glebe_model_open_bytes(runtime.get(), static_cast<const std::uint8_t *>(data), size, &given, handle,
                                          error);
        });
        return model;
    }

    /// Scores a raster file and writes a GeoTIFF, which appears complete or not at all. It has the input's
    /// georeferencing, and its size where the model's output is not at another scale.
    ///
    /// @param input   the raster: a regular local file.
    /// @param output  the file to write.
    /// @return what was done, and how fast: the JSON object that `glebe segment --report` writes.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for an option that is wrong in itself;
    ///         GLEBE_STATUS_ALREADY_EXISTS for an output without overwrite; GLEBE_STATUS_RASTER_INVALID,
    ///         GLEBE_STATUS_RASTER_UNSUPPORTED; GLEBE_STATUS_MISMATCH where model, raster and options do not fit together;
    ///         GLEBE_STATUS_PROVIDER_UNAVAILABLE; GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY;
    ///         GLEBE_STATUS_RUNTIME; errors of files; GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL.
    /// @throws what options.progress throws.
    std::string segment_file(const std::string &input, const std::string &output,
                             const SegmentOptions &options = {}) const {
        const char *c_input = detail::c_string(input, "input");
        const char *c_output = detail::c_string(output, "output");
        detail::Buffer report;
        segment(options, [&](const glebe_segment_options *given, glebe_error **error) {
            return glebe_segment_file(get(), c_input, c_output, given, &report.bytes, error);
        });
        return report.text();
    }

    /// Scores an image in memory. Nothing is read or written on disk.
    ///
    /// @param options  those for files only are not looked at, except that they must be sound.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for an image or option that is wrong in itself;
    ///         GLEBE_STATUS_MISMATCH where model, image and options do not fit together; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
    ///         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
    /// @throws what options.progress throws.
    Prediction segment_array(const Image &image, const SegmentOptions &options = {}) const {
        Prediction prediction(nullptr);
        segment(options, [&](const glebe_segment_options *given, glebe_error **error) {
            glebe_prediction *handle = nullptr;
            const glebe_status status = glebe_segment_array(get(), image.get(), given, &handle, error);
            prediction.handle_.reset(handle);
            return status;
        });
        return prediction;
    }

    /// Scores labelled rasters as segment_file() would with the same options, but compares the classes with the labels,
    /// block by block, instead of writing them. Nothing is written. A pixel counts where its label counts and the image
    /// has data.
    ///
    /// @param data     the labelled images, each "IMAGE;LABELS" or a list: a file of lines image;labels or
    ///                 raster,vector,split.
    /// @param segment  how they are scored; the product is classes, and what is for output files is not looked at.
    /// @throws Error as glebe_evaluate.
    /// @throws what segment.progress throws.
    [[nodiscard]] Evaluation evaluate(const std::vector<std::string> &data, const EvaluateOptions &options = {},
                                      const SegmentOptions &segment = {}) const {
        const std::vector<const char *> c_data = detail::c_strings(data, "data");
        std::string ignore_index;
        for (const std::int64_t value : options.ignore_index) {
            ignore_index += (ignore_index.empty() ? "" : ",") + std::to_string(value);
        }
        glebe_evaluate_options given;
        detail::check(glebe_evaluate_options_init(&given, sizeof given));
        given.split = static_cast<std::int32_t>(options.split);
        given.root = detail::c_string_or_null(options.root, "root");
        given.label_field = detail::c_string_or_null(options.label_field, "label_field");
        given.label_layer = detail::c_string_or_null(options.label_layer, "label_layer");
        given.classes = detail::c_string_or_null(options.classes, "classes");
        given.ignore_index = detail::c_string_or_null(ignore_index, "ignore_index");
        given.label_nodata = detail::c_string_or_null(options.label_nodata, "label_nodata");
        given.label_outside = detail::c_string_or_null(options.label_outside, "label_outside");
        given.all_touched = options.all_touched ? 1 : 0;
        detail::Buffer scores;
        detail::Buffer report;
        this->segment(segment, [&](const glebe_segment_options *how, glebe_error **error) {
            return glebe_evaluate(get(), c_data.data(), c_data.size(), &given, how, &scores.bytes, &report.bytes,
                                  error);
        });
        return {scores.text(), report.text()};
    }

    /// Scores the middle of a raster with two tilings, that of the options and another one, and says how far the
    /// probabilities and the classes are apart. Nothing is written.
    ///
    /// @return a JSON object: see glebe_model_seams.
    /// @throws Error as glebe_model_seams.
    [[nodiscard]] std::string seams(const std::string &input, const SegmentOptions &options = {}) const {
        const char *c_input = detail::c_string(input, "input");
        detail::Buffer json;
        segment(options, [&](const glebe_segment_options *given, glebe_error **error) {
            return glebe_model_seams(get(), c_input, given, &json.bytes, error);
        });
        return json.text();
    }

    /// What the model is and what it needs, as the JSON object that `glebe inspect --json` prints.
    [[nodiscard]] std::string inspect() const {
        detail::Buffer json;
        detail::call([&](glebe_error **error) { return glebe_model_inspect(get(), &json.bytes, error); });
        return json.text();
    }

    /// The file that the model came from; none for a model from bytes.
    [[nodiscard]] std::optional<std::string> path() const { return detail::optional_text(glebe_model_path(get())); }

    /// The name of the model's input.
    [[nodiscard]] std::string input_name() const { return detail::text(glebe_model_input_name(get())); }

    /// The name of the output that is taken.
    [[nodiscard]] std::string output_name() const { return detail::text(glebe_model_output_name(get())); }

    /// Channels of the input (bands of the raster); 0 where the model leaves them free.
    [[nodiscard]] std::size_t input_channels() const noexcept { return glebe_model_input_channels(get()); }

    /// Width of the tiles in pixels; 0 where the model leaves it free.
    [[nodiscard]] std::size_t tile_width() const noexcept { return glebe_model_tile_width(get()); }

    /// Height of the tiles in pixels; 0 where the model leaves it free.
    [[nodiscard]] std::size_t tile_height() const noexcept { return glebe_model_tile_height(get()); }

    /// Tiles a run; 0 where the model leaves them free.
    [[nodiscard]] std::size_t batch() const noexcept { return glebe_model_batch(get()); }

    /// The class names of the model's metadata; empty where there are none.
    [[nodiscard]] std::vector<std::string> class_names() const {
        std::vector<std::string> names(glebe_model_class_name_count(get()));
        for (std::size_t index = 0; index < names.size(); ++index) {
            names[index] = detail::text(glebe_model_class_name(get(), index));
        }
        return names;
    }

    [[nodiscard]] const glebe_model *get() const noexcept { return handle_.get(); }

private:
    Model() noexcept = default;

    static glebe_model_options c_options(const ModelOptions &options) {
        glebe_model_options given;
        detail::check(glebe_model_options_init(&given, sizeof given));
        given.external_data = options.external_data ? 1 : 0;
        given.output = detail::c_string_or_null(options.output, "output");
        given.max_file_bytes = options.max_file_bytes;
        given.max_weight_bytes = options.max_weight_bytes;
        return given;
    }

    template <class Call>
    void open(Call &&function) {
        glebe_model *handle = nullptr;
        detail::call([&](glebe_error **error) { return function(&handle, error); });
        handle_.reset(handle);
    }

    /// What the progress function threw comes before the cancellation that it led to.
    template <class Call>
    static void segment(const SegmentOptions &options, Call &&function) {
        // Not const: the library's calls of tell() write to it.
        detail::SegmentCall call(options);
        const detail::Outcome outcome([&](glebe_error **error) { return function(call.get(), error); });
        call.rethrow();
        outcome.check();
    }

    detail::Handle<glebe_model, glebe_model_free> handle_;
};

/// How BatchNormalization behaves in training: GLEBE_BATCH_NORM_*.
enum class BatchNorm : std::int32_t {
    frozen = GLEBE_BATCH_NORM_FROZEN,
    affine = GLEBE_BATCH_NORM_AFFINE,
    train = GLEBE_BATCH_NORM_TRAIN,
};

/// Parameters whose names match a pattern, with rates of their own.
struct ParameterGroup {
    /// Pattern over the names of initializers: `*` is any text, `?` one character.
    std::string pattern{};
    /// Factor of the learning rate.
    float lr_multiplier = 1.0F;
    /// Weight decay. None: the optimizer's.
    std::optional<float> weight_decay{};
};

/// What a training step is to be: glebe_trainer_options. batch, height and width must be set.
struct TrainerOptions {
    /// Threads. 0: one a processor.
    std::uint32_t threads = 0;
    /// Images of a batch, N.
    std::uint32_t batch = 0;
    /// Height of the images.
    std::uint32_t height = 0;
    /// Width of the images.
    std::uint32_t width = 0;
    /// How BatchNormalization behaves.
    BatchNorm batch_norm = BatchNorm::frozen;
    /// What is trained: "all", "head", "decoder", "norm", "bias", "lora:r=8", patterns over names, separated by commas.
    std::string params = "all";
    /// The loss: "ce", "dice", "ce+0.5*dice", ...
    std::string loss = "ce";
    /// Weights of the classes. Empty: all 1.
    std::vector<float> class_weights{};
    /// Label of pixels that do not count.
    std::optional<std::int64_t> ignore_index{};
    /// Label smoothing from 0 to below 1.
    float label_smoothing = 0.0F;
    /// Name of the output with the logits. Empty: the only one, or the first.
    std::string output{};
    /// Name of an auxiliary output with logits. Empty: none.
    std::string aux_output{};
    /// Weight of the auxiliary output's loss.
    float aux_weight = 0.4F;
    /// "sgd", "adam", "amsgrad", "adamw", "rmsprop".
    std::string optimizer = "adamw";
    /// Momentum of "sgd" and "rmsprop".
    float momentum = 0.0F;
    /// Nesterov's form of SGD's momentum.
    bool nesterov = false;
    /// beta1 and beta2 of the Adam family.
    float beta1 = 0.9F;
    float beta2 = 0.999F;
    /// alpha of "rmsprop".
    float alpha = 0.99F;
    /// epsilon of the Adam family and "rmsprop".
    float epsilon = 1e-8F;
    /// Weight decay. None: 0.01 for "adamw", else 0.
    std::optional<float> weight_decay{};
    /// Whether scales and shifts of normalisation layers and biases are decayed too, as in PyTorch.
    bool decay_norm_and_bias = true;
    /// Largest absolute value of a gradient's element. 0: no limit.
    float clip_value = 0.0F;
    /// Largest Euclidean norm of all gradients together. 0: no limit.
    float clip_norm = 0.0F;
    /// Decay of a moving average of the weights. 0: no average.
    float ema_decay = 0.0F;
    /// Groups; the first that matches counts.
    std::vector<ParameterGroup> groups{};
    /// Whether Trainer::set_loss_scale may be called, and updates by gradients that are not finite are skipped.
    bool loss_scale = false;
    /// Operators that give the same result in every run.
    bool deterministic = false;
    /// Standard operators and an update as a graph also on the processor.
    bool portable = false;
    /// Where the step runs: "cpu", "cuda:0". Strict: there is no fallback.
    std::string provider = "cpu";
    /// Options of the provider, as ONNX Runtime has them.
    std::vector<std::pair<std::string, std::string>> provider_options{};
    /// Most bytes of the feature cache in memory, and in a file. Both 0: no cache.
    std::uint64_t feature_memory = 0;
    std::uint64_t feature_file = 0;
    /// Folder of that file. Empty: the system's temporary one.
    std::string feature_folder{};
    /// Seed of the adapters' first values.
    std::uint64_t seed = 0;
    /// Stops a running step when it is set; must outlive the constructor only. NULL: none.
    const CancelToken *cancel = nullptr;
};

namespace detail {

/// The C struct with what it points to. Lives shorter than the options.
class TrainerCall {
public:
    explicit TrainerCall(const TrainerOptions &options) {
        check(glebe_trainer_options_init(&given_, sizeof given_));
        for (const auto &[key, value] : options.provider_options) {
            keys_.push_back(c_string(key, "provider_options"));
            values_.push_back(c_string(value, "provider_options"));
        }
        for (const ParameterGroup &group : options.groups) {
            patterns_.push_back(c_string(group.pattern, "groups"));
            multipliers_.push_back(group.lr_multiplier);
            decays_.push_back(group.weight_decay.value_or(-1.0F));
        }
        given_.threads = options.threads;
        given_.batch = options.batch;
        given_.height = options.height;
        given_.width = options.width;
        given_.batch_norm = static_cast<std::int32_t>(options.batch_norm);
        given_.params = c_string(options.params, "params");
        given_.loss = c_string(options.loss, "loss");
        given_.class_weights = options.class_weights.data();
        given_.class_weights_len = options.class_weights.size();
        given_.ignore_index = options.ignore_index.value_or(0);
        given_.has_ignore_index = options.ignore_index.has_value() ? 1 : 0;
        given_.label_smoothing = options.label_smoothing;
        given_.output = c_string_or_null(options.output, "output");
        given_.aux_output = c_string_or_null(options.aux_output, "aux_output");
        given_.aux_weight = options.aux_weight;
        given_.momentum = options.momentum;
        given_.optimizer = c_string(options.optimizer, "optimizer");
        given_.nesterov = options.nesterov ? 1 : 0;
        given_.beta1 = options.beta1;
        given_.beta2 = options.beta2;
        given_.alpha = options.alpha;
        given_.epsilon = options.epsilon;
        given_.weight_decay = options.weight_decay.value_or(-1.0F);
        given_.decay_norm_and_bias = options.decay_norm_and_bias ? 1 : 0;
        given_.clip_value = options.clip_value;
        given_.clip_norm = options.clip_norm;
        given_.ema_decay = options.ema_decay;
        given_.group_patterns = patterns_.data();
        given_.group_lr_multipliers = multipliers_.data();
        given_.group_weight_decays = decays_.empty() ? nullptr : decays_.data();
        given_.groups_len = patterns_.size();
        given_.loss_scale = options.loss_scale ? 1 : 0;
        given_.deterministic = options.deterministic ? 1 : 0;
        given_.portable = options.portable ? 1 : 0;
        given_.provider = c_string(options.provider, "provider");
        given_.provider_option_keys = keys_.data();
        given_.provider_option_values = values_.data();
        given_.provider_options_len = keys_.size();
        given_.feature_memory = options.feature_memory;
        given_.feature_file = options.feature_file;
        given_.feature_folder = c_string_or_null(options.feature_folder, "feature_folder");
        given_.seed = options.seed;
        given_.cancel = options.cancel == nullptr ? nullptr : options.cancel->get();
    }
    TrainerCall(const TrainerCall &) = delete;
    TrainerCall &operator=(const TrainerCall &) = delete;

    [[nodiscard]] const glebe_trainer_options *get() const noexcept { return &given_; }

private:
    std::vector<const char *> keys_;
    std::vector<const char *> values_;
    std::vector<const char *> patterns_;
    std::vector<float> multipliers_;
    std::vector<float> decays_;
    glebe_trainer_options given_{};
};

} // namespace detail

/// A view of the images and labels of one step, in memory that somebody else owns and that must stay as it is until the
/// call that was given the view returns.
class Batch {
public:
    /// Images [N, C, H, W] and labels, both dense with the column fastest.
    ///
    /// @tparam Label  std::uint8_t, std::int32_t or std::int64_t for classes [N, H, W]; float for numbers [N, K, H, W].
    template <class Label>
    Batch(Span<const float> images, Span<const Label> labels) {
        constexpr DataType type = detail::data_type_of<Label>();
        static_assert(type == DataType::u8 || type == DataType::i32 || type == DataType::i64 || type == DataType::f32,
                      "labels are std::uint8_t, std::int32_t, std::int64_t or float");
        detail::check(glebe_batch_init(&view_, sizeof view_));
        view_.label_type = static_cast<std::int32_t>(type);
        view_.images = images.data();
        view_.images_len = images.size();
        view_.labels = labels.data();
        view_.labels_len = labels.size();
    }

    /// Of vectors.
    template <class Label>
    Batch(const std::vector<float> &images, const std::vector<Label> &labels)
        : Batch(Span<const float>(images.data(), images.size()), Span<const Label>(labels.data(), labels.size())) {}

    /// A view must not outlive what it shows.
    template <class Label>
    Batch(const std::vector<float> &&, const std::vector<Label> &) = delete;
    template <class Label>
    Batch(const std::vector<float> &, const std::vector<Label> &&) = delete;

    /// [N, H, W]: 0 where a pixel does not count.
    Batch &mask(Span<const std::uint8_t> valid) noexcept {
        view_.mask = valid.data();
        view_.mask_len = valid.size();
        return *this;
    }

    /// [N]: what each image is known by in the feature cache.
    Batch &keys(Span<const std::uint64_t> known) noexcept {
        view_.keys = known.data();
        view_.keys_len = known.size();
        return *this;
    }

    [[nodiscard]] const glebe_batch *get() const noexcept { return &view_; }

private:
    glebe_batch view_{};
};

/// How the learning rate goes on from epoch to epoch: GLEBE_SCHEDULE_*.
enum class Schedule : std::int32_t {
    constant = GLEBE_SCHEDULE_CONSTANT,
    polynomial = GLEBE_SCHEDULE_POLYNOMIAL,
    cosine = GLEBE_SCHEDULE_COSINE,
    exponential = GLEBE_SCHEDULE_EXPONENTIAL,
    step = GLEBE_SCHEDULE_STEP,
    multi_step = GLEBE_SCHEDULE_MULTI_STEP,
};

/// What becomes of too few batches for an update at the end of an epoch: GLEBE_TAIL_*.
enum class Tail : std::int32_t {
    update = GLEBE_TAIL_UPDATE,
    carry = GLEBE_TAIL_CARRY,
};

/// Which values of a metric are better: GLEBE_MODE_*.
enum class Mode : std::int32_t {
    lowest = GLEBE_MODE_LOWEST,
    highest = GLEBE_MODE_HIGHEST,
};

/// What is measured of predictions: GLEBE_SCORES_*.
enum class Scores : std::int32_t {
    epoch = GLEBE_SCORES_EPOCH,                         ///< Of one confusion matrix of all pixels that count.
    inner_eye = GLEBE_SCORES_INNER_EYE,                 ///< InnerEye's numbers: means over images.
    geo_deep_learning = GLEBE_SCORES_GEO_DEEP_LEARNING, ///< geo-deep-learning's numbers: means over batches.
    none = GLEBE_SCORES_NONE,                           ///< The loss alone.
};

/// Files that runs write: GLEBE_OUTPUT_*. Several are joined with |.
enum class Output : std::uint32_t {
    epoch_csv = GLEBE_OUTPUT_EPOCH_CSV,         ///< Train/epoch_metrics.csv and Val/epoch_metrics.csv.
    batch_losses = GLEBE_OUTPUT_BATCH_LOSSES,   ///< batch_losses.csv.
    clinicadl = GLEBE_OUTPUT_CLINICADL,         ///< ClinicaDL's logs and validation_metrics.
    progress_log = GLEBE_OUTPUT_PROGRESS_LOG,   ///< geo-deep-learning's progress.log.
    image_metrics = GLEBE_OUTPUT_IMAGE_METRICS, ///< metrics.csv and metrics_aggregates.csv of tests and inferences.
    pictures = GLEBE_OUTPUT_PICTURES,           ///< PNG files of the first batch of every evaluation.
    curves = GLEBE_OUTPUT_CURVES,               ///< curves.svg.
    record = GLEBE_OUTPUT_RECORD,               ///< run.toml.
    times = GLEBE_OUTPUT_TIMES,                 ///< Times of epochs and warnings of slow loading, in the log.
    all = GLEBE_OUTPUT_ALL,
};

/// Both.
[[nodiscard]] constexpr Output operator|(Output left, Output right) noexcept {
    return static_cast<Output>(static_cast<std::uint32_t>(left) | static_cast<std::uint32_t>(right));
}

/// What a trainer is doing: GLEBE_PHASE_*.
enum class Phase : std::int32_t {
    idle = GLEBE_PHASE_IDLE,
    train = GLEBE_PHASE_TRAIN,
    validation = GLEBE_PHASE_VALIDATION,
    validate = GLEBE_PHASE_VALIDATE,
    test = GLEBE_PHASE_TEST,
    predict = GLEBE_PHASE_PREDICT,
};

/// What happens in a run: GLEBE_EVENT_*, in the order that glebe_event_fn of glebe.h tells. Be ready for numbers that are
/// none of these.
enum class Event : std::int32_t {
    trainer_init = GLEBE_EVENT_TRAINER_INIT,
    train_start = GLEBE_EVENT_TRAIN_START,
    resume = GLEBE_EVENT_RESUME,
    epoch_start = GLEBE_EVENT_EPOCH_START,
    batch_start = GLEBE_EVENT_BATCH_START,
    forward_start = GLEBE_EVENT_FORWARD_START,
    backward_start = GLEBE_EVENT_BACKWARD_START,
    backward_end = GLEBE_EVENT_BACKWARD_END,
    optimizer_step_start = GLEBE_EVENT_OPTIMIZER_STEP_START,
    optimizer_step_end = GLEBE_EVENT_OPTIMIZER_STEP_END,
    batch_end = GLEBE_EVENT_BATCH_END,
    batches_end = GLEBE_EVENT_BATCHES_END,
    validation_start = GLEBE_EVENT_VALIDATION_START,
    evaluation_start = GLEBE_EVENT_EVALUATION_START,
    metrics_start = GLEBE_EVENT_METRICS_START,
    metrics_end = GLEBE_EVENT_METRICS_END,
    evaluation_batches_end = GLEBE_EVENT_EVALUATION_BATCHES_END,
    validation_end = GLEBE_EVENT_VALIDATION_END,
    epoch_metrics = GLEBE_EVENT_EPOCH_METRICS,
    checkpoint_save = GLEBE_EVENT_CHECKPOINT_SAVE,
    epoch_end = GLEBE_EVENT_EPOCH_END,
    train_end = GLEBE_EVENT_TRAIN_END,
    validate_start = GLEBE_EVENT_VALIDATE_START,
    validate_end = GLEBE_EVENT_VALIDATE_END,
    test_start = GLEBE_EVENT_TEST_START,
    test_end = GLEBE_EVENT_TEST_END,
    predict_start = GLEBE_EVENT_PREDICT_START,
    prediction_start = GLEBE_EVENT_PREDICTION_START,
    prediction_end = GLEBE_EVENT_PREDICTION_END,
    predict_end = GLEBE_EVENT_PREDICT_END,
    checkpoint_load = GLEBE_EVENT_CHECKPOINT_LOAD,
    exception = GLEBE_EVENT_EXCEPTION,
    inference_start = GLEBE_EVENT_INFERENCE_START,
    inference_end = GLEBE_EVENT_INFERENCE_END,
};

/// How a training goes: glebe_fit_options. epochs must be set.
struct FitOptions {
    /// How many epochs there will be in all, those counted that are done.
    std::uint64_t epochs = 0;
    /// The learning rate: the largest of the schedule.
    double learning_rate = 1e-4;
    /// Batches of an update.
    std::uint64_t accumulate = 1;
    /// What becomes of too few batches for an update at the end of an epoch.
    Tail tail = Tail::update;
    /// Validates after every so many epochs.
    std::uint64_t validate_every = 1;
    /// Decides the order of the data.
    std::uint64_t seed = 42;
    /// Which of several divisions of the data this is, added to the seed where there are more than one.
    std::int64_t split_index = -1;
    /// How many divisions of the data there are. 0 or 1: no cross-validation.
    std::uint64_t splits = 0;
    /// How the learning rate goes on.
    Schedule schedule = Schedule::constant;
    /// Epochs at the beginning in which the rate rises evenly.
    std::uint64_t schedule_warm_up = 0;
    /// The smallest rate, for Schedule::polynomial and Schedule::cosine.
    double schedule_least = 0.0;
    /// Above 0. Must be set, except for Schedule::constant and Schedule::cosine.
    double schedule_gamma = 0.0;
    /// Epochs of a step. Must be set for Schedule::step.
    std::uint64_t schedule_size = 0;
    /// Rising epochs above 0 after the warm-up, for Schedule::multi_step.
    std::vector<std::uint64_t> schedule_milestones{};
    /// Folder of the checkpoints. Empty: there are none.
    std::string checkpoint_folder{};
    /// Writes last.safetensors after every so many epochs, and after the last.
    std::uint64_t checkpoint_every = 1;
    /// How many of epoch-N.safetensors are kept beside it, the newest.
    std::uint64_t checkpoint_keep = 0;
    /// Metric that decides about best.safetensors: "val/Loss", for example. Empty: there is no best.
    std::string checkpoint_best{};
    /// Which of its values are better.
    Mode checkpoint_mode = Mode::lowest;
    /// Names of the classes in the names of metrics, one for each of the model's. Empty: their numbers.
    std::vector<std::string> class_names{};
    /// What is measured of predictions.
    Scores scores = Scores::epoch;
    /// Whether training batches are scored too, which costs a copy of their logits.
    bool score_training = false;
    /// Whether the weights of best.safetensors come back when training has ended. Needs checkpoint_best.
    bool reload_best = false;
    /// Whether evaluations take the moving averages of the weights. Needs TrainerOptions::ema_decay.
    bool evaluate_averages = false;
    /// Goes on with a loss that is not finite; without it that ends the run with GLEBE_STATUS_INVALID_STATE, before it
    /// spoils the weights.
    bool allow_non_finite = false;
    /// Ends every epoch after so many training batches, for trials. 0: it does not.
    std::uint64_t limit_train_batches = 0;
    /// Ends the training after so many updates in all, those counted that are done. 0: it ends with the last epoch.
    std::uint64_t max_steps = 0;
};

/// What a finetuning is told: glebe_finetuning_options. A model and training data at least.
struct FinetuningOptions {
    /// The configuration, in TOML: what `glebe finetune --config` takes.
    std::string config{};
    /// A file with it; not together with config.
    std::string config_path{};
    /// Settings of the form section.key=value over it: "training.steps=200", "data.train=train.csv".
    std::vector<std::string> settings{};
    /// Goes on with what the folder of the run holds, where there is something.
    bool resume = false;
    /// Stops the run when it is set. None: nothing does. Must live until the function that takes the options returns.
    const CancelToken *cancel = nullptr;
};

/// Which weights of a checkpoint are loaded: glebe_load_options.
struct LoadOptions {
    /// Leaves out tensors that are missing, too many or of another shape; without it they are GLEBE_STATUS_MISMATCH.
    bool partial = false;
    /// Only tensors whose names begin so, by what follows: "student.". Empty: all. The prefixes of wrappers ("model.",
    /// "module.") need no mention.
    std::string prefix{};
    /// Only tensors of these names, those in the model or in the checkpoint: patterns, separated by commas, with ! to
    /// leave out: "!head.*". Empty: all.
    std::string filter{};
    /// Key of the state dict in the file, where it is none of the usual ones: "model_ema". Empty: it is.
    std::string key{};
    /// What BatchNorm adds to its variance, for those that the model's exporter folded.
    double norm_epsilon = 1e-5;
};

/// What an exported model says about the rasters that it wants, and how its weights are taken: glebe_export_options. What
/// is not given stays as the model has it.
struct ExportOptions {
    /// The raster's bands (an array's channels), counted from 1, in the order of the model's channels.
    std::vector<std::uint32_t> bands{};
    /// Divisors of the samples: the model is fed (x / scale - mean) / stddev. One value, or one a band.
    std::vector<double> scale{};
    /// Means in scaled units. One value, or one a band.
    std::vector<double> mean{};
    /// Standard deviations in scaled units. One value, or one a band.
    std::vector<double> stddev{};
    /// Names of the classes, in order; two for a model with one channel.
    std::vector<std::string> class_names{};
    /// Width and height of a tile in pixels, up to 16384. 0: as it is.
    std::uint32_t tile = 0;
    /// The output with the classes. Empty: the first.
    std::string output{};
    /// Takes the moving averages of a training of this library, not its weights.
    bool averages = false;
    /// Alpha of adapters (lora), where the checkpoint holds any and does not say what they are scaled by. 0: it does.
    double lora_alpha = 0;
    /// Replaces a file that is there; without it that is GLEBE_STATUS_ALREADY_EXISTS.
    bool overwrite = false;
};

/// A tensor that is trained, or a running statistic that steps update.
struct Tensor {
    /// Name of the initializer.
    std::string name;
    /// Sizes, outermost first.
    std::vector<std::size_t> shape;
};

/// Numbers by name, in their order.
using Metrics = std::vector<std::pair<std::string, double>>;

/// Where a run stands.
struct RunState {
    Phase phase;               ///< What is being done.
    std::uint64_t epoch;       ///< The epoch, from 1; 0 before the first.
    std::uint64_t epochs;      ///< How many epochs there will be.
    std::uint64_t batch;       ///< The batch of the epoch or of the evaluation, from 1; 0 before the first.
    std::uint64_t batches;     ///< How many batches the epoch or the evaluation has; 0 before the first.
    std::uint64_t global_step; ///< Updates of the weights since the beginning, over all epochs.
    double learning_rate;      ///< Learning rate of the epoch or step.
    Split split;               ///< Which part of the data Trainer::infer is at.
    bool should_stop;          ///< Whether training ends after this epoch.
};

namespace detail {

/// The C struct with what it points to. Lives shorter than the options.
class FitCall {
public:
    explicit FitCall(const FitOptions &options) : class_names_(c_strings(options.class_names, "class_names")) {
        check(glebe_fit_options_init(&given_, sizeof given_));
        given_.tail = static_cast<std::int32_t>(options.tail);
        given_.epochs = options.epochs;
        given_.learning_rate = options.learning_rate;
        given_.accumulate = options.accumulate;
        given_.validate_every = options.validate_every;
        given_.seed = options.seed;
        given_.split_index = options.split_index;
        given_.splits = options.splits;
        given_.schedule = static_cast<std::int32_t>(options.schedule);
        given_.checkpoint_mode = static_cast<std::int32_t>(options.checkpoint_mode);
        given_.schedule_warm_up = options.schedule_warm_up;
        given_.schedule_least = options.schedule_least;
        given_.schedule_gamma = options.schedule_gamma;
        given_.schedule_size = options.schedule_size;
        given_.schedule_milestones = options.schedule_milestones.data();
        given_.schedule_milestones_len = options.schedule_milestones.size();
        given_.checkpoint_folder = c_string_or_null(options.checkpoint_folder, "checkpoint_folder");
        given_.checkpoint_every = options.checkpoint_every;
        given_.checkpoint_keep = options.checkpoint_keep;
        given_.checkpoint_best = c_string_or_null(options.checkpoint_best, "checkpoint_best");
        given_.class_names = class_names_.data();
        given_.class_names_len = class_names_.size();
        given_.scores = static_cast<std::int32_t>(options.scores);
        given_.score_training = options.score_training ? 1 : 0;
        given_.reload_best = options.reload_best ? 1 : 0;
        given_.evaluate_averages = options.evaluate_averages ? 1 : 0;
        given_.allow_non_finite = options.allow_non_finite ? 1 : 0;
        given_.limit_train_batches = options.limit_train_batches;
        given_.max_steps = options.max_steps;
    }
    FitCall(const FitCall &) = delete;
    FitCall &operator=(const FitCall &) = delete;

    [[nodiscard]] const glebe_fit_options *get() const noexcept { return &given_; }

private:
    std::vector<const char *> class_names_;
    glebe_fit_options given_{};
};

/// The C struct with what it points to. Lives shorter than the options.
class FinetuningCall {
public:
    explicit FinetuningCall(const FinetuningOptions &options) : settings_(c_strings(options.settings, "settings")) {
        check(glebe_finetuning_options_init(&given_, sizeof given_));
        given_.resume = options.resume ? 1 : 0;
        given_.config = c_string_or_null(options.config, "config");
        given_.config_path = c_string_or_null(options.config_path, "config_path");
        given_.settings = settings_.data();
        given_.settings_len = settings_.size();
        if (options.cancel != nullptr) {
            given_.cancel = options.cancel->get();
            if (given_.cancel == nullptr) {
                throw Error(GLEBE_STATUS_INVALID_ARGUMENT, "cancel: the token was moved from");
            }
        }
    }
    FinetuningCall(const FinetuningCall &) = delete;
    FinetuningCall &operator=(const FinetuningCall &) = delete;

    [[nodiscard]] const glebe_finetuning_options *get() const noexcept { return &given_; }

private:
    std::vector<const char *> settings_;
    glebe_finetuning_options given_{};
};

/// The C struct; its strings are those of the options, which live longer.
[[nodiscard]] inline glebe_load_options load_options(const LoadOptions &options) {
    glebe_load_options given;
    check(glebe_load_options_init(&given, sizeof given));
    given.partial = options.partial ? 1 : 0;
    given.prefix = c_string_or_null(options.prefix, "prefix");
    given.filter = c_string_or_null(options.filter, "filter");
    given.key = c_string_or_null(options.key, "key");
    given.norm_epsilon = options.norm_epsilon;
    return given;
}

/// The C struct with what it points to. Lives shorter than the options.
class ExportCall {
public:
    explicit ExportCall(const ExportOptions &options) : class_names_(c_strings(options.class_names, "class_names")) {
        check(glebe_export_options_init(&given_, sizeof given_));
        given_.overwrite = options.overwrite ? 1 : 0;
        given_.averages = options.averages ? 1 : 0;
        given_.tile = options.tile;
        given_.bands = options.bands.data();
        given_.bands_len = options.bands.size();
        given_.scale = options.scale.data();
        given_.scale_len = options.scale.size();
        given_.mean = options.mean.data();
        given_.mean_len = options.mean.size();
        given_.std = options.stddev.data();
        given_.std_len = options.stddev.size();
        given_.class_names = class_names_.data();
        given_.class_names_len = class_names_.size();
        given_.output = c_string_or_null(options.output, "output");
        given_.lora_alpha = options.lora_alpha;
    }
    ExportCall(const ExportCall &) = delete;
    ExportCall &operator=(const ExportCall &) = delete;

    [[nodiscard]] const glebe_export_options *get() const noexcept { return &given_; }

private:
    std::vector<const char *> class_names_;
    glebe_export_options given_{};
};

/// Number of elements of a tensor.
[[nodiscard]] inline std::size_t product(const std::vector<std::size_t> &shape) noexcept {
    std::size_t count = 1;
    for (const std::size_t size : shape) {
        count *= size;
    }
    return count;
}

/// The sizes that `call(sizes, length)` copies.
template <class Call>
[[nodiscard]] std::vector<std::size_t> shape(Call &&call) {
    std::vector<std::size_t> sizes(call(nullptr, 0));
    call(sizes.data(), sizes.size());
    return sizes;
}

/// Runs `call(glebe_run_state *, glebe_error **)`.
template <class Call>
[[nodiscard]] RunState run_state(Call &&function) {
    glebe_run_state found;
    check(glebe_run_state_init(&found, sizeof found));
    call([&](glebe_error **error) { return function(&found, error); });
    return RunState{static_cast<Phase>(found.phase), found.epoch, found.epochs, found.batch, found.batches,
                    found.global_step, found.learning_rate, static_cast<Split>(found.split), found.should_stop != 0};
}

} // namespace detail

/// Writes a model with the weights of a checkpoint, and with what the options say in its metadata; without a runtime. See
/// glebe_export.
///
/// @param model       the model's file.
/// @param checkpoint  the weights. Empty: the model's own.
/// @param path        the file to write, which is none of those that are read.
/// @return a JSON object with "message", the line that says where the checkpoint comes from (empty where it does not
///         say), "report", "merged" and "metadata".
/// @throws Error GLEBE_STATUS_ALREADY_EXISTS for a file that is there, unless ExportOptions::overwrite; as
///         inspect_checkpoint() and Model's constructor; GLEBE_STATUS_MISMATCH where model, weights and options do not
///         fit together; GLEBE_STATUS_INVALID_ARGUMENT where input and output are one file, and where there is nothing
///         to do.
inline std::string export_model(const std::string &model, const std::string &checkpoint, const std::string &path,
                                const ExportOptions &options = {}, const LoadOptions &load = {}) {
    check_abi();
    const char *c_model = detail::c_string(model, "model");
    const char *c_checkpoint = detail::c_string_or_null(checkpoint, "checkpoint");
    const char *c_path = detail::c_string(path, "path");
    const detail::ExportCall given(options);
    const glebe_load_options which = detail::load_options(load);
    detail::Buffer report;
    detail::call([&](glebe_error **error) {
        return glebe_export(c_model, c_checkpoint, c_path, &which, given.get(), &report.bytes, error);
    });
    return report.text();
}

/// What there is at an event, for the callback that is told of it, during the call and on its thread only. Nothing is
/// computed or copied unless it is asked for.
class EventContext {
public:
    explicit EventContext(glebe_event_context *context) noexcept : context_(context) {}
    EventContext(const EventContext &) = delete;
    EventContext &operator=(const EventContext &) = delete;

    /// Where the run stands.
    [[nodiscard]] RunState state() const {
        return detail::run_state([&](glebe_run_state *found, glebe_error **error) {
            return glebe_event_run_state(context_, found, error);
        });
    }

    /// The message of the checkpoint that was loaded last; none where there was none.
    [[nodiscard]] std::optional<std::string> checkpoint_message() const {
        return detail::optional_text(glebe_event_checkpoint_message(context_));
    }

    /// The loss of the batch; none where it is not known.
    [[nodiscard]] std::optional<double> loss() const {
        double value = 0.0;
        const glebe_status status = glebe_event_loss(context_, &value, nullptr);
        return status == GLEBE_STATUS_OK ? std::optional<double>(value) : std::nullopt;
    }

    /// The metrics: of a batch, of an evaluation, of an epoch.
    [[nodiscard]] Metrics metrics() const {
        Metrics all(glebe_event_metric_count(context_));
        for (std::size_t index = 0; index < all.size(); ++index) {
            all[index].first = detail::text(glebe_event_metric_name(context_, index));
            all[index].second = glebe_event_metric_value(context_, index);
        }
        return all;
    }

    /// A metric by name.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT, saying which there are, for a name that is none.
    [[nodiscard]] double metric(const std::string &name) const {
        const char *c_name = detail::c_string(name, "name");
        double value = 0.0;
        detail::call([&](glebe_error **error) { return glebe_event_metric(context_, c_name, &value, error); });
        return value;
    }

    /// The text of the error that ends the run, at Event::exception; none else.
    [[nodiscard]] std::optional<std::string> error() const {
        return detail::optional_text(glebe_event_error_message(context_));
    }

    /// The status of that error; GLEBE_STATUS_OK where there is none.
    [[nodiscard]] glebe_status error_status() const noexcept { return glebe_event_error_code(context_); }

    /// The batch at hand as the loader gave it, from Event::batch_start to Event::batch_end. To be read only, and valid
    /// during the call.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE at other events.
    [[nodiscard]] glebe_batch batch() const {
        glebe_batch found;
        detail::check(glebe_batch_init(&found, sizeof found));
        detail::call([&](glebe_error **error) { return glebe_event_batch(context_, &found, error); });
        return found;
    }

    /// How many images of the batch at hand count: the first ones. 0 where there is no batch.
    [[nodiscard]] std::size_t images() const noexcept { return glebe_event_images(context_); }

    /// The logits [N, K, H, W] of the batch at hand, valid during the call: in training where they were wanted.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE where there are none.
    [[nodiscard]] Span<const float> logits() const {
        const float *values = nullptr;
        std::size_t length = 0;
        detail::call([&](glebe_error **error) { return glebe_event_logits(context_, &values, &length, error); });
        return Span<const float>(values, length);
    }

    /// What the pixels of a batch are, as the loss sees them.
    struct Truth {
        Span<const std::int64_t> classes; ///< Classes [N, H, W], 0 where a pixel does not count.
        Span<const float> mask;           ///< [N, H, W]: 1 where a pixel counts, else 0.
    };

    /// Of the batch at hand, valid during the call: from Event::backward_start or Event::metrics_start to
    /// Event::batch_end.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE at other events, and for a regression.
    [[nodiscard]] Truth truth() const {
        const std::int64_t *classes = nullptr;
        const float *mask = nullptr;
        std::size_t length = 0;
        detail::call([&](glebe_error **error) {
            return glebe_event_truth(context_, &classes, &mask, &length, error);
        });
        return Truth{Span<const std::int64_t>(classes, length), Span<const float>(mask, length)};
    }

    /// Shape [N, C, H, W] of the images.
    [[nodiscard]] std::vector<std::size_t> image_shape() const {
        return detail::shape([&](std::size_t *sizes, std::size_t length) {
            return glebe_event_image_shape(context_, sizes, length);
        });
    }

    /// Shape [N, K, H, W] of the logits.
    [[nodiscard]] std::vector<std::size_t> logits_shape() const {
        return detail::shape([&](std::size_t *sizes, std::size_t length) {
            return glebe_event_logits_shape(context_, sizes, length);
        });
    }

    /// What is trained, and the running statistics that steps update.
    [[nodiscard]] std::vector<Tensor> tensors() const {
        std::vector<Tensor> all(glebe_event_tensor_count(context_));
        for (std::size_t index = 0; index < all.size(); ++index) {
            all[index].name = detail::text(glebe_event_tensor_name(context_, index));
            all[index].shape = detail::shape([&](std::size_t *sizes, std::size_t length) {
                return glebe_event_tensor_shape(context_, index, sizes, length);
            });
        }
        return all;
    }

    /// The elements of a trained tensor or statistic as it is now.
    [[nodiscard]] std::vector<float> weight(const std::string &name) const {
        return elements(GLEBE_TENSOR_WEIGHT, name);
    }

    /// The elements of a gradient: the mean of those that wait, from Event::backward_start to the update.
    [[nodiscard]] std::vector<float> gradient(const std::string &name) const {
        return elements(GLEBE_TENSOR_GRADIENT, name);
    }

    /// Lets the training end after this epoch.
    void request_stop() {
        detail::call([&](glebe_error **error) { return glebe_event_request_stop(context_, error); });
    }

    /// At Event::optimizer_step_start: the gradients are forgotten, and the weights stay as they are.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE at other events.
    void veto() {
        detail::call([&](glebe_error **error) { return glebe_event_veto(context_, error); });
    }

    /// Sets the learning rate of the rest of the epoch.
    void set_learning_rate(double rate) {
        detail::call([&](glebe_error **error) { return glebe_event_set_learning_rate(context_, rate, error); });
    }

    /// Whether training batches give their logits from the next on.
    void want_logits(bool wanted) {
        detail::call([&](glebe_error **error) { return glebe_event_want_logits(context_, wanted ? 1 : 0, error); });
    }

    /// Adds a number to the metrics of the epoch or evaluation that is going on: see glebe_event_log.
    void log(const std::string &name, double value) {
        const char *c_name = detail::c_string(name, "name");
        detail::call([&](glebe_error **error) { return glebe_event_log(context_, c_name, value, error); });
    }

    [[nodiscard]] glebe_event_context *get() const noexcept { return context_; }

private:
    [[nodiscard]] std::vector<float> elements(std::int32_t kind, const std::string &name) const {
        const char *c_name = detail::c_string(name, "name");
        std::size_t count = 0;
        for (const Tensor &tensor : tensors()) {
            if (tensor.name == name) {
                count = detail::product(tensor.shape);
            }
        }
        // One at least: memory for a name that is not there is not NULL, and the error is the library's.
        std::vector<float> values(count + 1);
        detail::call([&](glebe_error **error) {
            return glebe_event_tensor(context_, kind, c_name, values.data(), count, error);
        });
        values.resize(count);
        return values;
    }

    glebe_event_context *context_;
};

/// What is to happen at certain points of a run: a function for every event, all of them empty by default. Derive from it,
/// override what is of interest, and give it to Trainer::add or Finetuning::add.
///
/// They are called on the thread that runs the trainer. What they throw ends the run, is told to all callbacks
/// (exception), and comes out of the function that runs. What exception throws is dropped. They may use the library, but
/// of the trainer that runs only its shapes and tensors().
class Callback {
public:
    Callback() = default;
    Callback(const Callback &) = delete;
    Callback &operator=(const Callback &) = delete;
    virtual ~Callback() = default;

    /// The trainer has been made: told once, by Trainer::add.
    virtual void trainer_init(EventContext &) {}
    /// Training begins.
    virtual void train_start(EventContext &) {}
    /// Training goes on from a checkpoint, in place of train_start.
    virtual void resume(EventContext &) {}
    /// An epoch begins.
    virtual void epoch_start(EventContext &) {}
    /// A batch is there: of training, validation, test or prediction, as RunState::phase says.
    virtual void batch_start(EventContext &) {}
    /// Loss and gradients are about to be computed.
    virtual void forward_start(EventContext &) {}
    /// The loss is known. (Loss and gradients are one run: the gradients are there too.)
    virtual void backward_start(EventContext &) {}
    /// The gradients are known.
    virtual void backward_end(EventContext &) {}
    /// The weights are about to be changed, which EventContext::veto prevents.
    virtual void optimizer_step_start(EventContext &) {}
    /// The weights have been changed.
    virtual void optimizer_step_end(EventContext &) {}
    /// The batch is done.
    virtual void batch_end(EventContext &) {}
    /// All training batches of the epoch are done; the metrics of training are known.
    virtual void batches_end(EventContext &) {}
    /// A validation within training begins.
    virtual void validation_start(EventContext &) {}
    /// A batch is about to be evaluated.
    virtual void evaluation_start(EventContext &) {}
    /// Logits are there, metrics are about to be computed.
    virtual void metrics_start(EventContext &) {}
    /// Metrics of the batch are known.
    virtual void metrics_end(EventContext &) {}
    /// All batches of a validation or test are done; random numbers go on as if it had not been.
    virtual void evaluation_batches_end(EventContext &) {}
    /// The validation is done and its metrics are known.
    virtual void validation_end(EventContext &) {}
    /// The metrics of the epoch are known, those of its validation with val/ before their names.
    virtual void epoch_metrics(EventContext &) {}
    /// A checkpoint is about to be written.
    virtual void checkpoint_save(EventContext &) {}
    /// The epoch is done.
    virtual void epoch_end(EventContext &) {}
    /// Training is done.
    virtual void train_end(EventContext &) {}
    /// A validation by itself begins.
    virtual void validate_start(EventContext &) {}
    /// The validation by itself is done and its metrics are known.
    virtual void validate_end(EventContext &) {}
    /// A test begins.
    virtual void test_start(EventContext &) {}
    /// The test is done and its metrics are known.
    virtual void test_end(EventContext &) {}
    /// A prediction begins.
    virtual void predict_start(EventContext &) {}
    /// A batch is about to be predicted.
    virtual void prediction_start(EventContext &) {}
    /// The logits of the batch are there.
    virtual void prediction_end(EventContext &) {}
    /// The prediction is done.
    virtual void predict_end(EventContext &) {}
    /// A checkpoint has been read and is about to be applied.
    virtual void checkpoint_load(EventContext &) {}
    /// The run ends with an error: EventContext::error.
    virtual void exception(EventContext &) {}
    /// Predictions over one or several splits begin, as RunState::split says.
    virtual void inference_start(EventContext &) {}
    /// The predictions over splits are done.
    virtual void inference_end(EventContext &) {}

    /// Any event: calls the function of its name, and none for an event that this header does not know.
    virtual void event(Event which, EventContext &context) {
        switch (which) {
        case Event::trainer_init: return trainer_init(context);
        case Event::train_start: return train_start(context);
        case Event::resume: return resume(context);
        case Event::epoch_start: return epoch_start(context);
        case Event::batch_start: return batch_start(context);
        case Event::forward_start: return forward_start(context);
        case Event::backward_start: return backward_start(context);
        case Event::backward_end: return backward_end(context);
        case Event::optimizer_step_start: return optimizer_step_start(context);
        case Event::optimizer_step_end: return optimizer_step_end(context);
        case Event::batch_end: return batch_end(context);
        case Event::batches_end: return batches_end(context);
        case Event::validation_start: return validation_start(context);
        case Event::evaluation_start: return evaluation_start(context);
        case Event::metrics_start: return metrics_start(context);
        case Event::metrics_end: return metrics_end(context);
        case Event::evaluation_batches_end: return evaluation_batches_end(context);
        case Event::validation_end: return validation_end(context);
        case Event::epoch_metrics: return epoch_metrics(context);
        case Event::checkpoint_save: return checkpoint_save(context);
        case Event::epoch_end: return epoch_end(context);
        case Event::train_end: return train_end(context);
        case Event::validate_start: return validate_start(context);
        case Event::validate_end: return validate_end(context);
        case Event::test_start: return test_start(context);
        case Event::test_end: return test_end(context);
        case Event::predict_start: return predict_start(context);
        case Event::prediction_start: return prediction_start(context);
        case Event::prediction_end: return prediction_end(context);
        case Event::predict_end: return predict_end(context);
        case Event::checkpoint_load: return checkpoint_load(context);
        case Event::exception: return exception(context);
        case Event::inference_start: return inference_start(context);
        case Event::inference_end: return inference_end(context);
        }
    }
};

/// Gives the batches of an epoch, one after the other, on the thread that runs the trainer. What the functions throw ends
/// the run and comes out of the function that runs.
class Batches {
public:
    Batches() = default;
    Batches(const Batches &) = delete;
    Batches &operator=(const Batches &) = delete;
    virtual ~Batches() = default;

    /// Number of batches of an epoch; asked when the epoch has begun.
    virtual std::size_t batches() = 0;
    /// An epoch begins: the order of its batches may follow from `seed`.
    virtual void begin(std::uint64_t seed) { static_cast<void>(seed); }
    /// Batch `index` of the epoch, from 0. What it shows must stay until the next call, or the end of the run.
    virtual Batch batch(std::size_t index) = 0;
    /// How many images of batch `index` count: the first ones. None: all of them.
    virtual std::optional<std::size_t> images(std::size_t index) {
        static_cast<void>(index);
        return std::nullopt;
    }
};

/// Takes the number of a batch, how many of its images count, and its logits [N, K, H, W], valid during the call. What it
/// throws ends the run and comes out of Trainer::predict.
using LogitsFunction = std::function<void(std::size_t batch, std::size_t images, Span<const float> logits)>;

namespace detail {

/// An object that the library calls, and what it threw.
template <class T>
struct Called {
    std::shared_ptr<T> object;
    std::exception_ptr thrown = nullptr;

    explicit Called(std::shared_ptr<T> own) noexcept : object(std::move(own)) {}

    /// Runs `body`; `failed` where it threw.
    template <class R, class Body>
    R guard(R failed, Body &&body) noexcept {
        try {
            return body();
        } catch (...) {
            thrown = std::current_exception();
            return failed;
        }
    }

    void rethrow() {
        if (thrown) {
            std::rethrow_exception(std::exchange(thrown, nullptr));
        }
    }
};

using CalledBatches = std::shared_ptr<Called<Batches>>;
using CalledCallback = std::shared_ptr<Called<Callback>>;

extern "C" {

// Functions that the library calls: of C's linkage, and nothing leaves them.
inline std::size_t glebe_hpp_batches(void *own) noexcept {
    Called<Batches> &called = **static_cast<CalledBatches *>(own);
    return called.guard(std::size_t{0}, [&] { return called.object->batches(); });
}

inline std::int32_t glebe_hpp_begin(std::uint64_t seed, void *own) noexcept {
    Called<Batches> &called = **static_cast<CalledBatches *>(own);
    return called.guard(std::int32_t{-1}, [&] {
        called.object->begin(seed);
        return std::int32_t{0};
    });
}

inline std::int32_t glebe_hpp_batch(std::size_t index, glebe_batch *batch, void *own) noexcept {
    Called<Batches> &called = **static_cast<CalledBatches *>(own);
    return called.guard(std::int32_t{-1}, [&] {
        const Batch given = called.object->batch(index);
        const std::uint32_t known = batch->struct_size;
        if (known < sizeof *batch) {
            throw Error(GLEBE_STATUS_NOT_SUPPORTED, "the loaded libglebe is older than this header");
        }
        *batch = *given.get();
        batch->struct_size = sizeof *batch;
        return std::int32_t{0};
    });
}

inline std::size_t glebe_hpp_images(std::size_t index, void *own) noexcept {
    Called<Batches> &called = **static_cast<CalledBatches *>(own);
    return called.guard(std::size_t{0}, [&] { return called.object->images(index).value_or(SIZE_MAX); });
}

inline void glebe_hpp_batches_destroy(void *own) noexcept { delete static_cast<CalledBatches *>(own); }

inline std::int32_t glebe_hpp_event(std::int32_t event, glebe_event_context *context, void *own) noexcept {
    Called<Callback> &called = **static_cast<CalledCallback *>(own);
    if (event == GLEBE_EVENT_EXCEPTION) {
        // What ended the run is what comes out of it.
        try {
            EventContext shown(context);
            called.object->event(Event::exception, shown);
        } catch (...) {
            return -1;
        }
        return 0;
    }
    return called.guard(std::int32_t{-1}, [&] {
        EventContext shown(context);
        called.object->event(static_cast<Event>(event), shown);
        return std::int32_t{0};
    });
}

inline void glebe_hpp_event_destroy(void *own) noexcept { delete static_cast<CalledCallback *>(own); }

inline std::int32_t glebe_hpp_logits(std::size_t batch, std::size_t images, const float *logits, std::size_t length,
                                     void *own) noexcept {
    Called<LogitsFunction> &called = *static_cast<Called<LogitsFunction> *>(own);
    return called.guard(std::int32_t{-1}, [&] {
        (*called.object)(batch, images, Span<const float>(logits, length));
        return std::int32_t{0};
    });
}

} // extern "C"

} // namespace detail

class Trainer;

/// Gives the batches of an epoch to one run at a time.
class Loader {
public:
    /// Of images [M, C, H, W] and classes [M, H, W] in memory, which are copied. The last batch is filled up.
    ///
    /// @param trainer   whose batches these are: it tells the sizes.
    /// @param shuffled  whether they come in another order in every epoch, which the seed decides.
    /// @throws Error GLEBE_STATUS_MISMATCH for arrays of wrong lengths; GLEBE_STATUS_OUT_OF_MEMORY.
    Loader(const Trainer &trainer, const std::vector<float> &images, const std::vector<std::uint8_t> &labels,
           bool shuffled = false);

    /// Of labelled rasters, cut into batches window by window by threads that work ahead: what a Finetuning with these
    /// options would train on, validate on or test. See glebe_loader_new_rasters.
    ///
    /// @param trainer  whose batches these are: it tells the sizes, and its model the bands and the normalisation where
    ///                 the options do not.
    /// @param split    which part of the data.
    /// @throws Error as Finetuning's constructor; GLEBE_STATUS_INVALID_ARGUMENT for a part that the options do not have.
    Loader(const Trainer &trainer, const FinetuningOptions &options, Split split);

    /// Of a class of the program's own.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for no object.
    explicit Loader(std::shared_ptr<Batches> batches) {
        if (batches == nullptr) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT, "batches is NULL");
        }
        called_ = std::make_shared<detail::Called<Batches>>(std::move(batches));
        auto owned = std::make_unique<detail::CalledBatches>(called_);
        glebe_loader_functions functions;
        detail::check(glebe_loader_functions_init(&functions, sizeof functions));
        functions.batches = detail::glebe_hpp_batches;
        functions.begin = detail::glebe_hpp_begin;
        functions.batch = detail::glebe_hpp_batch;
        functions.images = detail::glebe_hpp_images;
        functions.user_data = owned.release();
        functions.destroy = detail::glebe_hpp_batches_destroy;
        glebe_loader *handle = nullptr;
        detail::call([&](glebe_error **error) { return glebe_loader_new_functions(&functions, &handle, error); });
        handle_.reset(handle);
    }

    [[nodiscard]] glebe_loader *get() const noexcept { return handle_.get(); }

private:
    friend class Trainer;

    /// The object that is called; none for arrays.
    detail::CalledBatches called_;
    detail::Handle<glebe_loader, glebe_loader_free> handle_;
};

/// Loss, gradients and update of one model on batches of one shape, with the weights and the optimizer's state. A call
/// that throws leaves both as they were. One thread at a time, also for const functions.
class Trainer {
public:
    /// A tensor that is trained, or a running statistic that steps update.
    using Tensor = glebe::Tensor;

    /// What Trainer::apply did.
    struct Applied {
        /// Whether the gradients were not finite and nothing was changed (with loss_scale only).
        bool skipped;
        /// Euclidean norm of the gradients before clipping; NaN unless clip_norm or loss_scale is set.
        float norm;
    };

    /// Builds the step; takes seconds. The model may be destroyed afterwards.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for an option out of range or a pattern that matches nothing;
    ///         GLEBE_STATUS_MODEL_UNSUPPORTED naming the node that has no gradient; GLEBE_STATUS_MISMATCH for shapes that
    ///         the model does not take; GLEBE_STATUS_NOT_SUPPORTED; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
    ///         GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
    Trainer(const Model &model, const TrainerOptions &options) {
        const detail::TrainerCall given(options);
        glebe_trainer *handle = nullptr;
        detail::call(
            [&](glebe_error **error) { return glebe_trainer_new(model.get(), given.get(), &handle, error); });
        handle_.reset(handle);
    }

    /// What training would mean, without running anything: see glebe_trainer_preflight.
    [[nodiscard]] static std::string preflight(const Model &model, const TrainerOptions &options) {
        const detail::TrainerCall given(options);
        detail::Buffer json;
        detail::call([&](glebe_error **error) {
            return glebe_trainer_preflight(model.get(), given.get(), &json.bytes, error);
        });
        return json.text();
    }

    /// Loss and gradients of a batch, and the update. Gives the loss before the update.
    ///
    /// @throws Error GLEBE_STATUS_MISMATCH for arrays of wrong lengths; GLEBE_STATUS_INVALID_ARGUMENT for a label that is
    ///         no class and for a learning rate below 0; GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY;
    ///         GLEBE_STATUS_RUNTIME.
    float step(const Batch &batch, float learning_rate) {
        float loss = 0.0F;
        detail::call([&](glebe_error **error) {
            return glebe_trainer_step(handle_.get(), batch.get(), learning_rate, &loss, error);
        });
        return loss;
    }

    /// Loss and gradients of a batch; the gradients are added to those that wait for apply().
    float accumulate(const Batch &batch) {
        float loss = 0.0F;
        detail::call([&](glebe_error **error) {
            return glebe_trainer_accumulate(handle_.get(), batch.get(), &loss, error);
        });
        return loss;
    }

    /// Updates the weights with the mean of the waiting gradients.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE where none wait.
    Applied apply(float learning_rate) {
        std::int32_t skipped = 0;
        float norm = 0.0F;
        detail::call([&](glebe_error **error) {
            return glebe_trainer_apply(handle_.get(), learning_rate, &skipped, &norm, error);
        });
        return Applied{skipped != 0, norm};
    }

    /// Forgets the waiting gradients.
    void discard() {
        detail::call([&](glebe_error **error) { return glebe_trainer_discard(handle_.get(), error); });
    }

    /// What the loss's gradient is multiplied with from the next batch on.
    void set_loss_scale(float scale) {
        detail::call([&](glebe_error **error) { return glebe_trainer_set_loss_scale(handle_.get(), scale, error); });
    }

    /// Whether steps keep their logits.
    void want_logits(bool wanted) {
        detail::call(
            [&](glebe_error **error) { return glebe_trainer_want_logits(handle_.get(), wanted ? 1 : 0, error); });
    }

    /// The logits [N, K, H, W] of the last step or accumulate().
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE unless they were wanted.
    [[nodiscard]] std::vector<float> logits() const {
        std::vector<float> values(detail::product(logits_shape()));
        detail::call([&](glebe_error **error) {
            return glebe_trainer_logits(handle_.get(), values.data(), values.size(), error);
        });
        return values;
    }

    /// Shape [N, C, H, W] of the images.
    [[nodiscard]] std::vector<std::size_t> image_shape() const {
        return detail::shape([&](std::size_t *sizes, std::size_t length) {
            return glebe_trainer_image_shape(handle_.get(), sizes, length);
        });
    }

    /// Shape [N, K, H, W] of the logits.
    [[nodiscard]] std::vector<std::size_t> logits_shape() const {
        return detail::shape([&](std::size_t *sizes, std::size_t length) {
            return glebe_trainer_logits_shape(handle_.get(), sizes, length);
        });
    }

    /// What is trained, and the running statistics that steps update.
    [[nodiscard]] std::vector<Tensor> tensors() const {
        std::vector<Tensor> all(glebe_trainer_tensor_count(handle_.get()));
        for (std::size_t index = 0; index < all.size(); ++index) {
            all[index].name = detail::text(glebe_trainer_tensor_name(handle_.get(), index));
            all[index].shape = detail::shape([&](std::size_t *sizes, std::size_t length) {
                return glebe_trainer_tensor_shape(handle_.get(), index, sizes, length);
            });
        }
        return all;
    }

    /// The elements of a trained tensor or statistic.
    [[nodiscard]] std::vector<float> weight(const std::string &name) const { return get(GLEBE_TENSOR_WEIGHT, name); }

    /// The elements of a gradient: the mean of those that wait, before clipping.
    [[nodiscard]] std::vector<float> gradient(const std::string &name) const {
        return get(GLEBE_TENSOR_GRADIENT, name);
    }

    /// The elements of a moving average.
    [[nodiscard]] std::vector<float> average(const std::string &name) const { return get(GLEBE_TENSOR_AVERAGE, name); }

    /// Number of updates so far.
    [[nodiscard]] std::uint64_t updates() const noexcept { return glebe_trainer_updates(handle_.get()); }

    /// Whether the feature cache keeps the image with this key.
    [[nodiscard]] bool has_features(std::uint64_t key) const noexcept {
        return glebe_trainer_has_features(handle_.get(), key) != 0;
    }

    /// All that steps change, as the bytes of a safetensors file.
    [[nodiscard]] std::vector<std::uint8_t> state() const {
        detail::Buffer bytes;
        detail::call([&](glebe_error **error) { return glebe_trainer_state(handle_.get(), &bytes.bytes, error); });
        return bytes.copy();
    }

    /// Goes on from a state of a trainer of the same model and options.
    void set_state(const std::vector<std::uint8_t> &bytes) {
        detail::call([&](glebe_error **error) {
            return glebe_trainer_set_state(handle_.get(), bytes.data(), bytes.size(), error);
        });
    }

    /// Writes the finetuned model, complete or not at all.
    ///
    /// @throws Error GLEBE_STATUS_ALREADY_EXISTS for an existing file without overwrite; errors of files.
    void export_model(const std::string &path, bool overwrite = false) const { write(path, 0, overwrite); }

    /// As export_model, with the moving averages in place of the weights.
    void export_averages(const std::string &path, bool overwrite = false) const { write(path, 1, overwrite); }

    /// Says how the training goes; may be called again between runs: for more epochs, for example.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for an option out of range; see glebe_trainer_set_fit_options.
    void set_fit_options(const FitOptions &options) {
        const detail::FitCall given(options);
        detail::call([&](glebe_error **error) {
            return glebe_trainer_set_fit_options(handle_.get(), given.get(), error);
        });
    }

    /// Lets a callback be told of all events of the runs from now on, of Event::trainer_init at once. Several are called
    /// in the order in which they were added. It lives as long as the trainer.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for no object; GLEBE_STATUS_INVALID_STATE within a run.
    /// @throws what trainer_init throws; the callback is not added then.
    void add(std::shared_ptr<Callback> callback) {
        if (callback == nullptr) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT, "callback is NULL");
        }
        const auto called = std::make_shared<detail::Called<Callback>>(std::move(callback));
        auto owned = std::make_unique<detail::CalledCallback>(called);
        called_.push_back(called);
        const detail::Outcome outcome([&](glebe_error **error) {
            return glebe_trainer_add_events(handle_.get(), detail::glebe_hpp_event, owned.release(),
                                            detail::glebe_hpp_event_destroy, error);
        });
        try {
            called->rethrow();
            outcome.check();
        } catch (...) {
            called_.pop_back();
            throw;
        }
    }

    /// Adds the callbacks that write files of the runs to come into a folder; it is made where it is not there.
    ///
    /// @param outputs  which files: Output::epoch_csv | Output::curves.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for no file or one that there is not; GLEBE_STATUS_INVALID_STATE
    ///         without set_fit_options, whose class names they take.
    void add_outputs(const std::string &folder, Output outputs = Output::all) {
        const char *c_folder = detail::c_string(folder, "folder");
        detail::call([&](glebe_error **error) {
            return glebe_trainer_add_outputs(handle_.get(), c_folder, static_cast<std::uint32_t>(outputs), error);
        });
    }

    /// Ends the training when a metric of the validation has not become better for a while, or is not finite. Several
    /// may be added: who wants to stop, stops.
    ///
    /// @param metric     its name in the validation: "Loss", "MeanIoU". One that there is not ends the run at its first
    ///                   validation.
    /// @param mode       which values are better.
    /// @param patience   how many validations in a row without a better value are borne.
    /// @param min_delta  by how much a value must be better, 0 or more.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT.
    void add_early_stopping(const std::string &metric, Mode mode, std::uint64_t patience, double min_delta = 0.0) {
        const char *c_metric = detail::c_string(metric, "metric");
        detail::call([&](glebe_error **error) {
            return glebe_trainer_add_early_stopping(handle_.get(), c_metric, static_cast<std::int32_t>(mode), patience,
                                                    min_delta, error);
        });
    }

    /// Lowers the learning rate when a metric of the validation has not become better for a while: PyTorch's
    /// ReduceLROnPlateau with a relative threshold of 1e-4.
    ///
    /// @param metric    its name in the validation: "Loss", "MeanIoU". One that there is not ends the run at its first
    ///                  validation.
    /// @param mode      which values are better.
    /// @param factor    what the rate is multiplied with, above 0 and below 1.
    /// @param patience  how many validations in a row without a better value are borne.
    /// @param least     the smallest rate, 0 or more.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT.
    void add_plateau(const std::string &metric, Mode mode, double factor, std::uint64_t patience, double least = 0.0) {
        const char *c_metric = detail::c_string(metric, "metric");
        detail::call([&](glebe_error **error) {
            return glebe_trainer_add_plateau(handle_.get(), c_metric, static_cast<std::int32_t>(mode), factor, patience,
                                             least, error);
        });
    }

    /// Lets the learning rate rise and fall once over all updates: PyTorch's OneCycleLR with its defaults, without a
    /// cycle of the momentum. It takes the place of the schedule.
    ///
    /// @param most   the largest rate, above 0.
    /// @param total  number of updates, 1 or more; behind the last the rate stays.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT.
    void add_one_cycle(double most, std::uint64_t total) {
        detail::call([&](glebe_error **error) {
            return glebe_trainer_add_one_cycle(handle_.get(), most, total, error);
        });
    }

    /// Trains for the epochs that are left. See glebe_trainer_fit.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE without set_fit_options, and where the fit before was interrupted within an
    ///         epoch and none is resumed; as step(); errors of files for checkpoints.
    /// @throws what a callback or Batches throws.
    void fit(Loader &train) { fit_with(train, nullptr); }

    /// As above, and validates in between.
    void fit(Loader &train, Loader &validation) { fit_with(train, &validation); }

    /// As fit(); then the weights of best.safetensors come back, where FitOptions::checkpoint_best says which those
    /// are, and the test data are tested.
    ///
    /// @param validation  the batches to validate on. NULL: there is no validation.
    /// @param test        the batches to test on. NULL: there is no test. No loader may be given twice.
    /// @return the metrics of the test; none without test data.
    /// @throws as fit().
    std::optional<Metrics> fit_and_test(Loader &train, Loader *validation, Loader *test) {
        require(validation, "validation");
        require(test, "test");
        return measured({&train, validation, test}, [&](glebe_metrics **found, glebe_error **error) {
            return glebe_trainer_fit_and_test(handle_.get(), train.get(), handle_of(validation), handle_of(test),
                                              found, error);
        });
    }

    /// Validates, without training.
    ///
    /// @throws as fit().
    Metrics validate(Loader &data) { return evaluate(data, glebe_trainer_validate); }

    /// Tests: as validate(), with the events of a test.
    Metrics test(Loader &data) { return evaluate(data, glebe_trainer_test); }

    /// Predicts: the logits of every batch.
    ///
    /// @param take  takes them; empty: callbacks have them at Event::prediction_end.
    /// @throws as fit(), and what `take` throws.
    void predict(Loader &data, const LogitsFunction &take = {}) {
        // Shared with nobody: it does not outlive the call.
        detail::Called<LogitsFunction> taker(std::make_shared<LogitsFunction>(take));
        run({&data}, [&](glebe_error **error) {
            const glebe_status status = glebe_trainer_predict(handle_.get(), data.get(),
                                                              take ? detail::glebe_hpp_logits : nullptr, &taker, nullptr,
                                                              error);
            return status;
        }, [&] { taker.rethrow(); });
    }

    /// Predicts all images and gives metrics as delira does: means over virtual batches, whatever the trainer's batch
    /// size; the last one is as small as what is left. test() scores all images at once, which is what a result should
    /// go by. Callbacks have the logits at Event::prediction_end.
    ///
    /// @param virtual_batch  images of a virtual batch, 1 or more.
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for a virtual batch of 0.
    /// @throws as fit().
    Metrics predict_all(Loader &data, std::size_t virtual_batch = 1) {
        const auto found = measured({&data}, [&](glebe_metrics **metrics, glebe_error **error) {
            return glebe_trainer_predict_all(handle_.get(), data.get(), virtual_batch, metrics, error);
        });
        return found.value_or(Metrics());
    }

    /// Predicts over parts of the data, in the order given, between Event::inference_start and Event::inference_end;
    /// callbacks take the logits.
    ///
    /// @throws as fit().
    void infer(const std::vector<std::pair<Split, Loader *>> &parts) {
        std::vector<std::int32_t> splits;
        std::vector<glebe_loader *> handles;
        std::vector<const Loader *> loaders;
        for (const auto &[split, loader] : parts) {
            splits.push_back(static_cast<std::int32_t>(split));
            handles.push_back(handle_of(loader));
            loaders.push_back(loader);
        }
        run(loaders, [&](glebe_error **error) {
            return glebe_trainer_infer(handle_.get(), splits.data(), handles.data(), splits.size(), error);
        });
    }

    /// Lets the next fit() go on from a checkpoint, bit by bit as if it had never stopped.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_STATE without set_fit_options; GLEBE_STATUS_NOT_FOUND; GLEBE_STATUS_MISMATCH for a
    ///         checkpoint of another model, seed or set of trained tensors.
    void resume(const std::string &path) {
        const char *c_path = detail::c_string(path, "path");
        detail::call([&](glebe_error **error) { return glebe_trainer_resume(handle_.get(), c_path, error); });
    }

    /// As resume(), from the newest checkpoint of the folder of the options that can be read; whether there is one.
    bool resume_newest() {
        std::int32_t found = 0;
        detail::call([&](glebe_error **error) { return glebe_trainer_resume_newest(handle_.get(), &found, error); });
        return found != 0;
    }

    /// Writes where the training stands, at the end of an epoch.
    void save_checkpoint(const std::string &path) {
        const char *c_path = detail::c_string(path, "path");
        detail::call([&](glebe_error **error) { return glebe_trainer_save_checkpoint(handle_.get(), c_path, error); });
    }

    /// Takes over the weights of a checkpoint that another program or an earlier run has written, trained and frozen
    /// ones. The optimizer begins anew, updates count from 0. Callbacks hear of it before the weights change. It takes
    /// as long as the constructor. Where it throws, the weights stay as they were.
    ///
    /// @return a JSON object with "message", the line that says where the checkpoint comes from (empty where it does
    ///         not say), and "report": "loaded", "missing", "unexpected", "misshaped" with all names.
    /// @throws Error as inspect_checkpoint(); GLEBE_STATUS_MISMATCH where tensors are missing, too many or of another
    ///         shape (unless partial), where nothing fits, and for a BatchNorm that is neither in the model nor can be
    ///         folded; GLEBE_STATUS_INVALID_STATE while gradients wait.
    /// @throws what a callback throws.
    std::string load_checkpoint(const std::string &path, const LoadOptions &options = {}) {
        const char *c_path = detail::c_string(path, "path");
        const glebe_load_options given = detail::load_options(options);
        detail::Buffer report;
        run({}, [&](glebe_error **error) {
            return glebe_trainer_load_checkpoint(handle_.get(), c_path, &given, &report.bytes, error);
        });
        return report.text();
    }

    /// Where the runs stand.
    [[nodiscard]] RunState run_state() const {
        return detail::run_state([&](glebe_run_state *found, glebe_error **error) {
            return glebe_trainer_run_state(handle_.get(), found, error);
        });
    }

    /// The message of the checkpoint that was loaded last; empty where none was.
    [[nodiscard]] std::string checkpoint_message() const {
        detail::Buffer message;
        detail::call([&](glebe_error **error) {
            return glebe_trainer_checkpoint_message(handle_.get(), &message.bytes, error);
        });
        return message.text();
    }

    [[nodiscard]] glebe_trainer *get() const noexcept { return handle_.get(); }

private:
    /// What callbacks and loaders threw comes before the error that it led to.
    template <class Call>
    void run(const std::vector<const Loader *> &loaders, Call &&function) {
        run(loaders, std::forward<Call>(function), [] {});
    }

    template <class Call, class Rethrow>
    void run(const std::vector<const Loader *> &loaders, Call &&function, Rethrow &&rethrow) {
        // What was thrown in a call of the C interface through get() is not of this call; within a callback it may be of
        // the call around it.
        if (depth_ == 0) {
            each(loaders, [](auto &called) { called.thrown = nullptr; });
        }
        ++depth_;
        const detail::Outcome outcome(std::forward<Call>(function));
        --depth_;
        rethrow();
        each(loaders, [](auto &called) { called.rethrow(); });
        outcome.check();
    }

    /// Calls `function` with everything that the library calls.
    template <class Function>
    void each(const std::vector<const Loader *> &loaders, Function &&function) {
        for (const detail::CalledCallback &called : called_) {
            function(*called);
        }
        for (const Loader *loader : loaders) {
            if (loader != nullptr && loader->called_ != nullptr) {
                function(*loader->called_);
            }
        }
    }

    /// A loader that was moved from is an error, none is not.
    static void require(const Loader *loader, const char *name) {
        if (loader != nullptr && loader->get() == nullptr) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT, std::string(name) + " is NULL");
        }
    }

    [[nodiscard]] static glebe_loader *handle_of(const Loader *loader) noexcept {
        return loader == nullptr ? nullptr : loader->get();
    }

    void fit_with(Loader &train, Loader *validation) {
        require(validation, "validation");
        run({&train, validation}, [&](glebe_error **error) {
            return glebe_trainer_fit(handle_.get(), train.get(), handle_of(validation), error);
        });
    }

    template <class Call>
    Metrics evaluate(Loader &data, Call &&function) {
        const auto found = measured({&data}, [&](glebe_metrics **metrics, glebe_error **error) {
            return function(handle_.get(), data.get(), metrics, error);
        });
        return found.value_or(Metrics());
    }

    /// Runs `call(glebe_metrics **, glebe_error **)` and copies the metrics; none where it gives none.
    template <class Call>
    std::optional<Metrics> measured(const std::vector<const Loader *> &loaders, Call &&function) {
        detail::Handle<glebe_metrics, glebe_metrics_free> found;
        run(loaders, [&](glebe_error **error) {
            glebe_metrics *handle = nullptr;
            const glebe_status status = function(&handle, error);
            found.reset(handle);
            return status;
        });
        if (found == nullptr) {
            return std::nullopt;
        }
        Metrics metrics(glebe_metrics_count(found.get()));
        for (std::size_t index = 0; index < metrics.size(); ++index) {
            metrics[index].first = detail::text(glebe_metrics_name(found.get(), index));
            metrics[index].second = glebe_metrics_value(found.get(), index);
        }
        return metrics;
    }

    [[nodiscard]] std::vector<float> get(std::int32_t kind, const std::string &name) const {
        const char *c_name = detail::c_string(name, "name");
        std::size_t count = 0;
        for (const Tensor &tensor : tensors()) {
            if (tensor.name == name) {
                count = detail::product(tensor.shape);
            }
        }
        // One at least: memory for a name that is not there is not NULL, and the error is the library's.
        std::vector<float> values(count + 1);
        detail::call([&](glebe_error **error) {
            return glebe_trainer_tensor(handle_.get(), kind, c_name, values.data(), count, error);
        });
        values.resize(count);
        return values;
    }

    void write(const std::string &path, std::int32_t averages, bool overwrite) const {
        const char *c_path = detail::c_string(path, "path");
        detail::call([&](glebe_error **error) {
            return glebe_trainer_export(handle_.get(), c_path, averages, overwrite ? 1 : 0, error);
        });
    }

    /// What the library calls, and what it threw.
    std::vector<detail::CalledCallback> called_;
    /// How many calls run, one in a callback of the other.
    std::size_t depth_ = 0;
    detail::Handle<glebe_trainer, glebe_trainer_free> handle_;
};

inline Loader::Loader(const Trainer &trainer, const std::vector<float> &images,
                      const std::vector<std::uint8_t> &labels, bool shuffled) {
    glebe_loader *handle = nullptr;
    detail::call([&](glebe_error **error) {
        return glebe_loader_new_arrays(trainer.get(), images.data(), images.size(), labels.data(), labels.size(),
                                       shuffled ? 1 : 0, &handle, error);
    });
    handle_.reset(handle);
}

inline Loader::Loader(const Trainer &trainer, const FinetuningOptions &options, Split split) {
    const detail::FinetuningCall given(options);
    glebe_loader *handle = nullptr;
    detail::call([&](glebe_error **error) {
        return glebe_loader_new_rasters(trainer.get(), given.get(), static_cast<std::int32_t>(split), &handle, error);
    });
    handle_.reset(handle);
}

/// A finetuning that is ready to run, once: labelled rasters and a model in, a better model out, as `glebe finetune` does
/// it. One thread at a time, found() excepted.
class Finetuning {
public:
    /// Reads the configuration, opens the model, looks through the data and builds the step, which takes seconds. Writes
    /// nothing.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for a setting that is wrong in itself, with its key;
    ///         GLEBE_STATUS_NOT_FOUND; GLEBE_STATUS_MODEL_INVALID; GLEBE_STATUS_MODEL_UNSUPPORTED;
    ///         GLEBE_STATUS_RASTER_INVALID, GLEBE_STATUS_RASTER_UNSUPPORTED; GLEBE_STATUS_MISMATCH where model, images and
    ///         labels do not fit together; GLEBE_STATUS_PROVIDER_UNAVAILABLE; GLEBE_STATUS_OUT_OF_MEMORY;
    ///         GLEBE_STATUS_RUNTIME; GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL.
    Finetuning(const Runtime &runtime, const FinetuningOptions &options) {
        const detail::FinetuningCall given(options);
        glebe_finetuning *handle = nullptr;
        detail::call(
            [&](glebe_error **error) { return glebe_finetuning_new(runtime.get(), given.get(), &handle, error); });
        handle_.reset(handle);
    }

    /// What was found, as a JSON object: see glebe_finetuning_found.
    [[nodiscard]] std::string found() const {
        detail::Buffer json;
        detail::call([&](glebe_error **error) { return glebe_finetuning_found(get(), &json.bytes, error); });
        return json.text();
    }

    /// Lets a callback be told of all events of the run, of Event::trainer_init when that begins.
    ///
    /// @throws Error GLEBE_STATUS_INVALID_ARGUMENT for no object; GLEBE_STATUS_INVALID_STATE once it runs.
    void add(std::shared_ptr<Callback> callback) {
        if (callback == nullptr) {
            throw Error(GLEBE_STATUS_INVALID_ARGUMENT, "callback is NULL");
        }
        const auto called = std::make_shared<detail::Called<Callback>>(std::move(callback));
        auto owned = std::make_unique<detail::CalledCallback>(called);
        // Room first, so that nothing can fail behind the call.
        called_.reserve(called_.size() + 1);
        detail::call([&](glebe_error **error) {
            return glebe_finetuning_add_events(get(), detail::glebe_hpp_event, owned.release(),
                                               detail::glebe_hpp_event_destroy, error);
        });
        called_.push_back(called);
    }

    /// Trains, goes back to the best weights, tests, writes the model into the folder of the run and scores it. It runs
    /// once, whatever comes of it.
    ///
    /// @return what was done, as the JSON object that `glebe finetune --report` writes; `model` is the model's path.
    /// @throws Error GLEBE_STATUS_ALREADY_EXISTS for a folder with something in it; GLEBE_STATUS_MISMATCH for one with a
    ///         run of other settings; GLEBE_STATUS_INVALID_STATE where it has been run; GLEBE_STATUS_CANCELLED;
    ///         GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; errors of files.
    /// @throws what a callback throws.
    std::string run() {
        detail::Buffer report;
        // A call within a callback is refused; what callbacks threw is of the run around it.
        const bool is_within = std::exchange(runs_, true);
        const detail::Outcome outcome(
            [&](glebe_error **error) { return glebe_finetuning_run(get(), &report.bytes, error); });
        if (!is_within) {
            runs_ = false;
            // What callbacks threw comes before the error that it led to.
            for (const detail::CalledCallback &called : called_) {
                called->rethrow();
            }
        }
        outcome.check();
        return report.text();
    }

    [[nodiscard]] glebe_finetuning *get() const noexcept { return handle_.get(); }

private:
    /// What the library calls, and what it threw.
    std::vector<detail::CalledCallback> called_;
    /// Whether a run goes on.
    bool runs_ = false;
    detail::Handle<glebe_finetuning, glebe_finetuning_free> handle_;
};

/// Finetunes in one call, without callbacks of one's own: see Finetuning.
///
/// @return what was done, as Finetuning::run gives it.
/// @throws Error as Finetuning's constructor and Finetuning::run.
inline std::string finetune(const Runtime &runtime, const FinetuningOptions &options) {
    const detail::FinetuningCall given(options);
    detail::Buffer report;
    detail::call([&](glebe_error **error) {
        return glebe_finetune(runtime.get(), given.get(), &report.bytes, error);
    });
    return report.text();
}

} // namespace glebe

#endif // GLEBE_HPP
