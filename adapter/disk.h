/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_DISK_H
#define CRISP_DISK_H
/* How large the writable layers are. Nobody waits for a walk: whoever reads says so by disk_wanted,
 * and `ocibundle du` then looks at the layers of running containers that have not been looked at
 * for a while. What it says is in the index, with its time. */
#include "crispd.h"

struct disk *disk_new(struct crispd *d);
void disk_free(struct disk *k);
void disk_wanted(struct disk *k);
#endif
