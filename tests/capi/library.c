/* The library as a whole: versions, statuses, buffers, errors that are not there. */
#include "check.h"

int main(void)
{
    CHECK(strcmp(glebe_version(), GLEBE_VERSION) == 0);
    CHECK(glebe_abi_version() == GLEBE_ABI_VERSION);
    CHECK(strstr(glebe_build_info(), "\"version\":\"" GLEBE_VERSION "\"") != NULL);
    CHECK(strstr(glebe_build_info(), "\"abi\":1") != NULL);
    CHECK(strstr(glebe_build_info(), "\"oldest_onnxruntime\":\"1.") != NULL);
    CHECK(glebe_build_info() == glebe_build_info());

    CHECK(strcmp(glebe_status_name(GLEBE_STATUS_OK), "ok") == 0);
    CHECK(strcmp(glebe_status_name(GLEBE_STATUS_LIMIT_EXCEEDED), "limit-exceeded") == 0);
    CHECK(strcmp(glebe_status_name(-1), "unknown") == 0);
    CHECK(strcmp(glebe_status_name(20), "unknown") == 0);
    CHECK(strcmp(glebe_status_name(INT32_MIN), "unknown") == 0);

    glebe_buffer buffer = {NULL, 0};
    glebe_buffer_free(&buffer);
    glebe_buffer_free(NULL);

    CHECK(glebe_error_code(NULL) == GLEBE_STATUS_OK);
    CHECK(glebe_error_message(NULL) == NULL);
    CHECK(glebe_error_tile(NULL) == -1);
    CHECK(glebe_error_cause_count(NULL) == 0);
    glebe_error_free(NULL);

    glebe_cancel_token *token = glebe_cancel_token_new();
    CHECK(token != NULL && !glebe_cancel_token_is_cancelled(token));
    glebe_cancel_token_cancel(token);
    glebe_cancel_token_cancel(token);
    CHECK(glebe_cancel_token_is_cancelled(token) == 1);
    glebe_cancel_token_free(token);
    glebe_cancel_token_cancel(NULL);
    CHECK(!glebe_cancel_token_is_cancelled(NULL));
    return 0;
}
