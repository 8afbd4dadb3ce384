/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "proc.h"

#include <stdio.h>
#include <string.h>

int task_open(struct task *t, const struct place *p, struct err *e)
{
	*t = TASK_NONE;
	if (!*p->rec.address)
		return err_set(e, ERR_UNAVAILABLE, "container %s has no shim", p->id);
	const char *name = strrchr(p->rec.shim, '/');
	snprintf(t->peer, sizeof t->peer, "%s", name ? name + 1 : p->rec.shim);
	t->service = p->rec.api >= 3 ? "containerd.task.v3.Task" : "containerd.task.v2.Task";
	t->limit_ms = opts.timeout_ms;
	if (ttrpc_dial(&t->rpc, p->rec.address, t->peer, e) < 0)
		return -1;
	t->rpc.space = p->rec.space;
	return 0;
}

void task_close(struct task *t)
{
	ttrpc_close(&t->rpc);
}

int task_call(struct task *t, const char *method, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *type, void *out, struct err *e)
{
	ProtobufCMessage *answer;
	if (ttrpc_call(&t->rpc, t->service, method, request, type, proc_now_ms() + t->limit_ms,
		       &answer, e) < 0)
		return -1;
	if (out)
		*(ProtobufCMessage **)out = answer;
	else
		protobuf_c_message_free_unpacked(answer, NULL);
	return 0;
}

int task_empty(struct task *t, const char *method, const ProtobufCMessage *request, struct err *e)
{
	return task_call(t, method, request, &shim__empty__descriptor, NULL, e);
}

int task_start(struct task *t, const char *id, const char *exec, pid_t *pid, struct err *e)
{
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	Shim__PidResponse *answer;
	r.id = (char *)id;
	r.exec_id = (char *)exec;
	if (task_call(t, "Start", &r.base, &shim__pid_response__descriptor, &answer, e) < 0)
		return -1;
	if (pid)
		*pid = answer->pid <= INT32_MAX ? (pid_t)answer->pid : 0;
	shim__pid_response__free_unpacked(answer, NULL);
	return 0;
}

int task_kill(struct task *t, const char *id, const char *exec, int signal, bool all, struct err *e)
{
	Shim__KillRequest r = SHIM__KILL_REQUEST__INIT;
	r.id = (char *)id;
	r.exec_id = (char *)exec;
	r.signal = (uint32_t)signal;
	r.all = all;
	return task_empty(t, "Kill", &r.base, e);
}

int task_delete(struct task *t, const char *id, const char *exec, struct err *e)
{
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	r.id = (char *)id;
	r.exec_id = (char *)exec;
	return task_call(t, "Delete", &r.base, &shim__delete_response__descriptor, NULL, e);
}

int task_state(struct task *t, const char *id, enum task_state *state, struct err *e)
{
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	Shim__StateResponse *answer;
	r.id = (char *)id;
	if (task_call(t, "State", &r.base, &shim__state_response__descriptor, &answer, e) < 0)
		return -1;
	*state = answer->status >= TASK_UNKNOWN && answer->status <= TASK_PAUSING
			 ? (enum task_state)answer->status
			 : TASK_UNKNOWN;
	shim__state_response__free_unpacked(answer, NULL);
	return 0;
}
