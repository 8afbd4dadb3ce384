/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include "auto.h"
#include "fs.h"
#include "http.h"
#include "proc.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

enum { WAIT_MAX_MS = 1000 };

int engine_init(struct engine *en, struct err *e)
{
	*en = (struct engine){.signals = proc_end_signals(e)};
	if (en->signals < 0)
		return -1;
	fs_lock_heeds_signals = true;
	proc_ignore(SIGPIPE);
	if (curl_global_init(CURL_GLOBAL_ALL) != 0 || !(en->multi = curl_multi_init()))
		return err_set(e, ERR_FAILED, "cannot set up libcurl");
	return 0;
}

void engine_release(struct engine *en)
{
	if (en->multi) {
		curl_multi_cleanup(en->multi);
		curl_global_cleanup();
	}
	en->multi = NULL;
	auto_close(&en->signals);
}

void engine_watch(struct engine *en, int fd, short events, bool *ready)
{
	*ready = false;
	if (en->count == ENGINE_WATCHES - 1)
		return;
	en->fds[en->count] = (struct curl_waitfd){.fd = fd, .events = events};
	en->ready[en->count++] = ready;
}

void engine_wake(struct engine *en, long long at_ms)
{
	if (en->wake_at == 0 || at_ms < en->wake_at)
		en->wake_at = at_ms;
}

static void mark_finished(struct engine *en)
{
	int left;
	const CURLMsg *m;
	while ((m = curl_multi_info_read(en->multi, &left))) {
		struct http *h = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&h);
		http_finished(h, m->data.result);
	}
}

static int cancelled(const struct engine *en, struct err *e)
{
	struct signalfd_siginfo si;
	if (read(en->signals, &si, sizeof si) != sizeof si)
		return 0;
	return err_set(e, ERR_CANCELLED, "cancelled by %s", strsignal((int)si.ssi_signo));
}

/* Transfers move on after the wait, not before it: what their data changes (a pipe that is full) is
 * then asked for by the next round's watches. */
int engine_wait(struct engine *en, struct err *e)
{
	int running, hits;
	unsigned n = en->count;
	bool any_ready;
	long long now = proc_now_ms(), timeout = WAIT_MAX_MS;
	if (en->wake_at)
		timeout = en->wake_at <= now ? 0 : en->wake_at - now;
	if (timeout > WAIT_MAX_MS)
		timeout = WAIT_MAX_MS;
	engine_watch(en, en->signals, POLLIN, &any_ready);
	CURLMcode mc = curl_multi_poll(en->multi, en->fds, n + 1, (int)timeout, &hits);
	for (unsigned i = 0; mc == CURLM_OK && i < n; i++)
		*en->ready[i] = en->fds[i].revents != 0;
	bool signalled = en->fds[n].revents != 0;
	en->count = 0;
	en->wake_at = 0;
	if (mc == CURLM_OK)
		mc = curl_multi_perform(en->multi, &running);
	if (mc != CURLM_OK)
		return err_set(e, ERR_FAILED, "libcurl: %s", curl_multi_strerror(mc));
	mark_finished(en);
	return signalled ? cancelled(en, e) : 0;
}
