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

static void round_trip(const tn_tokenizer *tokenizer, const char *text, size_t len) {
    tn_ids ids = {0};
    tn_buf back = {0};
    tn_status status = tn_tokenizer_encode(tokenizer, text, len, true, &ids);
    bool unknown = false;
    for (size_t i = 0; i < ids.count && !status; i++) {
        unknown |= ids.list[i] == tn_tokenizer_vocabulary(tokenizer)->unk;
        status = tn_tokenizer_decode(tokenizer, ids.list[i], true, &back);
        TN_ASSERT(!status || status == TN_E_NOMEM);
    }
    if (!status && !unknown) TN_ASSERT(back.len == len && memcmp(back.data, text, len) == 0);
    tn_buf_release(&back);
    tn_ids_release(&ids);
}

void tn_fuzz_tokenizer(const tn_tokenizer *tokenizer) {
    char hash[17];
    tn_tokenizer_hash(tokenizer, hash);
    decode_all(tokenizer);
    round_trip(tokenizer, sample, sizeof sample - 1);
}
