"""Serve a folder of static files to this machine alone.

Invariant: the address is 127.0.0.1, whatever the options; files are never cached, so a reload shows what was
built.
"""

import argparse
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

# What cross-origin isolation asks for: with these headers a page has SharedArrayBuffer and Atomics.wait.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Static files with the types that modules and WebAssembly need."""

    protocol_version = "HTTP/1.1"
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".py": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
    }

    def __init__(self, *arguments: object, isolate: bool, verbose: bool, **options: object) -> None:
        self.isolate = isolate
        self.verbose = verbose
        super().__init__(*arguments, **options)

    def handle(self) -> None:
        """Answer until the browser goes, which it may do in the midst of a file."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def end_headers(self) -> None:
        """Add the headers that every file is sent with."""
        self.send_header("Cache-Control", "no-store")
        if self.isolate:
            for name, value in ISOLATION.items():
                self.send_header(name, value)
        super().end_headers()

    def log_message(self, template: str, *arguments: object) -> None:
        """Print a request, if that was asked for."""
        if self.verbose:
            super().log_message(template, *arguments)


def make_server(
    folder: Path, *, port: int = 0, isolate: bool = False, verbose: bool = False
) -> http.server.ThreadingHTTPServer:
    """Return a server of `folder`, bound to `port`, or to a free one where that is taken."""
    handler = functools.partial(Handler, directory=str(folder), isolate=isolate, verbose=verbose)
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


@contextlib.contextmanager
def serving(folder: Path, *, isolate: bool = False) -> Iterator[str]:
    """Serve `folder` from a thread while the block runs; the value is the address."""
    with make_server(folder, isolate=isolate) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder on 127.0.0.1.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000, help="another one is chosen where it is taken")
    parser.add_argument("--isolate", action="store_true", help="send the COOP, COEP and CORP headers")
    parser.add_argument("--verbose", action="store_true", help="print every request")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"there is no folder {arguments.folder}; `make site` makes build/site")
    with make_server(
        arguments.folder, port=arguments.port, isolate=arguments.isolate, verbose=arguments.verbose
    ) as server:
        print(f"The page is at http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
