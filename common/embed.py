#!/usr/bin/env python3
"""Embeds text files in C: embed.py KIND OUT.c OUT.h FILE…

KIND sql:  FILE 30_term_lock.sql becomes `const struct sql sql_30_term_lock` (name and text).
KIND text: FILE trim.lua becomes `const char text_trim[]`. A line `-- include FILE` in it is that file of the same folder.
KIND migrations: the list `migrations[]` of schema.h, a file NNNN_subject.sql each, with the SHA-256 of its text.
Run by meson at build; its output is never committed.
"""
import hashlib
import pathlib
import re
import sys


def literal(text):
    lines = text.replace("\\", "\\\\").replace('"', '\\"').splitlines()
    return "\n".join(f'        "{line}\\n"' for line in lines)


def main(kind, source, header, *files):
    out = [f'#include "{pathlib.Path(header).name}"']
    head = ["#pragma once"] + (['#include "common/io/db.h"'] if kind == "sql" else [])
    for path in sorted(map(pathlib.Path, files)):
        text = path.read_text(encoding="utf-8")
        if kind == "sql":
            head.append(f"extern const struct sql sql_{path.stem};")
            out.append(f'const struct sql sql_{path.stem} = {{"{path.stem}",\n{literal(text)}}};')
        elif kind == "migrations":
            version, _ = path.stem.split("_", 1)
            additive = "true" if text.startswith("-- additive:") else "false"
            out.append(f'{{{int(version)}, "{path.stem}", "{hashlib.sha256(text.encode()).hexdigest()}",\n{literal(text)}, {additive}}},')
        else:
            text = re.sub(r"^-- include (\S+)\n", lambda line: (path.parent / line[1]).read_text(encoding="utf-8"), text, flags=re.M)
            head.append(f"extern const char text_{path.stem}[];")
            out.append(f"const char text_{path.stem}[] =\n{literal(text)};")
    if kind == "migrations":
        head.append('#include "migrations/schema.h"')
        out.insert(1, "const struct migration migrations[] = {")
        out.append("{0, 0, 0, 0, 0}};")
    pathlib.Path(source).write_text("\n".join(out) + "\n", encoding="utf-8")
    pathlib.Path(header).write_text("\n".join(head) + "\n", encoding="utf-8")


main(*sys.argv[1:])
