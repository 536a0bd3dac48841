"""Run the steps of a Dockerfile without a daemon, in a folder that stands for the image's root, and then its entry.

    python .ci/dockerfile_steps.py examples/docker/cpu.Dockerfile ROOT [ARG=VALUE …] -- fuse --hsi … -o out.tif

The base image is this machine: its `python3`, and none of Debian's packages (RUN steps of `apt-get` are left out).
What the file names below the root (`/opt`, `/src`, `/tmp`, `/data`) lies below ROOT. The entry runs in the file's
environment alone, without a home, and as the file's user where this is root's process and its Python opens to others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dockerfile_parse import DockerfileParser

CONTEXT = Path(__file__).parents[1]
PLACES = re.compile(r"(?<![\w.:/])/(opt|src|tmp|data)\b")


def main(  # noqa: C901 (a case an instruction)
    dockerfile: str, root: Path, arguments: dict[str, str], entry: list[str]
) -> None:
    """Run every stage, one after another, below one root."""
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o777)
    folder, path, user = root, os.environ["PATH"], "0:0"
    built: dict[str, str] = {}
    set_: dict[str, str] = {}
    for step in DockerfileParser(path=dockerfile).structure:
        words = PLACES.sub(rf"{root}/\1", step["value"])
        match step["instruction"]:
            case "ARG":
                name, _, value = words.partition("=")
                built[name] = arguments.get(name, value)
            case "ENV":
                pairs = (pair.split("=", 1) for pair in words.split())
                set_ |= {name: value.replace("$PATH", path) for name, value in pairs}
            case "WORKDIR":
                folder = Path(words)
                folder.mkdir(exist_ok=True)
            case "USER":
                user = words
            case "COPY" if not words.startswith("--from"):  # another stage's files lie below the same root already
                *sources, target = words.split()
                for source in sources:
                    _copy(CONTEXT / source, folder / target)
            case "RUN" if "apt-get" not in words:
                print(f"RUN {words}", flush=True)
                subprocess.run(["/bin/sh", "-c", words], cwd=folder, env=os.environ | built | set_, check=True)
            case "ENTRYPOINT":
                entry = [*json.loads(words), *entry]
    if os.getuid() == 0:
        os.chown(folder, *map(int, user.split(":")))
    print(f"{user} in {folder}:", *entry, flush=True)
    subprocess.run([*_as(user, set_), *entry], cwd=folder, env=set_, check=True)


def _as(user: str, environment: dict[str, str]) -> list[str]:
    """Words before a command that make it run as a user; none where that user cannot start Python."""
    number, group = user.split(":")
    words = ["setpriv", f"--reuid={number}", f"--regid={group}", "--clear-groups"]
    started = os.getuid() == 0 and subprocess.run([*words, "python3", "-c", ""], env=environment, check=False)
    return words if started and started.returncode == 0 else []


def _copy(source: Path, target: Path) -> None:
    """As COPY does: a folder's contents, a file into a folder."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    before, after = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    main(before[0], Path(before[1]).resolve(), dict(pair.split("=", 1) for pair in before[2:]), after)
