"""The conversations that every template is rendered with."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a place, with \"quotes\" & <tags> — naïve",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city", "default": "Paris"},
                "unit": {"type": ["string", "null"], "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 18446744073709551615, "default": 3},
                "detail": {"type": "number", "default": 0.5, "description": "between 0 and 1"},
            },
            "required": ["city"],
        },
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "query": {
                    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                    "description": "What to look for",
                },
                "filters": {
                    "type": "object",
                    "properties": {
                        "since": {"type": "string", "nullable": True},
                        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
                        "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "default": False}}},
                    },
                    "required": ["tags"],
                },
            },
        },
    },
}
PING = {"type": "function", "function": {"name": "ping", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, id="call_1"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def tool(text, **more):
    return {"role": "tool", "content": text, "tool_call_id": "call_1", **more}


PARTS = [{"type": "text", "text": "part one"}, {"type": "text", "text": " part two"}]
LONG_TOOL_TURN = [
    user("Weather in Zürich and Łódź?"),
    assistant("", reasoning_content="I need two calls.\n", tool_calls=[
        call("get_weather", {"city": "Zürich", "unit": "celsius"}),
        call("get_weather", {"city": "Łódź", "days": 2, "detail": 0.25}, "call_2"),
    ]),
    tool("{\"temp\": 21}", name="get_weather"),
    tool("rain 🌧️\nand wind", name="get_weather"),
]


def contexts():
    plain = {
        "one": [user("Hello!")],
        "system": [system("You are terse.\n"), user("Hi")],
        "two systems": [system("First."), system("Second."), user("Hi")],
        "multi turn": [user("1+1?"), assistant("2"), user("2+2?"), assistant("4"), user(" and  3+3? \n")],
        "ends with assistant": [user("q"), assistant("a")],
        "starts with assistant": [assistant("I begin."), user("ok")],
        "two users": [user("a"), user("b")],
        "empty content": [user(""), assistant(""), user("   ")],
        "none content": [user("x"), {"role": "assistant", "content": None}, user("y")],
        "missing content": [user("x"), {"role": "assistant"}, user("y")],
        "missing role": [{"content": "who am I"}],
        "unknown role": [{"role": "oracle", "content": "hm"}, user("x")],
        "no messages": [],
        "unicode": [system("Système ✓"), user("日本語 🇯🇵 e\u0301 \u200b\ttab\u00a0nbsp — “quotes” & <b>'s"), assistant("\u2028ok"),
                    user("ß ǅ İ Σας")],
        "thinking": [user("q1"), assistant("<think>\nold thoughts\n</think>\n\nanswer one"), user("q2"),
                     assistant("<think>more</think>answer two"), user("q3")],
        "reasoning field": [user("q1"), assistant("a1", reasoning_content="why a1\n", thinking="why a1\n"), user("q2"),
                            assistant("a2", reasoning_content="  \nwhy a2", thinking="  \nwhy a2")],
        "markup": [user("{{ 7 * 7 }} {% raw %} <|im_end|> </think> {# c #}"), assistant("</tool_response>"), user("%s %d {0}")],
        "parts": [system(PARTS), user(PARTS), assistant([{"type": "text", "text": "yes"}]), user([])],
        "developer": [{"role": "developer", "content": "Be kind."}, user("hi"), assistant("hello"), user("bye")],
        "blank lines": [system("\n\n a \n"), user("\n\nb\n\n"), assistant("\n c\n"), user("d")],
    }
    with_tools = {
        "tools": [user("Weather?")],
        "tools, system": [system("Use tools."), user("Weather?")],
        "tool turn": LONG_TOOL_TURN,
        "tool turn, answered": LONG_TOOL_TURN + [assistant("Warm and wet."), user("Thanks"), assistant("Welcome")],
        "two tool turns": LONG_TOOL_TURN + [
            assistant("More.", tool_calls=[call("search", {"query": ["a", "b"], "filters": {"tags": ["x"], "n": None, "t": True}})]),
            tool("[]"), assistant("Done."), user("Again"), assistant(None, tool_calls=[call("ping", {})]), tool("pong")],
        "string arguments": [user("go"), assistant("", tool_calls=[call("ping", "{\"a\": 1}")]), tool("")],
        "tool first": [tool("stray"), user("x")],
        "<tool_response> user": [user("a"), user("<tool_response>\nx\n</tool_response>"), assistant("b")],
    }
    out = {}
    base = {"bos_token": "<s>", "eos_token": "</s>", "documents": None}
    for name, messages in plain.items():
        out[name] = {**base, "messages": messages, "tools": None, "add_generation_prompt": True}
    for name, messages in with_tools.items():
        out[name] = {**base, "messages": messages, "tools": [WEATHER, SEARCH, PING], "add_generation_prompt": True}
    for name in ["one", "multi turn", "ends with assistant", "reasoning field"]:
        out[name + ", no prompt"] = {**out[name], "add_generation_prompt": False}
    for name in ["one", "multi turn", "tool turn", "thinking"]:
        out[name + ", not thinking"] = {**out[name], "enable_thinking": False, "thinking": False}
        out[name + ", thinking"] = {**out[name], "enable_thinking": True, "thinking": True, "reasoning_effort": "high"}
    out["no bos"] = {"messages": plain["one"], "add_generation_prompt": True}
    out["empty tools"] = {**base, "messages": plain["one"], "tools": [], "add_generation_prompt": True}
    out["kept thinking"] = {**base, "messages": plain["reasoning field"], "tools": None, "add_generation_prompt": True,
                            "clear_thinking": False, "model_identity": "You are a test."}
    return out
