/* SPDX-License-Identifier: MIT
 * cmd.h - what the commands of `tern` share: the table of commands, exit statuses, and the only words that are printed.
 * stdout carries the product alone; everything else goes to stderr.
 * How to add a command: a row in commands.def, and cmd/cmd_<name>.c with a table of options (options.h). */
#ifndef TN_CMD_CMD_H
#define TN_CMD_CMD_H
#include "core/buf.h"
#include "core/status.h"

enum { TN_EXIT_DONE = 0, TN_EXIT_FAILED = 1, TN_EXIT_USAGE = 2, TN_EXIT_SIGNAL = 128 /* plus the signal's number */ };

/* argv[0] is the command's own name. Returns the exit status. */
typedef int tn_command_run(int argc, char **argv);

struct json_t;

typedef struct tn_command {
    const char *name, *summary;
    tn_command_run *run;
} tn_command;

typedef struct tn_command_set {
    const char *path; /* "tern", "tern data" */
    const char *about;
    const tn_command *list;
    int count;
} tn_command_set;

#define COMMAND(name, summary) tn_command_run tn_cmd_##name;
#include "cmd/commands.def"
#undef COMMAND

/* Run the command that argv[1] names; answers --help and unknown names itself. */
int tn_cmd_dispatch(const tn_command_set *set, int argc, char **argv);

/* Print "tern <command>: <message of the last failure>" on stderr; gives TN_EXIT_FAILED. Silent, and 128 + SIGPIPE,
 * when the reader of stdout has gone. */
int tn_cmd_fail(tn_status status);
/* Print the sentence and where help is; gives TN_EXIT_USAGE. */
int tn_cmd_usage_error(const char *fmt, ...) TN_PRINTF(1, 2);
/* The command named in these messages: "data prepare". Borrowed. Set by tn_options_parse. */
void tn_cmd_set_name(const char *command);

/* Write to stdout and flush. Fails: TN_E_STOPPED when the reader has gone, TN_E_IO. */
tn_status tn_cmd_write(const void *data, size_t len);
tn_status tn_cmd_print(const char *fmt, ...) TN_PRINTF(1, 2);

/* Print `object` as one line of JSON and drop the reference to it. NULL (jansson's answer to a text that is not valid
 * UTF-8, and to lack of memory) is TN_E_TEXT. */
tn_status tn_cmd_print_json(struct json_t *object);

/* A JSON text of any bytes: those that are not UTF-8 become U+FFFD. NULL when memory is short. For "o" of json_pack. */
struct json_t *tn_cmd_json_text(const char *text, size_t len);
struct json_t *tn_cmd_json_path(const char *path);

/* Make ready to compute: kernels for this CPU, `threads` workers (0 = all cores). */
tn_status tn_cmd_start_compute(int threads);
/* One line when OpenBLAS is slower than this machine allows. For commands that train: forward passes use no BLAS. */
void tn_cmd_warn_of_slow_blas(void);

tn_status tn_cmd_print_version(void);
const char *tn_cmd_commit(void); /* that this was built from, short */

#endif
