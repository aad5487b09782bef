/* SPDX-License-Identifier: MIT */
#include "models/hf_names.h"

#include <stdio.h>
#include <string.h>

/* One world's spelling of a name: a prefix with the number of a block behind it, or the whole. */
typedef struct spelling {
    const char *block; /* before the number */
    const char *const *in_block, *const *outside;
} spelling;

static const char *const our_blocks[] = {
#define HF_BLOCK_NAME(ours, theirs) ours,
#include "models/hf_names.def"
};
static const char *const their_blocks[] = {
#define HF_BLOCK_NAME(ours, theirs) theirs,
#include "models/hf_names.def"
};
static const char *const our_names[] = {
#define HF_NAME(ours, theirs) ours,
#include "models/hf_names.def"
};
static const char *const their_names[] = {
#define HF_NAME(ours, theirs) theirs,
#include "models/hf_names.def"
};

static const spelling ours = {"blk.", our_blocks, our_names};
static const spelling theirs = {"model.layers.", their_blocks, their_names};

/* "12." of "12.attn_q.weight"; 0 when there is no number. */
static size_t number_length(const char *text) {
    const size_t digits = strspn(text, "0123456789");
    return digits && digits < 6 && text[digits] == '.' ? digits + 1 : 0;
}

static int find(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return (int)i;
    return -1;
}

static bool translate(const char *name, const spelling *from, const spelling *to, char out[TN_HF_NAME_SIZE]) {
    const size_t prefix = strlen(from->block);
    const size_t number = strncmp(name, from->block, prefix) == 0 ? number_length(name + prefix) : 0;
    int row;
    out[0] = '\0';
    if (number) {
        row = find(from->in_block, TN_COUNT(our_blocks), name + prefix + number);
        if (row < 0) return false;
        snprintf(out, TN_HF_NAME_SIZE, "%s%.*s%s", to->block, (int)number, name + prefix, to->in_block[row]);
        return true;
    }
    row = find(from->outside, TN_COUNT(our_names), name);
    if (row >= 0) snprintf(out, TN_HF_NAME_SIZE, "%s", to->outside[row]);
    return row >= 0;
}

bool tn_hf_name_of(const char *name, char out[TN_HF_NAME_SIZE]) { return translate(name, &ours, &theirs, out); }
bool tn_hf_name_to_ours(const char *name, char out[TN_HF_NAME_SIZE]) { return translate(name, &theirs, &ours, out); }
