/* SPDX-License-Identifier: MIT */
#include "cmd/tokenizer_source.h"
#include "core/fs.h"
#include "data/tokenizer_file.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 30 };

/* ---- tern tokenizer train ---- */

typedef struct train_settings {
    const char *output;
    tn_tokenizer_flags tokenizer;
    bool json;
} train_settings;

static tn_status save(const tn_tokenizer *tokenizer, const char *path) {
    tn_buf text = {0};
    tn_status status = tn_tokenizer_to_json(tokenizer, &text);
    if (!status) status = tn_file_write(path, text.data, text.len);
    tn_buf_release(&text);
    return status;
}

static tn_status print_tokenizer(const train_settings *s, const tn_tokenizer *tokenizer) {
    char hash[17];
    tn_tokenizer_hash(tokenizer, hash);
    int size = tn_tokenizer_size(tokenizer);
    if (s->json)
        return tn_cmd_print_json(
            json_pack("{s:o, s:i, s:s}", "path", tn_cmd_json_path(s->output), "vocab_size", size, "hash", hash));
    return tn_cmd_print("%s: vocabulary %d, hash %s\n", s->output, size, hash);
}

static tn_status train(const train_settings *s, const char *const *paths, int n_paths) {
    tn_tokenizer *tokenizer;
    TN_TRY(tn_tokenizer_flags_guard(&s->tokenizer, s->output, paths, n_paths));
    TN_TRY(tn_tokenizer_from_flags(&tokenizer, &s->tokenizer, NULL, paths, n_paths, NULL));
    tn_status status = save(tokenizer, s->output);
    if (!status) status = print_tokenizer(s, tokenizer);
    tn_tokenizer_free(tokenizer);
    return status;
}

static int run_train(int argc, char **argv) {
    train_settings s = {.tokenizer = TN_TOKENIZER_FLAGS_DEFAULT};
    const tn_option options[] = {
        {"output", 'o', TN_OPT_TEXT, &s.output, "FILE", "the tokenizer.json to write", 0, 0, NULL},
        TN_OPTIONS_TOKENIZER(&s.tokenizer),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "tokenizer train",
        .synopsis = "INPUT... -o FILE",
        .about = "Learn a vocabulary from texts (.txt, .jsonl, either gzipped, folders of these).",
        .options = options,
        .min_arguments = 1,
        .max_arguments = -1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!s.output) return tn_cmd_usage_error("-o is missing: the tokenizer.json to write");
    tn_status done = train(&s, (const char *const *)argv + 1, argc - 1);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}

/* ---- tern tokenizer encode, decode ---- */

typedef struct code_settings {
    const char *prompt, *file;
    bool specials, json;
} code_settings;

static tn_status read_input(const code_settings *s, tn_buf *out) {
    if (s->prompt) return tn_buf_puts(out, s->prompt);
    bool from_stdin = !s->file || strcmp(s->file, "-") == 0;
    return tn_file_read(from_stdin ? "/dev/stdin" : s->file, MAX_TEXT, out);
}

static tn_status print_ids(const tn_ids *ids) {
    tn_buf out = {0};
    tn_status status = TN_OK;
    for (size_t i = 0; !status && i < ids->count; i++)
        status = tn_buf_printf(&out, "%s%d", i ? " " : "", (int)ids->list[i]);
    if (!status) status = tn_buf_putc(&out, '\n');
    if (!status) status = tn_cmd_write(out.data, out.len);
    tn_buf_release(&out);
    return status;
}

static tn_status print_ids_json(const tn_ids *ids) {
    json_t *list = json_array();
    for (size_t i = 0; i < ids->count; i++) json_array_append_new(list, json_integer(ids->list[i]));
    return tn_cmd_print_json(json_pack("{s:I, s:o}", "count", (json_int_t)ids->count, "ids", list));
}

static tn_status encode(const code_settings *s, const tn_tokenizer *tokenizer) {
    tn_buf text = {0};
    tn_ids ids = {0};
    tn_status status = read_input(s, &text);
    if (!status) status = tn_tokenizer_encode(tokenizer, tn_buf_text(&text), text.len, s->specials, &ids);
    if (!status) status = s->json ? print_ids_json(&ids) : print_ids(&ids);
    tn_ids_release(&ids);
    tn_buf_release(&text);
    return status;
}

/* Numbers with anything between them that is no part of a number: "1 2", "[1, 2]". */
static tn_status parse_ids(const char *text, tn_ids *ids) {
    static const char *const between = " \t\r\n,[]";
    for (;;) {
        text += strspn(text, between);
        if (!*text) return TN_OK;
        char word[16];
        size_t len = strcspn(text, between);
        if (len >= sizeof word) return TN_FAIL(RANGE, "token id: \"%.40s\" is not a whole number", text);
        memcpy(word, text, len);
        word[len] = '\0';
        int id;
        TN_TRY(tn_parse_int("token id", word, 0, INT_MAX, &id));
        TN_TRY(tn_ids_append(ids, id));
        text += len;
    }
}

static tn_status decode(const code_settings *s, const tn_tokenizer *tokenizer) {
    tn_buf input = {0}, text = {0};
    tn_ids ids = {0};
    tn_status status = read_input(s, &input);
    if (!status) status = parse_ids(tn_buf_text(&input), &ids);
    if (!status) status = tn_tokenizer_decode_all(tokenizer, ids.list, ids.count, s->specials, &text);
    if (!status && text.len) status = tn_cmd_write(text.data, text.len);
    tn_ids_release(&ids);
    tn_buf_release(&input);
    tn_buf_release(&text);
    return status;
}

typedef tn_status code_action(const code_settings *s, const tn_tokenizer *tokenizer);

static int run_code(const tn_usage *usage, const code_settings *s, code_action *action, int argc, char **argv) {
    int status = tn_options_parse(usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (s->prompt && s->file) return tn_cmd_usage_error("-p and -f cannot both be given");
    tn_tokenizer *tokenizer;
    tn_status done = tn_tokenizer_load(&tokenizer, argv[1]);
    if (done) return tn_cmd_fail(done);
    done = action(s, tokenizer);
    tn_tokenizer_free(tokenizer);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}

static int run_encode(int argc, char **argv) {
    code_settings s = {0};
    const tn_option options[] = {
        {"prompt", 'p', TN_OPT_ANY, &s.prompt, "TEXT", "the text", 0, 0, NULL},
        {"file", 'f', TN_OPT_TEXT, &s.file, "FILE", "the text is in FILE; without -p and -f it comes from stdin", 0, 0,
         NULL},
        {"specials", 0, TN_OPT_ON, &s.specials, NULL, "read texts of special tokens as those tokens", 0, 0, NULL},
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "tokenizer encode",
        .synopsis = "TOKENIZER [-p TEXT | -f FILE]",
        .about =
            "Print the token ids of a text. TOKENIZER is a tokenizer.json, a SentencePiece or tiktoken file, a token "
            "store, a checkpoint, a GGUF file, or a folder with one of the first three or the last.",
        .options = options,
        .min_arguments = 1,
        .max_arguments = 1,
    };
    return run_code(&usage, &s, encode, argc, argv);
}

static int run_decode(int argc, char **argv) {
    code_settings s = {0};
    const tn_option options[] = {
        {"ids", 'p', TN_OPT_ANY, &s.prompt, "IDS", "the ids, \"1 2 3\"", 0, 0, NULL},
        {"file", 'f', TN_OPT_TEXT, &s.file, "FILE", "the ids are in FILE; without -p and -f they come from stdin", 0, 0,
         NULL},
        {"specials", 0, TN_OPT_ON, &s.specials, NULL, "print special tokens too", 0, 0, NULL},
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "tokenizer decode",
        .synopsis = "TOKENIZER [-p IDS | -f FILE]",
        .about = "Print the text of token ids, byte for byte: what encode was given.",
        .options = options,
        .min_arguments = 1,
        .max_arguments = 1,
    };
    return run_code(&usage, &s, decode, argc, argv);
}

int tn_cmd_tokenizer(int argc, char **argv) {
    static const tn_command list[] = {
        {"train", "learn a vocabulary from texts", run_train},
        {"encode", "text to token ids", run_encode},
        {"decode", "token ids to text", run_decode},
    };
    const tn_command_set set = {"tern tokenizer", "Tokenizers.", list, TN_COUNT(list)};
    return tn_cmd_dispatch(&set, argc, argv);
}
