"""Makes a shell's completion of a program's own --help, so that the two cannot differ: complete.py PROGRAM INSTALLED-NAME bash|zsh|fish > FILE"""
import re
import subprocess
import sys

program, name, shell = sys.argv[1:]
help_text = subprocess.run([program, "--help"], env={}, check=True, capture_output=True, text=True).stdout
listed = help_text.split("\nCommands:\n")[1].split("\n\nExit codes:")[0]
words = {"": {"--help": "", "--version": ""}}   # what was typed before -> {what may follow: what it is for}
for entry in re.split(r"\n(?=  \S)", "\n" + listed)[1:]:
    usage, about = re.fullmatch(r"  (.*?)(?:  +|\n +)(.*)", re.sub(r"\n {20,}", "\n   ", entry), re.S).groups()
    about = " ".join(about.split())
    command, *rest = usage.split(" ", 1)
    parts = re.match(r"[a-z|]+", rest[0])[0].split("|") if rest and rest[0][0].isalpha() else []
    words[""].setdefault(command, re.split("[;:(]", about)[0].strip() if not parts else "this stage's dead letters")
    options = dict.fromkeys(re.findall(r"--[a-z-]+", entry), "")
    for part in parts:
        words.setdefault(command, {})[part] = about
        words[f"{command} {part}"] = options
    if not parts:
        words[command] = options


def quoted(text):
    return "'" + text.replace("'", r"'\''") + "'"


def patterns():
    """What was typed before as a pattern of bash's and zsh's `case`, with any further words where no subcommand is awaited."""
    for before, after in words.items():
        yield before, quoted(before) + ("*" if before and all(word.startswith("-") for word in after) else "")


def bash():
    print(f"_{function}() {{\n        local typed=\"${{COMP_WORDS[*]:1:COMP_CWORD-1}}\" words=''\n        case $typed in")
    for before, pattern in patterns():
        print(f"        {pattern}) words={quoted(' '.join(words[before]))} ;;")
    print(f"        esac\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$2\")\n}}\ncomplete -F _{function} {name}")


def zsh():
    print(f"local typed=\"${{(j: :)words[2,CURRENT-1]}}\"\nlocal -a found\ncase $typed in")
    for before, pattern in patterns():
        print(f"{pattern}) found=({' '.join(quoted(word) for word in words[before])}) ;;")
    print("esac\ncompadd -- $found")


def fish():
    print(f"complete -c {name} -f")
    for before, after in words.items():
        first, _, second = before.partition(" ")
        if not before:
            condition = "__fish_use_subcommand"
        elif second:
            condition = f"__fish_seen_subcommand_from {first}; and __fish_seen_subcommand_from {second}"
        elif any(not word.startswith("-") for word in after):
            condition = f"__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {' '.join(after)}"
        else:
            condition = f"__fish_seen_subcommand_from {first}"
        for word, about in after.items():
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            print(f"complete -c {name} -n {quoted(condition)} {what}" + (f" -d {quoted(about)}" if about else ""))


function = name.replace("-", "_")
print(f"{'#compdef ' + name if shell == 'zsh' else '# ' + name}\n# made of its --help by {sys.argv[0].rpartition('/')[2]}")
{"bash": bash, "zsh": zsh, "fish": fish}[shell]()
