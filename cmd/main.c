/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"
#include "cmd/console.h"
#include "core/par.h"

#include <signal.h>
#include <string.h>

static const tn_command commands[] = {
#define COMMAND(name, summary) {#name, summary, tn_cmd_##name},
#include "cmd/commands.def"
#undef COMMAND
};

static const tn_command_set tern = {
    .path = "tern",
    .about = "Train, export and run ternary (BitNet b1.58) language models on CPUs. --version tells about this build.",
    .list = commands,
    .count = TN_COUNT(commands),
};

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a write then fails with EPIPE, which tn_cmd_write knows */
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        tn_status status = tn_cmd_print_version();
        return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
    }
    int status = tn_cmd_dispatch(&tern, argc, argv);
    tn_par_stop();
    tn_console_close();
    return status;
}
