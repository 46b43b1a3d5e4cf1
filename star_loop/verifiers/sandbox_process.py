"""The process in which programs run that a model wrote: they reach no file, no network and no other process.

Run as a file by a Python of its own (`env -i python -I -S sandbox_process.py`). It imports what programs usually do,
writes `"ready"`, reads one JSON list `[seconds, megabytes, program]` per line and writes how the program ended:
`passed` where it ran to its last line, else `too long`, `ended`, or `raised` and the name of its error. A pass is told
by a word that is made up for each program, so that nothing else which one writes is a pass; a program that searches
its own process can find the word. Each runs in a child process of its own, which keeps two open files, `/dev/null` and
the pipe for its end, and gives up the rest before it begins:

    prctl      no new privileges; it is killed when its parent ends
    setrlimit  memory, processor time; nothing written to a file, no core
    seccomp    of all system calls, those of `_CALLS` alone (Linux 3.17): there is none that opens a file or a socket,
               starts a program, or reaches another process; a new process may only be a thread of this one
"""

import ctypes
import errno
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader

LOADED = (
    "__future__", "abc", "argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "cmd", "code", "codecs",
    "collections.abc", "colorsys", "concurrent.futures.thread", "configparser", "contextlib", "contextvars", "copy",
    "copyreg", "csv", "dataclasses", "datetime", "decimal", "difflib", "dis", "doctest", "enum", "fileinput",
    "fnmatch", "fractions", "functools", "gc", "getopt", "gettext", "graphlib", "gzip", "hashlib", "heapq", "hmac",
    "html.parser", "inspect", "io", "ipaddress", "itertools", "json", "keyword", "linecache", "locale", "logging",
    "math", "numbers", "operator", "optparse", "os", "pathlib", "pickle", "platform", "pprint", "queue", "quopri",
    "random", "re", "reprlib", "sched", "secrets", "shlex", "shutil", "statistics", "string", "stringprep", "struct",
    "sys", "tempfile", "textwrap", "threading", "time", "timeit", "token", "tokenize", "tomllib", "traceback",
    "types", "typing", "unicodedata", "unittest", "urllib.parse", "uuid", "warnings", "weakref",
    "xml.dom.expatbuilder", "xml.dom.minidom", "xml.etree.ElementTree", "zlib", "_strptime",
)  # fmt: skip
"""Modules that programs can import: nothing is read from the disk later. What does nothing without files, sockets or
processes (asyncio, sqlite3, subprocesses) is not among them."""
CODECS = (
    "ascii", "base64_codec", "cp1250", "cp1251", "cp1252", "cp437", "cp850", "hex_codec", "idna", "iso8859_1",
    "iso8859_15", "iso8859_2", "koi8_r", "latin_1", "punycode", "quopri_codec", "raw_unicode_escape", "rot_13",
    "unicode_escape", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7", "utf_8_sig",
    "zlib_codec",
)  # fmt: skip
"""Modules of encodings, for the same reason; those of East Asia take half a megabyte."""

_CALLS = {
    # name: x86-64, aarch64 (-1: it has none)
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "poll": (7, -1), "lseek": (8, 62),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "select": (23, -1), "sched_yield": (24, 124),
    "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "nanosleep": (35, 101), "getitimer": (36, 102),
    "alarm": (37, -1), "setitimer": (38, 103), "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160),
    "getcwd": (79, 17), "gettimeofday": (96, 169), "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153),
    "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "sigaltstack": (131, 132), "arch_prctl": (158, -1), "gettid": (186, 178), "time": (201, -1), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "set_tid_address": (218, 96), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99), "pipe2": (293, 59),
    "getrandom": (318, 278), "membarrier": (324, 283), "rseq": (334, 293),
}  # fmt: skip
"""System calls of a program that only computes; all others fail with EPERM."""
_CLONE, _CLONE3, _TGKILL, _PRLIMIT = (56, 220), (435, 435), (234, 131), (302, 261)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine -> column of the table, and what seccomp calls it (linux/audit.h)."""
_ALLOW, _DENY, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _ABOVE, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # of classic BPF (linux/bpf_common.h)
_NUMBER, _ARCHITECTURE, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; the first argument's lower half
_CLONE_THREAD = 0x10000
_RAISED, _LONGEST = "raised ", 100
"""What precedes the name of an error, so that none is called as a verdict is; bytes of what is told."""
_NO_NEW_PRIVS, _SECCOMP, _PDEATHSIG, _FILTER = 38, 22, 1, 2


class Program(InspectLoader):
    """A program as a module that is not `__main__`, so that what stands behind such a test does not run."""

    def __init__(self, source: str) -> None:
        self.source = source

    def get_source(self, fullname: str) -> str:
        """Return the program."""
        return self.source


def rules(machine: str, process: int) -> bytes:
    """Write the filter for a process, in classic BPF.

    Raises:
        KeyError: no filter is known for this machine.
    """
    column, architecture = _MACHINES[machine]

    def op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    def only(calls: "tuple[int, int]", test: int, value: int) -> bytes:
        chosen = op(_LOAD, _FIRST) + op(test, value, 0, 1) + op(_RETURN, _ALLOW) + op(_RETURN, _DENY)
        return op(_EQUAL, calls[column], 0, 4) + chosen

    lines = [op(_LOAD, _ARCHITECTURE), op(_EQUAL, architecture, 1, 0), op(_RETURN, _DENY), op(_LOAD, _NUMBER)]
    lines += [op(_ABOVE, 0x40000000, 0, 1), op(_RETURN, _DENY)]  # the calls of x32
    for numbers in _CALLS.values():
        if numbers[column] >= 0:
            lines += [op(_EQUAL, numbers[column], 0, 1), op(_RETURN, _ALLOW)]
    lines += [op(_EQUAL, _CLONE3[column], 0, 1), op(_RETURN, _UNKNOWN)]  # its flags cannot be seen; clone is tried then
    lines += [only(_CLONE, _BITS, _CLONE_THREAD), only(_TGKILL, _EQUAL, process), only(_PRLIMIT, _EQUAL, 0)]
    return b"".join([*lines, op(_RETURN, _DENY)])


def confine(seconds: float, megabytes: int) -> None:
    """Give up all that a program could do harm with.

    Raises:
        OSError: the system does not allow that.
    """
    whole = int(seconds) + 1
    limits = {"RLIMIT_AS": megabytes << 20, "RLIMIT_CPU": whole, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    kernel = ctypes.CDLL(None, use_errno=True)
    filtered = rules(platform.machine(), os.getpid())
    held = ctypes.create_string_buffer(filtered, len(filtered))
    program = struct.pack("HxxxxxxP", len(filtered) // 8, ctypes.addressof(held))
    zero = ctypes.c_ulong(0)
    for option, value, pointer in (
        (_PDEATHSIG, signal.SIGKILL, zero), (_NO_NEW_PRIVS, 1, zero), (_SECCOMP, _FILTER, ctypes.c_char_p(program)),
    ):  # fmt: skip
        if kernel.prctl(option, ctypes.c_ulong(value), pointer, zero, zero):
            raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def run(seconds: float, megabytes: int, source: str) -> str:
    """Run a program in a child process, and tell how it ended."""
    ends, begins = os.pipe()
    word = os.urandom(16).hex()
    child = os.fork()
    if not child:
        _as_child(begins, word, seconds, megabytes, source)
    os.close(begins)
    ready, _, _ = select.select([ends], [], [], seconds)
    told = os.read(ends, _LONGEST).decode(errors="replace") if ready else None
    os.close(ends)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if told is None:
        return "too long"
    return "passed" if told == word else told if told.startswith(_RAISED) else "ended"


def _as_child(begins: int, word: str, seconds: float, megabytes: int, source: str) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        os.closerange(3, begins)
        os.closerange(begins + 1, 1024)
        signal.alarm(0)
        sys.path.clear()
        confine(seconds, megabytes)
        spec = spec_from_loader("program", Program(source))
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules["program"] = module
        spec.loader.exec_module(module)
        told = word
    except BaseException as error:
        told = f"{_RAISED}{type(error).__name__}"
    os.write(begins, told.encode()[:_LONGEST])
    os._exit(0)


def serve() -> None:
    """Run programs until the input ends."""
    for name in (*LOADED, *(f"encodings.{codec}" for codec in CODECS)):
        import_module(name)
    sys.stdout.write('"ready"\n')
    sys.stdout.flush()
    for line in sys.stdin:
        seconds, megabytes, source = json.loads(line)
        sys.stdout.write(json.dumps(run(seconds, megabytes, source)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
