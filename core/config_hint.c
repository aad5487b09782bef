/* SPDX-License-Identifier: MIT
 * config_hint.c - what to say to a person who wrote a key that does not exist. */
#include "core/config_priv.h"

#include <stdio.h>
#include <string.h>

typedef struct nearest {
    int limit; /* the edit distance a better name must not exceed */
    char name[TN_CONFIG_NAME];
} nearest;

static const char *peer_name(const char *theirs) {
    static const char *const names[][2] = {
#define PEER(their_name, tern_name) {their_name, tern_name},
#include "core/peer_names.def"
#undef PEER
    };
    for (size_t i = 0; i < TN_COUNT(names); i++)
        if (strcmp(names[i][0], theirs) == 0) return names[i][1];
    return NULL;
}

static bool has_setting(const tn_config *config, const char *full) {
    if (full[0] == '-') return true; /* a flag of the command line */
    char name[TN_CONFIG_NAME];
    for (int s = 0; s < config->n_sections; s++) {
        const tn_section *section = &config->sections[s];
        for (int k = 0; k < section->n_keys; k++) {
            tn_config_full_name(name, section->name, section->keys[k].name);
            if (strcmp(name, full) == 0) return true;
        }
    }
    return false;
}

/* Tern's name for a peer's dotted key or for its last part: "" when Tern has no such setting, NULL when it is no peer's
 * name. */
static const char *name_for_peers(const char *full) {
    const char *last = strrchr(full, '.');
    const char *ours = peer_name(full);
    return ours ? ours : peer_name(last ? last + 1 : full);
}

static void consider(nearest *best, int distance, const char *section, const char *key) {
    if (distance > best->limit) return;
    best->limit = distance - 1;
    tn_config_full_name(best->name, section, key);
}

/* Keys of the same section, and all keys when none is given, are compared by the key alone, so that the section's
 * name does not count as agreement; keys of other sections must agree as a whole, or in the key exactly. */
static bool find_nearest(const tn_config *config, const char *section, const char *key, nearest *best) {
    char full[TN_CONFIG_NAME], other[TN_CONFIG_NAME];
    tn_config_full_name(full, section, key);
    best->name[0] = '\0';
    best->limit = TN_MAX((int)strlen(key) / 3, 1);
    for (int s = 0; s < config->n_sections; s++) {
        const tn_section *at = &config->sections[s];
        bool by_key = !*section || strcmp(section, at->name) == 0;
        if (!*section && *at->name) consider(best, tn_edit_distance(key, at->name), "", at->name);
        for (int k = 0; k < at->n_keys; k++) {
            const char *name = at->keys[k].name;
            tn_config_full_name(other, at->name, name);
            bool exact = strcmp(name, key) == 0;
            int distance = exact ? 0 : by_key ? tn_edit_distance(key, name) : tn_edit_distance(full, other);
            consider(best, distance, at->name, name);
        }
    }
    return best->name[0] != '\0';
}

tn_status tn_config_fail_unknown(const tn_config *config, const char *where, const char *section, const char *key) {
    char full[TN_CONFIG_NAME];
    tn_config_full_name(full, section, key);
    if (!*section && tn_config_find_section(config, key) >= 0)
        return TN_FAIL(CONFIG, "%s: \"%s\" is a section, expected one of its keys, %s.key", where, full, full);
    nearest best;
    bool found = find_nearest(config, section, key, &best);
    const char *ours = name_for_peers(full);
    if (ours && !(found && best.limit < 0)) {
        if (!*ours)
            return TN_FAIL(CONFIG, "%s: unknown key \"%s\": other trainers have it, this version of Tern does not",
                           where, full);
        return TN_FAIL(CONFIG, "%s: unknown key \"%s\": Tern calls it %s%s", where, full, ours,
                       has_setting(config, ours) ? "" : ", which is no setting here");
    }
    if (found) return TN_FAIL(CONFIG, "%s: unknown key \"%s\"; did you mean %s?", where, full, best.name);
    return TN_FAIL(CONFIG, "%s: unknown key \"%s\"", where, full);
}
