/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SCHEMA_H
#define CRISP_SCHEMA_H
/* What a Pod may have in it, object by object (schema_tables.c), and the walk over it (schema.c). A
 * value of the wrong type is an error, whatever the options; a key that no table has, and one that
 * crisp cannot honour, are problems unless they say nothing (null, false, "", [], {}). */

enum schema_kind {
	K_STRING,
	K_INT,
	K_BOOL,
	K_OBJECT,     /* of sub */
	K_LIST,       /* of objects of sub */
	K_STRINGS,    /* a list */
	K_MAP,        /* of strings */
	K_QUANTITIES, /* a map of numbers or texts */
	K_QUANTITY,
	K_PORT, /* a number or a name */
	K_ANY,  /* not looked at: nothing that is sent to a runtime depends on it */
};

struct schema_field {
	const char *name; /* NULL ends a table */
	enum schema_kind kind;
	const struct schema_field *sub;
	const char *cannot; /* why it is not honoured; NULL when it is */
};

extern const struct schema_field schema_meta[], schema_spec[];
#endif
