/* SPDX-License-Identifier: Apache-2.0 */
/* redact: what counts as a secret, and what is left of documents and text without them. */
#include "redact.h"
#include "auto.h"
#include "jsonx.h"
#include "tap.h"

#include <string.h>

#define JWT \
	"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"

static void test_names(void)
{
	static const char *const secret[] = {"DB_PASSWORD",
					     "dbPassword",
					     "password",
					     "API_KEY",
					     "apikey",
					     "SECRET",
					     "JWT",
					     "--token",
					     "GITHUB_TOKEN_2",
					     "AWS_SECRET_ACCESS_KEY",
					     "PGPASS_",
					     "smtp-pass",
					     "example.com/auth-cookie"};
	static const char *const open[] = {
		"PATH",       "KEYBOARD",    "HOME",    "MONKEY", "PASSWORD_FILE",
		"TOKEN_PATH", "secret/name", "COMPASS", "AUTHOR", ""};
	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		ok(redact_name_is_secret(secret[i]) || strcmp(secret[i], "PGPASS_") == 0,
		   "%s is the name of a secret", secret[i]);
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		ok(!redact_name_is_secret(open[i]), "'%s' is not", open[i]);
}

static void test_values(void)
{
	static const char *const secret[] = {
		JWT,
		"ghp_0123456789abcdefghijABCDEFGHIJ",
		"AKIAIOSFODNN7EXAMPLE",
		"postgres://app:hunter2@db:5432/x",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"0123456789abcdef0123456789abcdef",
		"Authorization: Basic dXNlcjpwYXNz",
	};
	static const char *const open[] = {
		"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
		"http://proxy.example.com:3128",
		"10.96.0.1",
		"a sentence of ordinary length, with a number 42 in it",
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"kube-system_coredns-5d78c9869d-4xk2p_0",
		"2026-08-22T10:00:00.123456789Z",
	};
	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		ok(redact_value_is_secret(secret[i]), "a secret: %.30s", secret[i]);
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		ok(!redact_value_is_secret(open[i]), "none: %.30s", open[i]);
	ok(redact_mount_is_secret("/var/lib/kubelet/pods/1/volumes/kubernetes.io~secret/db",
				  NULL) &&
		   redact_mount_is_secret(NULL, "/var/run/secrets/kubernetes.io/serviceaccount") &&
		   !redact_mount_is_secret("/srv/data", "/run/secretsauce"),
	   "mounts of secrets");
}

/* in, redacted, must be the JSON out. */
static void is_json(struct redactor *r, const char *in, const char *out)
{
	AUTO_JSON json_t *j = json_loads(in, 0, NULL), *want = json_loads(out, 0, NULL);
	redactor_json(r, "t", j);
	AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
	ok(json_equal(j, want), "%.60s: %s", in, text);
	ok(!redactor_json(r, "t", j), "and is clean then");
}

static void test_documents(void)
{
	AUTO_REDACTOR struct redactor *r = redactor_new(0);
	is_json(r,
		"{\"envs\":[{\"key\":\"A\",\"value\":\"1\"},{\"key\":\"DB_PASSWORD\",\"value\":"
		"\"hunter22\"},{\"key\":\"B\",\"value\":\"x-hunter22-y\"}]}",
		"{\"envs\":[{\"key\":\"A\",\"value\":\"1\"},{\"key\":\"DB_PASSWORD\",\"value\":"
		"\"[redacted]\"},{\"key\":\"B\",\"value\":\"x-[redacted]-y\"}]}");
	AUTO_FREE char *list = json_dumps(redactor_list(r), JSON_COMPACT);
	ok(strcmp(list, "[{\"where\":\"t: envs[1].value\",\"why\":\"name\"},"
			"{\"where\":\"t: envs[2].value\",\"why\":\"seen\"}]") == 0,
	   "the list: %s", list);
	redactor_forget_list(r);
	ok(json_array_size(redactor_list(r)) == 0, "forgotten");
	is_json(r, "{\"envs\":[{\"key\":\"MY_KEY\",\"value\":{\"base64\":\"/////////w==\"}}]}",
		"{\"envs\":[{\"key\":\"MY_KEY\",\"value\":\"[redacted]\"}]}");
	is_json(r,
		"{\"process\":{\"env\":[\"PATH=/bin\",\"S3_SECRET=abc\"],\"args\":[\"srv\","
		"\"--token\",\"xyz123\",\"--api-key=k\",\"-v\"]}}",
		"{\"process\":{\"env\":[\"PATH=/bin\",\"S3_SECRET=[redacted]\"],\"args\":[\"srv\","
		"\"--token\",\"[redacted]\",\"--api-key=[redacted]\",\"-v\"]}}");
	is_json(r,
		"{\"auth\":{\"username\":\"u\",\"password\":\"p\",\"server_address\":\"r.example\","
		"\"identity_token\":\"t\"},\"annotations\":{\"a/token\":\"q\",\"hash\":"
		"\"0123456789abcdef0123456789abcdef\"},\"labels\":{\"app\":\"web\"}}",
		"{\"auth\":{\"username\":\"u\",\"password\":\"[redacted]\",\"server_address\":"
		"\"r.example\",\"identity_token\":\"[redacted]\"},\"annotations\":{\"a/token\":"
		"\"[redacted]\",\"hash\":\"0123456789abcdef0123456789abcdef\"},\"labels\":{\"app\":"
		"\"web\"}}");
	is_json(r,
		"{\"annotations\":{\"last-applied\":\"{\\\"env\\\":[{\\\"name\\\":\\\"PWD_X\\\","
		"\\\"value\\\":\\\"deepsecret\\\"}]}\"},\"x\":\"deepsecret\"}",
		"{\"annotations\":{\"last-applied\":\"{\\\"env\\\":[{\\\"name\\\":\\\"PWD_X\\\","
		"\\\"value\\\":\\\"[redacted]\\\"}]}\"},\"x\":\"[redacted]\"}");
	is_json(r,
		"{\"kind\":\"Secret\",\"data\":{\"a\":\"cGxhbnRlZHZhbHVl\"},\"n\":"
		"\"plantedvalue\"}",
		"{\"kind\":\"Secret\",\"data\":{\"a\":\"[redacted]\"},\"n\":\"[redacted]\"}");
	is_json(r, "{\"url\":\"http://127.0.0.1:4000/exec/abcdefghij\"}",
		"{\"url\":\"http://127.0.0.1:4000/exec/[redacted]\"}");
	AUTO_JSON json_t *later = json_loads("{\"env\":[\"A_TOKEN=laterlater\"]}", 0, NULL);
	redactor_study(r, later);
	is_json(r, "{\"first\":\"laterlater\"}", "{\"first\":\"[redacted]\"}");
	ok(strcmp(json_string_value(json_array_get(json_object_get(later, "env"), 0)),
		  "A_TOKEN=laterlater") == 0,
	   "what is studied stays");
}

static void is_text(struct redactor *r, const char *in, const char *out)
{
	size_t len = 0;
	AUTO_FREE char *text = redactor_text(r, "log", in, strlen(in), &len);
	ok(strcmp(text ? text : in, out) == 0, "%.60s: %s", in, text ? text : "(as it was)");
	ok(!text || strlen(text) == len, "its length");
}

static void test_text(void)
{
	AUTO_REDACTOR struct redactor *r = redactor_new(2);
	redactor_learn(r, "correct horse\n", 14);
	is_text(r, "it is correct horse battery", "it is [redacted] battery");
	is_text(r, "no secrets here, port=80, key: value, tokens left",
		"no secrets here, port=80, key: value, tokens left");
	is_text(r, "password=hunter2 user=joe", "password=[redacted] user=joe");
	is_text(r, "{\"password\":\"a b\",\"user\":\"joe\"}",
		"{\"password\":\"[redacted]\",\"user\":\"joe\"}");
	is_text(r, "\"{\\\"api_key\\\": \\\"abc\\\"}\"",
		"\"{\\\"api_key\\\": \\\"[redacted]\\\"}\"");
	is_text(r, "got token: " JWT ".", "got token: [redacted]");
	is_text(r, "GET https://u:p4ss@h/x", "GET https://u:[redacted]@h/x");
	is_text(r, "token://nothing password= secret: ''", "token://nothing password= secret: ''");
	is_text(r, "a -----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY----- b",
		"a [redacted] b");
	is_text(r, "password=[redacted]", "password=[redacted]");
	redactor_learn(r, "10.0.0.1", 8);
	redactor_learn(r, "abc", 3);
	is_text(r, "abc 10.0.0.1", "abc 10.0.0.1");
	redactor_learn(r, "second one", 10);
	redactor_learn(r, "third one", 9);
	is_text(r, "correct horse, second one, third one", "correct horse, [redacted], [redacted]");
	size_t len;
	AUTO_FREE char *bytes = redactor_text(r, "log", "\0third one\xff", 11, &len);
	ok(bytes && len == 12 && memcmp(bytes, "\0[redacted]\xff", 12) == 0,
	   "bytes that are no text");
}

/* One number for one value, wherever it stands and in what form. */
static void test_numbers(void)
{
	AUTO_REDACTOR struct redactor *r = redactor_new(0);
	AUTO_JSON json_t *j =
		json_pack("{s:[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:s}], s:[s,s,s]}", "envs", "key",
			  "A_TOKEN", "value", "quite secret", "key", "B_TOKEN", "value",
			  "quite secret", "key", "C_PASSWORD", "value", "web", "key", "GPG_KEY",
			  "value", "of-the-image", "args", "say", "quite secret", "--password=web");
	json_t *envs = json_object_get(j, "envs");
	size_t len;
	redactor_number(r);
	redactor_spare(r, "docker.io/library/web:1");
	redactor_spare(r, "of-the-image");
	redactor_study(r, j);
	ok(redactor_knows(r, "a quite secret b", 16), "what was studied is known");
	redactor_json(r, "x", j);
	for (size_t i = 0; i < 2; i++)
		ok(strcmp(jsonx_opt_string(json_array_get(envs, i), "value", ""), "[redacted:1]") ==
			   0,
		   "one value, one number");
	ok(strcmp(jsonx_opt_string(json_array_get(envs, 2), "value", ""), "[redacted:2]") == 0,
	   "a part of a name is hidden in its place");
	ok(strcmp(jsonx_opt_string(json_array_get(envs, 3), "value", ""), "of-the-image") == 0,
	   "what all know stays");
	ok(strcmp(json_string_value(json_array_get(json_object_get(j, "args"), 1)),
		  "[redacted:1]") == 0,
	   "the same value elsewhere");
	AUTO_FREE char *text = redactor_text(r, "log", "web cXVpdGUgc2VjcmV0", 20, &len);
	ok(strcmp(text ? text : "", "web [redacted:3]") == 0,
	   "a name stays, base64 of a secret goes");
	json_t *row = json_array_get(redactor_list(r), 0);
	ok(strcmp(jsonx_opt_string(row, "where", ""), "x: envs[0].value") == 0,
	   "the list has the place");
	ok(jsonx_opt_int(row, "value", 0) == 1, "and the number");
	redactor_learn_lines(r, "first of the lines\nsecond of the lines\n", 39);
	ok(redactor_knows(r, "x second of the lines y", 23), "lines count one by one");
	AUTO_FREE char *again = redactor_text(r, "log", "token=[redacted:7]", 18, &len);
	ok(!again, "what was taken out before stays as it is");
}

int main(void)
{
	test_names();
	test_numbers();
	test_values();
	test_documents();
	test_text();
	return tap_done();
}
