/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TOOL_FORMAT_H
#define CRISP_TOOL_FORMAT_H
/* The rows of a listing as a script wants them: --format TEXT.
 *
 * {a.b} in the text is the member at that path in what --json prints for the row; a number is an
 * index into a list. Strings stand as they are but for control characters, which become '?'; a list
 * is its members with blanks between them, an object compact JSON, and what is not there nothing.
 * \n, \t and \\ are what they are in C, {{ is a brace. A newline ends each row. */
#include "err.h"

#include <jansson.h>

#define TOOL_FORMAT_OPT(variable) \
	{ \
		"format", 0, OPT_STRING, variable, "TEXT", \
			"print each row as TEXT, with {a.b} for members of its JSON" \
	}

/* Is it one? Before the first row is printed. NULL is. */
int tool_format_check(const char *format, struct err *e);
/* To standard output. */
void tool_format_print(const char *format, const json_t *row);
#endif
