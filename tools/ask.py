"""Asks a running OpenAI-compatible server one question and prints the answer as it streams. Standard library only.

    python3 tools/ask.py [--port 8080] [--server-pid PID] QUESTION
    python3 tools/ask.py --free-port 8080        prints that port if it is free, else another that is
"""

import argparse
import http.client
import json
import socket
import sys
import time


def free_port(wanted):
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
            except OSError:
                continue
    sys.exit("ask: no free port")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until_healthy(port, pid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if pid and not alive(pid):
            sys.exit("ask: the server ended before it was ready; what it said is above.")
        try:
            if get(port, "/health")[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    sys.exit(f"ask: no healthy server at port {port} after {seconds} seconds.")


def events(response):
    """The data of each server-sent event."""
    for line in response:
        line = line.decode().rstrip("\r\n")
        if line.startswith("data:"):
            data = line[5:].strip()
            if data == "[DONE]":
                return
            yield json.loads(data)


def ask(port, question, max_tokens):
    model = json.loads(get(port, "/v1/models")[1])["data"][0]["id"]
    body = dict(model=model, stream=True, stream_options=dict(include_usage=True), temperature=0, max_tokens=max_tokens,
                messages=[dict(role="user", content=question)])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    start = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"ask: the server answered {response.status}: {response.read().decode(errors='replace')}")
    print(f"\n> {question}\n", flush=True)
    first = last = None
    usage, text = {}, ""
    for event in events(response):
        if "error" in event:
            sys.exit(f"ask: the server broke off: {event['error'].get('message')}")
        usage = event.get("usage") or usage
        for choice in event.get("choices", []):
            piece = choice["delta"].get("content") or ""
            if piece:
                last = time.monotonic()
                first = first or last
                text += piece
                print(piece, end="", flush=True)
    if not text:
        sys.exit("ask: the answer is empty.")
    count = usage.get("completion_tokens", 0)
    rate = f"{(count - 1) / (last - first):.1f} tokens/s, " if count > 2 and last > first else ""
    print(f"\n\n{model}: {usage.get('prompt_tokens', '?')} + {count} tokens, {rate}"
          f"first after {first - start:.2f} s, http://127.0.0.1:{port}/v1", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Asks a running server one question.")
    parser.add_argument("question", nargs="?", default="What is the capital of France?")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--server-pid", type=int, help="give up when this process ends")
    parser.add_argument("--wait", type=int, default=600, help="seconds to wait for the server")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--free-port", type=int, metavar="PORT")
    options = parser.parse_args()
    if options.free_port is not None:
        print(free_port(options.free_port))
        return
    wait_until_healthy(options.port, options.server_pid, options.wait)
    try:
        ask(options.port, options.question, options.max_tokens)
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError) as error:
        sys.exit(f"ask: the server's answer broke: {type(error).__name__}: {error}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
