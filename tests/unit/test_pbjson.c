/* SPDX-License-Identifier: Apache-2.0 */
/* pbjson: spellings, types, errors with paths, bytes that come back the same. */
#include "auto.h"
#include "base64.h"
#include "buf.h"
#include "cri.pb-c.h"
#include "cri_method.h"
#include "jsonx.h"
#include "pbjson.h"
#include "tap.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POD (&runtime__v1__pod_sandbox_config__descriptor)
#define CTR (&runtime__v1__container_config__descriptor)

static struct err err;

static ProtobufCMessage *parse(const ProtobufCMessageDescriptor *d, const char *text)
{
	return pbjson_parse(d, text, strlen(text), "in.json", &err);
}

/* Reading `in` and writing it gives `out` (NULL: the same as in). */
static void same(const ProtobufCMessageDescriptor *d, const char *in, const char *out)
{
	AUTO_PB ProtobufCMessage *m = parse(d, in);
	AUTO_FREE char *text = m ? pbjson_dump(m, 0, NULL, &err) : NULL;
	if (!ok(text && strcmp(text, out ? out : in) == 0, "%.60s", in))
		printf("# got %s\n", text ? text : err.msg);
}

static void refused(const ProtobufCMessageDescriptor *d, const char *in, const char *msg)
{
	AUTO_PB ProtobufCMessage *m = parse(d, in);
	if (!ok(!m && err.kind == ERR_BAD_INPUT && strcmp(err.msg, msg) == 0, "refused: %.60s", in))
		printf("# got %s\n", m ? "a message" : err.msg);
}

static void test_spellings(void)
{
	same(POD, "{}", NULL);
	same(POD, "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"attempt\":3},\"linux\":{}}", NULL);
	same(POD, "{\"logDirectory\":\"/l\",\"linux\":{\"cgroupParent\":\"/p\"}}",
	     "{\"log_directory\":\"/l\",\"linux\":{\"cgroup_parent\":\"/p\"}}");
	same(CTR, "{\"CDIDevices\":[{\"name\":\"v/c=d\"}]}",
	     "{\"CDI_devices\":[{\"name\":\"v/c=d\"}]}");
	same(CTR, "{\"cdi_devices\":[]}", "{}");
	same(CTR, "{\"mounts\":[{\"uid_mappings\":[{\"length\":1}]}]}",
	     "{\"mounts\":[{\"uidMappings\":[{\"length\":1}]}]}");
	same(CTR, "{\"Metadata\":{\"Name\":\"go\"}}", "{\"metadata\":{\"name\":\"go\"}}");
	same(POD, "{\"hostname\":null,\"labels\":null,\"linux\":null,\"port_mappings\":null}",
	     "{}");
	same(POD, "{\"hostname\":\"\",\"labels\":{},\"port_mappings\":[]}", "{}");
	same(POD, "{\"labels\":{\"b\":\"2\",\"a\":\"1\",\"B\":\"\"}}",
	     "{\"labels\":{\"B\":\"\",\"a\":\"1\",\"b\":\"2\"}}");
	same(POD, "{\"log_directory\":\"/l\",\"hostname\":\"h\"}",
	     "{\"hostname\":\"h\",\"log_directory\":\"/l\"}");
}

static void test_enums(void)
{
	same(CTR, "{\"stop_signal\":\"SIGTERM\"}", "{\"stop_signal\":\"SIGNAL_SIGTERM\"}");
	same(CTR, "{\"stop_signal\":\"SIGNAL_SIGTERM\"}", NULL);
	same(CTR, "{\"stop_signal\":23}", "{\"stop_signal\":\"SIGNAL_SIGTERM\"}");
	same(CTR, "{\"stop_signal\":\"RUNTIME_DEFAULT\"}", "{}");
	same(CTR, "{\"stop_signal\":4711}", NULL);
	refused(CTR, "{\"stop_signal\":4294967296}",
		"in.json: stop_signal: 4294967296 is out of range");
	refused(CTR, "{\"stop_signal\":true}",
		"in.json: stop_signal: expected name, found boolean");
	refused(CTR, "{\"stop_signal\":1.5}", "in.json: stop_signal: expected name, found real");
	refused(POD, "{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":\"Pod\"}}}}",
		"in.json: linux.security_context.namespace_options.pid: 'Pod' is not one of POD, "
		"CONTAINER, NODE, TARGET");
	refused(POD, "{\"port_mappings\":[{\"protocol\":\"SIGNAL_TCP\"}]}",
		"in.json: port_mappings[0].protocol: 'SIGNAL_TCP' is not one of TCP, UDP, SCTP");
	AUTO_PB ProtobufCMessage *m = parse(CTR, "{\"stop_signal\":\"SIGNOPE\"}");
	ok(!m && strstr(err.msg, "SIGNAL_SIGABRT") && strstr(err.msg, ", ..."),
	   "a long list is cut");
}

static void test_numbers(void)
{
	const ProtobufCMessageDescriptor *d = &runtime__v1__linux_container_resources__descriptor;
	same(d, "{\"cpu_period\":\"100000\",\"cpu_quota\":-1}",
	     "{\"cpu_period\":100000,\"cpu_quota\":-1}");
	same(d, "{\"memory_limit_in_bytes\":9007199254740992}", NULL);
	same(d, "{\"memory_limit_in_bytes\":9007199254740993}",
	     "{\"memory_limit_in_bytes\":\"9007199254740993\"}");
	same(d, "{\"memory_limit_in_bytes\":\"-9223372036854775808\"}", NULL);
	same(d, "{\"memory_limit_in_bytes\":1e9}", "{\"memory_limit_in_bytes\":1000000000}");
	same(d, "{\"hugepage_limits\":[{\"limit\":\"18446744073709551615\"}]}", NULL);
	same(d, "{\"hugepage_limits\":[{\"limit\":0,\"page_size\":\"2MB\"}]}",
	     "{\"hugepage_limits\":[{\"page_size\":\"2MB\"}]}");
	refused(d, "{\"hugepage_limits\":[{},{\"limit\":\"18446744073709551616\"}]}",
		"in.json: hugepage_limits[1].limit: 18446744073709551616 is out of range");
	refused(d, "{\"hugepage_limits\":[{\"limit\":-1}]}",
		"in.json: hugepage_limits[0].limit: -1 is out of range");
	refused(d, "{\"cpu_period\":\"9223372036854775808\"}",
		"in.json: cpu_period: 9223372036854775808 is out of range");
	static const char *const bad[] = {"\"\"",     "\"1 \"",  "\" 1\"", "\"+1\"",
					  "\"0x10\"", "\"010\"", "\"-\"",  "\"1e3\""};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char in[64];
		snprintf(in, sizeof in, "{\"cpu_period\":%s}", bad[i]);
		refused(d, in, "in.json: cpu_period: expected integer, found string");
	}
	refused(d, "{\"cpu_period\":1.5}", "in.json: cpu_period: expected integer, found real");
	refused(d, "{\"cpu_period\":1e300}", "in.json: cpu_period: expected integer, found real");
	refused(d, "{\"cpu_period\":{}}", "in.json: cpu_period: expected integer, found object");
	refused(POD, "{\"metadata\":{\"attempt\":4294967296}}",
		"in.json: metadata.attempt: 4294967296 is out of range");
	refused(POD, "{\"metadata\":{\"attempt\":\"-1\"}}",
		"in.json: metadata.attempt: -1 is out of range");
	refused(POD, "{\"port_mappings\":[{\"host_port\":2147483648}]}",
		"in.json: port_mappings[0].host_port: 2147483648 is out of range");
	d = &runtime__v1__psi_data__descriptor;
	same(d, "{\"Total\":1,\"Avg10\":0.5,\"Avg60\":\"NaN\",\"Avg300\":\"-Infinity\"}", NULL);
	same(d, "{\"total\":1,\"avg10\":2}", "{\"Total\":1,\"Avg10\":2.0}");
	refused(d, "{\"Avg10\":\"1\"}", "in.json: Avg10: expected number, found string");
}

static void test_bytes(void)
{
	same(CTR, "{\"envs\":[{\"key\":\"A\",\"value\":\"b=c \\u00e9\"}]}",
	     "{\"envs\":[{\"key\":\"A\",\"value\":\"b=c \xc3\xa9\"}]}");
	same(CTR, "{\"envs\":[{\"key\":\"A\",\"value\":{\"base64\":\"/w==\"}}]}", NULL);
	same(CTR, "{\"envs\":[{\"key\":\"A\",\"value\":{\"base64\":\"YQA=\"}}]}", NULL);
	same(CTR, "{\"envs\":[{\"key\":\"A\",\"value\":{\"base64\":\"YWJj\"}}]}",
	     "{\"envs\":[{\"key\":\"A\",\"value\":\"abc\"}]}");
	same(CTR, "{\"envs\":[{\"value\":{\"base64\":\"\"}}]}", "{\"envs\":[{}]}");
	refused(CTR, "{\"envs\":[{\"value\":{\"base64\":\"YQ=\"}}]}",
		"in.json: envs[0].value: not base64");
	refused(CTR, "{\"envs\":[{\"value\":{\"base64\":\"YR==\"}}]}",
		"in.json: envs[0].value: not base64");
	refused(CTR, "{\"envs\":[{\"value\":{\"b\":\"YQ==\"}}]}",
		"in.json: envs[0].value: expected string or {\"base64\": \"...\"}");
	refused(CTR, "{\"envs\":[{\"value\":7}]}",
		"in.json: envs[0].value: expected string, found integer");

	Runtime__V1__ExecSyncResponse r = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
	unsigned char all[256];
	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	r.stdout.data = all;
	r.stdout.len = sizeof all;
	AUTO_JSON json_t *j = pbjson_write(&r.base, 0, &err);
	AUTO_PB Runtime__V1__ExecSyncResponse *back =
		(void *)pbjson_read(r.base.descriptor, j, "x", &err);
	ok(back && back->stdout.len == 256 && memcmp(back->stdout.data, all, 256) == 0,
	   "every byte comes back");
}

static void test_refused(void)
{
	refused(POD, "[]", "in.json: expected object, found array");
	refused(POD, "{\"linux\":{\"security_context\":{\"run_as_user\":{\"value\":\"root\"}}}}",
		"in.json: linux.security_context.run_as_user.value: expected integer, found "
		"string");
	refused(POD, "{\"linux\":{\"security_context\":{\"run_as_user\":0}}}",
		"in.json: linux.security_context.run_as_user: expected object, found integer");
	refused(POD, "{\"linux\":{\"cgroup_parents\":\"\"}}",
		"in.json: linux.cgroup_parents: unknown key");
	refused(POD, "{\"\":1}", "in.json: unknown key");
	refused(POD, "{\"labels\":{\"a.b/c\":1}}",
		"in.json: labels[\"a.b/c\"]: expected string, found integer");
	refused(POD, "{\"labels\":{\"a\":null}}",
		"in.json: labels[\"a\"]: expected string, found null");
	refused(POD, "{\"labels\":[]}", "in.json: labels: expected object, found array");
	refused(POD, "{\"dns_config\":{\"servers\":[\"a\",null]}}",
		"in.json: dns_config.servers[1]: expected string, found null");
	refused(POD, "{\"dns_config\":{\"servers\":\"a\"}}",
		"in.json: dns_config.servers: expected array, found string");
	refused(POD, "{\"port_mappings\":[{},{\"hostport\":\"x\"}]}",
		"in.json: port_mappings[1].hostport: expected integer, found string");
	refused(POD, "{\"log_directory\":\"a\",\"logDirectory\":\"b\"}",
		"in.json: logDirectory: given twice");
	refused(CTR, "{\"tty\":\"true\"}", "in.json: tty: expected boolean, found string");
	refused(CTR, "{\"tty\":1}", "in.json: tty: expected boolean, found integer");
	static const char *const broken[] = {"",
					     "{",
					     "{\"hostname\":\"a\",\"hostname\":\"b\"}",
					     "{} x",
					     "{\"hostname\":\"\\u0000\"}",
					     "{\"hostname\":\"\xff\"}",
					     "\xef\xbb\xbf{}",
					     "nul"};
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		AUTO_PB ProtobufCMessage *m = parse(POD, broken[i]);
		ok(!m && err.kind == ERR_BAD_INPUT && strncmp(err.msg, "in.json:", 8) == 0,
		   "broken text %zu: %s", i, err.msg);
	}
	AUTO_PB ProtobufCMessage *huge =
		pbjson_parse(POD, "", PBJSON_TEXT_MAX + 1L, "in.json", &err);
	ok(!huge && err.kind == ERR_BAD_INPUT, "too large a document");
	/* A long path is cut, the reason is not. */
	char in[6000];
	int n = snprintf(in, sizeof in, "{\"labels\":{\"%05000d\":3}}", 7);
	AUTO_PB ProtobufCMessage *m = pbjson_parse(POD, in, (size_t)n, "in.json", &err);
	ok(!m && strstr(err.msg, "expected string, found integer"), "a long key");
}

static void test_write(void)
{
	AUTO_PB Runtime__V1__PodSandboxConfig *p =
		(void *)parse(POD, "{\"linux\":{\"sysctls\":{\"k\":\"v\"}}}");
	ok(p && p->linux && p->linux->n_sysctls == 1 &&
		   strcmp(p->linux->sysctls[0]->key, "k") == 0 &&
		   strcmp(p->linux->sysctls[0]->value, "v") == 0 && strcmp(p->hostname, "") == 0,
	   "the struct is as protobuf-c would have made it");
	p->linux->sysctls[0]->value[0] = '\xff';
	ok(!pbjson_write(&p->base, 0, &err) && err.kind == ERR_BAD_INPUT &&
		   strcmp(err.msg, "PodSandboxConfig: linux.sysctls[\"k\"]: not UTF-8") == 0,
	   "not UTF-8: %s", err.msg);
	p->linux->sysctls[0]->value[0] = 'v';

	AUTO_PB ProtobufCMessage *c =
		parse(&runtime__v1__exec_request__descriptor, "{\"cmd\":[\"ls\"]}");
	size_t len;
	AUTO_FREE char *all = pbjson_dump(c, PBJSON_ALL, &len, &err);
	ok(strcmp(all, "{\"container_id\":\"\",\"cmd\":[\"ls\"],\"tty\":false,\"stdin\":false,"
		       "\"stdout\":false,\"stderr\":false}") == 0 &&
		   len == strlen(all),
	   "PBJSON_ALL");
	AUTO_FREE char *pretty = pbjson_dump(c, PBJSON_PRETTY, NULL, &err);
	ok(strcmp(pretty, "{\n  \"cmd\": [\n    \"ls\"\n  ]\n}") == 0, "PBJSON_PRETTY");

	/* Two entries of one key: the later counts, as the wire has it. */
	Runtime__V1__ImageSpec__AnnotationsEntry
		e1 = RUNTIME__V1__IMAGE_SPEC__ANNOTATIONS_ENTRY__INIT,
		e2 = e1, *entries[] = {&e1, &e2};
	Runtime__V1__ImageSpec s = RUNTIME__V1__IMAGE_SPEC__INIT;
	e1.key = e2.key = (char *)(uintptr_t) "k";
	e1.value = (char *)(uintptr_t) "one";
	e2.value = (char *)(uintptr_t) "two";
	s.annotations = entries;
	s.n_annotations = 2;
	AUTO_FREE char *text = pbjson_dump(&s.base, 0, NULL, &err);
	ok(strcmp(text, "{\"annotations\":{\"k\":\"two\"}}") == 0, "equal map keys");
}

static void test_load(void)
{
	char path[] = "/tmp/test_pbjson.XXXXXX";
	AUTO_CLOSE int fd = mkstemp(path);
	ok(fd >= 0 && write(fd, "{\"hostname\":\"h\"}\n", 17) == 17, "a file");
	AUTO_PB Runtime__V1__PodSandboxConfig *m = (void *)pbjson_load(POD, path, &err);
	ok(m && strcmp(m->hostname, "h") == 0, "pbjson_load of a file");
	ok(lseek(fd, 0, SEEK_SET) == 0 && dup2(fd, 0) == 0, "stdin");
	AUTO_PB Runtime__V1__PodSandboxConfig *in = (void *)pbjson_load(POD, "-", &err);
	ok(in && strcmp(in->hostname, "h") == 0, "pbjson_load of standard input");
	unlink(path);
	ok(!pbjson_load(POD, path, &err) && err.kind == ERR_NOT_FOUND, "%s", err.msg);
	ok(!pbjson_load(POD, "/", &err), "%s", err.msg);
}

/* A message with what cri.proto has nothing of: oneof, optional, other number types, itself. */
struct odd {
	ProtobufCMessage base;
	protobuf_c_boolean has_maybe;
	int32_t maybe;
	uint32_t which;
	union {
		char *text;
		int64_t number;
	};
	float ratio;
	struct odd *inner;
	size_t n_list;
	uint32_t *list;
};
static const ProtobufCMessageDescriptor odd_descriptor;
static void odd_init(ProtobufCMessage *m)
{
	*(struct odd *)m = (struct odd){.base = PROTOBUF_C_MESSAGE_INIT(&odd_descriptor)};
}
#define AT(m) offsetof(struct odd, m)
static const ProtobufCFieldDescriptor odd_fields[] = {
	{.name = "maybe",
	 .id = 1,
	 .label = PROTOBUF_C_LABEL_OPTIONAL,
	 .type = PROTOBUF_C_TYPE_SINT32,
	 .quantifier_offset = AT(has_maybe),
	 .offset = AT(maybe)},
	{.name = "text",
	 .id = 2,
	 .label = PROTOBUF_C_LABEL_OPTIONAL,
	 .type = PROTOBUF_C_TYPE_STRING,
	 .quantifier_offset = AT(which),
	 .offset = AT(text),
	 .flags = PROTOBUF_C_FIELD_FLAG_ONEOF},
	{.name = "number",
	 .id = 3,
	 .label = PROTOBUF_C_LABEL_OPTIONAL,
	 .type = PROTOBUF_C_TYPE_SFIXED64,
	 .quantifier_offset = AT(which),
	 .offset = AT(number),
	 .flags = PROTOBUF_C_FIELD_FLAG_ONEOF},
	{.name = "ratio",
	 .id = 4,
	 .label = PROTOBUF_C_LABEL_NONE,
	 .type = PROTOBUF_C_TYPE_FLOAT,
	 .offset = AT(ratio)},
	{.name = "inner",
	 .id = 5,
	 .label = PROTOBUF_C_LABEL_OPTIONAL,
	 .type = PROTOBUF_C_TYPE_MESSAGE,
	 .offset = AT(inner),
	 .descriptor = &odd_descriptor},
	{.name = "list",
	 .id = 6,
	 .label = PROTOBUF_C_LABEL_REPEATED,
	 .type = PROTOBUF_C_TYPE_FIXED32,
	 .quantifier_offset = AT(n_list),
	 .offset = AT(list)},
};
static const ProtobufCMessageDescriptor odd_descriptor = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "t.Odd",
	.short_name = "Odd",
	.sizeof_message = sizeof(struct odd),
	.n_fields = ARRAY_LEN(odd_fields),
	.fields = odd_fields,
	.message_init = odd_init,
};

static void test_odd(void)
{
	const ProtobufCMessageDescriptor *d = &odd_descriptor;
	same(d, "{\"maybe\":0,\"text\":\"\"}", NULL);
	same(d, "{\"number\":0,\"ratio\":0.5,\"inner\":{},\"list\":[0,1]}", NULL);
	same(d, "{\"maybe\":null,\"text\":null,\"number\":\"5\"}", "{\"number\":5}");
	refused(d, "{\"number\":0,\"text\":\"a\"}",
		"in.json: text: excludes another field that is set");
	refused(d, "{\"text\":\"a\",\"inner\":{\"list\":[\"a\"]}}",
		"in.json: inner.list[0]: expected integer, found string");
	char in[PBJSON_MAX_DEPTH * 12] = "";
	struct err e;
	struct buf b = BUF_INIT(sizeof in);
	for (int i = 0; i < PBJSON_MAX_DEPTH; i++)
		buf_addstr(&b, i ? "{\"inner\":" : "", &e);
	buf_addstr(&b, "{}", &e);
	for (int i = 1; i < PBJSON_MAX_DEPTH; i++)
		buf_addstr(&b, "}", &e);
	same(d, b.data, NULL);
	AUTO_FREE char *deeper = NULL;
	if (asprintf(&deeper, "{\"inner\":%s}", b.data) < 0)
		abort();
	AUTO_PB ProtobufCMessage *m = parse(d, deeper);
	ok(!m && err.kind == ERR_BAD_INPUT && strstr(err.msg, "nested too deep"), "too deep");
	buf_release(&b);
}

static void test_base64(void)
{
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};
	static const char *const bad[] = {"Z",    "Zg",   "Zg=",    "Zh==", "Zm9=", "Zg==Zg==",
					  "====", "Z===", "Zm9v\n", "Zm-v", "Z=8="};
	unsigned char *out;
	size_t len;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		AUTO_FREE char *coded = base64_encode(pairs[i][0], strlen(pairs[i][0]));
		ok(strcmp(coded, pairs[i][1]) == 0, "base64 of '%s'", pairs[i][0]);
		bool good = base64_decode(coded, strlen(coded), &out, &len) == 0;
		ok(good && len == strlen(pairs[i][0]) && memcmp(out, pairs[i][0], len) == 0,
		   "and back");
		free(good ? out : NULL);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ok(base64_decode(bad[i], strlen(bad[i]), &out, &len) < 0, "not base64: %zu", i);
}

/* No message has two fields that one key would name, so that the lax comparison is safe; and every
 * field of every message is found by the camel-case form that other programs write. */
static void check_keys(const ProtobufCMessageDescriptor *d, int depth, int *bad)
{
	for (unsigned i = 0; i < d->n_fields && depth < 16; i++) {
		const char *name = d->fields[i].name;
		char camel[128];
		size_t n = 0;
		for (const char *s = name; *s && n < sizeof camel - 1; s++)
			if (*s != '_')
				camel[n++] =
					(char)(s > name && s[-1] == '_' ? toupper((unsigned char)*s)
									: *s);
		camel[n] = '\0';
		*bad += pbjson_field(d, name) != &d->fields[i] ||
			pbjson_field(d, camel) != &d->fields[i];
		*bad += d->n_fields > 64;
		if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			check_keys(d->fields[i].descriptor, depth + 1, bad);
	}
}

static void test_methods(void)
{
	struct cri_method m, again;
	int n = 0, streams = 0, bad = 0;
	for (; cri_method_at((size_t)n, &m); n++) {
		AUTO_FREE char *path = cri_method_path(&m);
		streams += m.streaming;
		if (!cri_method_find(path, &again) || again.output != m.output ||
		    !cri_method_find(m.name, &again) || again.input != m.input)
			bad++;
		check_keys(m.input, 0, &bad);
		check_keys(m.output, 0, &bad);
	}
	ok(n == 43 && streams == 7 && bad == 0,
	   "43 calls, 7 of them streams, each found by name and path");
	ok(cri_method_find("RuntimeService/Version", &m) && strcmp(m.name, "Version") == 0,
	   "short path");
	ok(!cri_method_find("ImageService/Version", &m) && !cri_method_find("/Version", &m) &&
		   !cri_method_find("version", &m) && !cri_method_find("", &m) &&
		   !cri_method_find("/", &m) &&
		   !cri_method_find("/runtime.v1alpha2.RuntimeService/Version", &m),
	   "no such method");
}

/* The table of streaming calls against the text of cri.proto. */
static void test_streaming(void)
{
	FILE *f = fopen("libcommon/cri.proto", "re");
	char line[512], *name, *end;
	int rpcs = 0, wrong = 0;
	struct cri_method m = {0};
	bool open = false;
	while (f && fgets(line, sizeof line, f)) {
		char *text = line + strspn(line, "\t ");
		if (strncmp(text, "rpc ", 4) == 0 && (end = strchr(text, '('))) {
			name = text + 4;
			*end = '\0';
			rpcs++;
			wrong += !cri_method_find(name, &m);
			text = end + 1;
			open = true;
		}
		char *returns = open ? strstr(text, "returns (") : NULL;
		if (returns) {
			wrong += m.streaming != (strncmp(returns + 9, "stream ", 7) == 0);
			open = false;
		}
	}
	if (f)
		fclose(f);
	ok(rpcs == 43 && wrong == 0 && !open, "streaming flags are those of cri.proto (%d wrong)",
	   wrong);
}

int main(void)
{
	test_spellings();
	test_enums();
	test_numbers();
	test_bytes();
	test_refused();
	test_write();
	test_load();
	test_odd();
	test_base64();
	test_methods();
	test_streaming();
	return tap_done();
}
