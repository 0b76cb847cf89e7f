"""Serves the version of the database that `migrate` has made; healthy once it is there."""
import http.server
import pathlib


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        version = pathlib.Path("/data/db/PG_VERSION").read_text().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(version)))
        self.end_headers()
        self.wfile.write(version)

    def log_message(self, *_):
        print("asked", flush=True)


http.server.HTTPServer(("", 8000), Handler).serve_forever()
