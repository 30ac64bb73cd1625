#!/usr/bin/env python3
"""Renders chat templates with Python's jinja2 under transformers' own settings, for tests/chat/*.json.

Usage: chat_templates.py [OUT_DIR]     needs transformers 5.23, jinja2 3.1.6 (tools/goldens/requirements.txt)

The templates (tools/goldens/chat_templates/*.jinja) are written for these tests in the style of each model family.
families.json: every template with every conversation. snippets.json: small expressions, filters and statements.
"""

import datetime as real_datetime
import json
import pathlib
import re
import sys

import transformers.utils.chat_template_utils as utils

sys.path.insert(0, str(pathlib.Path(__file__).parent / "chat_templates"))
import conversations
import snippets

NOW = real_datetime.datetime(2026, 3, 4, 5, 6, 7)


class FixedDatetime(real_datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


utils.datetime = FixedDatetime


def render(source, context):
    try:
        output = utils._compile_jinja_template(source).render(**context)
    except Exception as error:  # every failure is part of the goldens
        return {"error": type(error).__name__, "message": str(error)}
    if re.search(r" at 0x[0-9a-f]{6}|<built-in method|<class '|<bound method", output):
        return {"error": "Unprintable", "message": "prints an object of Python"}
    return {"output": output}


def main():
    here = pathlib.Path(__file__).parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent.parent / "tests" / "chat"
    templates = {path.stem: path.read_text() for path in sorted((here / "chat_templates").glob("*.jinja"))}
    contexts = conversations.contexts()
    cases = [
        {"template": t, "conversation": c, **render(source, context)}
        for t, source in templates.items()
        for c, context in contexts.items()
    ]
    families = {"templates": templates, "conversations": contexts, "cases": cases}
    (out / "families.json").write_text(json.dumps(families, ensure_ascii=False, indent=0) + "\n")
    cases = [{"source": source, **render(source, snippets.CONTEXT)} for source in snippets.sources()]
    small = {"context": snippets.CONTEXT, "cases": cases}
    (out / "snippets.json").write_text(json.dumps(small, ensure_ascii=False, indent=0) + "\n")
    errors = sum("error" in case for case in families["cases"]), sum("error" in case for case in cases)
    print(f"families: {len(families['cases'])} cases, {errors[0]} errors; snippets: {len(cases)}, {errors[1]} errors")


if __name__ == "__main__":
    main()
