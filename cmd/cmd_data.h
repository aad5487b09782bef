/* SPDX-License-Identifier: MIT
 * cmd_data.h - the commands of `tern data` that have a file of their own. */
#ifndef TN_CMD_CMD_DATA_H
#define TN_CMD_CMD_DATA_H
#include "cmd/cmd.h"

tn_command_run tn_cmd_data_inspect;

#endif
