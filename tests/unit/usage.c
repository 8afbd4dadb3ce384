/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of what the kernel says about control groups and interfaces. */
#include "libcommon/usage.c"
#include "tap.h"

static void test_dirs(void)
{
	struct usage_dirs d, above;
	static const char v1[] = "9:name=systemd:/kube/pod1/c1\n8:pids:/kube/pod1/c1/inner\n"
				 "4:memory:/kube/pod1/c1\n3:cpuset:/\n2:cpu,cpuacct:/kube/pod1/c1\n"
				 "1:blkio:/other\n0::/kube/pod1/c1\n";
	usage_dirs_parse(&d, v1, "c1", false);
	ok(d.known && strcmp(d.of[USAGE_CPU], "/sys/fs/cgroup/cpu/kube/pod1/c1") == 0,
	   "v1: a controller's directory");
	ok(strcmp(d.of[USAGE_CPUACCT], "/sys/fs/cgroup/cpuacct/kube/pod1/c1") == 0,
	   "two controllers in one hierarchy");
	ok(strcmp(d.of[USAGE_PIDS], "/sys/fs/cgroup/pids/kube/pod1/c1") == 0,
	   "cut where the container's group ends");
	ok(!d.of[USAGE_BLKIO], "a group that is not the container's is not taken");
	usage_dirs_above(&above, &d);
	ok(strcmp(above.of[USAGE_MEMORY], "/sys/fs/cgroup/memory/kube/pod1") == 0,
	   "the pod's is the one above");
	usage_dirs_release(&above);
	usage_dirs_release(&d);

	usage_dirs_parse(&d, "0::/a.slice/crisp-c1.scope/init.scope\n", "c1", true);
	ok(d.known && strcmp(d.of[USAGE_CPU], "/sys/fs/cgroup/a.slice/crisp-c1.scope") == 0,
	   "v2: the scope that systemd made");
	usage_dirs_release(&d);
	usage_dirs_parse(&d, "0::/a.slice/crisp-c1.scope/container/init.scope\n", "c1", true);
	ok(d.known &&
		   strcmp(d.of[USAGE_CPU], "/sys/fs/cgroup/a.slice/crisp-c1.scope/container") == 0,
	   "v2: where crun sets limits in it");
	usage_dirs_above(&above, &d);
	ok(above.known && strcmp(above.of[USAGE_CPU], "/sys/fs/cgroup/a.slice") == 0,
	   "the pod's is above the scope");
	usage_dirs_release(&above);
	usage_dirs_release(&d);
	usage_dirs_parse(&d, "0::/c1\n", "c1", true);
	usage_dirs_above(&above, &d);
	ok(d.known && !above.known, "the root is nobody's pod");
	usage_dirs_release(&d);
	static const char *const bad[] = {"",       "0::/\n",         "0::/../c1\n",
					  "x\n\n:", "4:memory:c1/\n", "4:memory\n"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		usage_dirs_parse(&d, bad[i], "c1", i < 3);
		ok(!d.known, "nothing is made of line %zu", i);
		usage_dirs_release(&d);
	}
}

static void test_numbers(void)
{
	static const char stat[] = "cache 1\nrss 4096\nrss_huge 5\ntotal_rss 8192\nlast 7";
	ok(usage_field(stat, "rss") == 4096, "a field, not the one that begins like it");
	ok(usage_field(stat, "total_rss") == 8192 && usage_field(stat, "last") == 7,
	   "the last line needs no end");
	ok(usage_field(stat, "ss") == 0 && usage_field("", "rss") == 0, "what is not there is 0");
	struct usage_pressure p;
	usage_pressure_parse(&p, "some avg10=1.50 avg60=0.25 avg300=100.00 total=123456789012\n"
				 "full avg10=0.00 avg60=0.10 avg300=0.20 total=7\n");
	ok(p.known && p.some.avg10 == 1.5 && p.some.avg60 == 0.25 && p.some.avg300 == 100 &&
		   p.some.total_us == 123456789012,
	   "pressure: some");
	ok(p.full.total_us == 7 && p.full.avg300 == 0.2, "and full");
	usage_pressure_parse(&p, "some avg10=1.00 avg60=0.00 avg300=0.00 total=3\n");
	ok(p.known && p.full.total_us == 0, "cpu.pressure of old kernels has no full");
	usage_pressure_parse(&p, "nonsense\n");
	ok(!p.known, "what is no pressure is none");
}

static void test_io(void)
{
	struct usage_io io[2];
	size_t n = usage_blkio_parse(io, 0, 2,
				     "8:0 Read 100\n8:0 Write 200\n8:0 Sync 9\n8:0 Total 300\n"
				     "259:1 Read 5\n7:7 Read 1\nTotal 306\n",
				     true);
	ok(n == 2 && io[0].read_bytes == 100 && io[0].write_bytes == 200 && io[0].reads == 0,
	   "v1: bytes by device; no more devices than there is room for");
	ok(io[1].major == 259 && io[1].minor == 1 && io[1].read_bytes == 5, "the second device");
	n = usage_blkio_parse(io, n, 2, "8:0 Read 3\n8:0 Write 4\n", false);
	ok(n == 2 && io[0].reads == 3 && io[0].writes == 4 && io[0].read_bytes == 100,
	   "operations go to the same devices");
	n = usage_iostat_parse(io, 0, 2,
			       "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:0 \n");
	ok(n == 2 && io[0].minor == 16 && io[0].read_bytes == 1 && io[0].write_bytes == 2 &&
		   io[0].reads == 3 && io[0].writes == 4,
	   "v2: io.stat");
	ok(io[1].major == 254 && io[1].read_bytes == 0, "a device without numbers");
	ok(usage_iostat_parse(io, 0, 2, "x\n:\n8\n8:\n8:x \n") == 0, "no devices in nonsense");
}

static void test_netdev(void)
{
	struct usage_interface i[3];
	static const char text[] =
		"Inter-|   Receive                  |  Transmit\n"
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n"
		"    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		"  eth0:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		"short0: 1 2 3\n"
		"net1.5: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
	size_t n = usage_netdev_parse(i, 3, text);
	ok(n == 2 && strcmp(i[0].name, "eth0") == 0 && strcmp(i[1].name, "net1.5") == 0,
	   "interfaces; not lo, and no line that is cut");
	ok(i[0].rx_bytes == UINT64_MAX && i[0].rx_packets == 2 && i[0].rx_errors == 3 &&
		   i[0].rx_dropped == 4,
	   "received; no blank after the colon");
	ok(i[0].tx_bytes == 9 && i[0].tx_packets == 10 && i[0].tx_errors == 11 &&
		   i[0].tx_dropped == 12,
	   "sent");
	ok(usage_netdev_parse(i, 1, text) == 1 && usage_netdev_parse(i, 3, "") == 0,
	   "as many as there is room for");
	n = usage_interfaces(getpid(), i, 3);
	ok(usage_interfaces(-1, i, 3) == 0, "a process that is not there (we have %zu)", n);
}

int main(void)
{
	test_dirs();
	test_numbers();
	test_io();
	test_netdev();
	return tap_done();
}
