"""The sources of the running interpreter's own standard library, and their three splits.

This is no task: it is the list of modules and the few functions that the tasks on Python source
share, since tasks do not import each other. Nothing is downloaded and no module is imported; its
file is only read. The texts are those of the running Python, so a result on them must name its
version (3.11.7, say).

What was left out, and why: tests, idlelib, lib2to3 and tkinter (not installed everywhere), codecs
and other tables (their files repeat each other), modules that Python 3.12 or 3.13 removed.
"""

from __future__ import annotations

import sysconfig
import tokenize
import zlib
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Literal, get_args

from seqattn import DataError

SplitName = Literal["train", "val", "test"]

_NAMES = """
    _collections_abc _compression _markupbase _py_abc _pydecimal _pyio _sitebuiltins _strptime
    _threading_local _weakrefset abc argparse ast asyncio.__main__ asyncio.base_events
    asyncio.base_futures asyncio.base_subprocess asyncio.base_tasks asyncio.coroutines
    asyncio.events asyncio.exceptions asyncio.format_helpers asyncio.futures asyncio.locks
    asyncio.proactor_events asyncio.protocols asyncio.queues asyncio.runners
    asyncio.selector_events asyncio.sslproto asyncio.staggered asyncio.streams
    asyncio.subprocess asyncio.taskgroups asyncio.tasks asyncio.timeouts asyncio.transports
    asyncio.trsock asyncio.unix_events asyncio.windows_events asyncio.windows_utils base64 bdb
    bisect bz2 cProfile calendar cmd code codecs codeop collections colorsys compileall
    concurrent.futures._base concurrent.futures.process concurrent.futures.thread configparser
    contextlib copy copyreg csv ctypes ctypes._endian ctypes.util ctypes.wintypes curses
    curses.ascii curses.has_key curses.textpad dataclasses datetime dbm dbm.dumb difflib dis
    doctest email email._encoded_words email._header_value_parser email._parseaddr
    email._policybase email.base64mime email.charset email.contentmanager email.encoders
    email.errors email.feedparser email.generator email.header email.headerregistry
    email.iterators email.message email.mime.audio email.mime.image email.parser email.policy
    email.quoprimime email.utils enum filecmp fileinput fnmatch fractions ftplib functools
    genericpath getopt getpass gettext glob graphlib gzip hashlib heapq hmac html html.parser
    http http.client http.cookiejar http.cookies http.server imaplib importlib importlib._abc
    importlib._bootstrap importlib._bootstrap_external importlib.abc importlib.metadata
    importlib.metadata._adapters importlib.metadata._functools importlib.metadata._itertools
    importlib.metadata._text importlib.resources._adapters importlib.resources._common
    importlib.resources.abc importlib.resources.readers importlib.resources.simple
    importlib.util inspect io ipaddress json json.decoder json.encoder json.scanner json.tool
    linecache locale logging logging.config logging.handlers lzma mailbox mimetypes modulefinder
    multiprocessing.connection multiprocessing.context multiprocessing.dummy
    multiprocessing.dummy.connection multiprocessing.forkserver multiprocessing.heap
    multiprocessing.managers multiprocessing.pool multiprocessing.popen_fork
    multiprocessing.popen_forkserver multiprocessing.popen_spawn_posix
    multiprocessing.popen_spawn_win32 multiprocessing.process multiprocessing.queues
    multiprocessing.reduction multiprocessing.resource_sharer multiprocessing.resource_tracker
    multiprocessing.shared_memory multiprocessing.sharedctypes multiprocessing.spawn
    multiprocessing.synchronize multiprocessing.util netrc nturl2path numbers opcode operator
    optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib posixpath pprint
    profile pstats pty py_compile pyclbr pydoc queue quopri random re re._compiler re._constants
    re._parser reprlib rlcompleter runpy sched secrets selectors shelve shlex shutil signal site
    smtplib socket socketserver sqlite3 sqlite3.dbapi2 sqlite3.dump ssl stat statistics string
    subprocess symtable sysconfig tabnanny tarfile tempfile textwrap threading timeit token
    tokenize tomllib._parser tomllib._re trace traceback tracemalloc types typing unittest
    unittest._log unittest.async_case unittest.case unittest.loader unittest.main unittest.mock
    unittest.result unittest.runner unittest.signals unittest.suite unittest.util urllib.error
    urllib.parse urllib.request urllib.response urllib.robotparser uuid warnings wave weakref
    webbrowser wsgiref.handlers wsgiref.headers wsgiref.simple_server wsgiref.types wsgiref.util
    wsgiref.validate xml.dom xml.dom.domreg xml.dom.expatbuilder xml.dom.minicompat
    xml.dom.minidom xml.dom.pulldom xml.dom.xmlbuilder xml.etree.ElementInclude
    xml.etree.ElementPath xml.etree.ElementTree xml.sax xml.sax._exceptions xml.sax.expatreader
    xml.sax.handler xml.sax.saxutils xml.sax.xmlreader xmlrpc.client xmlrpc.server zipapp
    zipfile zipimport zoneinfo._common zoneinfo._tzpath zoneinfo._zoneinfo
"""

MODULES: tuple[str, ...] = tuple(_NAMES.split())
"""Dotted names, in alphabetical order; the splits are taken from them by :func:`split_of`."""


def split_of(module: str) -> SplitName:
    """Return the split of a module: a function of its name only, about 80 : 10 : 10."""
    draw = zlib.crc32(module.encode()) % 10
    if draw == 0:
        return "val"
    return "test" if draw == 1 else "train"


def choose_modules(split: SplitName, fraction: float = 1.0, seed: int = 0) -> list[str]:
    """Return the modules of a split, or a part of them.

    Args:
        split: "train", "val" or "test".
        fraction: part of the split's modules, at least one of them. With one seed, the modules of
            a smaller fraction are among those of a larger one.
        seed: which modules a fraction takes.

    Raises:
        ValueError: if `split` is no split, or `fraction` is not in (0, 1].
    """
    if split not in get_args(SplitName):
        raise ValueError(f"split must be one of {', '.join(get_args(SplitName))}, got {split!r}")
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    members = [module for module in MODULES if split_of(module) == split]
    shuffled = sorted(members, key=lambda module: zlib.crc32(f"{seed}:{module}".encode()))
    kept = set(shuffled[: ceil(fraction * len(members))])
    return [module for module in members if module in kept]


def read_sources(modules: Iterable[str], root: Path | None = None) -> dict[str, str]:
    """Return the source text of each module that has one; lines end in a line feed.

    Args:
        modules: dotted names.
        root: folder of the library; None for the running interpreter's own.

    Raises:
        DataError: if none of the modules is there; names the folder.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    texts = {module: _read_source(module, root) for module in modules}
    found = {module: text for module, text in texts.items() if text is not None}
    if not found:
        raise DataError(
            f"the standard library must be there as .py files, "
            f"got none of {len(texts)} modules such as {next(iter(texts), None)!r}",
            path=str(root),
        )
    return found


def _read_source(module: str, root: Path) -> str | None:
    """Return a module's text in the encoding that it declares; None without a readable file."""
    stem = root.joinpath(*module.split("."))
    for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
        try:
            with tokenize.open(path) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, SyntaxError, UnicodeDecodeError):
            return None
    return None
