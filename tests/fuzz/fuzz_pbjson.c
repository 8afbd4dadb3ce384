/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses a request or an answer of the CRI, the second whether the rest is its JSON
 * or its wire form. Whatever is accepted must be written, read again and written the same. */
#include "auto.h"
#include "cri_method.h"
#include "pbjson.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ProtobufCMessage *take(const ProtobufCMessageDescriptor *d, bool wire, const uint8_t *data,
			      size_t size)
{
	struct err e = {.kind = ERR_OK};
	if (wire)
		return protobuf_c_message_unpack(d, NULL, size, data);
	ProtobufCMessage *m = pbjson_parse(d, (const char *)data, size, "fuzz", &e);
	if (!m && (e.kind != ERR_BAD_INPUT || strncmp(e.msg, "fuzz:", 5) != 0))
		abort();
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	struct cri_method method;
	if (size < 2 || !cri_method_at(data[0] % 43, &method))
		return 0;
	const ProtobufCMessageDescriptor *d = data[0] < 128 ? method.input : method.output;
	bool wire = data[1] & 1;
	AUTO_PB ProtobufCMessage *m = take(d, wire, data + 2, size - 2);
	if (!m)
		return 0;
	AUTO_FREE char *text = pbjson_dump(m, 0, NULL, &e);
	if (!text && wire && e.kind == ERR_BAD_INPUT)
		return 0; /* a string that is not UTF-8 */
	if (!text)
		abort();
	AUTO_PB ProtobufCMessage *again = pbjson_parse(d, text, strlen(text), "again", &e);
	AUTO_FREE char *same = again ? pbjson_dump(again, 0, NULL, &e) : NULL;
	AUTO_FREE char *all = pbjson_dump(m, PBJSON_ALL, NULL, &e);
	AUTO_PB ProtobufCMessage *filled =
		all ? pbjson_parse(d, all, strlen(all), "all", &e) : NULL;
	AUTO_FREE char *third = filled ? pbjson_dump(filled, 0, NULL, &e) : NULL;
	if (!same || strcmp(text, same) != 0 || !third || strcmp(text, third) != 0)
		abort();
	return 0;
}
