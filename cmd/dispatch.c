/* SPDX-License-Identifier: MIT
 * dispatch.c - from the name of a command to its function, and what is said when that fails. */
#include "cmd/cmd.h"
#include "core/config.h"
#include "core/fs.h"
#include "core/utf8.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_COMMANDS = 32 };

static const char *name_shown = "";
static bool reader_gone;

void tn_cmd_set_name(const char *command) { name_shown = command; }

/* Messages quote files and arguments, which may hold anything. */
static void say(const char *message) {
    char line[2048];
    snprintf(line, sizeof line, "%s", message);
    tn_utf8_tame(line, "\t");
    fprintf(stderr, "tern%s%s: %s\n", *name_shown ? " " : "", name_shown, line);
}

int tn_cmd_fail(tn_status status) {
    if (status == TN_E_STOPPED && reader_gone) return TN_EXIT_SIGNAL + SIGPIPE;
    say(tn_error_message());
    return TN_EXIT_FAILED;
}

int tn_cmd_usage_error(const char *fmt, ...) {
    char message[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    say(message);
    fprintf(stderr, "try: tern%s%s --help\n", *name_shown ? " " : "", name_shown);
    return TN_EXIT_USAGE;
}

tn_status tn_cmd_write(const void *data, size_t len) {
    const char *text = data;
    size_t written = 0;
    do { /* a signal that is handled may cut a write short */
        clearerr(stdout);
        written += fwrite(text + written, 1, len - written, stdout);
        if (written == len && fflush(stdout) == 0) return TN_OK;
    } while (errno == EINTR);
    reader_gone = errno == EPIPE;
    return reader_gone ? TN_FAIL(STOPPED, "the reader of standard output has gone")
                       : tn_fail_errno("standard output", "write");
}

tn_status tn_cmd_print(const char *fmt, ...) {
    tn_buf text = {0};
    va_list args;
    va_start(args, fmt);
    tn_status status = tn_buf_vprintf(&text, fmt, args);
    va_end(args);
    if (!status) status = tn_cmd_write(text.data, text.len);
    tn_buf_release(&text);
    return status;
}

struct json_t *tn_cmd_json_text(const char *text, size_t len) {
    tn_buf repaired = {0};
    bool fits = tn_utf8_repair(text, len, &repaired) == TN_OK;
    json_t *value = fits ? json_stringn(tn_buf_text(&repaired), repaired.len) : NULL;
    tn_buf_release(&repaired);
    return value;
}

struct json_t *tn_cmd_json_path(const char *path) {
    return tn_cmd_json_text(path, strlen(path));
}

static tn_status put_json(const struct json_t *object, tn_buf *out) {
    size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9);
    size_t len = object ? json_dumpb(object, NULL, 0, flags) : 0;
    if (!len) return TN_FAIL(TEXT, "the summary cannot be written as JSON");
    TN_TRY(tn_buf_reserve(out, len + 1));
    out->len = json_dumpb(object, out->data, len, flags);
    return tn_buf_putc(out, '\n');
}

tn_status tn_cmd_print_json(struct json_t *object) {
    tn_buf out = {0};
    tn_status status = put_json(object, &out);
    if (!status) status = tn_cmd_write(out.data, out.len);
    tn_buf_release(&out);
    json_decref(object);
    return status;
}

static int print_commands(const tn_command_set *set) {
    tn_buf out = {0};
    tn_status status = tn_buf_printf(&out, "Usage: %s COMMAND ...\n\n%s\n\n", set->path, set->about);
    for (int i = 0; !status && i < set->count; i++)
        status = tn_buf_printf(&out, "  %-12s %s\n", set->list[i].name, set->list[i].summary);
    if (!status) status = tn_buf_printf(&out, "\nHelp on one of them: %s COMMAND --help\n", set->path);
    if (!status) status = tn_cmd_write(out.data, out.len);
    tn_buf_release(&out);
    return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
}

static const char *peer_command(const char *theirs) {
    static const char *const names[][2] = {
#define PEER(their_name, ours) {their_name, ours},
#include "cmd/peer_commands.def"
#undef PEER
    };
    for (size_t i = 0; i < TN_COUNT(names); i++)
        if (strcmp(names[i][0], theirs) == 0) return names[i][1];
    return NULL;
}

static int fail_unknown(const tn_command_set *set, const char *name) {
    const char *ours = peer_command(name);
    if (ours) return tn_cmd_usage_error("unknown command \"%.60s\": Tern calls it tern %s", name, ours);
    const char *names[MAX_COMMANDS];
    TN_ASSERT(set->count <= MAX_COMMANDS);
    for (int i = 0; i < set->count; i++) names[i] = set->list[i].name;
    const char *near = tn_nearest_name(name, names, set->count);
    if (near) return tn_cmd_usage_error("unknown command \"%.60s\"; did you mean %s?", name, near);
    return tn_cmd_usage_error("unknown command \"%.60s\"", name);
}

int tn_cmd_dispatch(const tn_command_set *set, int argc, char **argv) {
    const char *space = strchr(set->path, ' ');
    tn_cmd_set_name(space ? space + 1 : "");
    if (argc < 2) return tn_cmd_usage_error("which command? expected one more word");
    const char *name = argv[1];
    bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (help) return print_commands(set);
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->list[i].name, name) == 0) return set->list[i].run(argc - 1, argv + 1);
    return fail_unknown(set, name);
}
