"""Serve a folder of static files to this machine alone.

Invariant: the address is 127.0.0.1, whatever the options; files are not cached unless asked for, so a reload shows
what was built.
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
    disable_nagle_algorithm = True  # else a file waits some 40 ms behind its headers
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".py": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
    }

    def __init__(
        self, *arguments: object, isolate: bool, cached: bool, verbose: bool, prelude: str, **options: object
    ) -> None:
        self.isolate = isolate
        self.cached = cached
        self.verbose = verbose
        self.prelude = prelude.encode()
        super().__init__(*arguments, **options)

    def handle(self) -> None:
        """Answer until the browser goes, which it may do in the midst of a file."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def end_headers(self) -> None:
        """Add the headers that every file is sent with."""
        self.send_header("Cache-Control", "max-age=86400" if self.cached else "no-store")
        if self.isolate:
            for name, value in ISOLATION.items():
                self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        """Send a file; before the script of a worker the prelude, if there is one."""
        path = Path(self.translate_path(self.path))
        if not (self.prelude and path.name.endswith(".js") and ".worker." in path.name and path.is_file()):
            super().do_GET()
            return
        script = self.prelude + path.read_bytes()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", str(len(script)))
        self.end_headers()
        self.wfile.write(script)

    def log_message(self, template: str, *arguments: object) -> None:
        """Print a request, if that was asked for."""
        if self.verbose:
            super().log_message(template, *arguments)


def make_server(
    folder: Path,
    *,
    port: int = 0,
    isolate: bool = False,
    cached: bool = False,
    verbose: bool = False,
    prelude: str = "",
) -> http.server.ThreadingHTTPServer:
    """Return a server of `folder`, bound to `port`, or to a free one where that is taken.

    `prelude` is JavaScript that stands before the script of each worker that the site has a file for.
    """
    options = {"isolate": isolate, "cached": cached, "verbose": verbose, "prelude": prelude}
    handler = functools.partial(Handler, directory=str(folder), **options)
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


@contextlib.contextmanager
def serving(folder: Path, *, isolate: bool = False, cached: bool = False) -> Iterator[str]:
    """Serve `folder` from a thread while the block runs; the value is the address."""
    with make_server(folder, isolate=isolate, cached=cached) as server:
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
    parser.add_argument("--prelude", default="", help="JavaScript to put before scripts of workers, for tests")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"there is no folder {arguments.folder}; make site and make jupyterlite make some in build")
    options = {name: getattr(arguments, name) for name in ("port", "isolate", "verbose", "prelude")}
    with make_server(arguments.folder, **options) as server:
        print(f"The page is at http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
