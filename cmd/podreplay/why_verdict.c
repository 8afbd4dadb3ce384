/* SPDX-License-Identifier: Apache-2.0 */
/* What a failure means. Classes:
 *
 *	ok running waiting                nothing failed
 *	network sandbox                   the pod could not be made
 *	image bundle                      the container could not be made
 *	no-command no-permission wrong-platform runtime    the runtime could not start it
 *	oom stopped killed signal         it was ended
 *	not-found not-executable exit     it ended by itself
 *	lost reboot                       nobody saw its end
 */
#include "why.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SHORT = 12, TERM_CODE = 128 + SIGTERM };
/* From here on a limit of processors is worth a word. */
enum { THROTTLED_PERCENT = 25, THROTTLED_PERIODS = 3 };

/* ---- numbers ---- */

const char *why_signal_name(int64_t n)
{
	return n > 0 && n <= 64 ? sigabbrev_np((int)n) : NULL;
}

char *why_bytes(json_int_t n)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)n;
	size_t u = 0;
	for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
		v /= 1024;
	return u ? xasprintf("%.1f %s", v, units[u]) : xasprintf("%lld %s", (long long)n, units[0]);
}

/* Of a signal that a program gets from the kernel for what it did itself. */
static const char *fault_of(int64_t signal)
{
	switch (signal) {
	case SIGSEGV:
		return "it used memory that is not its own (segmentation fault)";
	case SIGBUS:
		return "it used memory that is not there (a file cut short, a full tmpfs)";
	case SIGABRT:
		return "it gave up by itself (abort: a failed assertion, an allocator that found "
		       "damage)";
	case SIGILL:
		return "an instruction that this processor does not have";
	case SIGFPE:
		return "an arithmetic error, such as a division by zero";
	case SIGSYS:
		return "a system call that its seccomp profile does not allow";
	case SIGXFSZ:
		return "a file larger than its limit";
	case SIGPIPE:
		return "it wrote to who reads no more";
	default:
		return NULL;
	}
}

char *why_exit_meaning(const struct exit_record *x)
{
	int64_t by_number = x->exit_code > 128 && x->exit_code <= 128 + 64 ? x->exit_code - 128 : 0;
	int64_t signal = x->signal ? x->signal : by_number;
	const char *name = why_signal_name(signal), *fault = fault_of(signal);
	if (strcmp(x->reason, "StartError") == 0)
		return xstrdup("it was never started");
	if (strcmp(x->reason, "ContainerStatusUnknown") == 0)
		return xstrdup("nobody saw how it ended");
	if (x->oom)
		return xstrdup("killed by the kernel for want of memory (OOM)");
	if (x->exit_code == 0)
		return xstrdup("success");
	if (x->exit_code == 126 && !x->signal)
		return xstrdup("a shell's word for: found, but it cannot be executed");
	if (x->exit_code == 127 && !x->signal)
		return xstrdup("a shell's word for: command not found");
	if (!name)
		return xstrdup("the program's own");
	if (x->signal)
		return xasprintf("killed by signal %lld (%s)%s%s", (long long)signal, name,
				 fault ? ": " : "", fault ? fault : "");
	return xasprintf("a shell's word for: what it ran was killed by signal %lld (%s)%s%s",
			 (long long)signal, name, fault ? ": " : "", fault ? fault : "");
}

json_t *why_given(const struct story_ctr *c, const char *what)
{
	return json_object_get(json_object_get(json_object_get(c->spec, "linux"), "resources"),
			       what);
}

json_t *why_asked_for(const struct story_ctr *c)
{
	return json_object_get(json_object_get(c->config, "linux"), "resources");
}

json_int_t why_memory_limit(const struct story_ctr *c)
{
	json_int_t n = jsonx_opt_int(why_given(c, "memory"), "limit", 0);
	if (n <= 0)
		n = jsonx_opt_int(why_asked_for(c), "memory_limit_in_bytes", 0);
	return n > 0 ? n : 0;
}

double why_cpu_limit(const struct story_ctr *c)
{
	json_int_t quota = jsonx_opt_int(why_given(c, "cpu"), "quota", 0);
	json_int_t period = jsonx_opt_int(why_given(c, "cpu"), "period", 0);
	if (quota <= 0) {
		quota = jsonx_opt_int(why_asked_for(c), "cpu_quota", 0);
		period = jsonx_opt_int(why_asked_for(c), "cpu_period", 0);
	}
	return quota > 0 ? (double)quota / (double)(period > 0 ? period : 100000) : 0;
}

json_int_t why_pids_limit(const struct story_ctr *c)
{
	json_int_t n = jsonx_opt_int(why_given(c, "pids"), "limit", 0);
	return n > 0 ? n : 0;
}

const struct cgroup_counts *why_counts(const struct story_ctr *c)
{
	return c->state == CTR_EXITED ? &c->exit.used : &c->so_far;
}

int why_throttled_percent(const struct cgroup_counts *n)
{
	if (n->cpu_periods <= 0 || n->cpu_throttled <= 0)
		return 0;
	if (n->cpu_throttled >= n->cpu_periods)
		return 100;
	return (int)(100.0 * (double)n->cpu_throttled / (double)n->cpu_periods);
}

/* ---- the verdict ---- */

struct verdict {
	json_t *j, *tries;
};

__attribute__((format(printf, 4, 5))) static struct verdict
say(const char *class, bool failed, const char *words, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	struct verdict v = {json_object(), json_array()};
	json_t *t = json_string(text);
	json_object_set_new(v.j, "class", json_string(class));
	json_object_set_new(v.j, "text", t ? t : json_string(class));
	if (words && *words)
		json_object_set_new(v.j, "words", json_string(words));
	json_object_set_new(v.j, "failed", json_boolean(failed));
	json_object_set_new(v.j, "try", v.tries);
	return v;
}

__attribute__((format(printf, 2, 3))) static void advise(struct verdict *v, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	json_array_append_new(v->tries, json_string(text));
}

static bool has(const char *s, const char *part)
{
	return strcasestr(s, part) != NULL;
}

bool why_step_failed(const struct story_step *st)
{
	return st->exit_status != 0 && strcmp(st->rpc, "ExecSync") != 0 &&
	       !story_step_is(st, "ctrrun", "exec");
}

static const struct story_step *failed_step_of(const struct story *s, const char *id)
{
	for (size_t i = 0; i < s->n_steps; i++)
		if (why_step_failed(&s->steps[i]) && strstr(s->steps[i].command, id))
			return &s->steps[i];
	return NULL;
}

/* Who asked for its end: the last step before it that ends containers, or that of its pod. */
static const struct story_step *stop_step_of(const struct story *s, const struct story_ctr *c,
					     const char **verb)
{
	static const char *const verbs[] = {"stop", "kill", "rm"};
	const struct story_step *found = NULL;
	for (size_t i = 0; i < s->n_steps; i++) {
		const struct story_step *st = &s->steps[i];
		for (size_t k = 0; k < ARRAY_LEN(verbs); k++)
			if (story_step_is(st, "ctrrun", verbs[k]) && strstr(st->command, c->id) &&
			    st->when <= c->exit.finished_at) {
				found = st;
				*verb = verbs[k];
			}
	}
	return found;
}

static const char *first_arg(const struct story_ctr *c)
{
	json_t *spec = json_object_get(json_object_get(c->spec, "process"), "args");
	json_t *list = spec ? spec : json_object_get(c->config, "command");
	const char *s = json_string_value(json_array_get(list, 0));
	return s ? s : "";
}

/* The runtime's words, by what the runtimes are known to say. */
static json_t *refused(const struct story *s, const struct story_ctr *c, const char *words)
{
	bool exec = has(words, "exec");
	struct verdict v;
	if (exec && (has(words, "not found") || has(words, "no such file"))) {
		v = say("no-command", true, words,
			"the command '%s' is not in the image, or its interpreter is not",
			first_arg(c));
		advise(&v, "ocistore mount %s  # is it there?", c->rec.image_id);
		advise(&v, "ocibundle show %.*s  # process.args and PATH in process.env", SHORT,
		       c->id);
	} else if (exec && has(words, "permission denied")) {
		v = say("no-permission", true, words,
			"the command '%s' may not be executed by the container's user",
			first_arg(c));
		advise(&v, "ocistore mount %s  # its mode and owner", c->rec.image_id);
	} else if (has(words, "exec format")) {
		v = say("wrong-platform", true, words,
			"the command '%s' is not for this machine: another architecture, or a "
			"script without an interpreter",
			first_arg(c));
		advise(&v, "ocistore inspect %s  # its architecture", c->rec.image_id);
	} else {
		v = say("runtime", true, words, "the runtime could not start it");
		advise(&v,
		       "ocibundle show --explain %.*s  # where each line of config.json comes from",
		       SHORT, c->id);
	}
	advise(&v, "podreplay capture %.*s -o pod.tar.zst  # to have it fail elsewhere", SHORT,
	       s->pod);
	return v.j;
}

static json_t *out_of_memory(const struct story *s, const struct story_ctr *c)
{
	json_int_t limit = why_memory_limit(c);
	AUTO_FREE char *at = why_bytes(limit), *peak = why_bytes(c->exit.used.peak_memory);
	bool at_limit = limit && c->exit.used.peak_memory >= limit - limit / 16;
	struct verdict v;
	if (limit && (at_limit || !c->exit.used.peak_memory))
		v = say("oom", true, c->exit.message,
			"the kernel killed it: it wanted more memory than its limit of %s", at);
	else if (limit)
		v = say("oom", true, c->exit.message,
			"the kernel killed it for want of memory at %s, below its own limit of %s: "
			"that of one of its processes' groups, of the pod or of the node was hit",
			peak, at);
	else
		v = say("oom", true, c->exit.message,
			"the kernel killed it for want of memory; it has no limit of its own, so "
			"that of the pod or of the node was hit");
	if (limit)
		advise(&v, "raise its limit (resources.limits.memory; memory_limit_in_bytes), or "
			   "have it use less than it finds");
	advise(&v, "ctrstat -i 1 %.*s  # while it runs: what grows", SHORT, c->id);
	advise(&v, "podreplay capture %.*s -o pod.tar.zst  # to have it fail elsewhere", SHORT,
	       s->pod);
	return v.j;
}

static json_t *ended_by(const struct story *s, const struct story_ctr *c, int64_t signal)
{
	const char *verb = "";
	const struct story_step *by = stop_step_of(s, c, &verb);
	const char *name = why_signal_name(signal);
	const char *fault = fault_of(signal);
	struct verdict v;
	bool killed = strcmp(verb, "kill") == 0;
	if (by && (signal == SIGKILL || signal == SIGTERM || killed)) {
		bool hard = signal == SIGKILL && strcmp(verb, "stop") == 0;
		bool hand = strcmp(by->rpc, "hand") == 0;
		v = say("stopped", false, c->exit.message, "it was stopped by %s%s%s",
			hand ? "hand, with ctrrun " : by->rpc, hand ? verb : "",
			hard ? ", and killed when its time to end by itself was over" : "");
		if (hard)
			advise(&v, "does it react to its stop signal? A shell as the first process "
				   "does not pass it on: 'exec COMMAND'");
		return v.j;
	}
	if (fault) {
		v = say("signal", true, c->exit.message, "signal %lld (%s): %s", (long long)signal,
			name ? name : "?", fault);
		advise(&v, "ctrrun logs %.*s", SHORT, c->id);
		advise(&v, "podreplay capture %.*s -o pod.tar.zst  # to have it fail elsewhere",
		       SHORT, s->pod);
		return v.j;
	}
	v = say("killed", true, c->exit.message,
		"signal %lld (%s), sent by a process: nothing here asked for it, and the kernel "
		"did "
		"not for want of memory in its group",
		(long long)signal, name ? name : "?");
	advise(&v, "journalctl -k  # a node that ran out of memory kills, too");
	advise(&v, "ctrrun logs %.*s  # a process within may have done it", SHORT, c->id);
	return v.j;
}

static json_t *ended_itself(const struct story *s, const struct story_ctr *c)
{
	AUTO_FREE char *meaning = why_exit_meaning(&c->exit);
	int64_t code = c->exit.exit_code;
	struct verdict v;
	if (code == 0) {
		v = say("ok", false, NULL, "it ended by itself, with success");
		return v.j;
	}
	v = say(code == 127   ? "not-found"
		: code == 126 ? "not-executable"
			      : "exit",
		true, c->exit.message, "it ended by itself with exit code %lld: %s",
		(long long)code, meaning);
	if (code == 126 || code == 127)
		advise(&v, "ocistore mount %s  # what the image has in PATH", c->rec.image_id);
	advise(&v, "ctrrun logs %.*s  # what it said", SHORT, c->id);
	advise(&v, "podreplay capture %.*s -o pod.tar.zst  # to have it fail elsewhere", SHORT,
	       s->pod);
	return v.j;
}

static json_t *exited(const struct story *s, const struct story_ctr *c)
{
	const struct exit_record *x = &c->exit;
	const struct story_step *step = failed_step_of(s, c->id);
	const char *reason = x->reason;
	if (strcmp(reason, "StartError") == 0)
		return refused(s, c,
			       *c->rec.start_error ? c->rec.start_error
			       : *x->message       ? x->message
			       : step              ? step->error
						   : x->stderr_tail);
	if (strcmp(reason, "ContainerStatusUnknown") == 0) {
		bool reboot = has(x->message, "reboot");
		struct verdict v = say(reboot ? "reboot" : "lost", true, x->message,
				       reboot ? "the machine was rebooted while it ran"
					      : "its monitor was gone when it ended");
		if (!reboot)
			advise(&v, "journalctl -k  # what killed ctrmon");
		return v.j;
	}
	if (x->oom)
		return out_of_memory(s, c);
	if (x->signal)
		return ended_by(s, c, x->signal);
	/* A program that ends itself as it is told to has no signal on record. */
	const char *verb;
	if ((x->exit_code == TERM_CODE || x->exit_code == 0) && stop_step_of(s, c, &verb))
		return ended_by(s, c, SIGTERM);
	return ended_itself(s, c);
}

/* What its limits did to it, whatever became of it. */
static void advise_limits(json_t *verdict, const struct story_ctr *c)
{
	const struct cgroup_counts *n = why_counts(c);
	struct verdict v = {verdict, json_object_get(verdict, "try")};
	int percent = why_throttled_percent(n);
	double cpu = why_cpu_limit(c);
	if (cpu > 0 && percent >= THROTTLED_PERCENT && n->cpu_throttled >= THROTTLED_PERIODS)
		advise(&v,
		       "it was held back in %d %% of its periods by its limit of %.2f processors: "
		       "raise it (resources.limits.cpu; cpu_quota)",
		       percent, cpu);
	if (n->pids_failures > 0)
		advise(&v,
		       "it was refused a new process %lld times: raise its limit of processes, or "
		       "that of its pod (podPidsLimit), or find what starts so many",
		       (long long)n->pids_failures);
}

static json_t *verdict_of(const struct story *s, const struct story_ctr *c)
{
	const struct story_step *step = failed_step_of(s, c->id);
	if (c->state == CTR_EXITED)
		return exited(s, c);
	if (c->has_rec && *c->rec.start_error)
		return refused(s, c, c->rec.start_error);
	if (c->state == CTR_RUNNING && c->use.has_memory && c->use.oom_kills) {
		AUTO_FREE char *at = why_bytes(why_memory_limit(c));
		struct verdict v = say("running", true, NULL,
				       "it runs, but the kernel killed %llu of its processes for "
				       "want of memory (limit %s)",
				       (unsigned long long)c->use.oom_kills,
				       why_memory_limit(c) ? at : "none");
		advise(&v, "ctrrun logs %.*s  # which of them", SHORT, c->id);
		return v.j;
	}
	if (c->state == CTR_RUNNING)
		return say("running", false, step ? step->error : NULL, "it runs").j;
	if (step)
		return refused(s, c, step->error);
	return say("waiting", false, NULL,
		   c->state == CTR_CREATED    ? "it was created and nobody has started it"
		   : c->state == CTR_PREPARED ? "its bundle is made and nobody has created it"
					      : "its records do not tell")
		.j;
}

json_t *why_verdict_ctr(const struct story *s, const struct story_ctr *c)
{
	json_t *v = verdict_of(s, c);
	advise_limits(v, c);
	return v;
}

/* ---- of a pod ---- */

static struct verdict container_unmade(const struct story_step *st)
{
	struct verdict v;
	bool pull = strstr(st->command, "/ocipull ") != NULL;
	if (pull || has(st->error, "image")) {
		v = say("image", true, st->error,
			pull ? "its image could not be pulled"
			     : "a container could not be made of its image");
		advise(&v, "ocistore ls  # what is there");
		advise(&v, "ocipull IMAGE  # what the registry says");
	} else {
		v = say("bundle", true, st->error, "a container could not be made");
	}
	advise(&v, "%s", st->command);
	return v;
}

/* The last attempt to pull an image or to make a container: what failed before was tried again. */
static const struct story_step *last_making(const struct story *s)
{
	for (size_t i = s->n_steps; i-- > 0;)
		if (story_step_is(&s->steps[i], "ocibundle", "create") ||
		    strstr(s->steps[i].command, "/ocipull "))
			return &s->steps[i];
	return NULL;
}

/* When it failed: one that was never started, when it was made. */
static int64_t end_of(const struct story_ctr *c)
{
	return c->state == CTR_EXITED && c->exit.finished_at > 0 ? c->exit.finished_at
								 : c->rec.created_at;
}

json_t *why_verdict_pod(const struct story *s)
{
	/* The container that failed first. One that was told to stop has not failed. */
	const struct story_ctr *first = NULL;
	AUTO_JSON json_t *found = NULL;
	for (size_t i = 0; i < s->n_ctrs; i++) {
		AUTO_JSON json_t *v = why_verdict_ctr(s, &s->ctrs[i]);
		if (!jsonx_opt_bool(v, "failed", false) ||
		    (first && end_of(&s->ctrs[i]) >= end_of(first)))
			continue;
		first = &s->ctrs[i];
		json_decref(found);
		found = json_incref(v);
	}
	const struct story_step *making = last_making(s);
	if (making && why_step_failed(making) && (!first || making->when < end_of(first)))
		return container_unmade(making).j;
	if (found)
		return TAKE(found);
	if (s->has_rec && strcmp(s->rec.state, "ready") != 0)
		return say("waiting", false, s->rec.reason, "the pod is %s", s->rec.state).j;
	return say("ok", false, NULL, "nothing failed").j;
}

json_t *why_verdict_unmade(json_t *failure)
{
	const char *words = jsonx_opt_string(failure, "error", "");
	struct verdict v;
	if (has(words, "network") || has(words, "plugin") || has(words, "CNI")) {
		v = say("network", true, words,
			"the pod could not be made: its network could not be set up");
		advise(&v, "podnet network  # is there one, with its plugins?");
		advise(&v, "podnet gc --dry-run  # addresses and debts of pods that are gone");
	} else if (has(words, "handler") || has(words, "runtime")) {
		v = say("runtime", true, words, "the pod could not be made: its runtime handler");
		advise(&v, "ctrrun handlers  # what there is, and what it can do");
	} else {
		v = say("sandbox", true, words, "the pod could not be made");
	}
	advise(&v, "podnet create pod.json  # the same again, by hand");
	return v.j;
}
