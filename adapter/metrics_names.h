/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_METRICS_NAMES_H
#define CRISP_METRICS_NAMES_H
/* The metrics, by the names that dashboards know from cAdvisor: X(id, name, type, labels beside the
 * usual ones, help). A value is a whole number, so "seconds" are whole seconds. */
/* clang-format off */
#define METRICS(X) \
	X(BLKIO, "blkio_device_usage_total", COUNTER, BLKIO, "Bytes read from and written to a device.") \
	X(CFS_PERIODS, "cpu_cfs_periods_total", COUNTER, NONE, "Scheduling periods in which there was something to run.") \
	X(CFS_THROTTLED, "cpu_cfs_throttled_periods_total", COUNTER, NONE, "Periods in which the CPU quota was used up.") \
	X(CFS_THROTTLED_S, "cpu_cfs_throttled_seconds_total", COUNTER, NONE, "Seconds spent waiting for the next CPU quota.") \
	X(CPU_SYSTEM, "cpu_system_seconds_total", COUNTER, NONE, "CPU seconds used in the kernel.") \
	X(CPU_USAGE, "cpu_usage_seconds_total", COUNTER, CPU, "CPU seconds used, over all CPUs.") \
	X(CPU_USER, "cpu_user_seconds_total", COUNTER, NONE, "CPU seconds used in programs.") \
	X(FDS, "file_descriptors", GAUGE, NONE, "Open file descriptors.") \
	X(INODES_FREE, "fs_inodes_free", GAUGE, DEVICE, "Free inodes of the file system with the writable layers.") \
	X(INODES_TOTAL, "fs_inodes_total", GAUGE, DEVICE, "Inodes of the file system with the writable layers.") \
	X(FS_LIMIT, "fs_limit_bytes", GAUGE, DEVICE, "Size of the file system with the writable layers.") \
	X(FS_READ_BYTES, "fs_reads_bytes_total", COUNTER, DEVICE, "Bytes read from a device.") \
	X(FS_READS, "fs_reads_total", COUNTER, DEVICE, "Read operations of a device.") \
	X(FS_USAGE, "fs_usage_bytes", GAUGE, DEVICE, "Bytes of the writable layer, when it was last walked.") \
	X(FS_WRITE_BYTES, "fs_writes_bytes_total", COUNTER, DEVICE, "Bytes written to a device.") \
	X(FS_WRITES, "fs_writes_total", COUNTER, DEVICE, "Write operations of a device.") \
	X(LAST_SEEN, "last_seen", GAUGE, NONE, "When it was last looked at, in seconds since 1970.") \
	X(CACHE, "memory_cache", GAUGE, NONE, "Bytes of page cache.") \
	X(FAILCNT, "memory_failcnt", COUNTER, NONE, "How often the memory limit was hit.") \
	X(FAILURES, "memory_failures_total", COUNTER, FAILURE, "Page faults.") \
	X(KERNEL, "memory_kernel_usage", GAUGE, NONE, "Bytes of kernel memory.") \
	X(MAPPED, "memory_mapped_file", GAUGE, NONE, "Bytes of mapped files.") \
	X(PEAK, "memory_max_usage_bytes", GAUGE, NONE, "The largest memory usage so far.") \
	X(RSS, "memory_rss", GAUGE, NONE, "Bytes of anonymous memory.") \
	X(SWAP, "memory_swap", GAUGE, NONE, "Bytes of swap.") \
	X(MEMORY, "memory_usage_bytes", GAUGE, NONE, "Bytes of memory, whatever for.") \
	X(WORKING_SET, "memory_working_set_bytes", GAUGE, NONE, "Memory usage without inactive file cache.") \
	X(RX_BYTES, "network_receive_bytes_total", COUNTER, INTERFACE, "Bytes received.") \
	X(RX_ERRORS, "network_receive_errors_total", COUNTER, INTERFACE, "Errors in receiving.") \
	X(RX_DROPPED, "network_receive_packets_dropped_total", COUNTER, INTERFACE, "Packets dropped in receiving.") \
	X(RX_PACKETS, "network_receive_packets_total", COUNTER, INTERFACE, "Packets received.") \
	X(TX_BYTES, "network_transmit_bytes_total", COUNTER, INTERFACE, "Bytes sent.") \
	X(TX_ERRORS, "network_transmit_errors_total", COUNTER, INTERFACE, "Errors in sending.") \
	X(TX_DROPPED, "network_transmit_packets_dropped_total", COUNTER, INTERFACE, "Packets dropped in sending.") \
	X(TX_PACKETS, "network_transmit_packets_total", COUNTER, INTERFACE, "Packets sent.") \
	X(OOM, "oom_events_total", COUNTER, NONE, "Processes killed for want of memory.") \
	X(PSI_CPU_FULL, "pressure_cpu_stalled_seconds_total", COUNTER, NONE, "Seconds in which all tasks waited for CPU.") \
	X(PSI_CPU_SOME, "pressure_cpu_waiting_seconds_total", COUNTER, NONE, "Seconds in which a task waited for CPU.") \
	X(PSI_IO_FULL, "pressure_io_stalled_seconds_total", COUNTER, NONE, "Seconds in which all tasks waited for I/O.") \
	X(PSI_IO_SOME, "pressure_io_waiting_seconds_total", COUNTER, NONE, "Seconds in which a task waited for I/O.") \
	X(PSI_MEMORY_FULL, "pressure_memory_stalled_seconds_total", COUNTER, NONE, "Seconds in which all tasks waited for memory.") \
	X(PSI_MEMORY_SOME, "pressure_memory_waiting_seconds_total", COUNTER, NONE, "Seconds in which a task waited for memory.") \
	X(PROCESSES, "processes", GAUGE, NONE, "Processes.") \
	X(SOCKETS, "sockets", GAUGE, NONE, "File descriptors that are sockets.") \
	X(CPU_PERIOD, "spec_cpu_period", GAUGE, NONE, "The CPU scheduling period in microseconds.") \
	X(CPU_QUOTA, "spec_cpu_quota", GAUGE, NONE, "The CPU quota in microseconds a period; absent without one.") \
	X(CPU_SHARES, "spec_cpu_shares", GAUGE, NONE, "The CPU share, on the scale of cgroup v1.") \
	X(MEMORY_LIMIT, "spec_memory_limit_bytes", GAUGE, NONE, "The memory limit, 0 without one.") \
	X(RESERVATION, "spec_memory_reservation_limit_bytes", GAUGE, NONE, "The memory that is reserved, 0 without a limit.") \
	X(SWAP_LIMIT, "spec_memory_swap_limit_bytes", GAUGE, NONE, "The limit on memory and swap together, 0 without one.") \
	X(START_TIME, "start_time_seconds", GAUGE, NONE, "When it started, in seconds since 1970.") \
	X(THREADS, "threads", GAUGE, NONE, "Threads.") \
	X(THREADS_MAX, "threads_max", GAUGE, NONE, "How many threads there may be, 0 without a limit.") \
	X(ULIMITS, "ulimits_soft", GAUGE, ULIMIT, "Soft resource limits of the first process.")
/* clang-format on */
#endif
