/* SPDX-License-Identifier: MIT */
#include "cmd/output_guard.h"
#include "core/fs.h"

#include <sys/stat.h>

enum { MAX_PATH = 4096, MAX_DEPTH = 32 };

typedef struct guard {
    const char *output, *input; /* as they were given */
    struct stat target;
} guard;

static tn_status check_path(const guard *g, const char *path, int depth);

/* Names that begin with a dot are not read either (data/text_reader.h). */
static tn_status check_folder(const guard *g, const char *folder, int depth) {
    tn_names names = {0};
    tn_status status = tn_dir_list(folder, &names);
    for (size_t i = 0; i < names.count && !status; i++) {
        char path[MAX_PATH];
        if (names.list[i][0] == '.') continue;
        status = tn_path_join(path, sizeof path, folder, names.list[i]);
        if (!status) status = check_path(g, path, depth + 1);
    }
    tn_names_release(&names);
    return status;
}

static tn_status check_path(const guard *g, const char *path, int depth) {
    struct stat info;
    if (depth > MAX_DEPTH || stat(path, &info) != 0) return TN_OK; /* the reader has the words for these */
    if (S_ISDIR(info.st_mode)) return check_folder(g, path, depth);
    if (info.st_dev != g->target.st_dev || info.st_ino != g->target.st_ino) return TN_OK;
    if (depth == 0) return TN_FAIL(CONFIG, "%s: is the input %s; writing it would destroy it", g->output, g->input);
    return TN_FAIL(CONFIG, "%s: is %s, which is read as part of the input %s; writing it would destroy it", g->output,
                   path, g->input);
}

/* A folder that is to be replaced is lost as a whole. */
static tn_status check_same_folder(const guard *g) {
    struct stat info;
    if (stat(g->input, &info) != 0 || info.st_dev != g->target.st_dev || info.st_ino != g->target.st_ino) return TN_OK;
    return TN_FAIL(CONFIG, "%s: is the input %s; writing it would destroy it", g->output, g->input);
}

tn_status tn_output_guard(const char *output, const char *const *inputs, int n_inputs) {
    guard g = {.output = output};
    if (stat(output, &g.target) != 0) return TN_OK; /* nothing to lose */
    for (int i = 0; i < n_inputs; i++) {
        g.input = inputs[i];
        if (S_ISDIR(g.target.st_mode)) TN_TRY(check_same_folder(&g));
        if (S_ISREG(g.target.st_mode)) TN_TRY(check_path(&g, inputs[i], 0));
    }
    return TN_OK;
}

tn_status tn_output_guard_model(const char *output, const char *model) {
    char checkpoints[MAX_PATH];
    TN_TRY(tn_path_join(checkpoints, sizeof checkpoints, model, "checkpoints"));
    const char *read = tn_path_is_dir(checkpoints) ? checkpoints : model;
    return tn_output_guard(output, &read, 1);
}
