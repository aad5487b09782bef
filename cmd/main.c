/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"
#include "cmd/console.h"
#include "core/arena.h"
#include "core/fs.h"
#include "core/par.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const tn_command commands[] = {
#define COMMAND(name, summary)             {#name, summary, tn_cmd_##name},
#define COMMAND_AS(name, spelled, summary) {spelled, summary, tn_cmd_##name},
#include "cmd/commands.def"
#undef COMMAND
};

static const tn_command_set tern = {
    .path = "tern",
    .about = "Train, export and run ternary (BitNet b1.58) language models on CPUs. --version tells about this build.",
    .list = commands,
    .count = TN_COUNT(commands),
};

/* No half-written file stays behind; then the signal does what it would have done. */
static void on_end(int number) {
    tn_atomic_abort_all();
    raise(number); /* blocked while this runs, and SA_RESETHAND has put the default back */
}

/* What a mapped file gives where its end has gone: another program has written over a model that is in use. */
static void on_lost_page(int number) {
    static const char sentence[] = "tern: a file that is being read was cut short by another program\n";
    (void)number;
    tn_atomic_abort_all();
    (void)!write(STDERR_FILENO, sentence, sizeof sentence - 1);
    _exit(TN_EXIT_FAILED);
}

static void catch_ends(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND}, old;
    for (size_t i = 0; i < TN_COUNT(numbers); i++) /* nohup and a shell's & have them ignored: so they stay */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL);
}

/* Where stdin is closed, no file that is opened later shall pass for it: an empty one does. */
static void fill_stdin(void) {
    if (fcntl(STDIN_FILENO, F_GETFD) < 0) (void)!open("/dev/null", O_RDONLY);
}

int main(int argc, char **argv) {
    fill_stdin();
    signal(SIGPIPE, SIG_IGN); /* a write then fails with EPIPE, which tn_cmd_write knows */
    signal(SIGXFSZ, SIG_IGN); /* likewise with EFBIG, above the limit of ulimit -f */
    catch_ends();
    signal(SIGBUS, on_lost_page);
    tn_heap_return_large();
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        tn_status status = tn_cmd_print_version();
        return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
    }
    int status = tn_cmd_dispatch(&tern, argc, argv);
    tn_par_stop();
    tn_console_close();
    return status;
}
