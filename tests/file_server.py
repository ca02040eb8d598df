"""A server of one file on 127.0.0.1 that can misbehave in every way that downloads meet."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 64


class FileServer(ThreadingHTTPServer):
    """What it does is set by its attributes; `requests` and `sent` record what was asked and how many bytes went out."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.headers = {"ETag": '"first"'}
        self.ranges = True
        self.behaviour = "well"  # or one of those in `_Handler`
        self.stops: list[int | None] = []
        """After how many bytes the connections break, one after the other; with None, and all that follow, they do not."""
        self.at_stop = None
        """Called instead of breaking off."""
        self.requests: list[str] = []
        self.asked: list[dict[str, str]] = []
        self.sent: list[int] = []
        self.test_over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.test_over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        pass  # The client went away.


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.path)
        server.asked.append({name: self.headers[name] for name in ("Range", "If-Range") if name in self.headers})
        server.sent.append(0)
        if server.behaviour == "silent":
            server.test_over.wait()
        elif server.behaviour == "not found":
            self.send_error(404)
        elif server.behaviour == "redirects" and self.path.startswith("/models"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/models", "/elsewhere"))
            self.end_headers()
        elif server.behaviour == "web page":
            self._send(200, b"<html>Please log in</html>", {"Content-Type": "text/html; charset=utf-8"})
        elif server.behaviour == "wrong content":
            self._send(200, server.content[::-1], server.headers)
        elif server.behaviour == "no length":
            self._send(200, server.content, server.headers, length=False)
        elif server.behaviour == "wrong part":
            size = len(server.content)
            self._send(206, server.content[1:], {"Content-Range": f"bytes 1-{size - 1}/{size}"})
        else:
            self._send_wanted()

    def _send_wanted(self):
        content, size = self.server.content, len(self.server.content)
        wanted = self.headers.get("Range") if self.server.ranges else None
        if wanted and self.headers.get("If-Range", self.server.headers.get("ETag")) == self.server.headers.get("ETag"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= size:
                self._send(416, b"", {"Content-Range": f"bytes */{size}"})
            else:
                part = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
                self._send(206, content[start:], {**self.server.headers, **part})
        else:
            self._send(200, content, self.server.headers)

    def _send(self, status, body, headers, length=True):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        stop = self.server.stops.pop(0) if self.server.stops else None
        self.wfile.write(body[:stop])
        self.wfile.flush()
        self.server.sent[-1] = len(body[:stop])
        if stop is not None and self.server.at_stop:
            self.server.at_stop()
            self.server.test_over.wait()

    def log_message(self, *_):
        pass
