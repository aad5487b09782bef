/* SPDX-License-Identifier: MIT
 * options_priv.h - what reading a command line (options.c) shares with its help (options_help.c). */
#ifndef TN_CMD_OPTIONS_PRIV_H
#define TN_CMD_OPTIONS_PRIV_H
#include "cmd/options.h"

enum { TN_OPTION_NAME = 64 };

/* The i-th row of the command's own table, of those it shares, and of the flags every command has; NULL at the end. */
const tn_option *tn_usage_row(const tn_usage *usage, int i);

bool tn_option_takes_value(const tn_option *option);
/* Name number `position` of a flag, from 0; false when there are no more. */
bool tn_option_get_name(const tn_option *option, int position, char out[TN_OPTION_NAME]);
tn_status tn_options_print_help(const tn_usage *usage);

#endif
