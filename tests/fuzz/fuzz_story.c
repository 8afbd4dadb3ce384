/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a pod as an archive from anywhere may have them: journal, states, configurations, ends
 * and logs, read into a story, told (podreplay why), and compared with itself (podreplay diff). The
 * input is the files' contents, one behind the other, each ended by a line of "%%". */
#include "auto.h"
#include "cmd/podreplay/diff.h"
#include "cmd/podreplay/podreplay.h"
#include "cmd/podreplay/story.h"
#include "cmd/podreplay/why.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POD "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define CTR "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

/* There is no pod of this machine here. */
int podreplay_state(struct tool_ctx *c, struct err *e)
{
	(void)c;
	return err_set(e, ERR_NOT_FOUND, "none");
}

static int root = -1;
static const char *const files[] = {
	"pods/" POD "/journal",           "pods/" POD "/state.json",
	"pods/" POD "/pod.json",          "containers/" CTR "/container.json",
	"containers/" CTR "/state.json",  "containers/" CTR "/exit.json",
	"containers/" CTR "/config.json", "containers/" CTR "/log",
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;
	char dir[] = "/tmp/fuzz_story.XXXXXX";
	(void)argc, (void)argv;
	if (!mkdtemp(dir) || (root = fs_open_dir(AT_FDCWD, dir, &e)) < 0 ||
	    fs_mkdirs(root, "pods/" POD, 0700, &e) < 0 ||
	    fs_mkdirs(root, "containers/" CTR, 0700, &e) < 0)
		abort();
	return 0;
}

/* Takes the next file's content off the input; at its end the rest are empty. */
static void put_file(const char *name, const uint8_t **data, size_t *size)
{
	const uint8_t *end = memmem(*data, *size, "\n%%\n", 4);
	size_t n = end ? (size_t)(end - *data) + 1 : *size, skip = end ? n + 3 : n;
	AUTO_CLOSE int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, *data, n) != (ssize_t)n)
		abort();
	*data += skip;
	*size -= skip;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	json_t *index = json_pack("{s:[{s:s,s:s}]}", "containers", "id", CTR, "state", "exited");
	struct arc a = {.index = index, .st = {.root = root, .run = -1}, .pod = POD};
	AUTO_STORY struct story s = {0};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put_file(files[i], &data, &size);
	if (story_read_archive(&s, &a, &e) < 0)
		abort();
	AUTO_JSON json_t *doc = why_document(&s, NULL);
	AUTO_JSON json_t *same = diff_stories(&s, &s, 0);
	if (!doc || !jsonx_opt_bool(same, "same", false))
		abort();
	AUTO_FREE char *text = json_dumps(doc, 0);
	FILE *out = stdout;
	stdout = fopen("/dev/null", "we");
	why_print(doc);
	fclose(stdout);
	stdout = out;
	json_decref(index);
	return text ? 0 : 1;
}
