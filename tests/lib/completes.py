# SPDX-License-Identifier: Apache-2.0
"""completes.py DIR SHELL...: type at shells on a terminal, with the completions of DIR, and press Tab.

Each line of stdin is what is typed, a tab character, and what must then stand on the line. The first that does not come
within a minute is told, with what was there instead, and the status is 1."""
import os
import pty
import re
import select
import signal
import sys
import time

START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             "PS1='READY>'; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; . %s/crisp.bash\n"),
    "zsh": (["zsh", "-f", "-i"],
            "PS1='READY>'; unsetopt zle_bracketed_paste PROMPT_SP beep; setopt no_list_beep; fpath=(%s $fpath); "
            "autoload -U compinit; compinit -u -D\n"),
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\a|\r")


class Shell:
    def __init__(self, name, directory):
        argv, start = START[name]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", COLUMNS="500", LINES="50", HISTFILE="/dev/null")
            os.execvp(argv[0], argv)
        self.text, self.number = "", 0
        os.write(self.fd, (start % directory).encode())
        assert self.until(lambda t: t.rstrip().endswith("READY>")), self.text

    def until(self, good, seconds=60):
        end = time.monotonic() + seconds
        while not good(ESCAPES.sub("", self.text)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return False
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                return False
        return True

    def types(self, typed, expected):
        self.text = ""
        os.write(self.fd, typed.encode() + b"\t")
        if not self.until(lambda t: expected in t):
            return ESCAPES.sub("", self.text)
        # The line is given up, for the next one. What is echoed is not what is printed.
        self.number += 1
        self.text = ""
        os.write(self.fd, b"\x15echo end-$((%d))\n" % self.number)
        assert self.until(lambda t: "end-%d" % self.number in t), self.text
        return None

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def main():
    wanted = [line.rstrip("\n").split("\t") for line in sys.stdin]
    for name in sys.argv[2:]:
        shell = Shell(name, sys.argv[1])
        for typed, expected in wanted:
            seen = shell.types(typed, expected)
            if seen is not None:
                sys.exit("%s: '%s' became not '%s' but '%s'" % (name, typed, expected, seen))
        shell.close()


main()
