/* The files of a run, the callbacks that come with the library, and a test of the best checkpoint. */
#include <math.h>

#include "check.h"

enum { N = 2, SIDE = 4, PLANE = SIDE * SIDE, IMAGES = N * BANDS * PLANE, LABELS = N * PLANE, BATCHES = 4 };

static glebe_model *model;
static float images[BATCHES * IMAGES];
static unsigned char labels[BATCHES * LABELS];

static glebe_trainer *new_trainer(void)
{
    glebe_trainer_options options;
    CHECK(glebe_trainer_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.batch = N;
    options.height = options.width = SIDE;
    options.threads = 1;
    glebe_trainer *trainer = NULL;
    OK(glebe_trainer_new(model, &options, &trainer, &error));
    return trainer;
}

static glebe_loader *arrays(glebe_trainer *trainer, size_t first, size_t count)
{
    glebe_loader *loader = NULL;
    OK(glebe_loader_new_arrays(trainer, images + first * IMAGES, count * IMAGES, labels + first * LABELS,
                               count * LABELS, 0, &loader, &error));
    return loader;
}

static glebe_fit_options fit_options(uint64_t epochs)
{
    glebe_fit_options options;
    CHECK(glebe_fit_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    options.epochs = epochs;
    options.learning_rate = 1e-2;
    return options;
}

/* The first bytes of a file. */
static const char *start_of(const char *path)
{
    static char text[4096];
    FILE *open = fopen(path, "rb");
    if (open == NULL) {
        fprintf(stderr, "%s is not there\n", path);
        exit(1);
    }
    text[fread(text, 1, sizeof text - 1, open)] = 0;
    fclose(open);
    return text;
}

static void a_run_writes_its_files(void)
{
    glebe_trainer *trainer = new_trainer();
    FAILS(GLEBE_STATUS_INVALID_STATE, "glebe_trainer_set_fit_options",
          glebe_trainer_add_outputs(trainer, file("out"), GLEBE_OUTPUT_ALL, &error));
    const char *const names[] = {"ground", "house"};
    glebe_fit_options options = fit_options(3);
    options.class_names = names;
    options.class_names_len = 2;
    options.score_training = 1;
    options.checkpoint_folder = file("out/checkpoints");
    options.checkpoint_best = "val/MeanIoU";
    options.checkpoint_mode = GLEBE_MODE_HIGHEST;
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "expected 1 to 511", glebe_trainer_add_outputs(trainer, file("out"), 0, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "folder is NULL", glebe_trainer_add_outputs(trainer, NULL, 1, &error));
    OK(glebe_trainer_add_outputs(trainer, file("out"), GLEBE_OUTPUT_ALL, &error));
    glebe_loader *train = arrays(trainer, 0, 2), *validation = arrays(trainer, 2, 1), *test = arrays(trainer, 3, 1);
    glebe_metrics *metrics = NULL;
    OK(glebe_trainer_fit_and_test(trainer, train, validation, test, &metrics, &error));
    double value = -1, loss = -1;
    OK(glebe_metrics_get(metrics, "IoU/house", &value, &error));
    OK(glebe_metrics_get(metrics, "Loss", &loss, &error));
    CHECK(loss > 0 && !(value < 0));
    glebe_metrics_free(metrics);
    CHECK(strncmp(start_of(file("out/Train/epoch_metrics.csv")), "loss,learning_rate,Accuracy,MeanIoU,", 36) == 0);
    CHECK(strstr(start_of(file("out/Val/epoch_metrics.csv")), "IoU/house") != NULL);
    CHECK(strncmp(start_of(file("out/batch_losses.csv")), "epoch,batch,loss\n1,1,", 21) == 0);
    CHECK(strncmp(start_of(file("out/logs/training_loss.tsv")), "epoch\tbatch\tloss\n", 17) == 0);
    CHECK(strncmp(start_of(file("out/progress.log")), "ep_idx\tphase\titer\ti_p_ep\ttime\n0\ttrn\t0\t2\t", 39) == 0);
    CHECK(strstr(start_of(file("out/best_validation_epoch/Test/metrics.csv")), ",house,") != NULL);
    CHECK(strncmp(start_of(file("out/curves.svg")), "<svg", 4) == 0);
    CHECK(strstr(start_of(file("out/run.toml")), "status = \"done\"") != NULL);
    CHECK(exists(file("out/pictures/epoch-002/val_batch-001_image-2.png")));

    /* Virtual batches of one image and of all; without test data there are no metrics. */
    OK(glebe_trainer_predict_all(trainer, train, 1, &metrics, &error));
    OK(glebe_metrics_get(metrics, "Accuracy", &value, &error));
    CHECK(value >= 0 && value <= 1);
    glebe_metrics_free(metrics);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "1 image or more", glebe_trainer_predict_all(trainer, train, 0, &metrics, &error));
    OK(glebe_trainer_fit_and_test(trainer, train, NULL, NULL, &metrics, &error));
    CHECK(metrics == NULL);
    FAILS(GLEBE_STATUS_INVALID_STATE, "", glebe_trainer_fit_and_test(trainer, train, train, NULL, NULL, &error));
    glebe_loader_free(train);
    glebe_loader_free(validation);
    glebe_loader_free(test);
    glebe_trainer_free(trainer);
}

static int32_t note_rate(int32_t event, glebe_event_context *context, void *data)
{
    double **at = data;
    if (event == GLEBE_EVENT_OPTIMIZER_STEP_START) {
        glebe_run_state state;
        CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
        OK(glebe_event_run_state(context, &state, &error));
        *(*at)++ = state.learning_rate;
    }
    return 0;
}

static void rates_follow_the_callbacks(void)
{
    glebe_trainer *trainer = new_trainer();
    glebe_fit_options options = fit_options(7);
    options.scores = GLEBE_SCORES_NONE;
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "one cycle", glebe_trainer_add_one_cycle(trainer, 0.1, 0, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "factor", glebe_trainer_add_plateau(trainer, "Loss", GLEBE_MODE_LOWEST, 1.0, 1, 0, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "mode is 7", glebe_trainer_add_plateau(trainer, "Loss", 7, 0.5, 1, 0, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "min_delta",
          glebe_trainer_add_early_stopping(trainer, "Loss", GLEBE_MODE_LOWEST, 1, NAN, &error));
    OK(glebe_trainer_add_one_cycle(trainer, 0.01, 7, &error));
    double rates[16], *at = rates;
    OK(glebe_trainer_add_events(trainer, note_rate, &at, NULL, &error));
    glebe_loader *train = arrays(trainer, 0, 1);
    OK(glebe_trainer_fit(trainer, train, NULL, &error));
    CHECK(at == rates + 7);
    /* PyTorch's first rate is the largest divided by 25, and the third (30 % of 7 less one: 1.1) is near the top. */
    CHECK(fabs(rates[0] - 0.01 / 25) < 1e-12 && rates[1] > rates[0] && rates[6] < 1e-6);
    glebe_loader_free(train);
    glebe_trainer_free(trainer);
}

static void a_run_stops_early(void)
{
    glebe_trainer *trainer = new_trainer();
    glebe_fit_options options = fit_options(50);
    /* Nothing becomes better. */
    options.learning_rate = 0;
    options.limit_train_batches = 1;
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    OK(glebe_trainer_add_early_stopping(trainer, "Loss", GLEBE_MODE_LOWEST, 2, 0, &error));
    glebe_loader *train = arrays(trainer, 0, 2), *validation = arrays(trainer, 2, 1);
    OK(glebe_trainer_fit(trainer, train, validation, &error));
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_trainer_run_state(trainer, &state, &error));
    CHECK(state.epoch == 4 && state.global_step == 4);
    glebe_loader_free(train);
    glebe_loader_free(validation);
    glebe_trainer_free(trainer);
}

/* Two batches an epoch: the third update ends the run within the second epoch. */
static void a_run_ends_after_its_steps(void)
{
    glebe_trainer *trainer = new_trainer();
    glebe_fit_options options = fit_options(50);
    CHECK(options.max_steps == 0);
    options.max_steps = 3;
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    glebe_loader *train = arrays(trainer, 0, 2);
    OK(glebe_trainer_fit(trainer, train, NULL, &error));
    glebe_run_state state;
    CHECK(glebe_run_state_init(&state, sizeof state) == GLEBE_STATUS_OK);
    OK(glebe_trainer_run_state(trainer, &state, &error));
    CHECK(state.epoch == 2 && state.global_step == 3);

    /* A program of the first version does not know the field. */
    options.struct_size = offsetof(glebe_fit_options, max_steps);
    OK(glebe_trainer_set_fit_options(trainer, &options, &error));
    options.struct_size -= 8;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "struct_size is 192, expected at least 200",
          glebe_trainer_set_fit_options(trainer, &options, &error));
    glebe_loader_free(train);
    glebe_trainer_free(trainer);
}

static void options_are_checked(void)
{
    glebe_trainer *trainer = new_trainer();
    const char *const names[] = {"one"};
    glebe_fit_options options = fit_options(1);
    options.class_names = names;
    options.class_names_len = 1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "2 class names", glebe_trainer_set_fit_options(trainer, &options, &error));
    options = fit_options(1);
    options.scores = 9;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "scores is 9", glebe_trainer_set_fit_options(trainer, &options, &error));
    options = fit_options(1);
    options.reload_best = 1;
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "no metric says which", glebe_trainer_set_fit_options(trainer, &options, &error));
    options = fit_options(1);
    options.evaluate_averages = 1;
    FAILS(GLEBE_STATUS_INVALID_STATE, "moving average", glebe_trainer_set_fit_options(trainer, &options, &error));
    glebe_trainer_free(trainer);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    for (size_t i = 0; i < BATCHES * IMAGES; i++)
        images[i] = (float)((i * 37) % 23) / 23.0f - 0.5f;
    for (size_t i = 0; i < BATCHES * LABELS; i++)
        labels[i] = (unsigned char)(i % 3 == 0);
    glebe_runtime *runtime = load();
    model = open_model(runtime, "batches.onnx");
    glebe_runtime_free(runtime);
    a_run_writes_its_files();
    rates_follow_the_callbacks();
    a_run_stops_early();
    a_run_ends_after_its_steps();
    options_are_checked();
    glebe_model_free(model);
    return 0;
}
