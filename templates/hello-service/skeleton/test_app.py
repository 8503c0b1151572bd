import json
import threading
import unittest
from http.server import ThreadingHTTPServer
from urllib.request import urlopen

import app


class AnswerTest(unittest.TestCase):
    def test_paths(self):
        for path, status in [("/healthz", 200), ("/hello/you?x=1", 200), ("/", 404), ("/hello", 404)]:
            with self.subTest(path=path):
                self.assertEqual(app.answer(path)[0], status)

    def test_greeting_over_http(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), app.Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with urlopen(f"http://127.0.0.1:{server.server_port}/hello/J%C3%BCrgen") as response:
                self.assertEqual(json.load(response)["message"], "Hello Jürgen, this is ${{ values.name }}.")
        finally:
            server.shutdown()
            server.server_close()


if __name__ == "__main__":
    unittest.main()
