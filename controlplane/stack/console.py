"""What one sees of `make run`: a line of a program carries its name, each name in a colour of its own."""

import sys
import threading
from itertools import cycle
from typing import IO, TextIO

COLOURS = cycle((36, 33, 32, 35, 34, 96, 93, 92))  # of ANSI terminals
NAME_WIDTH = 12


class Console:
    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self.stream = stream
        self.lock = threading.Lock()
        self.colours: dict[str, int] = {}
        self.last: dict[str, str] = {}

    def say(self, name: str, line: str) -> None:
        self.last[name] = line
        label = f"{name:<{NAME_WIDTH}}|"
        if self.stream.isatty():
            label = f"\x1b[{self.colours.setdefault(name, next(COLOURS))}m{label}\x1b[0m"
        self.print(f"{label} {line}")

    def print(self, text: str) -> None:
        with self.lock:
            self.stream.write(f"{text}\n")
            self.stream.flush()

    def follow(self, name: str, output: IO[bytes]) -> threading.Thread:
        """Print a program's lines as they come, until it closes its output."""

        def relay() -> None:
            with output:
                for line in output:
                    if text := line.decode(errors="replace").rstrip():
                        self.say(name, text)

        thread = threading.Thread(target=relay, name=f"output of {name}", daemon=True)
        thread.start()
        return thread
