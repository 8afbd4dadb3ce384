/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PROMPT_H
#define CRISP_PROMPT_H

/* What the kubelet asks for each second is to be answered within a few milliseconds also while its
 * probes keep every processor busy: puts this process ahead of the tools in line, with short turns
 * (Linux 6.12 and later take the runtime of an ordinary process for the length of its turn; sched(7)).
 * Nothing that it starts inherits that. A niceness that somebody has chosen stays; where we may not,
 * we do without. */
void be_prompt(void);
#endif
