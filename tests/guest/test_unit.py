# SPDX-License-Identifier: Apache-2.0
"""crispd as systemd's unit, as `make install` puts it there, with the systemd driver."""
import glob
import json
import os
import shutil
import signal
import time

from harness import World, cri, groups_of, read, run, test, unit, wait_for, write

INST = "/run/guest/inst"
OWN = "/etc/systemd/system/crispd.service.d/own.conf"
w = None
pod = ctr = None


def main_pid():
    return int(unit("crispd", "MainPID")["MainPID"])


def seen():
    """What must not change by whatever happens to the daemon."""
    w.connect()
    s = w.status(ctr)
    assert s.state == cri.pb.CONTAINER_RUNNING, s
    code, out, err = w.exec(ctr, "echo", "here")
    assert (code, out) == (0, "here\n"), (code, out, err)
    return w.pid(ctr), s.started_at


def setup():
    global w
    for f in glob.glob(INST + "/usr/local/bin/*"):
        shutil.copy(f, "/usr/local/bin/")
    for f in glob.glob(INST + "/usr/local/lib/systemd/system/*"):
        shutil.copy(f, "/etc/systemd/system/")
    w = World("unit", cgroup_manager="systemd")
    write("/etc/crisp/crisp.json", json.dumps(w.config))
    os.makedirs(w.config["runroot"], exist_ok=True)
    run("systemctl", "daemon-reload")


def teardown():
    write("/etc/crisp/crisp.json", json.dumps(w.config))
    run("systemctl", "start", "crispd")
    w.connect()
    w.remove_all()
    wait_for(lambda: read("/sys/fs/cgroup/system.slice/crispd.service/cgroup.procs").split() == [str(main_pid())])
    run("systemctl", "stop", "crispd")
    assert unit("crispd", "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert not os.path.exists("/sys/fs/cgroup/system.slice/crispd.service")
    left = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "crisp-*", "podinit*")
    assert not left.strip() and not groups_of("crisp-"), left


@test("Type=notify: the start is over when the daemon answers; what runs in it is not privileged by it")
def ready():
    global pod, ctr
    run("systemctl", "start", "crispd")
    w.client = cri.Client(w.socket)
    assert w.client.Version(timeout=5).runtime_name == "crisp"
    p = unit("crispd", "Type", "StatusText", "KillMode", "Delegate", "OOMPolicy", "NotifyAccess", "WatchdogUSec")
    assert p == {"Type": "notify", "StatusText": "serving the CRI on " + w.socket, "KillMode": "process", "Delegate": "yes",
                 "OOMPolicy": "continue", "NotifyAccess": "main", "WatchdogUSec": "1min"}, p
    pid = main_pid()
    assert read("/proc/%d/oom_score_adj" % pid) == "-999"
    pod = w.pod("crun", "/kubepods.slice/kubepods-podunit.slice")
    ctr = w.ctr(pod, "sh", "-c", "env; while :; do sleep 1000; done", name="main")
    score = read("/proc/%d/oom_score_adj" % w.pid(ctr))
    assert score == "0", score
    assert w.exec(ctr, "cat", "/proc/self/oom_score_adj")[:2] == (0, "0\n")

    def others():
        """Without those who wait for the next pod or command, and those who have just ended."""
        all_ = read("/sys/fs/cgroup/system.slice/crispd.service/cgroup.procs").split()
        return [p for p in all_ if p != str(pid) and not (comm(p) or "gate:").startswith(("gate:", "turn:"))]

    def comm(process):
        try:
            return read("/proc/%s/comm" % process)
        except OSError:
            return ""
    # Those who ask the runtimes for their features are there at the beginning.
    wait_for(lambda: len(others()) == 1)
    monitors = others()
    assert read("/proc/%s/comm" % monitors[0]) == "ctrmon", monitors
    for p in [*monitors, str(w.pid(ctr))]:
        env = read("/proc/%s/environ" % p)
        assert "NOTIFY_SOCKET" not in env and "WATCHDOG" not in env and "LISTEN_" not in env, env


@test("the unit is started again, upgraded and killed under a running container, which goes on")
def again():
    was, pid = seen(), main_pid()
    run("systemctl", "restart", "crispd")
    assert seen() == was and main_pid() != pid
    # Another binary in its place, as a package does it.
    shutil.copy("/usr/local/bin/crispd", "/usr/local/bin/.new")
    os.rename("/usr/local/bin/.new", "/usr/local/bin/crispd")
    run("systemctl", "daemon-reexec")
    run("systemctl", "restart", "crispd")
    assert seen() == was
    pid = main_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: main_pid() not in (0, pid) and unit("crispd", "SubState")["SubState"] == "running")
    assert seen() == was and unit("crispd", "NRestarts")["NRestarts"] == "1"
    w.connect()
    # A container that ends while there is no daemon is told afterwards.
    short = w.ctr(pod, "sh", "-c", "sleep 1; exit 7")
    run("systemctl", "stop", "crispd")
    assert unit("crispd", "Result")["Result"] == "success"
    time.sleep(1)
    run("systemctl", "start", "crispd")
    w.connect()
    assert w.wait_exit(short).exit_code == 7 and seen() == was


@test("a reload is over when it is done, and what is wrong with it is in the unit's status")
def reload():
    pid = main_pid()
    write("/etc/crisp/crisp.json", json.dumps(dict(w.config, log_level="warning")))
    run("systemctl", "reload", "crispd")
    wait_for(lambda: "reload: 1 changed, 0 wait" in unit("crispd", "StatusText")["StatusText"])
    write("/etc/crisp/crisp.json", "{ \"nosuch\": 1 }")
    run("systemctl", "reload", "crispd")
    text = wait_for(lambda: (lambda t: t if "nosuch" in t else None)(unit("crispd", "StatusText")["StatusText"]))
    assert "nothing changes" in text and "/etc/crisp/crisp.json" in text, text
    write("/etc/crisp/crisp.json", json.dumps(w.config))
    assert main_pid() == pid and unit("crispd", "ActiveState")["ActiveState"] == "active"


@test("the watchdog: a loop that turns is left alone, one that hangs is killed and started again")
def watchdog():
    was = seen()
    write(OWN, "[Service]\nWatchdogSec=2\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "crispd")
    pid = main_pid()
    time.sleep(2.5)
    assert main_pid() == pid and unit("crispd", "ActiveState")["ActiveState"] == "active"
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: main_pid() not in (0, pid) and unit("crispd", "SubState")["SubState"] == "running", 20)
    assert "watchdog" in run("journalctl", "-q", "-b", "-u", "crispd", "--no-pager").lower()
    os.remove(OWN)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "crispd")
    w.connect()
    assert seen() == was


@test("a stop of the unit answers what is under way")
def drain():
    was = seen()
    path, _, answer = cri._methods["ExecSync"]
    call = w.client.channel.unary_unary(path, lambda m: m.SerializeToString(), answer.FromString).future(
        cri.pb.ExecSyncRequest(container_id=ctr, cmd=["sh", "-c", "echo begun >/dev/shm/begun; sleep 1; echo done"], timeout=20), timeout=30)
    wait_for(lambda: os.path.exists("/proc/%d/root/dev/shm/begun" % was[0]))
    run("systemctl", "stop", "crispd")
    assert call.result().stdout == b"done\n"
    assert unit("crispd", "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert not os.path.exists(w.socket)
    run("systemctl", "start", "crispd")
    w.connect()
    assert seen() == was


@test("by its socket: the first who asks starts it")
def activation():
    run("systemctl", "stop", "crispd")
    was = w.socket
    write("/etc/systemd/system/crispd.socket.d/own.conf", "[Socket]\nListenStream=\nListenStream=%s\n" % was)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "crispd.socket")
    assert main_pid() == 0 and os.stat(was).st_mode & 0o777 == 0o660
    w.connect()
    assert main_pid() != 0 and unit("crispd", "ActiveState")["ActiveState"] == "active"
    run("systemctl", "restart", "crispd")
    w.connect()
    assert w.status(ctr).state == cri.pb.CONTAINER_RUNNING
    run("systemctl", "stop", "crispd.socket", "crispd.service")
    os.remove("/etc/systemd/system/crispd.socket.d/own.conf")
    run("systemctl", "daemon-reload")


@test("a configuration that is wrong: the start fails, and says why")
def wrong():
    run("systemctl", "stop", "crispd")
    write("/etc/crisp/crisp.json", "{ \"nosuch\": 1 }")
    write(OWN, "[Service]\nRestart=no\n")
    run("systemctl", "daemon-reload")
    r = run("systemctl", "start", "crispd", check=False)
    assert unit("crispd", "ActiveState")["ActiveState"] == "failed", r
    assert "nosuch" in run("journalctl", "-q", "-b", "-u", "crispd", "--no-pager", "-n", "20")
    write("/etc/crisp/crisp.json", json.dumps(w.config))
    os.remove(OWN)
    run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed", "crispd")
