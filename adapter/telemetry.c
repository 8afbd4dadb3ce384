/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry.h"

#include "auto.h"
#include "buf.h"
#include "grpc.h"
#include "heads.h"
#include "index.h"
#include "jobs.h"
#include "jsonx.h"
#include "log.h"
#include "xalloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { SERIES_MAX = 64, CODES = 17 };

/* Upper bounds in microseconds, and how Prometheus writes them. */
static const struct {
	long long us;
	const char *le;
} buckets[] = {
	{500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},
	{10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},
	{250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"},
	{5000000, "5"},   {10000000, "10"}, {30000000, "30"}, {60000000, "60"},
};

/* One RPC or one tool. */
struct series {
	const char *name;
	uint64_t codes[CODES]; /* of a tool: [0] succeeded, [1] failed */
	uint64_t in[ARRAY_LEN(buckets)];
	uint64_t count;
	long long sum_us;
};

struct telemetry {
	struct crispd *d;
	struct heads *heads;
	time_t since;
	struct series calls[SERIES_MAX], steps[SERIES_MAX];
};

/* The names are literals of a table: there are as many as there are RPCs, and tools. */
static struct series *find(struct series *all, const char *name)
{
	for (size_t i = 0; i < SERIES_MAX; i++) {
		if (!all[i].name)
			all[i].name = name;
		if (all[i].name == name || strcmp(all[i].name, name) == 0)
			return &all[i];
	}
	return NULL;
}

static void count(struct series *s, int code, long long us)
{
	if (!s)
		return;
	s->codes[code >= 0 && code < CODES ? code : 2]++;
	s->count++;
	s->sum_us += us;
	for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
		if (us <= buckets[i].us) {
			s->in[i]++;
			break;
		}
}

void telemetry_call(struct telemetry *t, const char *rpc, int code, long long us)
{
	if (t)
		count(find(t->calls, rpc), code, us);
}

void telemetry_step(struct telemetry *t, const char *tool, bool failed, long long ms)
{
	if (t)
		count(find(t->steps, tool), failed, ms * 1000);
}

/* A page that would be larger than its bound is cut, not refused. */
__attribute__((format(printf, 2, 3))) static void line(struct buf *b, const char *fmt, ...)
{
	struct err ignored;
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)buf_addstr(b, text, &ignored);
}

static void head_of(struct buf *b, const char *name, const char *type, const char *help)
{
	line(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void histogram(struct buf *b, const struct series *all, const char *name, const char *label,
		      const char *help)
{
	head_of(b, name, "histogram", help);
	for (const struct series *s = all; s < all + SERIES_MAX && s->name; s++) {
		uint64_t sum = 0;
		for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
			line(b, "%s_bucket{%s=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, label,
			     s->name, buckets[i].le, sum += s->in[i]);
		line(b, "%s_bucket{%s=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, label, s->name,
		     s->count);
		line(b, "%s_sum{%s=\"%s\"} %lld.%06lld\n", name, label, s->name,
		     s->sum_us / 1000000, s->sum_us % 1000000);
		line(b, "%s_count{%s=\"%s\"} %" PRIu64 "\n", name, label, s->name, s->count);
	}
}

static void tell_calls(struct buf *b, const struct telemetry *t)
{
	head_of(b, "crisp_requests_total", "counter", "Calls answered, by RPC and gRPC code.");
	for (const struct series *s = t->calls; s < t->calls + SERIES_MAX && s->name; s++)
		for (int i = 0; i < CODES; i++)
			if (s->codes[i])
				line(b,
				     "crisp_requests_total{rpc=\"%s\",code=\"%s\"} %" PRIu64 "\n",
				     s->name, grpc_code_name(i), s->codes[i]);
	histogram(b, t->calls, "crisp_request_duration_seconds", "rpc",
		  "How long calls took until they were answered.");
	head_of(b, "crisp_steps_failed_total", "counter", "Runs of tools that failed.");
	for (const struct series *s = t->steps; s < t->steps + SERIES_MAX && s->name; s++)
		line(b, "crisp_steps_failed_total{tool=\"%s\"} %" PRIu64 "\n", s->name,
		     s->codes[1]);
	histogram(b, t->steps, "crisp_step_duration_seconds", "tool",
		  "How long tools ran for requests.");
}

static void tell_jobs(struct buf *b, const struct telemetry *t)
{
	size_t running, waiting, i, stuck = 0, pulls = 0;
	json_t *j;
	AUTO_JSON json_t *all = jobs_dump(t->d->jobs);
	json_array_foreach (all, i, j) {
		stuck += jsonx_opt_bool(j, "stuck", false);
		pulls += strcmp(jsonx_opt_string(j, "rpc", ""), "PullImage") == 0;
	}
	jobs_count(t->d->jobs, &running, &waiting);
	head_of(b, "crisp_jobs", "gauge", "Requests at work, and waiting for their turn.");
	line(b, "crisp_jobs{state=\"running\"} %zu\ncrisp_jobs{state=\"waiting\"} %zu\n", running,
	     waiting);
	head_of(b, "crisp_stuck_steps", "gauge", "Tools that run longer than they may on purpose.");
	line(b, "crisp_stuck_steps %zu\n", stuck);
	head_of(b, "crisp_pulls", "gauge", "Image pulls under way.");
	line(b, "crisp_pulls %zu\n", pulls);
}

static void tell_objects(struct buf *b, const struct index *ix)
{
	static const char *const states[] = {"created", "running", "exited", "unknown"};
	size_t pods[2] = {0}, ctrs[ARRAY_LEN(states)] = {0}, monitors = 0, damaged = 0, images;
	for (size_t i = 0; i < index_n_pods(ix); i++) {
		pods[pod_ready(index_pod_at(ix, i))]++;
		damaged += index_pod_at(ix, i)->damage != NULL;
	}
	for (size_t i = 0; i < index_n_ctrs(ix); i++) {
		const struct ctr *c = index_ctr_at(ix, i);
		unsigned state = (unsigned)ctr_cri_state(c);
		ctrs[state < ARRAY_LEN(states) ? state : ARRAY_LEN(states) - 1]++;
		monitors += c->watching_monitor && c->watch.fd >= 0;
		damaged += c->damage != NULL;
	}
	(void)index_images(ix, &images);
	head_of(b, "crisp_pods", "gauge", "Pods, by state.");
	line(b, "crisp_pods{state=\"ready\"} %zu\ncrisp_pods{state=\"notready\"} %zu\n", pods[1],
	     pods[0]);
	head_of(b, "crisp_containers", "gauge", "Containers, by state.");
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		line(b, "crisp_containers{state=\"%s\"} %zu\n", states[i], ctrs[i]);
	head_of(b, "crisp_monitors", "gauge", "Monitors (ctrmon) that are watched.");
	line(b, "crisp_monitors %zu\n", monitors);
	head_of(b, "crisp_damaged_records", "gauge",
		"Pods and containers whose records do not parse.");
	line(b, "crisp_damaged_records %zu\n", damaged);
	head_of(b, "crisp_images", "gauge", "Images in the store.");
	line(b, "crisp_images %zu\n", images);
}

static unsigned long resident_pages(void)
{
	char text[128];
	AUTO_CLOSE int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	const char *second = strchr(text, ' ');
	return second ? strtoul(second, NULL, 10) : 0;
}

static size_t open_descriptors(void)
{
	size_t n = 0;
	AUTO_CLOSEDIR DIR *d = opendir("/proc/self/fd");
	while (d && readdir(d))
		n++;
	/* Without "." and ".." and the one that reads them. */
	return n > 3 ? n - 3 : 0;
}

static void tell_process(struct buf *b, const struct telemetry *t)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	long long us = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec +
		       u.ru_stime.tv_usec;
	head_of(b, "crisp_build_info", "gauge", "The version, as a label.");
	line(b, "crisp_build_info{version=\"%s\"} 1\n", VERSION);
	head_of(b, "process_cpu_seconds_total", "counter", "Processor time of the daemon.");
	line(b, "process_cpu_seconds_total %lld.%06lld\n", us / 1000000, us % 1000000);
	head_of(b, "process_resident_memory_bytes", "gauge", "Memory of the daemon.");
	line(b, "process_resident_memory_bytes %lu\n",
	     resident_pages() * (unsigned long)sysconf(_SC_PAGESIZE));
	head_of(b, "process_open_fds", "gauge", "Descriptors that the daemon has open.");
	line(b, "process_open_fds %zu\n", open_descriptors());
	head_of(b, "process_start_time_seconds", "gauge", "When the daemon started.");
	line(b, "process_start_time_seconds %lld\n", (long long)t->since);
}

void telemetry_page(const struct telemetry *t, struct buf *b)
{
	struct err ignored;
	tell_calls(b, t);
	tell_jobs(b, t);
	tell_objects(b, t->d->index);
	tell_process(b, t);
	(void)buf_add(b, "", 1, &ignored);
}

static void on_head(struct head *h, void *arg)
{
	const struct telemetry *t = arg;
	size_t len;
	if (strncmp(head_data(h, &len), "GET ", 4) != 0) {
		head_answer(h, "405 Method Not Allowed", "text/plain", "only GET\n");
		return;
	}
	if (!head_asks(h, "/metrics")) {
		head_answer(h, "404 Not Found", "text/plain", "only /metrics\n");
		return;
	}
	AUTO_BUF struct buf b = BUF_INIT(TELEMETRY_MAX);
	telemetry_page(t, &b);
	head_answer(h, "200 OK", "text/plain; version=0.0.4", b.data ? b.data : "");
}

struct telemetry *telemetry_new(struct crispd *d)
{
	struct telemetry *t = xcalloc(1, sizeof *t);
	t->d = d;
	t->since = time(NULL);
	telemetry_listen(t);
	return t;
}

void telemetry_listen(struct telemetry *t)
{
	const struct config *cfg = &t->d->cfg;
	struct err e;
	heads_free(t->heads);
	t->heads = heads_new(t->d->loop, "metrics", on_head, t);
	if (!*cfg->metrics_port)
		return;
	if (heads_listen(t->heads, cfg->metrics_host, cfg->metrics_port, &e) < 0)
		log_warn("metrics are off: %s", e.msg);
	else
		log_info("metrics on %s/metrics", heads_base(t->heads));
}

void telemetry_free(struct telemetry *t)
{
	if (!t)
		return;
	heads_free(t->heads);
	free(t);
}
