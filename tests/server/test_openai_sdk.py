"""The server as the openai package sees it: answers, streams, cancellations under load, and equal tokens alone and in company.

    python tests/server/test_openai_sdk.py GANNET MODEL      needs openai
"""

import asyncio
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request

import openai

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import Checks  # noqa: E402

STREAMS = 64
TIMEOUT = 600  # seconds, of everything that waits


class Server:
    def __init__(self, program, model):
        self.process = subprocess.Popen(
            [program, "serve", model, "--port", "0", "--cache-tokens", "32768", "--max-context", "2048"],
            stderr=subprocess.PIPE, text=True)
        self.address = None
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"serving .* on (http://\S+?),", line)
            if found:
                self.address = found.group(1)
                break
        if self.address is None:
            raise SystemExit("the server did not start:\n" + "".join(self.log))

    def health(self):
        with urllib.request.urlopen(self.address + "/health", timeout=10) as reply:
            return json.load(reply)

    def wait_idle(self):
        """The health once nothing runs; what it was after 20 s otherwise."""
        for _ in range(200):
            health = self.health()
            if health["running"] == 0 and health["waiting"] == 0:
                break
            time.sleep(0.1)
        return health


class SdkChecks(Checks):
    def refused(self, kind, words, call):
        try:
            call()
            self.check(False, f"expected {kind.__name__} with {words}, but it was answered")
        except openai.APIError as error:
            self.check(isinstance(error, kind) and all(word in f'{error} {error.code}' for word in words),
                       f"expected {kind.__name__} with {words}, got {error!r}")


def simple(checks, client, model):
    checks.check([m.id for m in client.models.list()] == [model], "models.list")
    checks.check(client.models.retrieve(model).id == model, "models.retrieve")

    question = [{"role": "user", "content": "What is the capital of France?"}]
    chat = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=24)
    answer = chat.choices[0].message.content
    print(f"the model says: {answer!r}", flush=True)
    checks.check(answer and chat.choices[0].finish_reason in ("stop", "length"), "a chat has an answer")
    usage = chat.usage
    checks.check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.completion_tokens > 0,
                 f"usage adds up: {usage}")

    stream = list(client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=24, stream=True,
                                                 stream_options={"include_usage": True}))
    streamed = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    checks.check(streamed == answer, f"streamed {streamed!r}, whole {answer!r}")
    checks.check(stream[-1].usage.completion_tokens == usage.completion_tokens, "a stream's usage equals the whole one's")
    checks.check(stream[0].choices[0].delta.role == "assistant", "the first piece names the role")

    whole = client.completions.create(model=model, prompt="Once upon a time", temperature=0, max_tokens=16)
    pieces = client.completions.create(model=model, prompt="Once upon a time", temperature=0, max_tokens=16, stream=True)
    text = whole.choices[0].text
    checks.check("".join(p.choices[0].text for p in pieces) == text and text, "completions streamed and whole")
    echo = client.completions.create(model=model, prompt="Once upon a time", temperature=0, max_tokens=16, echo=True)
    checks.check(echo.choices[0].text == "Once upon a time" + text, "echo")
    both = client.completions.create(model=model, prompt=["Once upon a time", "The sun"], temperature=0, max_tokens=16)
    checks.check(both.choices[0].text == text and both.choices[1].index == 1, "several prompts")

    def spans(ids, *pairs):
        return client.completions.create(model=model, prompt=ids, temperature=0, max_tokens=8,
                                         extra_body={"bidirectional_spans": [list(pair) for pair in pairs]})
    ids = list(range(100, 180))
    seen = [spans(ids, *pairs).choices[0].text for pairs in [(), ((3, 70),), ((3, 70),), ((3, 4),), ()]]
    checks.check(seen[0] == seen[3] == seen[4] and seen[1] == seen[2] != seen[0],
                 f"a span changes what its tokens see, a span of one token nothing, and the cache neither: {seen}")
    checks.refused(openai.BadRequestError, ["bidirectional span", "[3, 90]", "80 tokens"], lambda: spans(ids, (3, 90)))
    checks.refused(openai.BadRequestError, ["bidirectional_spans", "token ids"], lambda: spans("a text", (0, 1)))

    word = text.split()[2]
    stopped = client.completions.create(model=model, prompt="Once upon a time", temperature=0, max_tokens=16, stop=word)
    checks.check(stopped.choices[0].text == text[:text.index(word)] and stopped.choices[0].finish_reason == "stop",
                 f"stop at {word!r}: {stopped.choices[0].text!r} of {text!r}")

    several = client.chat.completions.create(model=model, messages=question, n=3, seed=7, temperature=1, max_tokens=12)
    first = client.chat.completions.create(model=model, messages=question, seed=7, temperature=1, max_tokens=12)
    checks.check(len(several.choices) == 3 and several.choices[0].message.content == first.choices[0].message.content,
                 "the first of n choices is the one choice of the same seed")

    scored = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=8, logprobs=True,
                                            top_logprobs=3)
    entries = scored.choices[0].logprobs.content
    checks.check(bytes(b for e in entries for b in e.bytes).decode() == scored.choices[0].message.content,
                 "the tokens of the logprobs are the answer")
    checks.check(all(e.logprob <= 0 and len(e.top_logprobs) == 3 and e.top_logprobs[0].logprob >= e.logprob - 1e-6
                     and e.token == e.top_logprobs[0].token for e in entries), "a greedy token is the likeliest")

    def ask(**more):
        return client.chat.completions.create(**{"model": model, "messages": question, **more})
    checks.refused(openai.NotFoundError, ["gpt-4"], lambda: ask(model="gpt-4"))
    checks.refused(openai.BadRequestError, ["tools"], lambda: ask(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]))
    checks.refused(openai.BadRequestError, ["temperature"], lambda: ask(temperature=7))
    checks.refused(openai.BadRequestError, ["response_format"], lambda: ask(response_format={"type": "json_object"}))
    checks.refused(openai.BadRequestError, ["context_length_exceeded"], lambda: ask(
        messages=[{"role": "user", "content": "word " * 5000}]))
    checks.refused(openai.NotFoundError, ["nothing"], lambda: client.get("/nothing", cast_to=object))


def prompts():
    """(messages, seed or None for greedy, tokens) of different lengths; the same at every call."""
    generator = random.Random(5)
    words = "river stone music winter engine garden paper light number story".split()
    out = []
    for i in range(STREAMS):
        text = "Tell me about " + " and ".join(generator.choice(words) for _ in range(generator.randint(1, 60)))
        out.append(([{"role": "user", "content": text}], None if i % 4 == 0 else 100 + i, generator.randint(8, 48)))
    return out


async def one(client, model, messages, seed, tokens, cut=None):
    """The streamed text; with `cut`, the stream is closed after that many pieces."""
    sampling = {"temperature": 0} if seed is None else {"temperature": 0.9, "top_p": 0.95, "seed": seed}
    stream = await client.chat.completions.create(model=model, messages=messages, max_tokens=tokens, stream=True,
                                                  extra_body={"ignore_eos": True}, **sampling)
    text, pieces, reason = "", 0, None
    async for piece in stream:
        choice = piece.choices[0]
        text += choice.delta.content or ""
        reason = choice.finish_reason or reason
        pieces += 1
        if cut is not None and pieces > cut:
            await stream.close()
            return text, "cut"
    return text, reason


async def load(checks, server, model):
    client = openai.AsyncOpenAI(base_url=server.address + "/v1", api_key="none", timeout=TIMEOUT, max_retries=0)
    asked = prompts()
    kept = [i for i in range(STREAMS) if i % 2 == 0]
    alone = {}
    for i in kept[::4]:
        alone[i] = (await one(client, model, *asked[i]))[0]
    begin = time.monotonic()
    answers = await asyncio.gather(
        *(one(client, model, *asked[i], cut=None if i % 2 == 0 else i % 7) for i in range(STREAMS)), return_exceptions=True)
    print(f"{STREAMS} streams at once, half of them cancelled: {time.monotonic() - begin:.1f} s", flush=True)
    for i, answer in enumerate(answers):
        if isinstance(answer, BaseException):
            checks.check(False, f"stream {i}: {answer!r}")
        elif i % 2 == 0:
            checks.check(answer[1] == "length" and answer[0], f"stream {i} came whole: {answer}")
        else:
            checks.check(answer[1] == "cut", f"stream {i} was cancelled: {answer}")
    for i, text in alone.items():
        kind = "greedy" if asked[i][1] is None else "seeded"
        checks.check(not isinstance(answers[i], BaseException) and answers[i][0] == text,
                     f"stream {i} ({kind}) is the same alone and under load: {text!r} {answers[i]!r}")
    await client.close()


def main():
    program, path = sys.argv[1:3]
    checks = SdkChecks()
    server = Server(program, path)
    try:
        before = server.health()
        checks.check(before["status"] == "ok" and before["blocks_free"] == before["blocks_total"] > 0, f"health {before}")
        client = openai.OpenAI(base_url=server.address + "/v1", api_key="none", timeout=TIMEOUT, max_retries=0)
        model = client.models.list().data[0].id
        simple(checks, client, model)
        asyncio.run(asyncio.wait_for(load(checks, server, model), TIMEOUT))
        after = server.wait_idle()
        checks.check(after["blocks_free"] == after["blocks_total"] and after["running"] == after["waiting"] == 0,
                     f"nothing is held after the load: {after}")

        # A drain lets the stream under way finish.
        stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Count to ten."}],
                                                max_tokens=64, stream=True, extra_body={"ignore_eos": True})
        next(stream)
        server.process.send_signal(signal.SIGTERM)
        rest = list(stream)
        checks.check(rest[-1].choices[0].finish_reason == "length", "a stream finishes during the drain")
        client.close()
        checks.check(server.process.wait(timeout=30) == 0, f"exit code after SIGTERM: {server.process.returncode}")
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
