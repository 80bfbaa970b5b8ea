#!/usr/bin/env python3
"""Fails unless the sources keep to their layers.

Includes go downwards only, as in the picture of the README: each folder names the folders it may include from.
Python.h appears only in codec/, python/ and some files of app/; socket calls only in server/ and where a dead worker's
connections are answered; files, folders and functions carry nouns.
"""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "base": set(),
    "json": {"base"},
    "wire": {"json", "base"},
    "codec": {"json", "base"},
    "server": {"wire", "base"},
    "supervisor": {"server", "wire", "json", "base"},
    "python": {"codec", "server", "wire", "json", "base"},
    "app": {"python", "codec", "supervisor", "server", "wire", "json", "base"},
}
# what python/ takes from server/: the interface it implements, later replies, the turns an event loop gives it, and the
# words and signals of a cancellation
PYTHON_FROM_SERVER = {"server/service.h", "server/exchange.h", "server/server.h", "server/cancel.h"}
PYTHON_H = {"codec", "python"}
PYTHON_H_FILES = {"app/check.c", "app/commands.c", "app/commands.h", "app/loader.c", "app/module.c", "app/serve.c", "app/resources.c"}
SOCKET_FOLDERS = {"server"}
SOCKET_FILES = {"base/backlog.c", "supervisor/recover.c"}  # standard error may be a socket

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
SOCKET_CALL = re.compile(
    r"(?<![\w.>])(socket|socketpair|bind|listen|accept4?|connect|send|sendto|sendmsg|recv|recvfrom|recvmsg|shutdown"
    r"|[gs]etsockopt)\s*\("
)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.S)


def problems_of(path, root):
    name = path.relative_to(root).as_posix()
    layer = name.split("/")[0]
    text = path.read_text(encoding="utf-8")
    for bracket, target in INCLUDE.findall(text):
        if bracket == "<":
            if target == "Python.h" and layer not in PYTHON_H and name not in PYTHON_H_FILES:
                yield "%s: includes Python.h" % name
            continue
        other = target.split("/")[0]
        if "/" not in target or other not in MAY_INCLUDE and target != "pow10.inc":
            yield "%s: includes \"%s\": write the folder too" % (name, target)
        elif other != layer and other not in MAY_INCLUDE[layer]:
            yield "%s: %s/ may not include from %s/" % (name, layer, other)
        elif layer == "python" and other == "server" and target not in PYTHON_FROM_SERVER:
            yield "%s: python/ takes only %s from server/" % (name, ", ".join(sorted(PYTHON_FROM_SERVER)))
    code = INCLUDE.sub("", text)
    code = COMMENT.sub("", code)
    if layer not in SOCKET_FOLDERS and name not in SOCKET_FILES:
        for call in sorted(set(SOCKET_CALL.findall(code))):
            yield "%s: calls %s(): sockets belong to server/" % (name, call)
    if "utils" in name:
        yield "%s: find the noun" % name


def main():
    root = pathlib.Path(__file__).resolve().parent.parent / "src"
    found, count = [], 0
    for path in sorted(root.rglob("*.[ch]")):
        if path.relative_to(root).parts[0] not in MAY_INCLUDE:
            found.append("%s: not in a layer" % path.relative_to(root))
            continue
        count += 1
        found += problems_of(path, root)
    for problem in found:
        print("check_layers: " + problem, file=sys.stderr)
    if found or count == 0:
        sys.exit(1)
    print("check_layers: %d files keep to their layers" % count)


if __name__ == "__main__":
    main()
