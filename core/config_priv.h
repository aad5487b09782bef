/* SPDX-License-Identifier: MIT
 * config_priv.h - what the files of the configuration share: config.c (lookup, storing), config_yaml.c (reading),
 * config_dump.c (printing). `where` is the source in messages: "configs/x.yaml:12:3" or "--set train.max_steps=0". */
#ifndef TN_CORE_CONFIG_PRIV_H
#define TN_CORE_CONFIG_PRIV_H
#include "core/config.h"

enum { TN_CONFIG_WHERE = 320, TN_CONFIG_NAME = 128 };

/* Positions in sections and keys, or -1. */
int tn_config_find_section(const tn_config *config, const char *name);
int tn_config_find_key(const tn_section *section, const char *name);

/* Check `text` against the key's schema and put it into the section's struct. For LIST: a list of one. */
tn_status tn_config_store(const tn_config *config, const tn_section *section, const tn_key *key, const char *where,
                          const char *text);
tn_status tn_config_store_list(const tn_config *config, const tn_section *section, const tn_key *key, const char *where,
                               const char *const *items, int count);
/* TN_E_CONFIG with the nearest name, or Tern's name when it is a peer's. `section` is "" at the top. */
tn_status tn_config_fail_unknown(const tn_config *config, const char *where, const char *section, const char *key);
/* "[a, b]" of an override. */
tn_status tn_config_store_flow_list(const tn_config *config, const tn_section *section, const tn_key *key,
                                    const char *where, const char *text);

/* Remember that the key has been named. */
void tn_config_mark_given(const tn_section *section, const tn_key *key);

/* "train.max_steps"; the key alone at the top. */
void tn_config_full_name(char out[TN_CONFIG_NAME], const char *section, const char *key);
/* The field of the section's struct. */
void *tn_config_field(const tn_section *section, const tn_key *key);

#endif
