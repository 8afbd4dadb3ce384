/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PROCTREE_H
#define CRISP_PROCTREE_H
/* Trees of processes, for whoever has to end everything that one process started. */
#include <stdbool.h>
#include <sys/types.h>

/* The session of a process, 0 when it is gone. */
pid_t proctree_session(pid_t pid);
/* SIGKILL to pid, its descendants and the session `session` (0 = none). All are stopped first,
 * until a look finds nobody new, so that none can fork away meanwhile. Returns when they are dead,
 * or after 2 s. */
void proctree_kill(pid_t pid, pid_t session);
/* proctree_kill for each child of the calling process (also those it got as a subreaper) and the
 * child's session, unless that is ours too; they are reaped, until there are none. false when some
 * are left after timeout_ms. SIGCHLD must be blocked. */
bool proctree_end_children(int timeout_ms);
#endif
