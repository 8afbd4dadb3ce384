"""at_terminal.py CTR attach|signals|exec: ctrrun at a terminal of ours, as a person would use it."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

ctr, what = sys.argv[1:3]


class Person:
    """A terminal, and a program at it. The terminal is kept open by us, so that its settings can be seen afterwards."""

    def __init__(self, *argv, size=(30, 90)):
        self.master, self.slave = pty.openpty()
        self.resize(*size, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.execvp("ctrrun", ["ctrrun", *argv])

    def resize(self, rows, cols, tell=True):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        if tell:
            os.kill(self.pid, signal.SIGWINCH)

    def type(self, text):
        os.write(self.master, text)

    def read(self, wait):
        if select.select([self.master], [], [], wait)[0]:
            self.seen += os.read(self.master, 65536)

    def expect(self, text, limit=10):
        end = time.monotonic() + limit
        while text not in self.seen:
            assert time.monotonic() < end, (text, self.seen)
            self.read(0.2)
        self.seen = self.seen.split(text, 1)[1]

    def expect_raw(self, limit=10):
        end = time.monotonic() + limit
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            assert time.monotonic() < end, "not raw"
            self.read(0.02)

    def end(self, status, limit=10):
        end = time.monotonic() + limit
        while True:
            pid, st = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            assert time.monotonic() < end, ("does not end", self.seen)
            self.read(0.05)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal was not restored"
        got = os.waitstatus_to_exitcode(st)
        assert got == status, (got, status, self.seen)
        os.close(self.master)
        os.close(self.slave)


if what == "attach":
    p = Person("attach", ctr)
    p.expect_raw()
    p.type(b"one\r")
    p.expect(b"got one")
    p.resize(41, 123)
    p.expect(b"41 123")
    # Half of the keys and something else: typed as it was.
    p.type(b"two\x10x\r")
    p.expect(b"got two\x10x")
    p.type(b"\x10\x11")
    p.end(0)
    p = Person("attach", "--detach-keys", "ctrl-],q", ctr)
    p.expect_raw()
    p.type(b"three\r")
    p.expect(b"got three")
    p.type(b"\x1dq")
    p.end(0)
    # The container ends: its status is ours.
    p = Person("attach", ctr)
    p.expect_raw()
    p.type(b"bye\r")
    p.expect(b"got bye")
    p.end(7)
elif what == "signals":
    for signo in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        p = Person("attach", ctr)
        p.expect_raw()
        os.kill(p.pid, signo)
        p.end(128 + signo)
else:
    # The runtime gives the terminal its size a moment after the command began.
    p = Person("exec", "-it", ctr, "sh", "-c", "until stty size 2>/dev/null | grep .; do sleep 0.05; done; read x; trap 'stty size' WINCH; echo got $x; while :; do read y; done")
    p.expect(b"30 90")
    p.expect_raw()
    p.type(b"one\r")
    p.expect(b"got one")
    p.resize(42, 124)
    p.expect(b"42 124")
    # Control-C is the command's.
    p.type(b"\x03")
    p.end(130)
    p = Person("exec", "-it", ctr, "sh", "-c", "echo up; exit 9")
    p.expect(b"up")
    p.end(9)
    p = Person("exec", "-it", ctr, "nosuch")
    p.end(127)
    p = Person("exec", "-it", ctr, "sleep", "4242")
    p.expect_raw()
    p.type(b"\x10\x11")
    p.end(128 + signal.SIGHUP)
    for signo in (signal.SIGTERM, signal.SIGHUP):
        p = Person("exec", "-it", ctr, "sleep", "4242")
        p.expect_raw()
        os.kill(p.pid, signo)
        p.end(128 + signo)
