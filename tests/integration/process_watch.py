"""Looks for secrets in what every process of this host shows to others, for as long as a test runs."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Watch:
    """Reads the command line and the environment of every process, again and again."""

    secrets: tuple[str, ...]
    found: set[str] = field(default_factory=set)
    looks: int = 0

    def run(self, quit_: threading.Event, every_s: float) -> None:
        while not quit_.wait(every_s):
            self.look()

    def look(self) -> None:
        self.looks += 1
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or process.name == str(os.getpid()):
                continue
            for name in ("cmdline", "environ"):
                try:
                    content = (process / name).read_bytes()
                except OSError:
                    continue
                if any(secret.encode() in content for secret in self.secrets):
                    self.found.add(f"{name}: {content[:300]!r}")


@contextmanager
def watching(*secrets: str, every_s: float = 0.02) -> Iterator[Watch]:
    """Watch in a thread until the end of the `with`."""
    watch, quit_ = Watch(secrets), threading.Event()
    thread = threading.Thread(target=watch.run, args=(quit_, every_s))
    thread.start()
    try:
        yield watch
    finally:
        quit_.set()
        thread.join()
