/* SPDX-License-Identifier: MIT
 * options.h - a command line as a table: each row gives the flag, its type, range, default, environment variable, help.
 *
 * A flag is spelled --name V, --name=V, -name V, -name=V, -k V, or -k4 (a number glued to its letter); _ serves for -
 * in a name. Names are taken whole: "--mod" is not --model. "--" ends the flags, "-" is an argument (stdin). Flags and
 * arguments may be mixed. Sources of a value: the target's content before the call < TERN_<NAME> in the environment <
 * the flag. Written by hand because glibc's argp takes prefixes for names, reads "-nope" as "-n ope", and leaves no way
 * to name the flag that was meant. */
#ifndef TN_CMD_OPTIONS_H
#define TN_CMD_OPTIONS_H
#include "cmd/cmd.h"
#include "core/config.h"

typedef enum tn_option_type {
    TN_OPT_END,     /* after the last row */
    TN_OPT_ON,      /* bool, no value: sets it. In the environment: true on yes 1 / false off no 0 */
    TN_OPT_OFF,     /* bool, no value: clears it */
    TN_OPT_INT,     /* int; min..max */
    TN_OPT_COUNT,   /* int64_t; min..max; "4k" */
    TN_OPT_REAL,    /* double; min..max */
    TN_OPT_SIZE,    /* int64_t bytes; "2GiB" */
    TN_OPT_SECONDS, /* double; "90", "2h" */
    TN_OPT_CHOICE,  /* int; position in `choices` */
    TN_OPT_TEXT,    /* const char *, borrowed from argv or the environment; "" is refused */
    TN_OPT_ANY,     /* the same, and "" is a text: prompts */
    TN_OPT_LIST,    /* tn_option_list; the flag may be repeated; "" is refused. No environment variable */
    TN_OPT_IGNORED, /* accepted so that other tools' scripts work, without effect; takes a value when `arg` is given */
    TN_OPT_REFUSED  /* a flag of other tools that Tern does not have; `help` says why, or what to do */
} tn_option_type;

typedef struct tn_option {
    const char *names; /* without dashes, the main one first: "predict|n-predict"; TERN_PREDICT in the environment */
    char letter;       /* 'n', or 0 */
    tn_option_type type;
    void *target;
    const char *arg;     /* how help calls the value, "N"; NULL for ON and OFF */
    const char *help;    /* one line; the default is added by itself */
    double min, max;     /* INT, COUNT, REAL; 0, 0 = any */
    const char *choices; /* CHOICE: "bpe|char", else NULL */
} tn_option;

#define TN_OPTIONS_END                                                                                                 \
    { NULL, 0, TN_OPT_END, NULL, NULL, NULL, 0, 0, NULL }

enum { TN_OPTION_VALUES = 256 };

typedef struct tn_option_list {
    const char *items[TN_OPTION_VALUES];
    int count;
} tn_option_list;

typedef struct tn_usage {
    const char *command;            /* "data prepare" */
    const char *synopsis;           /* "INPUT... -o OUT.h5" */
    const char *about;              /* a sentence or two */
    tn_status (*more)(tn_buf *out); /* appends what --help says after the flags; or NULL */
    const tn_option *options;
    int min_arguments, max_arguments; /* besides flags; max -1 = any number */
    const tn_option *shared[3];       /* more tables, of several commands; NULL = none */
} tn_usage;

/* Rows of more than one command. */
#define TN_OPTION_JSON(flag)                                                                                           \
    { "json", 0, TN_OPT_ON, flag, NULL, "print one JSON object on one line, last on stdout", 0, 0, NULL }
#define TN_OPTION_THREADS(number)                                                                                      \
    { "threads", 't', TN_OPT_INT, number, "N", "worker threads, 0 = all cores", 0, 256, NULL }

/* Both set one type: keys and values lie in one tile. 0 = auto, else a tn_kv_type plus 1; tn_run_preset_cache joins
 * them. */
#define TN_OPTION_CACHE_TYPES(key_type, value_type)                                                                    \
    {"cache-type-k|ctk",                                                                                               \
     0,                                                                                                                \
     TN_OPT_CHOICE,                                                                                                    \
     key_type,                                                                                                         \
     "TYPE",                                                                                                           \
     "keys of a session; auto: as --preset says, else f16",                                                            \
     0,                                                                                                                \
     0,                                                                                                                \
     "auto|f32|f16|q8_0"},                                                                                             \
    {                                                                                                                  \
        "cache-type-v|ctv", 0, TN_OPT_CHOICE, value_type, "TYPE", "values, in the type of the keys", 0, 0,             \
            "auto|f32|f16|q8_0"                                                                                        \
    }

/* The number of a row of run_presets.def. */
#define TN_OPTION_PRESET(number)                                                                                       \
    {                                                                                                                  \
        "preset", 0, TN_OPT_CHOICE, number, "NAME", "settings for a kind of machine, as listed below", 0, 0,           \
            tn_run_preset_names                                                                                        \
    }

enum { TN_OPTIONS_GO = -1 };

/* Fill the targets and open the console (--log-file, --log-jsonl, -lv, -v, --log-disable are part of every command).
 * Arguments that are no flags move to argv[1] and on; *argc becomes their number plus one. Returns TN_OPTIONS_GO, or
 * the exit status when all is said (--help, or a wrong command line). */
int tn_options_parse(const tn_usage *usage, int *argc, char **argv);

#endif
