/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *tn_fuzz_file(const uint8_t *data, size_t size) {
    static char path[64];
    static int fd = -1;
    if (fd < 0) fd = memfd_create("fuzz", MFD_CLOEXEC);
    TN_ASSERT(fd >= 0 && ftruncate(fd, 0) == 0);
    TN_ASSERT(pwrite(fd, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

/* ---- tokenizers ---- */

static const char sample[] =
    "Hello  world's 12345 caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD\t\n\n \xF0\x9F\x98\x80 <s>[INST] <|eot_id|> "
    "a\xCC\x81 \xE2\x96\x81 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static void decode_all(const tn_tokenizer *tokenizer) {
    tn_buf text = {0};
    int size = TN_MIN(tn_tokenizer_size(tokenizer), 1000);
    for (int id = 0; id < size; id++) {
        if (tn_tokenizer_decode(tokenizer, id, true, &text)) break;
        tn_tokenizer_is_stop(tokenizer, id);
    }
    tn_buf_release(&text);
}

/* Whether encoding keeps the text as it is. */
static bool keeps_text(const tn_vocabulary *v) {
    bool bytes = v->kind != TN_TOKENIZER_SPM; /* with a token of its own for U+2581, else it is a space */
    int n = 0;
    for (int id = 0; id < v->n_tokens; id++) n += v->types[id] == TN_TOKEN_BYTE;
    bool bare = v->prefix == TN_PREFIX_BARE_PARTS || v->prefix == TN_PREFIX_BARE_START;
    return (bytes || n == 256) && !bare && !v->nfc && !v->collapse_spaces;
}

static void round_trip(const tn_tokenizer *tokenizer, const char *text, size_t len) {
    tn_ids ids = {0};
    tn_buf back = {0};
    tn_status status = tn_tokenizer_encode(tokenizer, text, len, true, &ids);
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    bool unknown = false;
    for (size_t i = 0; i < ids.count; i++) unknown |= ids.list[i] == v->unk;
    if (!status) status = tn_tokenizer_decode_all(tokenizer, ids.list, ids.count, true, &back);
    if (!status && !unknown && keeps_text(v)) TN_ASSERT(back.len == len && memcmp(back.data, text, len) == 0);
    tn_buf_release(&back);
    tn_ids_release(&ids);
}

void tn_fuzz_tokenizer(const tn_tokenizer *tokenizer) {
    char hash[17];
    tn_tokenizer_hash(tokenizer, hash);
    decode_all(tokenizer);
    round_trip(tokenizer, sample, sizeof sample - 1);
    round_trip(tokenizer, "\xFF\x80 a\xE4\xBD", 6);
}

void tn_fuzz_tokenizer_json(const tn_tokenizer *tokenizer) {
    tn_buf text = {0};
    tn_tokenizer *back = NULL;
    char hash[17], hash_back[17];
    TN_ASSERT(!tn_tokenizer_to_json(tokenizer, &text));
    tn_status status = tn_tokenizer_from_json(&back, "written", tn_buf_text(&text), text.len);
    if (status) fprintf(stderr, "%s\n", tn_error_message());
    TN_ASSERT(!status);
    tn_tokenizer_hash(tokenizer, hash);
    tn_tokenizer_hash(back, hash_back);
    TN_ASSERT(strcmp(hash, hash_back) == 0);
    tn_tokenizer_free(back);
    tn_buf_release(&text);
}

tn_tokenizer *tn_fuzz_bytes(void) {
    static const char *const pieces[] = {"ab", "\xE6\x97\xA5", "\": \"", "}}", "\\u00", "  "};
    enum { N = 256 + (int)TN_COUNT(pieces) + 1 };
    char bytes[256];
    const char *texts[N];
    uint32_t lens[N];
    int32_t types[N];
    for (int id = 0; id < N - 1; id++) {
        if (id < 256) bytes[id] = (char)id;
        texts[id] = id < 256 ? &bytes[id] : pieces[id - 256];
        lens[id] = id < 256 ? 1 : (uint32_t)strlen(texts[id]);
        types[id] = id < 256 ? TN_TOKEN_BYTE : TN_TOKEN_NORMAL;
    }
    texts[N - 1] = "</s>";
    lens[N - 1] = 4;
    types[N - 1] = TN_TOKEN_CONTROL;
    tn_vocabulary v = {.kind = TN_TOKENIZER_SPM,
                       .n_tokens = N,
                       .texts = texts,
                       .lens = lens,
                       .types = types,
                       .bos = -1,
                       .eos = N - 1,
                       .eot = -1,
                       .unk = -1,
                       .pad = -1,
                       .chat_template = ""};
    tn_tokenizer *tokenizer = NULL;
    TN_ASSERT(!tn_tokenizer_from_vocabulary(&tokenizer, &v));
    return tokenizer;
}
