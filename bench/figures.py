# SPDX-License-Identifier: Apache-2.0
"""What the commands in bench/ share: the images, timed runs, and tables that know their budgets.

Noise is met in two ways: contenders run in turn, round after round, so that a busy minute hits
all of them, and the median of the rounds is what counts.
"""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGES = Path(os.environ.get("CLIP_BENCH_DIR", "/var/tmp/clip-bench"))
BUILD = Path(os.environ.get("CLIP_BUILD_DIR", HERE.parent / "build/release"))

MB = 1000 * 1000
MIB = 1 << 20


def die(message):
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")


def program(name):
    path = BUILD / "cli" / name
    if not path.exists():
        die(f"no {path}: build first, or set CLIP_BUILD_DIR")
    return str(path)


# ------------------------------------------------------------------------------- images


class Image:
    """An OCI layout made by bench/images."""

    def __init__(self, name):
        self.name = name
        self.dir = IMAGES / name
        if not self.dir.exists():
            die(f"no image in {self.dir}: run bench/images {IMAGES}/ {name}")
        index = json.loads((self.dir / "index.json").read_text())
        manifest = json.loads(self._blob(index["manifests"][0]).read_text())
        self.blobs = [self._blob(layer) for layer in manifest["layers"]]
        self.source = f"oci:{self.dir}:latest"

    def _blob(self, descriptor):
        algorithm, digest = descriptor["digest"].split(":")
        return self.dir / "blobs" / algorithm / digest

    def compressed_size(self):
        return sum(blob.stat().st_size for blob in self.blobs)

    def n_entries(self):
        """Headers in all layers, those that a later layer hides included."""
        names = (f"igzip -dc {shlex.quote(str(blob))} | tar t" for blob in self.blobs)
        return len(subprocess.check_output(";".join(names), shell=True).splitlines())


# --------------------------------------------------------------------------------- runs


@dataclass
class Run:
    wall: float  # s
    cpu: float  # s, of the process and the children it waited for
    rss: int  # bytes at its peak; not below what this script has itself (some 12 MB)


def run(command, **options):
    """Times a command; a string goes through the shell. Dies with it, for half a bench is none."""
    options.setdefault("stdout", subprocess.DEVNULL)
    start = time.monotonic()
    with subprocess.Popen(command, shell=isinstance(command, str), **options) as child:
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        die(f"failed with {child.returncode}: {command}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def in_turn(contenders, rounds):
    """Calls each of {name: function} once a round; {name: [what it returned, ...]}."""
    results = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            results[name].append(contender())
    return results


def median(results, field="wall"):
    return statistics.median(getattr(result, field) for result in results)


def at(sorted_times, part):
    """The quantile: 0.5 is the median."""
    return sorted_times[min(len(sorted_times) - 1, int(len(sorted_times) * part))]


def drop_caches(what=3):
    """1: pages, 2: dentries and inodes, 3: both."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text(str(what))


# ------------------------------------------------------------------------------- tables


class Table:
    """Markdown. A figure with a limit is marked where it does not keep to it."""

    n_kept = n_limits = 0  # of all tables

    def __init__(self, *columns):
        self.rows = [columns]

    def add(self, *cells):
        self.rows.append(tuple(str(cell) for cell in cells))

    def print(self):
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        head, *rest = (
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
            for row in self.rows
        )
        ruler = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        print("\n".join([head, ruler, *rest]), flush=True)


def verdict(kept):
    Table.n_limits += 1
    Table.n_kept += bool(kept)
    return "kept" if kept else "**missed**"


def at_most(value, limit):
    return verdict(value <= limit)


def at_least(value, limit):
    return verdict(value >= limit)


def seconds(value):
    return f"{value * 1e3:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def ms(value):
    return f"{value * 1000:.1f} ms"


def size(value):
    return f"{value / MB:.2f} MB" if value >= MB / 10 else f"{value / 1000:.1f} kB"


def print_machine(rounds):
    with open("/proc/cpuinfo") as cpuinfo:
        model = next(line for line in cpuinfo if line.startswith("model name"))
    print(
        f"{os.cpu_count()} cores of {model.split(':')[1].strip()}, Linux {platform.release()}, "
        f"load {os.getloadavg()[0]:.1f}; medians of {rounds} rounds\n",
        flush=True,
    )


def print_verdict():
    print(f"\n{Table.n_kept} of {Table.n_limits} budgets kept")
