# SPDX-License-Identifier: Apache-2.0
"""docs.py readme FILE HEADING...: run the console blocks below these headings of a Markdown page, in one shell, in order.
docs.py man PAGE...: run the EXAMPLES of man pages that are marked with a comment line  .\\" run  before them.

In a console block a line that begins with "$ " is a command, with the lines of its here-document behind it; other lines are
what it prints, in which "…" stands for anything. A command ends with status 0, or as a comment on it says: # exit status N.
In a man page each marked block is run as a whole, which must end with status 0."""
import os
import re
import select
import subprocess
import sys


class Shell:
    """One shell for all, so that variables, background jobs and the directory are what they were."""

    def __init__(self):
        self.sh = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.n = 0

    def run(self, command):
        self.n += 1
        end = b"\n<end of %d: " % self.n
        self.sh.stdin.write(b"%s\nprintf '\\n<end of %d: %%d>\\n' $?\n" % (command.encode(), self.n))
        self.sh.stdin.flush()
        out = b""
        while end not in out or not out.endswith(b">\n"):
            ready = select.select([self.sh.stdout], [], [], 120)[0]
            got = os.read(self.sh.stdout.fileno(), 65536) if ready else b""
            if not got:
                sys.exit("$ %s\n%s\nno end" % (command, out.decode(errors="replace")))
            out += got
        text, _, status = out.rpartition(end)
        return text.decode(errors="replace"), int(re.match(rb"\d+", status).group())


def commands(text, headings):
    """(command, what it prints, its status) of the page's console blocks."""
    found = []
    for heading in headings:
        part = re.search(r"^## %s\n(.*?)(?=^## |\Z)" % re.escape(heading), text, re.M | re.S)
        assert part, "no heading '%s'" % heading
        for block in re.findall(r"^```console\n(.*?)^```", part.group(1), re.M | re.S):
            lines = block.splitlines()
            while lines:
                line = lines.pop(0)
                assert line.startswith("$ "), "not a command: " + line
                command = [line[2:]]
                while command[-1].endswith("\\"):
                    command.append(lines.pop(0))
                here = re.search(r"<<'?(\w+)'?", line)
                while here and command[-1] != here.group(1):
                    command.append(lines.pop(0))
                printed = []
                while lines and not lines[0].startswith("$ "):
                    printed.append(lines.pop(0))
                status = re.search(r"# exit status (\d+)", line)
                found.append(("\n".join(command), printed, int(status.group(1)) if status else 0))
    return found


def agrees(printed, text):
    """The lines, in this order, with anything in place of "…" and of blanks more blanks."""
    at = 0
    squeezed = re.sub(r"[ \t]+", " ", text)
    for line in printed:
        pattern = ".*?".join(re.escape(re.sub(r"\s+", " ", p)) for p in re.split(r"\s*…\s*", line.strip()))
        m = re.compile(pattern).search(squeezed, at)
        if not m:
            return "not there: %s" % line
        at = m.end()
    return None


def readme(file, headings):
    shell = Shell()
    with open(file) as f:
        found = commands(f.read(), headings)
    assert found, "no commands"
    for command, printed, status in found:
        text, got = shell.run(command)
        wrong = agrees(printed, text) if got == status else "status %d, not %d" % (got, status)
        if wrong:
            sys.exit("$ %s\n%s%s" % (command, text, wrong))
    print("%d commands" % len(found))


def unroff(line):
    for a, b in ((r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\&", ""), (r"\e", "\\"), (r"\(ti", "~"), (r"\(ha", "^")):
        line = line.replace(a, b)
    return line


def examples(page):
    with open(page) as f:
        text = f.read()
    part = re.search(r'^\.SH "?EXAMPLES"?\n(.*?)(?=^\.SH |\Z)', text, re.M | re.S)
    assert part, page + ": no EXAMPLES"
    blocks = re.findall(r'^\.\\" run\n(?:\.[A-Z]+[^\n]*\n)*\.(?:nf|EX)\n(.*?)^\.(?:fi|EE)', part.group(1), re.M | re.S)
    return ["\n".join(unroff(line) for line in b.splitlines() if not line.startswith(".")) for b in blocks]


def man(pages):
    n = 0
    for page in pages:
        for block in examples(page):
            shell = Shell()
            text, status = shell.run("(set -e\n%s\n)" % block)
            shell.sh.kill()
            shell.sh.wait()
            if status:
                sys.exit("%s:\n%s\n%sstatus %d" % (page, block, text, status))
            n += 1
    print("%d examples" % n)


readme(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "readme" else man(sys.argv[2:])
