# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a terminal and prints what a reader sees of it in the end.

    python3 terminal.py [--stop-at TEXT] COMMAND...

The last line says "CODE DRAWN WIPED": the exit code, how many lines with a bar were written and
how often lines were wiped. With --stop-at the command gets Ctrl-C, as typed, once TEXT was written.
"""

import os
import pty
import re
import sys

CONTROL = re.compile(r"\033\[(\d*)([AJK])|\r|\n")


def run(command, stop_at):
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    text = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: nobody has the other end open
            break
        if not piece:
            break
        text += piece
        if stop_at and stop_at in text:
            os.write(master, b"\x03")
            stop_at = None
    return text.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def screen(text):
    """The lines as they stand: up (A), wipe below (J) and to the right (K) are all that is known."""
    lines, row, column, at = [""], 0, 0, 0
    while at < len(text):
        control = CONTROL.match(text, at)
        if not control:
            lines[row] = lines[row][:column] + text[at] + lines[row][column + 1 :]
            column, at = column + 1, at + 1
            continue
        at = control.end()
        if control.group() == "\r":
            column = 0
        elif control.group() == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif control.group(2) == "A":
            row -= int(control.group(1) or 1)
        else:
            lines[row] = lines[row][:column]
            if control.group(2) == "J":
                del lines[row + 1 :]
    return lines


def main():
    command, stop_at = sys.argv[1:], None
    if command[0] == "--stop-at":
        stop_at, command = command[1].encode(), command[2:]
    text, code = run(command, stop_at)
    print("\n".join(line for line in screen(text) if line))
    print(code, len(re.findall(r"\[[#.]{24}\]", text)), text.count("\033[J"))


main()
