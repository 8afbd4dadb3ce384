/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODNET_CIDR_H
#define PODNET_CIDR_H
/* The node's pod address ranges, as the kubelet tells them (UpdateRuntimeConfig). They are kept in
 * <root>/podcidr.json for plugins with the capability ipRanges, and rendered into
 * <network_dir>/10-crisp.conflist when network_template names a template: JSON in which the string
 * "{{.PodCIDRRanges}}" becomes [[{"subnet": CIDR}], …], "{{.Routes}}" a default route for each family
 * there is, and {{.PodCIDR}} within a string the first range. */
#include "podnet.h"

int cmd_cidr(struct tool_ctx *c, int argc, char **argv, struct err *e);
/* The value of the capability, a new reference; NULL when nobody has told a range. */
json_t *cidr_ranges(const struct tool_ctx *c);
#endif
