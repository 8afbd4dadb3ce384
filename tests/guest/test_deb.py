# SPDX-License-Identifier: Apache-2.0
"""The Debian package on a machine with systemd: the unit is started by the installation, and stays at its containers
through an upgrade."""
import json
import os

from harness import World, run, test, unit, wait_for, write

DEBS = "/run/guest/"
w = None
pod = ctr = None


def main_pid():
    return int(unit("crispd", "MainPID")["MainPID"])


def dpkg(*args, check=True):
    # The index of man pages is not what is tested.
    return run("dpkg", "--no-triggers", *args, check=check, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C"))


def setup():
    global w
    if os.path.exists("/usr/sbin/policy-rc.d"):  # of a build machine, where no package may start anything
        os.remove("/usr/sbin/policy-rc.d")
    run(os.path.join(os.path.dirname(__file__), "../lib/small_dpkg"), "/run/dpkg", DEBS + "one.deb")
    run("mount", "--bind", "/run/dpkg", "/var/lib/dpkg")
    w = World("deb", cgroup_manager="systemd")


def teardown():
    run("dpkg", "--no-triggers", "-P", "crisp", check=False)
    run("systemctl", "daemon-reload")
    run("umount", "/var/lib/dpkg")
    assert not os.path.exists("/lib/systemd/system/crispd.service")


@test("the package installed: the unit runs with its default configuration, and a pod in it")
def installed():
    global pod, ctr
    dpkg("-i", DEBS + "one.deb")
    p = unit("crispd", "ActiveState", "UnitFileState", "Type", "KillMode", "Delegate", "OOMScoreAdjust", "FragmentPath")
    assert p == {"ActiveState": "active", "UnitFileState": "enabled", "Type": "notify", "KillMode": "process", "Delegate": "yes",
                 "OOMScoreAdjust": "-999", "FragmentPath": "/lib/systemd/system/crispd.service"}, p
    assert "crisp" in run("/usr/bin/cricall", "Version")
    effective = json.loads(run("/usr/bin/crispd", "--json", "config"))
    assert effective["cgroup_manager"] == {"value": "systemd", "source": "/etc/crisp/crisp.json"}, effective["cgroup_manager"]
    # On directories of ours from here on.
    write("/etc/crisp/conf.d/test.json", json.dumps(w.config))
    run("systemctl", "restart", "crispd")
    w.connect()
    pod = w.pod("crun", "/kubepods.slice/kubepods-poddeb.slice")
    ctr = w.ctr(pod, "sleep", "1000")
    assert w.exec(ctr, "echo", "here")[:2] == (0, "here\n")


@test("upgraded under the container: the next daemon has it, and it is the same process")
def upgraded():
    was, pid = main_pid(), w.pid(ctr)
    dpkg("-i", DEBS + "two.deb")
    assert "+next" in run("dpkg-query", "-W", "-f", "${Version}", "crisp")
    assert main_pid() not in (0, was)
    w.connect()
    assert w.pid(ctr) == pid and w.exec(ctr, "echo", "here")[:2] == (0, "here\n")


@test("not removed under the container; then purged without what was made with it")
def removed():
    pid = main_pid()
    dpkg("-r", "crisp", check=False)
    assert run("dpkg-query", "-W", "-f", "${db:Status-Status}", "crisp") == "installed" and main_pid() == pid
    w.remove_all()
    dpkg("-P", "crisp")
    wait_for(lambda: not os.path.exists("/proc/%d" % pid))
    assert unit("crispd", "ActiveState")["ActiveState"] == "inactive"
    assert not os.path.exists("/usr/bin/crispd") and not os.path.exists("/etc/crisp/crisp.json")
    assert os.path.isdir(w.config["root"]) and os.path.exists("/etc/crisp/conf.d/test.json")
    os.remove("/etc/crisp/conf.d/test.json")
