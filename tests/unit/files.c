/* SPDX-License-Identifier: Apache-2.0 */
/* fs, state, record, config, journal, handler: what is on disk. */
#include "auto.h"
#include "config.h"
#include "digest.h"
#include "fs.h"
#include "handler.h"
#include "journal.h"
#include "jsonx.h"
#include "record.h"
#include "state.h"
#include "tap.h"
#include "xalloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char top[64] = "/tmp/crisp-unit.XXXXXX";

static char *under(const char *name)
{
	return xasprintf("%s/%s", top, name);
}

static void put(const char *name, const char *text)
{
	struct err e;
	AUTO_FREE char *path = under(name);
	ok(fs_replace_file_at(AT_FDCWD, path, 0600, text, strlen(text), 0, &e) == 0, "write %s",
	   name);
}

static int hidden(int d)
{
	int n = 0;
	AUTO_CLOSE int fd = openat(d, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(TAKE_FD(fd));
	for (struct dirent *de; dir && (de = readdir(dir));)
		n += de->d_name[0] == '.' && strcmp(de->d_name, ".") != 0 &&
		     strcmp(de->d_name, "..") != 0;
	closedir(dir);
	return n;
}

/* Bound from the same file system: the device number does not tell. */
static void test_remove_mounted(int d)
{
	struct err e;
	AUTO_FREE char *precious = under("precious"), *in = under("tree/in");
	ok(mkdirat(d, "precious", 0755) == 0 && mkdirat(d, "precious/x", 0755) == 0 &&
		   mkdirat(d, "tree", 0755) == 0 && mkdirat(d, "tree/in", 0755) == 0,
	   "a tree and something precious beside it");
	if (mount(precious, in, NULL, MS_BIND, NULL) == 0) {
		ok(fs_remove_tree(d, "tree", &e) == -1 && e.kind == ERR_UNAVAILABLE,
		   "remove_tree does not enter a bind mount: %s", e.msg);
		ok(fs_remove_tree(d, "tree/in", &e) == -1 && e.kind == ERR_UNAVAILABLE,
		   "nor is one its top: %s", e.msg);
		ok(faccessat(d, "precious/x", F_OK, 0) == 0, "what is mounted there is whole");
		umount2(in, MNT_DETACH);
	}
	ok(fs_remove_tree(d, "tree", &e) == 0 && fs_remove_tree(d, "precious", &e) == 0, "gone");
}

static void test_fs(void)
{
	struct err e;
	AUTO_CLOSE int d = fs_open_dir(AT_FDCWD, top, &e);
	struct stat st;
	ok(fs_replace_file_at(d, "f", 0600, "longer text", 11, FS_DURABLE, &e) == 0 &&
		   fs_replace_file_at(d, "f", 0600, "{}\n", 3, 0, &e) == 0,
	   "replace twice");
	ok(fstatat(d, "f", &st, 0) == 0 && st.st_size == 3, "no trailing rest of the longer text");
	AUTO_BUF struct buf b = BUF_INIT(2);
	ok(fs_read_at(d, "f", &b, &e) == -1 && e.kind == ERR_EXHAUSTED,
	   "a file over the limit is refused");
	ok(mkfifoat(d, "fifo", 0600) == 0 && fs_read_at(d, "fifo", &b, &e) == -1 &&
		   e.kind == ERR_BAD_INPUT,
	   "a fifo neither hangs nor is read: %s", e.msg);
	ok(fs_replace_file_at(d, "fifo", 0600, "x", 1, 0, &e) == 0 &&
		   fstatat(d, "fifo", &st, 0) == 0 && S_ISREG(st.st_mode),
	   "a file replaces a fifo");
	ok(mkdirat(d, "dir", 0700) == 0 &&
		   fs_replace_file_at(d, "dir", 0600, "x", 1, 0, &e) == -1 &&
		   fstatat(d, "dir", &st, 0) == 0 && S_ISDIR(st.st_mode),
	   "but not a directory: %s", e.msg);
	ok(hidden(d) == 0, "nothing temporary is left");
	ok(mkdirat(d, "root", 0755) == 0 && symlinkat("../../../../etc", d, "root/evil") == 0 &&
		   symlinkat("/", d, "root/abs") == 0,
	   "hostile root");
	AUTO_CLOSE int root = fs_open_dir(d, "root", &e);
	ok(fs_open_in_root(root, "evil/passwd", O_RDONLY, 0, &e) == -1 && e.kind == ERR_NOT_FOUND,
	   "a symlink does not leave the root: %s", e.msg);
	AUTO_CLOSE int made = fs_open_in_root(root, "abs/abs/hello", O_WRONLY | O_CREAT, 0644, &e);
	ok(made >= 0 && fstatat(root, "hello", &st, 0) == 0, "an absolute symlink is the root's");
	ok(fs_open_beneath(root, "abs/hello", O_RDONLY, 0, &e) == -1, "beneath follows no symlink");
	ok(fs_remove_tree(d, "root", &e) == 0 && fstatat(d, "root", &st, 0) < 0, "remove_tree");
	ok(fs_remove_tree(d, "root", &e) == 0, "remove_tree of nothing is success");
	test_remove_mounted(d);
	ok(access("/etc/passwd", F_OK) == 0, "and /etc/passwd is still there");
}

static void test_lock(void)
{
	struct err e;
	AUTO_CLOSE int d = fs_open_dir(AT_FDCWD, top, &e);
	ok(fs_is_locked_at(d, "lock", &e) == 0, "an absent lock is free");
	AUTO_CLOSE int a = fs_lock_at(d, "lock", 0, &e);
	ok(a >= 0, "lock");
	ok(fs_lock_at(d, "lock", 30, &e) == -1 && e.kind == ERR_UNAVAILABLE, "held: %s", e.msg);
	ok(fs_is_locked_at(d, "lock", &e) == 1, "is_locked sees it");
	close(TAKE_FD(a));
	ok(fs_is_locked_at(d, "lock", &e) == 0, "free after close");
}

static void test_claims(const struct state *s)
{
	struct err e;
	struct object_new a, b;
	static const char key[] = "ns\npod\nuid\n0";
	ok(object_create(s, OBJ_POD, key, sizeof key, NULL, &a, &e) == 0 && a.claim == CLAIM_NEW,
	   "claim");
	ok(object_create(s, OBJ_POD, key, sizeof key, NULL, &b, &e) == 0 && b.claim == CLAIM_BUSY &&
		   strcmp(b.id, a.id) == 0,
	   "a claim under way is busy");
	close(a.lock);
	ok(object_create(s, OBJ_POD, key, sizeof key, NULL, &b, &e) == 0 &&
		   b.claim == CLAIM_ABANDONED,
	   "its maker died: abandoned");
	struct pod_record r = {.id = a.id, .state = (char[]){"ready"}, .complete = true};
	ok(pod_record_write(s, &r, &e) == 0, "commit");
	ok(object_create(s, OBJ_POD, key, sizeof key, NULL, &b, &e) == 0 && b.claim == CLAIM_EXISTS,
	   "a finished one exists");
	AUTO_POD_RECORD struct pod_record back = {0};
	ok(pod_record_read(s, a.id, &back, &e) == 0 && strcmp(back.state, "ready") == 0 &&
		   back.complete,
	   "the record comes back");
	char id[ID_SIZE], prefix[9] = "";
	memcpy(prefix, a.id, 8);
	ok(object_resolve(s, OBJ_POD, prefix, id, &e) == 0 && strcmp(id, a.id) == 0,
	   "by unique prefix");
	ok(object_resolve(s, OBJ_POD, "nope", id, &e) == -1 && e.kind == ERR_NOT_FOUND, "%s",
	   e.msg);
	ok(object_open(s, OBJ_POD, "../../etc", &e) == -1 && e.kind == ERR_NOT_FOUND,
	   "ids are validated");
	close(a.dir);
	ok(object_discard(s, OBJ_POD, a.id, &e) == 0 && object_discard(s, OBJ_POD, a.id, &e) == 0,
	   "discard twice");
	ok(object_create(s, OBJ_POD, key, sizeof key, NULL, &b, &e) == 0 && b.claim == CLAIM_NEW,
	   "the name is free again");
	ok(object_create(s, OBJ_POD, "x", 1, b.id, &a, &e) == -1 && e.kind == ERR_EXISTS,
	   "a used id is refused: %s", e.msg);
	close(b.dir);
	close(b.lock);
	object_discard(s, OBJ_POD, b.id, &e);
}

static void test_records(const struct state *s)
{
	struct err e;
	struct object_new n;
	ok(object_create(s, OBJ_CONTAINER, "c", 1, NULL, &n, &e) == 0, "container");
	struct ctr_record r = {.id = n.id,
			       .state = (char[]){"running"},
			       .boot_id = (char[]){"another boot"},
			       .start_error = (char[]){""},
			       .started_at = 5,
			       .complete = true};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	ok(ctr_record_write(s, &r, &e) == 0, "write");
	ok(ctr_effective(s, &r, &x) == CTR_EXITED && x.exit_code == 255,
	   "after a reboot: exited, 255");
	ok(strcmp(x.message, "the host was rebooted") == 0, "and says so: %s", x.message);
	exit_record_release(&x);
	char boot[40];
	snprintf(boot, sizeof boot, "%s", state_boot_id());
	r.boot_id = boot;
	r.pid = getpid();
	r.pid_start = 1;
	ok(ctr_effective(s, &r, &x) == CTR_EXITED && strcmp(x.message, "the monitor was lost") == 0,
	   "monitor and process gone");
	exit_record_release(&x);
	struct exit_record w = {
		.exit_code = 137, .signal = 9, .oom = true, .reason = (char[]){"OOMKilled"}};
	ok(exit_record_write(s, n.id, &w, &e) == 0, "exit record");
	ok(ctr_effective(s, &r, &x) == CTR_EXITED && x.exit_code == 137 && x.oom,
	   "exit.json decides");
	ok(fs_replace_file_at(n.dir, "state.json", 0600, "{tr", 3, 0, &e) == 0,
	   "damage the record");
	AUTO_CTR_RECORD struct ctr_record bad = {0};
	ok(ctr_record_read(s, n.id, &bad, &e) == -1 && e.kind == ERR_BAD_STATE, "damaged: %s",
	   e.msg);
	close(n.dir);
	close(n.lock);
	ok(object_discard(s, OBJ_CONTAINER, n.id, &e) == 0, "a damaged container can be removed");
}

static void test_journal_size(const struct state *s, const struct object_new *n,
			      struct journal_step *st)
{
	enum { WORD = 10000, STEPS = 250 };
	struct stat old, now;
	AUTO_FREE char *word = xcalloc(1, WORD + 1);
	memset(word, 'x', WORD);
	st->argv = (const char *const[]){word, NULL};
	for (int i = 0; i < STEPS; i++)
		journal_append(s, n->id, st);
	ok(fstatat(n->dir, "journal.1", &old, 0) == 0 && fstatat(n->dir, "journal", &now, 0) == 0 &&
		   old.st_size < (1 << 20) + 2 * WORD && now.st_size < (1 << 20) + 2 * WORD &&
		   now.st_size > WORD,
	   "a journal does not grow for ever");
}

static void test_journal(const struct state *s)
{
	struct err e;
	struct object_new n;
	ok(object_create(s, OBJ_POD, "j", 1, NULL, &n, &e) == 0, "pod");
	static const char *const argv[] = {"/usr/bin/ctrrun", "exec", "ab", "it's a $(test)", NULL};
	struct journal_step st = {.rpc = "ExecSync",
				  .req = "7",
				  .argv = argv,
				  .stdin_file = "/x y",
				  .when_ns = 1,
				  .exit_status = 3,
				  .ms = 12,
				  .error = "no \"such\" # pod\nrest",
				  .warning = "a\nb"};
	journal_append(s, n.id, &st);
	AUTO_BUF struct buf b = BUF_INIT(4096);
	ok(fs_read_at(n.dir, "journal", &b, &e) == 0, "journal");
	ok(b.data && strcmp(b.data, "/usr/bin/ctrrun exec ab 'it'\\''s a $(test)' < '/x y' # "
				    "1970-01-01T00:00:00.000000001Z ExecSync req=7 exit=3 ms=12 "
				    "error=\"no \\\"such\\\" ? pod\" warning=\"a\"\n") == 0,
	   "one pasteable line: %s", b.data);
	static const char want[] = "sh -c $'a \\'b\\'\\n\\011c\\\\' # ";
	static const char *const script[] = {"sh", "-c", "a 'b'\n\tc\\", NULL};
	st = (struct journal_step){.rpc = "x", .argv = script, .when_ns = 1};
	buf_clear(&b);
	unlinkat(n.dir, "journal", 0);
	journal_append(s, n.id, &st);
	ok(fs_read_at(n.dir, "journal", &b, &e) == 0 && b.data &&
		   strncmp(b.data, want, strlen(want)) == 0 &&
		   strchr(b.data, '\n') == b.data + b.len - 1,
	   "a script of several lines is one line: %s", b.data);
	test_journal_size(s, &n, &st);
	close(n.dir);
	close(n.lock);
	object_discard(s, OBJ_POD, n.id, &e);
}

static void expect_config_error(const char *text, const char *want)
{
	struct err e = {0};
	struct config c;
	AUTO_FREE char *file = under("bad.json");
	put("bad.json", text);
	ok(config_load(&c, file, &e) == -1 && strstr(e.msg, want), "config %s: %s", text, e.msg);
	config_release(&c);
}

/* Loaded until the files are old enough for it to be told that they are the same. */
static void test_current(const char *file, const char *other, const char *text)
{
	struct err e;
	const struct timespec tick = {.tv_nsec = 5000000};
	bool current = false;
	for (int i = 0; i < 400 && !current; i++) {
		AUTO_CONFIG struct config c = {0};
		nanosleep(&tick, NULL);
		current = config_load(&c, file, &e) == 0 && config_is_current(&c);
		if (!current)
			continue;
		put(other, text);
		ok(!config_is_current(&c), "%s is another", other);
	}
	ok(current, "the same file");
}

static void test_config(void)
{
	struct err e;
	AUTO_CONFIG struct config c = {0};
	AUTO_FREE char *dir = under("conf.d");
	AUTO_FREE char *file = under("crisp.json");
	mkdir(dir, 0755);
	put("crisp.json", "{\"root\":\"/a\",\"ctr_stop_timeout\":5}");
	put("conf.d/10.json", "{\"root\":\"/b\"}");
	put("conf.d/20.json", "{\"plugin_dirs\":[\"/p\"]}");
	ok(config_load(&c, file, &e) == 0, "load");
	ok(strcmp(c.root, "/b") == 0 && c.ctr_stop_timeout == 5,
	   "a drop-in replaces, the rest stays");
	ok(json_array_size(c.plugin_dirs) == 1, "lists are replaced whole");
	ok(strcmp(c.runroot, "/run/crisp") == 0, "defaults");
	AUTO_FREE char *a = under("conf.d/10.json");
	AUTO_FREE char *b = under("conf.d/20.json");
	test_current(file, "crisp.json", "{\"root\":\"/a\",\"ctr_stop_timeout\":6}");
	test_current(file, "conf.d/20.json", "{\"plugin_dirs\":[\"/q\"]}");
	test_current(file, "conf.d/30.json", "{}");
	AUTO_FREE char *third = under("conf.d/30.json");
	unlink(third);
	unlink(a);
	unlink(b);
	expect_config_error("{\"rot\":\"/a\"}", "rot: unknown key");
	expect_config_error("{\"root\":5}", "root: expected string, found integer");
	expect_config_error("{\"ctr_stop_timeout\":-1}", "ctr_stop_timeout: -1 is not within");
	expect_config_error("{\"plugin_dirs\":[1]}", "plugin_dirs: every member must be a string");
	expect_config_error("[]", "expected object");
	AUTO_FREE char *none = under("none.json");
	struct config d;
	ok(config_load(&d, none, &e) == -1 && strstr(e.msg, "none.json"),
	   "a named file must exist: %s", e.msg);
	config_release(&d);
}

static void test_handlers(void)
{
	struct err e;
	AUTO_CONFIG struct config c = {0};
	AUTO_FREE char *file = under("h.json");
	AUTO_FREE char *text = xasprintf(
		"{\"handlers_dir\":\"%s\",\"runroot\":\"/r\",\"default_runtime\":\"mine\"}", top);
	put("h.json", text);
	put("mine.json", "{\"path\":\"/bin/true\",\"args\":[\"--x\"]}");
	put("bad.json", "{\"path\":\"true\"}");
	ok(config_load(&c, file, &e) == 0, "load");
	AUTO_HANDLER struct handler h = {0};
	ok(handler_find(&h, &c, "", &e) == 0 && strcmp(h.name, "mine") == 0, "the default");
	ok(strcmp(h.root, "/r/runtimes/mine") == 0 && json_array_size(h.args) == 1,
	   "root and args");
	struct handler bad;
	ok(handler_find(&bad, &c, "nope", &e) == -1 && e.kind == ERR_BAD_INPUT, "unknown: %s",
	   e.msg);
	ok(handler_find(&bad, &c, "../etc/passwd", &e) == -1, "a name cannot be a path: %s", e.msg);
	ok(handler_find(&bad, &c, "bad", &e) == -1 && strstr(e.msg, "not absolute"), "%s", e.msg);
	AUTO_JSON json_t *list = handler_list(&c);
	ok(strcmp(json_string_value(json_array_get(list, 0)), "mine") == 0,
	   "the default leads the list");
}

int main(void)
{
	struct err e;
	struct state s;
	if (!mkdtemp(top))
		return 1;
	AUTO_FREE char *root = under("var/lib/crisp");
	AUTO_FREE char *run = under("run");
	test_fs();
	test_lock();
	ok(state_open(&s, "relative", run, &e) == -1, "a relative root is refused: %s", e.msg);
	state_close(&s);
	ok(state_open(&s, root, run, &e) == 0, "state_open makes what is missing");
	test_claims(&s);
	test_records(&s);
	test_journal(&s);
	state_close(&s);
	test_config();
	test_handlers();
	ok(fs_remove_tree(AT_FDCWD, top, &e) == 0, "clean up");
	return tap_done();
}
