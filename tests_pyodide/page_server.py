"""Serve pytest-pyodide's pages and a distribution on 127.0.0.1: page_server.py DIST LOG isolated|plain.

Invariant: a process of its own, since the tests' process forks (pexpect) and must not have threads; it prints
its port, and ends when its standard input does, so it never outlives the tests.
"""

import functools
import http.server
import sys
import threading
from pathlib import Path

from pytest_pyodide.server import DefaultHandler

# With these headers a page has SharedArrayBuffer and Atomics.wait.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class Handler(DefaultHandler):
    """pytest-pyodide's handler, with its log in a file."""

    # Keeps connections open: the fetch of node 24.21 now and then dies of an assertion of its own when one ends.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a file waits some 40 ms behind its headers

    def __init__(self, *arguments: object, log: Path, **options: object) -> None:
        self.log = log
        super().__init__(*arguments, **options)

    def log_message(self, template: str, *arguments: object) -> None:
        with self.log.open("a") as file:
            file.write(template % arguments + "\n")


def main() -> None:
    folder, log, kind = sys.argv[1:]
    headers = ISOLATION if kind == "isolated" else {}
    handler = functools.partial(Handler, directory=folder, extra_headers=headers, log=Path(log))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
