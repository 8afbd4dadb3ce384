/* SPDX-License-Identifier: Apache-2.0 */
#include "ref.h"

#include "image.h"
#include "tap.h"

#include <limits.h>
#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

static const struct {
	const char *in, *host, *path, *tag, *digest, *name;
} good[] = {
	{"busybox", "docker.io", "library/busybox", "latest", "",
	 "docker.io/library/busybox:latest"},
	{"busybox:1.36", "docker.io", "library/busybox", "1.36", "",
	 "docker.io/library/busybox:1.36"},
	{"foo/bar", "docker.io", "foo/bar", "latest", "", "docker.io/foo/bar:latest"},
	{"index.docker.io/busybox", "docker.io", "library/busybox", "latest", "",
	 "docker.io/library/busybox:latest"},
	{"docker.io/busybox", "docker.io", "library/busybox", "latest", "",
	 "docker.io/library/busybox:latest"},
	{"localhost/x", "localhost", "x", "latest", "", "localhost/x:latest"},
	{"localhost:5000/x", "localhost:5000", "x", "latest", "", "localhost:5000/x:latest"},
	{"127.0.0.1:5000/a/b__c/d-e--f.g:T.a-g_1", "127.0.0.1:5000", "a/b__c/d-e--f.g", "T.a-g_1",
	 "", "127.0.0.1:5000/a/b__c/d-e--f.g:T.a-g_1"},
	{"[::1]:5000/x", "[::1]:5000", "x", "latest", "", "[::1]:5000/x:latest"},
	{"[fe80::1]/x", "[fe80::1]", "x", "latest", "", "[fe80::1]/x:latest"},
	{"Registry/x", "Registry", "x", "latest", "", "Registry/x:latest"},
	{"reg.k8s.io/pause@" DIGEST, "reg.k8s.io", "pause", "", DIGEST, "reg.k8s.io/pause@" DIGEST},
	{"r.io/x:3@" DIGEST, "r.io", "x", "3", DIGEST, "r.io/x:3"},
	{"r.io/" HEX, "r.io", HEX, "latest", "", "r.io/" HEX ":latest"},
};

static const char *const bad[] = {
	"",
	":",
	"/",
	"@",
	"x:",
	"x@",
	"Busybox",
	"foo/Bar",
	"a//b",
	"/a",
	"a/",
	"-a",
	"a-",
	"a..b",
	"a___b",
	"a.-b",
	"x:.tag",
	"x:-tag",
	"x:ta g",
	"x:tag/",
	"x y",
	"x\n",
	"caf\xc3\xa9",
	"../x",
	"a/../b",
	"r.io:port/x",
	"r.io:/x",
	"r.io:123456/x",
	"-r.io/x",
	"r-.io/x",
	"r..io/x",
	".io/x",
	"r.io./x",
	"r_r.io/x",
	"[::1/x",
	"[]:5/x",
	"[zz]/x",
	"r.io/",
	"x@sha256:" HEX "0",
	"x@sha256:0",
	"x@md5:0123",
	"x@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
	"x@" DIGEST "@" DIGEST,
	"x:a@" DIGEST ":b",
	HEX,
	"http://r.io/x",
};

static void check_good(void)
{
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct ref r;
		struct err e = {.msg = ""};
		char name[REF_STR_SIZE];
		int rc = ref_parse(&r, good[i].in, &e);
		ref_name(&r, name);
		ok(rc == 0 && !strcmp(r.host, good[i].host) && !strcmp(r.path, good[i].path) &&
			   !strcmp(r.tag, good[i].tag) && !strcmp(r.digest, good[i].digest) &&
			   !strcmp(name, good[i].name),
		   "%s is %s %s", good[i].in, name, e.msg);
		struct ref again;
		ok(ref_parse(&again, name, &e) == 0 && !strcmp(again.path, r.path) &&
			   !strcmp(again.host, r.host),
		   "the normal form parses to itself");
	}
}

/* Names that the store can just keep, and those that are one byte longer. */
static void check_stored_lengths(void)
{
	struct ref r;
	struct err e;
	char s[700], name[REF_STR_SIZE], file[NAME_MAX + 1];
	/* r.io%2fAAA…@sha256:… */
	size_t most = NAME_MAX - 4 - 3 - 72;
	memset(s, 'a', sizeof s);
	memcpy(s, "r.io/", 5);
	s[5 + most] = '\0';
	ok(ref_parse(&r, s, &e) == 0 && strlen(r.path) == most, "a repository of %zu bytes", most);
	ref_with_digest(&r, DIGEST, name);
	ok(image_name_escape(name, file, sizeof file) == 0 && strlen(file) == NAME_MAX,
	   "its name by digest fills a file name");
	s[5 + most] = 'a';
	s[5 + most + 1] = '\0';
	ok(ref_parse(&r, s, &e) < 0 && e.kind == ERR_BAD_INPUT && strstr(e.msg, "256 bytes"),
	   "not one more: %s", e.msg);
	/* Each slash takes three. */
	s[5 + 10] = '/';
	s[5 + most - 2] = '\0';
	ok(ref_parse(&r, s, &e) == 0, "two less with another slash");
	s[5 + most - 2] = 'a';
	s[5 + most - 1] = '\0';
	ok(ref_parse(&r, s, &e) < 0, "not one less");
	/* A long tag counts instead of the digest. */
	memset(s, 'a', sizeof s);
	memcpy(s, "r.io/", 5);
	s[5 + 119] = ':';
	s[5 + 119 + 1 + 128] = '\0';
	ok(ref_parse(&r, s, &e) == 0, "a tag of 128 bytes");
	ref_name(&r, name);
	ok(image_name_escape(name, file, sizeof file) == 0 && strlen(file) == NAME_MAX,
	   "its name by tag fills a file name");
	s[5 + 119] = s[5 + 119 + 1 + 128] = 'a';
	s[5 + 120] = ':';
	s[5 + 120 + 1 + 128] = '\0';
	ok(ref_parse(&r, s, &e) < 0 && strstr(e.msg, "too long"), "not one more");
}

static void check_lengths(void)
{
	struct ref r;
	struct err e;
	char s[700];
	memset(s, 'a', sizeof s);
	memcpy(s, "r.io/", 5);
	s[5 + 256] = '\0';
	ok(ref_parse(&r, s, &e) < 0 && e.kind == ERR_BAD_INPUT, "no repository of 256 bytes");
	memset(s, 'a', sizeof s);
	memcpy(s, "x:", 2);
	s[2 + 128] = '\0';
	ok(ref_parse(&r, s, &e) == 0 && strlen(r.tag) == 128, "a tag of 128 bytes");
	s[2 + 128] = 'a';
	s[2 + 129] = '\0';
	ok(ref_parse(&r, s, &e) < 0 && e.kind == ERR_BAD_INPUT, "not one of 129");
	memset(s, 'a', sizeof s);
	memcpy(s + 300, ".io/x", 6);
	ok(ref_parse(&r, s, &e) < 0 && e.kind == ERR_BAD_INPUT, "nor a host of 303");
	check_stored_lengths();
}

int main(void)
{
	check_good();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct ref r;
		struct err e = {.kind = ERR_OK};
		/* A message with a line break would break the protocol of the test's output. */
		bool pass = ref_parse(&r, bad[i], &e) == -1 && e.kind == ERR_BAD_INPUT && *e.msg;
		ok(pass, "refused: %s", strchr(e.msg, '\n') ? "a line break" : e.msg);
	}
	check_lengths();
	struct ref r;
	struct err e;
	ok(ref_parse(&r, "UPPER/lower/Case", &e) < 0 && strstr(e.msg, "lower case"),
	   "upper case is named as the reason: %s", e.msg);
	return tap_done();
}
