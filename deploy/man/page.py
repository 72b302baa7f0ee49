"""Makes a man page of a program's own --help, so that the two cannot differ: page.py PROGRAM INSTALLED-NAME VERSION > INSTALLED-NAME.1"""
import re
import subprocess
import sys

program, installed, version = sys.argv[1:]
help_text = subprocess.run([program, "--help"], env={}, check=True, capture_output=True, text=True).stdout
head, examples, usage, commands, rest = re.split(r"\n\n(?:Examples|Usage|Commands):\n|\n\n(?=Exit codes:)", help_text)
codes, environment = rest.split("\n\n", 1)
name, summary = head.split(": ", 1)
prefix = installed.removesuffix(name)
examples, usage = (re.sub(rf"(?m)(?<=[ \n]){name}(?= |$)", installed, "\n" + text)[1:] for text in (examples, usage))


def escaped(text):
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(r"\&" + line if line[:1] in ".'" else line for line in text.splitlines())


def entries(lines, indent, width):
    """Lines whose first `indent` + `width` columns hold a name; lines that are blank there go on with the text before."""
    made = []
    for line in lines:
        key, text = line[indent:indent + width].strip(), line[indent + width:].strip()
        if line[indent:indent + width + 1] == " " * (width + 1) or not key:
            made[-1][1] += " " + text
        elif len(line) > indent + width and line[indent + width] != " ":
            made.append([line.strip(), ""])
        else:
            made.append([key, text])
    return "\n".join(f".TP\n.B {escaped(key)}\n{escaped(text.strip())}" for key, text in made)


def literal(text):
    return ".nf\n" + escaped(re.sub(r"(?m)^  ", "", text)) + "\n.fi"


settings = []
for line in environment.splitlines()[1:]:
    key, default, text = line[:30].strip(), line[30:56].strip(), line[56:].strip()
    if key:
        note = {"-": "", "(required)": "Required."}.get(default, f"Default: {default}.")
        settings.append([key, note, text])
    else:
        settings[-1][2] += " " + text
print(f""".TH {installed.upper()} 1 "" "intuition-sync {version}" "Intuition sync"
.SH NAME
{escaped(installed)} \\- {escaped(summary)}
.SH SYNOPSIS
{literal(usage)}
.SH DESCRIPTION
{escaped(summary[0].upper() + summary[1:])}.
Without arguments the program runs as a service until SIGTERM or SIGINT.
Data goes to stdout, messages to stderr.
In its own messages it is called {name}.
.SH EXAMPLES
{literal(examples)}
.SH COMMANDS
{entries(commands.splitlines(), 2, 24)}
.SH EXIT STATUS
{escaped(codes.removeprefix('Exit codes: '))}
.SH ENVIRONMENT
All settings are environment variables.""")
for key, default, text in settings:
    print(f".TP\n.B {escaped(key)}\n{escaped((text.rstrip('.') + '. ' + default).strip())}")
others = [f".BR {escaped(prefix + other)} (1)" for other in ("ingest", "cascade", "analytics") if other != name]
print(".SH SEE ALSO\n" + ",\n".join(others))
