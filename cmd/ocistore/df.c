/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ocistore.h"
int store_df(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)c;
	(void)argc;
	(void)argv;
	return err_set(e, ERR_UNSUPPORTED, "not yet");
}
