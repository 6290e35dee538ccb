"""Becomes another program that dies together with the process that started it.

Run as a script: `python -I -S child.py PARENT_PID DEATH_SIGNAL USER GROUP PROGRAM [ARGUMENT…]`; USER and GROUP are
numbers or `-`. It imports nothing of ours, so that it starts in a few milliseconds, and it changes the user itself
because Linux forgets the death signal when the user changes.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, user, group, *argv = sys.argv[1:]
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            raise SystemExit("The supervisor died before its child began.")
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        raise SystemExit(f"Cannot start {argv[0]}: {error.strerror}") from None


main()
