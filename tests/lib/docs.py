# SPDX-License-Identifier: Apache-2.0
"""docs.py readme FILE HEADING...: run the console blocks below these headings of a Markdown page, in one shell, in order.
docs.py blocks FILE HEADING...: does the page have another block than these? One that is indented, and not run, stands
behind a comment <!-- not run: REASON -->, which is printed.
docs.py man PAGE...: run the examples of man pages, all that is .EX. Before each stands a comment: .\\" run, or
.\\" run, typing: TEXT for what wants a terminal, or .\\" not run: REASON, which is printed. Without one it is an error.

In a console block a line that begins with "$ " is a command, with the lines of its here-document behind it; other lines are
what it prints, in which "…" stands for anything. A command ends with status 0, or as a comment on it says: # exit status N.
In a man page each block is run as a whole, which must end with status 0."""
import os
import pty
import re
import select
import subprocess
import sys
import tempfile


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


def all_run(text, headings):
    """Each block of the page is a console's below one of the headings, or behind a comment that says why it is not run."""
    fenced = re.findall(r"^```console$", text, re.M)
    below = sum(len(re.findall(r"^```console$", p, re.M)) for p in re.split(r"^## ", text, flags=re.M) if p.split("\n", 1)[0] in headings)
    assert text.count("```") == 2 * len(fenced) and len(fenced) == below, "a block that nothing runs"
    excuse = ""
    for line in re.sub(r"^```console\n.*?^```", "", text, flags=re.M | re.S).splitlines():
        # An indented block, also within a list, whose text is indented by 3.
        if line.startswith("    "):
            assert excuse, "a block that is neither run nor says why not: " + line.strip()
            if excuse != "told":
                print("not run: README.md: " + excuse)
            excuse = "told"
        elif line.strip():
            m = re.fullmatch(r" *<!-- not run: (.+) -->", line)
            excuse = m.group(1) if m else ""


def readme(file, headings):
    shell = Shell()
    with open(file) as f:
        text = f.read()
    found = commands(text, headings)
    assert found, "no commands"
    for command, printed, status in found:
        text, got = shell.run(command)
        wrong = agrees(printed, text) if got == status else "status %d, not %d" % (got, status)
        if wrong:
            sys.exit("$ %s\n%s%s" % (command, text, wrong))
    print("%d commands" % len(found))


def unroff(line):
    for a, b in ((r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\(ga", "`"), (r"\&", ""), (r"\e", "\\"), (r"\(ti", "~"), (r"\(ha", "^")):
        line = line.replace(a, b)
    return line


def examples(page):
    """(mark, text) of the page's blocks: all that are .EX, and EXAMPLES has no others."""
    with open(page) as f:
        lines = f.read().splitlines()
    found, section, mark, block = [], "", "", None
    for n, line in enumerate(lines):
        if block is not None:
            if line == ".EE":
                found.append((mark, "\n".join(block)))
                block, mark = None, ""
            elif not line.startswith("."):
                block.append(unroff(line))
        elif line == ".EX":
            assert mark, "%s:%d: an example that is neither run nor says why not" % (page, n + 1)
            block = []
        elif line.startswith(".SH"):
            assert section != "EXAMPLES" or found, page + ": EXAMPLES without one"
            section = line[3:].strip().strip('"')
        elif re.match(r"\.(nf|Bd)\b", line):
            assert section != "EXAMPLES", "%s:%d: an example that is no .EX" % (page, n + 1)
        else:
            m = re.fullmatch(r'\.\\" (run|run, typing: .+|not run: .+)', line)
            mark = m.group(1) if m else ""
    assert found, page + ": no examples"
    return found


def alone(block):
    with tempfile.TemporaryFile() as out:
        try:
            status = subprocess.run(["bash", "-e", "-c", block], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=180).returncode
        except subprocess.TimeoutExpired:
            status = -1
        out.seek(0)
        return out.read().decode(errors="replace"), status


def at_terminal(block, typed):
    """The block with a terminal, at which `typed` is entered as soon as it prompts."""
    master, slave = pty.openpty()
    sh = subprocess.Popen(["bash", "-e", "-c", block], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    out, asked = b"", False
    while select.select([master], [], [], 120)[0]:
        try:
            out += os.read(master, 65536)
        except OSError:  # nobody has it open any more
            return out.decode(errors="replace"), sh.wait()
        if not asked and re.search(rb"[#$] ", out):
            asked = True
            os.write(master, typed.encode() + b"\n")
    sh.kill()
    return out.decode(errors="replace") + "\nno end", 1


def man(pages):
    n = 0
    for page in pages:
        for mark, block in examples(page):
            excuse = re.fullmatch("not run: (.+)", mark)
            if excuse:
                print("not run: %s: %s" % (os.path.basename(page), excuse.group(1)))
                continue
            typing = re.fullmatch("run, typing: (.+)", mark)
            if typing:
                text, status = at_terminal(block, typing.group(1))
            else:
                assert mark == "run", "%s: %s?" % (page, mark)
                text, status = alone(block)
            if status:
                sys.exit("%s:\n%s\n%sstatus %d" % (page, block, text, status))
            n += 1
    print("%d examples" % n)


if sys.argv[1] == "readme":
    readme(sys.argv[2], sys.argv[3:])
elif sys.argv[1] == "blocks":
    with open(sys.argv[2]) as f:
        all_run(f.read(), sys.argv[3:])
else:
    man(sys.argv[2:])
