"""The HTTP service ${{ values.name }}: greets, and says that it is well."""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

NAME = ${{ values.name | dump }}
PORT = int(os.environ.get("PORT", "${{ values.port }}"))


def answer(path):
    """Gives status and body for a path."""
    parts = [unquote(part) for part in urlsplit(path).path.split("/") if part]
    if parts == ["healthz"]:
        return 200, dict(status="ok")
    if len(parts) == 2 and parts[0] == "hello":
        return 200, dict(message=f"Hello {parts[1]}, this is {NAME}.")
    return 404, dict(error="not found")


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests with JSON."""

    def do_GET(self):
        status, body = answer(self.path)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main():
    server = ThreadingHTTPServer(("", PORT), Handler)
    # Container platforms stop a service with SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"{NAME} listens on port {PORT}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
