/* Metrics on labelled rasters: the counts are those of a plain loop, and what can go wrong is told. */
#include "check.h"

typedef struct {
    int images[2];
    int destroyed;
    int cancel;
} witness;

static int32_t told(const glebe_progress *progress, void *user_data)
{
    witness *w = user_data;
    CHECK(progress->struct_size == sizeof *progress);
    CHECK(progress->images == 2 && progress->image < 2 && progress->total == 4);
    w->images[progress->image]++;
    return w->cancel;
}

static void destroyed(void *user_data) { ((witness *)user_data)->destroyed++; }

static const char *pair_of(const char *image, const char *labels)
{
    static char ring[4][2100];
    static int next = 0;
    char *text = ring[next++ % 4];
    snprintf(text, sizeof ring[0], "%s;%s", file(image), file(labels));
    return text;
}

/* The JSON without its spaces. */
static const char *dense(const glebe_buffer *json)
{
    static char text[65536];
    size_t length = 0;
    CHECK(json->data[json->size] == 0);
    for (size_t at = 0; at < json->size; at++) {
        CHECK(length + 1 < sizeof text);
        if (strchr(" \n", json->data[at]) == NULL)
            text[length++] = (char)json->data[at];
    }
    text[length] = 0;
    return text;
}

static void write_list(const char *name, const char *content)
{
    FILE *open = fopen(file(name), "wb");
    CHECK(open != NULL && fputs(content, open) >= 0 && fclose(open) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    glebe_runtime *runtime = load();
    glebe_model *model = open_model(runtime, "bands.onnx");
    glebe_segment_options segment = four_tiles();
    glebe_evaluate_options options;
    CHECK(glebe_evaluate_options_init(&options, sizeof options) == GLEBE_STATUS_OK);
    CHECK(options.split == GLEBE_SPLIT_TEST && options.classes == NULL);
    CHECK(glebe_evaluate_options_init(&options, 8) == GLEBE_STATUS_INVALID_ARGUMENT);
    CHECK(glebe_evaluate_options_init(NULL, sizeof options) == GLEBE_STATUS_INVALID_ARGUMENT);

    unsigned long counts[2][2] = {{0, 0}, {0, 0}}, swapped[2][2] = {{0, 0}, {0, 0}};
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 4; x < WIDTH; x++) {
            counts[y >= HEIGHT / 2][expected_class(y, x)]++;
            swapped[y < HEIGHT / 2][expected_class(y, x)]++;
        }

    /* a network that looks at single pixels has no seams */
    glebe_buffer seams = {NULL, 0};
    OK(glebe_model_seams(model, file("in.tif"), NULL, &seams, &error));
    CHECK(strstr((const char *)seams.data, "\"disagreement\": 0.0") != NULL);
    CHECK(strstr((const char *)seams.data, "\"blend\": \"exact\"") != NULL);
    glebe_buffer_free(&seams);
    FAILS(GLEBE_STATUS_NOT_FOUND, "no.tif", glebe_model_seams(model, file("no.tif"), NULL, &seams, &error));
    CHECK(seams.data == NULL);

    /* one image */
    options.ignore_index = "9, -1";
    const char *one[] = {pair_of("in.tif", "halves.tif")};
    glebe_buffer scores = {NULL, 0}, report = {NULL, 0};
    OK(glebe_evaluate(model, one, 1, &options, &segment, &scores, &report, &error));
    char text[256];
    snprintf(text, sizeof text, "\"matrix\":[[%lu,%lu],[%lu,%lu]],\"per_image\"", counts[0][0], counts[0][1],
             counts[1][0], counts[1][1]);
    CHECK(strstr(dense(&scores), text) != NULL);
    CHECK(strstr(dense(&scores), "\"name\":\"water\"") != NULL);
    CHECK(strstr(dense(&scores), "\"wall_s\"") == NULL && strstr(dense(&scores), "\"unlabelled\":192,") != NULL);
    CHECK(strstr(dense(&report), text) != NULL);
    CHECK(strstr(dense(&report), "\"wall_s\"") != NULL && strstr(dense(&report), "\"tiles\":4") != NULL);
    glebe_buffer_free(&report);

    /* the same bytes with the defaults of scoring, from a list under a root */
    glebe_buffer again = {NULL, 0};
    OK(glebe_evaluate(model, one, 1, &options, NULL, &again, NULL, &error));
    CHECK(again.size == scores.size && memcmp(again.data, scores.data, scores.size) == 0);
    glebe_buffer_free(&again);
    glebe_buffer_free(&scores);

    /* two images, other classes, names, progress; the user data is released in every outcome */
    write_list("areas.csv", "in.tif,halves.tif,val\nin.tif,halves.tif,trn\nin.tif,halves.tif,val\n");
    const char *list[] = {file("areas.csv")};
    witness w = {{0, 0}, 0, 0};
    const char *const names[] = {"high", "low"};
    segment.class_names = names;
    segment.class_names_len = 2;
    segment.progress = told;
    segment.progress_user_data = &w;
    segment.progress_destroy = destroyed;
    options.split = GLEBE_SPLIT_VAL;
    options.ignore_index = NULL;
    options.classes = "0=1,1=0,*=ignore";
    OK(glebe_evaluate(model, list, 1, &options, &segment, &scores, NULL, &error));
    snprintf(text, sizeof text, "\"matrix\":[[%lu,%lu],[%lu,%lu]],\"per_image\"", 2 * swapped[0][0], 2 * swapped[0][1],
             2 * swapped[1][0], 2 * swapped[1][1]);
    CHECK(strstr(dense(&scores), text) != NULL);
    CHECK(strstr(dense(&scores), "\"images\":2,") != NULL && strstr(dense(&scores), "\"name\":\"low\"") != NULL);
    CHECK(w.images[0] == 4 && w.images[1] == 4 && w.destroyed == 1);
    glebe_buffer_free(&scores);
    w.cancel = 1;
    FAILS(GLEBE_STATUS_CANCELLED, "cancelled",
          glebe_evaluate(model, list, 1, &options, &segment, &scores, NULL, &error));
    CHECK(w.destroyed == 2);
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "model is NULL",
          glebe_evaluate(NULL, list, 1, &options, &segment, &scores, NULL, &error));
    CHECK(w.destroyed == 3);

    /* what is wrong */
    segment = four_tiles();
#define REFUSED(status, words) \
    FAILS(status, words, glebe_evaluate(model, list, 1, &options, &segment, &scores, &report, &error))
    options.split = GLEBE_SPLIT_TEST;
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "none of its 3 lines is for tst");
    options.split = 0;
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "split is 0");
    options.split = GLEBE_SPLIT_VAL;
    options.classes = "0=1";
    REFUSED(GLEBE_STATUS_MISMATCH, "not in the class map");
    options.classes = "0";
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "classes: class map: expected VALUE=CLASS");
    options.classes = NULL;
    REFUSED(GLEBE_STATUS_MISMATCH, "label 9 at pixel 0,0");
    options.ignore_index = "0,1,9";
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "no pixel can be compared");
    options.ignore_index = "nine";
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "ignore_index: expected whole numbers");
    options.ignore_index = "9";
    options.label_nodata = "nothing";
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "label_nodata: unknown");
    options.label_nodata = "background";
    options.label_outside = "";
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "label_outside: unknown");
    options.label_outside = "ignore";
    options.all_touched = 2;
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "all_touched is 2");
    options.all_touched = 1;
    options.reserved = 1;
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "reserved");
    options.reserved = 0;
    options.root = file("nowhere");
    REFUSED(GLEBE_STATUS_NOT_FOUND, "in.tif");
    options.root = NULL;
    segment.product = GLEBE_PRODUCT_LOGITS;
    REFUSED(GLEBE_STATUS_INVALID_ARGUMENT, "expected classes");
    segment = four_tiles();
    const char *nothing[] = {file("nothing.csv")};
    FAILS(GLEBE_STATUS_NOT_FOUND, "nothing.csv",
          glebe_evaluate(model, nothing, 1, &options, NULL, &scores, NULL, &error));
    FAILS(GLEBE_STATUS_INVALID_ARGUMENT, "at least one",
          glebe_evaluate(model, NULL, 0, &options, NULL, &scores, NULL, &error));
    CHECK(scores.data == NULL && report.data == NULL);
    OK(glebe_evaluate(model, list, 1, &options, &segment, &scores, NULL, &error));
    glebe_buffer_free(&scores);

    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return 0;
}
