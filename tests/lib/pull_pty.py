# SPDX-License-Identifier: Apache-2.0
"""Run a command on a terminal of a given size and print the screen that its output leaves.

usage: pull_pty.py COLUMNS ROWS [--resize COLUMNS ROWS --gate FILE] COMMAND...
A terminal is played as far as the pictures of ocipull need it: CR, LF, cursor up, erase below; lines wrap at the
width. With --resize the terminal changes its size once the first picture is there, then FILE is removed.
stdout: "max N" (the longest line drawn), "rows N" (the most rows of one picture), then the final screen.
"""
import fcntl
import os
import pty
import re
import struct
import sys
import termios

args = sys.argv[1:]
cols, rows = int(args[0]), int(args[1])
args = args[2:]
resize = gate = None
if args[0] == '--resize':
    resize = int(args[1]), int(args[2])
    args = args[3:]
if args[0] == '--gate':
    gate = args[1]
    args = args[2:]


def set_size(fd, c, r):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', r, c, 0, 0))


pid, fd = pty.fork()
if pid == 0:
    set_size(2, cols, rows)
    os.execvp(args[0], args)

out = b''
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    out += data
    if b'layers,' in out and (gate or resize):
        if resize:
            set_size(fd, *resize)
        if gate:
            os.unlink(gate)
        resize = gate = None
_, status = os.waitpid(pid, 0)

screen, row, longest, tallest = [''], 0, 0, 0
for token in re.findall(r'\033\[\d*[A-Z]|\r|\n|[^\r\n\033]+', out.decode()):
    if token == '\n':
        row += 1
        if row == len(screen):
            screen.append('')
    elif token == '\r':
        pass
    elif token.startswith('\033') and token.endswith('A'):
        tallest = max(tallest, int(token[2:-1]) + 1)
        row = max(0, row - int(token[2:-1]))
    elif token == '\033[J':
        screen = screen[:row] + ['']
    else:
        longest = max(longest, len(token))
        screen[row] += token
print('max', longest)
print('rows', tallest)
print('\n'.join(screen))
sys.exit(os.waitstatus_to_exitcode(status))
