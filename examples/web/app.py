"""A small web application: one page, counting its visits and its worker's rounds."""
import html
import http.server
import os
import signal
import socket
import sys
import time

STARTED = time.time()
counts = {"visits": 0, "rounds": 0}

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Fairlead demo</title>
<style>
 body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 38rem; margin: 3rem auto; padding: 0 1rem }}
 h1 {{ font-size: 1.6rem }} td {{ padding: .2rem 1rem .2rem 0 }} td + td {{ font-weight: 600 }}
</style>
<h1>It runs.</h1>
<p>This page comes from a container of an ECS task, on this machine.</p>
<table>
{rows}
</table>
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/round":
            counts["rounds"] += 1
            self.answer("text/plain", f"round {counts['rounds']}\n")
        elif self.path == "/":
            counts["visits"] += 1
            facts = {"container": socket.gethostname(), "region": os.environ.get("AWS_REGION", "-"),
                     "greeting": os.environ.get("GREETING", "-"),
                     "up for": f"{time.time() - STARTED:.1f} s", "visits": counts["visits"],
                     "rounds of the worker": counts["rounds"]}
            rows = "\n".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td>"
                             for name, value in facts.items())
            self.answer("text/html; charset=utf-8", PAGE.format(rows=rows))
        else:
            self.send_error(404)

    def answer(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        print(f"{self.address_string()} {form % args}", flush=True)


if __name__ == "__main__":
    # The first process of a container gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    print(f"listening on port {port}", flush=True)
    http.server.ThreadingHTTPServer(("", port), Handler).serve_forever()
