/* Layout of every struct of glebe.h on systems with pointers of 64 bits. Lines are added, never changed. */
#include <stddef.h>

#include "glebe.h"

_Static_assert(sizeof(glebe_buffer) == 16, "");
_Static_assert(offsetof(glebe_buffer, data) == 0, "");
_Static_assert(offsetof(glebe_buffer, size) == 8, "");

_Static_assert(sizeof(glebe_runtime_options) == 16, "");
_Static_assert(offsetof(glebe_runtime_options, struct_size) == 0, "");
_Static_assert(offsetof(glebe_runtime_options, reserved) == 4, "");
_Static_assert(offsetof(glebe_runtime_options, library) == 8, "");

_Static_assert(sizeof(glebe_model_options) == 32, "");
_Static_assert(offsetof(glebe_model_options, struct_size) == 0, "");
_Static_assert(offsetof(glebe_model_options, external_data) == 4, "");
_Static_assert(offsetof(glebe_model_options, output) == 8, "");
_Static_assert(offsetof(glebe_model_options, max_file_bytes) == 16, "");
_Static_assert(offsetof(glebe_model_options, max_weight_bytes) == 24, "");

_Static_assert(sizeof(glebe_image) == 72, "");
_Static_assert(offsetof(glebe_image, struct_size) == 0, "");
_Static_assert(offsetof(glebe_image, data_type) == 4, "");
_Static_assert(offsetof(glebe_image, channels) == 8, "");
_Static_assert(offsetof(glebe_image, height) == 16, "");
_Static_assert(offsetof(glebe_image, width) == 24, "");
_Static_assert(offsetof(glebe_image, channel_stride) == 32, "");
_Static_assert(offsetof(glebe_image, row_stride) == 40, "");
_Static_assert(offsetof(glebe_image, column_stride) == 48, "");
_Static_assert(offsetof(glebe_image, data) == 56, "");
_Static_assert(offsetof(glebe_image, valid) == 64, "");

_Static_assert(sizeof(glebe_progress) == 32, "");
_Static_assert(offsetof(glebe_progress, struct_size) == 0, "");
_Static_assert(offsetof(glebe_progress, reserved) == 4, "");
_Static_assert(offsetof(glebe_progress, done) == 8, "");
_Static_assert(offsetof(glebe_progress, total) == 16, "");
_Static_assert(offsetof(glebe_progress, elapsed_s) == 24, "");

_Static_assert(sizeof(glebe_segment_options) == 264, "");
_Static_assert(offsetof(glebe_segment_options, struct_size) == 0, "");
_Static_assert(offsetof(glebe_segment_options, threads) == 4, "");
_Static_assert(offsetof(glebe_segment_options, bands) == 8, "");
_Static_assert(offsetof(glebe_segment_options, bands_len) == 16, "");
_Static_assert(offsetof(glebe_segment_options, scale) == 24, "");
_Static_assert(offsetof(glebe_segment_options, scale_len) == 32, "");
_Static_assert(offsetof(glebe_segment_options, mean) == 40, "");
_Static_assert(offsetof(glebe_segment_options, mean_len) == 48, "");
_Static_assert(offsetof(glebe_segment_options, std) == 56, "");
_Static_assert(offsetof(glebe_segment_options, std_len) == 64, "");
_Static_assert(offsetof(glebe_segment_options, tile_width) == 72, "");
_Static_assert(offsetof(glebe_segment_options, tile_height) == 76, "");
_Static_assert(offsetof(glebe_segment_options, overlap_px) == 80, "");
_Static_assert(offsetof(glebe_segment_options, overlap_share) == 88, "");
_Static_assert(offsetof(glebe_segment_options, blend) == 96, "");
_Static_assert(offsetof(glebe_segment_options, padding) == 100, "");
_Static_assert(offsetof(glebe_segment_options, padding_value) == 104, "");
_Static_assert(offsetof(glebe_segment_options, batch) == 112, "");
_Static_assert(offsetof(glebe_segment_options, activation) == 116, "");
_Static_assert(offsetof(glebe_segment_options, provider) == 120, "");
_Static_assert(offsetof(glebe_segment_options, provider_option_keys) == 128, "");
_Static_assert(offsetof(glebe_segment_options, provider_option_values) == 136, "");
_Static_assert(offsetof(glebe_segment_options, provider_options_len) == 144, "");
_Static_assert(offsetof(glebe_segment_options, product) == 152, "");
_Static_assert(offsetof(glebe_segment_options, data_type) == 156, "");
_Static_assert(offsetof(glebe_segment_options, threshold) == 160, "");
_Static_assert(offsetof(glebe_segment_options, nodata) == 168, "");
_Static_assert(offsetof(glebe_segment_options, has_nodata) == 176, "");
_Static_assert(offsetof(glebe_segment_options, nodata_rule) == 180, "");
_Static_assert(offsetof(glebe_segment_options, format) == 184, "");
_Static_assert(offsetof(glebe_segment_options, compression) == 188, "");
_Static_assert(offsetof(glebe_segment_options, overwrite) == 192, "");
_Static_assert(offsetof(glebe_segment_options, reserved) == 196, "");
_Static_assert(offsetof(glebe_segment_options, class_names) == 200, "");
_Static_assert(offsetof(glebe_segment_options, class_names_len) == 208, "");
_Static_assert(offsetof(glebe_segment_options, drivers) == 216, "");
_Static_assert(offsetof(glebe_segment_options, drivers_len) == 224, "");
_Static_assert(offsetof(glebe_segment_options, cancel) == 232, "");
_Static_assert(offsetof(glebe_segment_options, progress) == 240, "");
_Static_assert(offsetof(glebe_segment_options, progress_user_data) == 248, "");
_Static_assert(offsetof(glebe_segment_options, progress_destroy) == 256, "");

_Static_assert(sizeof(glebe_batch) == 72, "");
_Static_assert(offsetof(glebe_batch, struct_size) == 0, "");
_Static_assert(offsetof(glebe_batch, label_type) == 4, "");
_Static_assert(offsetof(glebe_batch, images) == 8, "");
_Static_assert(offsetof(glebe_batch, images_len) == 16, "");
_Static_assert(offsetof(glebe_batch, labels) == 24, "");
_Static_assert(offsetof(glebe_batch, labels_len) == 32, "");
_Static_assert(offsetof(glebe_batch, mask) == 40, "");
_Static_assert(offsetof(glebe_batch, mask_len) == 48, "");
_Static_assert(offsetof(glebe_batch, keys) == 56, "");
_Static_assert(offsetof(glebe_batch, keys_len) == 64, "");

_Static_assert(sizeof(glebe_trainer_options) == 264, "");
_Static_assert(offsetof(glebe_trainer_options, struct_size) == 0, "");
_Static_assert(offsetof(glebe_trainer_options, threads) == 4, "");
_Static_assert(offsetof(glebe_trainer_options, batch) == 8, "");
_Static_assert(offsetof(glebe_trainer_options, height) == 12, "");
_Static_assert(offsetof(glebe_trainer_options, width) == 16, "");
_Static_assert(offsetof(glebe_trainer_options, batch_norm) == 20, "");
_Static_assert(offsetof(glebe_trainer_options, params) == 24, "");
_Static_assert(offsetof(glebe_trainer_options, loss) == 32, "");
_Static_assert(offsetof(glebe_trainer_options, class_weights) == 40, "");
_Static_assert(offsetof(glebe_trainer_options, class_weights_len) == 48, "");
_Static_assert(offsetof(glebe_trainer_options, ignore_index) == 56, "");
_Static_assert(offsetof(glebe_trainer_options, has_ignore_index) == 64, "");
_Static_assert(offsetof(glebe_trainer_options, label_smoothing) == 68, "");
_Static_assert(offsetof(glebe_trainer_options, output) == 72, "");
_Static_assert(offsetof(glebe_trainer_options, aux_output) == 80, "");
_Static_assert(offsetof(glebe_trainer_options, aux_weight) == 88, "");
_Static_assert(offsetof(glebe_trainer_options, momentum) == 92, "");
_Static_assert(offsetof(glebe_trainer_options, optimizer) == 96, "");
_Static_assert(offsetof(glebe_trainer_options, nesterov) == 104, "");
_Static_assert(offsetof(glebe_trainer_options, beta1) == 108, "");
_Static_assert(offsetof(glebe_trainer_options, beta2) == 112, "");
_Static_assert(offsetof(glebe_trainer_options, alpha) == 116, "");
_Static_assert(offsetof(glebe_trainer_options, epsilon) == 120, "");
_Static_assert(offsetof(glebe_trainer_options, weight_decay) == 124, "");
_Static_assert(offsetof(glebe_trainer_options, decay_norm_and_bias) == 128, "");
_Static_assert(offsetof(glebe_trainer_options, clip_value) == 132, "");
_Static_assert(offsetof(glebe_trainer_options, clip_norm) == 136, "");
_Static_assert(offsetof(glebe_trainer_options, ema_decay) == 140, "");
_Static_assert(offsetof(glebe_trainer_options, group_patterns) == 144, "");
_Static_assert(offsetof(glebe_trainer_options, group_lr_multipliers) == 152, "");
_Static_assert(offsetof(glebe_trainer_options, group_weight_decays) == 160, "");
_Static_assert(offsetof(glebe_trainer_options, groups_len) == 168, "");
_Static_assert(offsetof(glebe_trainer_options, loss_scale) == 176, "");
_Static_assert(offsetof(glebe_trainer_options, deterministic) == 180, "");
_Static_assert(offsetof(glebe_trainer_options, portable) == 184, "");
_Static_assert(offsetof(glebe_trainer_options, reserved) == 188, "");
_Static_assert(offsetof(glebe_trainer_options, provider) == 192, "");
_Static_assert(offsetof(glebe_trainer_options, provider_option_keys) == 200, "");
_Static_assert(offsetof(glebe_trainer_options, provider_option_values) == 208, "");
_Static_assert(offsetof(glebe_trainer_options, provider_options_len) == 216, "");
_Static_assert(offsetof(glebe_trainer_options, feature_memory) == 224, "");
_Static_assert(offsetof(glebe_trainer_options, feature_file) == 232, "");
_Static_assert(offsetof(glebe_trainer_options, feature_folder) == 240, "");
_Static_assert(offsetof(glebe_trainer_options, seed) == 248, "");
_Static_assert(offsetof(glebe_trainer_options, cancel) == 256, "");

_Static_assert(sizeof(glebe_fit_options) == 152, "");
_Static_assert(offsetof(glebe_fit_options, struct_size) == 0, "");
_Static_assert(offsetof(glebe_fit_options, tail) == 4, "");
_Static_assert(offsetof(glebe_fit_options, epochs) == 8, "");
_Static_assert(offsetof(glebe_fit_options, learning_rate) == 16, "");
_Static_assert(offsetof(glebe_fit_options, accumulate) == 24, "");
_Static_assert(offsetof(glebe_fit_options, validate_every) == 32, "");
_Static_assert(offsetof(glebe_fit_options, seed) == 40, "");
_Static_assert(offsetof(glebe_fit_options, split_index) == 48, "");
_Static_assert(offsetof(glebe_fit_options, splits) == 56, "");
_Static_assert(offsetof(glebe_fit_options, schedule) == 64, "");
_Static_assert(offsetof(glebe_fit_options, checkpoint_mode) == 68, "");
_Static_assert(offsetof(glebe_fit_options, schedule_warm_up) == 72, "");
_Static_assert(offsetof(glebe_fit_options, schedule_least) == 80, "");
_Static_assert(offsetof(glebe_fit_options, schedule_gamma) == 88, "");
_Static_assert(offsetof(glebe_fit_options, schedule_size) == 96, "");
_Static_assert(offsetof(glebe_fit_options, schedule_milestones) == 104, "");
_Static_assert(offsetof(glebe_fit_options, schedule_milestones_len) == 112, "");
_Static_assert(offsetof(glebe_fit_options, checkpoint_folder) == 120, "");
_Static_assert(offsetof(glebe_fit_options, checkpoint_every) == 128, "");
_Static_assert(offsetof(glebe_fit_options, checkpoint_keep) == 136, "");
_Static_assert(offsetof(glebe_fit_options, checkpoint_best) == 144, "");

_Static_assert(sizeof(glebe_run_state) == 64, "");
_Static_assert(offsetof(glebe_run_state, struct_size) == 0, "");
_Static_assert(offsetof(glebe_run_state, phase) == 4, "");
_Static_assert(offsetof(glebe_run_state, epoch) == 8, "");
_Static_assert(offsetof(glebe_run_state, epochs) == 16, "");
_Static_assert(offsetof(glebe_run_state, batch) == 24, "");
_Static_assert(offsetof(glebe_run_state, batches) == 32, "");
_Static_assert(offsetof(glebe_run_state, global_step) == 40, "");
_Static_assert(offsetof(glebe_run_state, learning_rate) == 48, "");
_Static_assert(offsetof(glebe_run_state, split) == 56, "");
_Static_assert(offsetof(glebe_run_state, should_stop) == 60, "");

_Static_assert(sizeof(glebe_loader_functions) == 56, "");
_Static_assert(offsetof(glebe_loader_functions, struct_size) == 0, "");
_Static_assert(offsetof(glebe_loader_functions, reserved) == 4, "");
_Static_assert(offsetof(glebe_loader_functions, batches) == 8, "");
_Static_assert(offsetof(glebe_loader_functions, begin) == 16, "");
_Static_assert(offsetof(glebe_loader_functions, batch) == 24, "");
_Static_assert(offsetof(glebe_loader_functions, images) == 32, "");
_Static_assert(offsetof(glebe_loader_functions, user_data) == 40, "");
_Static_assert(offsetof(glebe_loader_functions, destroy) == 48, "");

_Static_assert(sizeof(glebe_load_options) == 40, "");
_Static_assert(offsetof(glebe_load_options, struct_size) == 0, "");
_Static_assert(offsetof(glebe_load_options, partial) == 4, "");
_Static_assert(offsetof(glebe_load_options, prefix) == 8, "");
_Static_assert(offsetof(glebe_load_options, filter) == 16, "");
_Static_assert(offsetof(glebe_load_options, key) == 24, "");
_Static_assert(offsetof(glebe_load_options, norm_epsilon) == 32, "");

int main(void)
{
    return 0;
}
