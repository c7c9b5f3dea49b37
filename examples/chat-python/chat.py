"""A chat backend over HTTP alone: it follows a room, welcomes who writes, and answers.

Python's standard library is all it takes. It can be stopped and started at any time: the server
keeps how far it has got, and brings what came meanwhile.
"""

import json
import os
import time
import urllib.error
import urllib.request

URL = os.environ["CULVERT_URL"]  # such as http://127.0.0.1:8090/v1/default
KEY = os.environ["CULVERT_KEY"]  # an API key: see `culvert serve --help`


def call(method, path, body=None):
    """Send one request as the client "greeter", and repeat it while the server is down or busy."""
    while True:
        request = urllib.request.Request(
            f"{URL}{path}{'&' if '?' in path else '?'}client=greeter",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            if e.code == 410:
                return None  # a reply that comes too late
            if e.code not in (408, 429, 500, 502, 503, 504):
                raise SystemExit(f"{method} {path}: {e.code} {e.read().decode()}") from e
            pause = float(e.headers.get("Retry-After", 2))
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            pause = 2
        time.sleep(pause)


def handle(event):
    """After a crash this may run twice for one event: because of the key, the second welcome is not stored again."""
    if event["event"] != "chat message" or event["from"] in (None, "greeter"):
        return
    print(f"{event['from']}: {event['data']['text']}", flush=True)
    call("POST", "/emit", {
        "room": f"@{event['from']}",
        "event": "chat message",
        "data": {"text": f"welcome, {event['from']}"},
        "key": f"welcome-{event['offset']}",
    })
    if "reply" in event:
        call("POST", "/reply", {"offset": event["offset"], "data": "heard"})


call("GET", "/events?wait=0")  # makes a new client begin at the head
call("PUT", "/rooms/lobby/clients/greeter")
print("ready", flush=True)
done = ""  # the cursor up to which all is handled: acknowledged with the next poll
while True:
    page = call("GET", f"/events?wait=25{f'&ack={done}' if done else ''}")
    if page.get("gap"):
        print("missed some events:", page["gap"]["reason"], flush=True)
    for event in page["events"]:
        handle(event)
    done = page["cursor"]
    time.sleep(page.get("retry", 0))
