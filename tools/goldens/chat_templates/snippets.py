"""Small templates for the differential test: one construct each."""

import pathlib

CONTEXT = {
    "n": 7, "neg": -3, "f": 2.5, "big": 18446744073709551615, "t": True, "no": False, "none_value": None,
    "s": "Hello World", "u": "Grüße, 日本 🇯🇵!", "empty": "", "sp": "  \t pad \n", "lines": "a\nb\r\nc\n\nd",
    "xs": [3, 1, 2], "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}], "nothing": [], "words": ["b", "A", "c", "a"],
    "d": {"a": 1, "b": {"c": [1, 2]}, "items": "shadow", "_x": 5, "é": None}, "e": {},
    "people": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25, "tags": []},
               {"name": "Cid", "age": 30}],
    "html": "<a href=\"x\">'&'</a>",
}

EXPRESSIONS = (pathlib.Path(__file__).parent / "expressions.txt").read_text().splitlines()

STATEMENTS = [
    "plain", "", "\n", "a\n", "a\n\n", "\r\nx\ry", "é{{ u }}é",
    "{# c #}x", "x {# c\nc #}\ny", "x\n  {# c #}\n  y", "x\n  {#- c -#}\n  y", "{#", "{# #", "x {#+ c +#}\ny",
    "{% if t %}a{% endif %}\nb", "  {% if t %}\n  a\n  {% endif %}\nb", "  {%+ if t %}\n  a\n  {%+ endif +%}\nb",
    "a  {% if t -%}\n  b\n  {%- endif %}  c", "a\n\n  {%- if t %}\n\n b{% endif -%}\n\n c",
    "a {{- n -}} b", "a \n {{- n }} \n b", "  {{ n }}\n", "{{ n }}\n\n{{ n }}\n", "x{{ n -}}\n\ty",
    "{% if t %}\n\n{% endif %}\n\n.", "\t{% set x = 1 %}\n{{ x }}", "x {% set y = 1 %} {{ y }}",
    "{% raw %}{{ x }}{% endraw %}", "{% raw %}\n  {% if %}\n{% endraw %}\nz", "a {%- raw -%}  {{ }}  {%- endraw -%} b",
    "  {% raw %}  r  {% endraw %}  ", "{% raw %}x", "{%raw%}{%endraw%}", "{% raw +%}x{% endraw +%}\ny", "\n  {% raw %}\n q\n  {% endraw %}\n",
    "{% for x in xs %}{{ x }}{% endfor %}", "{% for x in xs %}\n  {{ x }},\n{% endfor %}\nend",
    "{% for x in nothing %}a{% else %}none{% endfor %}", "{% for x in missing %}a{% else %}none{% endfor %}",
    "{% for x in none %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ loop.index }}{{ k }}{% endfor %}", "{% for (a, b) in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in xs %}{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in xs %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}",
    "{% for x in xs %}{{ loop.nope }}{% endfor %}", "{% for x in xs %}{{ loop.nope.x }}{% endfor %}", "{% for x in xs %}{{ loop }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% else %}no{% endfor %}",
    "{% for x in xs if x > 9 %}{{ x }}{% else %}no{% endfor %}", "{% for x in xs if x %}{{ loop.previtem }}{{ loop.nextitem }},{% endfor %}",
    "{% set ns = namespace(k=0) %}{% for x in xs if x != ns.k %}{% set ns.k = 1 %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% for y in xs %}{{ loop.index }}{% if x == y %}{% break %}{% endif %}{% endfor %};{{ loop.index }} {% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% break %}", "{% continue %}", "{% if t %}{% break %}{% endif %}",
    "{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for x in xs %}{% set y = x %}{% endfor %}{{ y }}", "{% set y = 0 %}{% for x in xs %}{{ y }}{% set y = x %}{{ y }} {% endfor %}{{ y }}",
    "{% for x in xs %}{% if loop.first %}{% set z = 1 %}{% endif %}{{ z }}|{% endfor %}", "{% if t %}{% set q = 1 %}{% endif %}{{ q }}",
    "{% set n = 8 %}{{ n }}", "{{ n }}{% set n = 8 %}{{ n }}", "{% for n in xs %}{{ n }}{% endfor %}{{ n }}",
    "{% set ns = namespace(x=0) %}{% for x in xs %}{% set ns.x = ns.x + x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a + 1 %}{{ ns.b }}{{ ns.c }}", "{% set d.a = 5 %}", "{% set nope.a = 5 %}",
    "{% set ns = namespace() %}{% set ns._a = 1 %}", "{% set ns = namespace(a=[1]) %}{{ ns }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [3, 4] %}{{ b }}",
    "{% set a, b = 1 %}", "{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}", "{% set x = 1, 2 %}{{ x }}", "{% set x %}a{{ n }}b{% endset %}[{{ x }}]",
    "{% set x | upper | trim %} a{{ n }}b {% endset %}[{{ x }}]", "{% set x = 'a' if no %}[{{ x }}]", "{% set true = 1 %}", "{% set 5 = 1 %}", "{% set x %}",
    "{% set x = 1 %}{% set x %}{{ x }}{% set x = 2 %}{{ x }}{% endset %}{{ x }}",
    "{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}", "{% if no %}a{% elif none %}b{% else %}c{% endif %}", "{% if missing %}a{% else %}b{% endif %}", "{% if missing.x %}a{% endif %}",
    "{% if xs %}a{% endif %}{% if nothing %}b{% endif %}{% if e %}c{% endif %}{% if 0.0 %}d{% endif %}{% if ' ' %}e{% endif %}", "{% if n, %}t{% endif %}", "{% if %}{% endif %}", "{% if n %}", "{% endif %}", "{% else %}", "{% if n %}{% endfor %}",
    "{% macro m() %}x{% endmacro %}{{ m() }}{{ m }}", "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c=5) }} {{ m(b=1, a=2) }} {{ m() }}",
    "{% macro m(a) %}{{ a is defined }}{{ a.x }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "{% macro m(a, b=1, c) %}{% endmacro %}",
    "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}", "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m() %}[{{ caller() }}]{% endmacro %}{{ m() }}",
    "{% macro m() %}{% for x in xs %}{{ caller(x, k=loop.index) }}{% endfor %}{% endmacro %}{% call(x, k=0) m() %}{{ x }}-{{ k }} {% endcall %}", "{% macro m() %}{% endmacro %}{% call m() %}x{% endcall %}", "{% call n() %}x{% endcall %}", "{% call 5 %}x{% endcall %}",
    "{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}", "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m() %}{{ v }}{% endmacro %}{% set v = 1 %}{{ m() }}", "{% macro m() %}{{ v }}{% set v = 3 %}{{ v }}{% endmacro %}{% set v = 1 %}{{ m() }}{{ v }}", "{% for x in xs %}{% macro m() %}{{ x }}{{ loop }}{% endmacro %}{% if loop.first %}{{ m()|length > 0 }}{% endif %}{% endfor %}",
    "{% macro m(x) -%}  a{{ x }}  {%- endmacro %}[{{ m(1) }}]", "{{ m() }}{% macro m() %}x{% endmacro %}", "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'x': 2}) }}{{ m(*[]) }}", "{% macro m() %}a{% endmacro %}{{ m() is string }}{{ m()|upper }}{{ m.name }}{{ m is callable }}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aa{% endfilter %}", "{% filter nope %}a{% endfilter %}", "{% filter upper %}{% set q = 1 %}{% endfilter %}{{ q }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}", "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% generation %}g{{ n }}{% set q = 1 %}{% endgeneration %}{{ q }}", "  {% generation %}\n g\n  {% endgeneration %}\n.", "{% generation %}", "{% print n %}", "{% print n, s %}", "{% do xs.append(1) %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% unknown %}", "{% trans %}x{% endtrans %}",
    "{% if no %}{{ s|nofilter }}{% endif %}ok", "{% if t %}{{ s|nofilter }}{% endif %}", "{{ s|nofilter if no else 1 }}", "{% if no %}{{ s is notest }}{% endif %}ok", "{% for x in xs %}{{ x|nofilter }}{% endfor %}",
    "{% set g = xs|map('string') %}{{ g|list }}{{ g|list }}", "{% set g = xs|select %}{{ g|first }}{{ g|list }}", "{{ xs|map('string') is iterable }}", "{% for x in xs|reverse %}{{ x }}{{ loop.length }}{% endfor %}",
    "{{", "{{ n", "{{ n }", "{%", "{% for", "}} %} #}", "{ { n } }", "{{ '}}' }}", "{{ '{{' }}{{ \"%}\" }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ {'a': {}}}}", "{{ n }}}", "{{{ n }}}", "{% if '%}' == s %}{% endif %}x",
    "{{ n\n+\n1 }}", "{%\nif t\n%}\nx{% endif %}", "{%if t%}{{n}}{%endif%}", "{%- if t -%} a {%- endif -%}", "{{-n-}}", "{{ - n }}", "{{ 1 -}} {{- 2 }}", "{{ n -1 }}", "{{+n}}",
    "\n\n{% if t %}\n{{ n }}\n{% endif %}\n\n", "a\n    {% for x in xs %}\n        {{ x }}\n    {% endfor %}\nb\n", "{% for x in xs -%}\n  {{ x }}\n{%- endfor %}", "{% set x = 'a\nb' %}{{ x }}", "line1\n\n  {{ missing.y }}",
    "{{ people|map(attribute='name')|map('upper')|join(' ') }}", "{% for p in people|sort(attribute='name') if p.tags is defined %}{{ p.name }}{% endfor %}", "{% for g, ps in people|groupby('age') %}{{ g }}:{{ ps|length }} {% endfor %}", "{% for g in people|groupby('age') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}",
    "{{ d }}{{ d.b }}{{ people[2] }}", "{{ n }}{{ f }}{{ t }}{{ none_value }}{{ big }}", "{% block x %}a{% endblock %}", "{% for x in xs recursive %}{{ x }}{% endfor %}", "{% autoescape true %}{{ html }}{% endautoescape %}",
    "{{ loop is defined }}{% for x in [1] %}{{ loop is defined }}{% endfor %}", "{% for x in xs %}{% set outer = loop %}{% for y in [1] %}{{ outer.index }}{% endfor %}{% endfor %}", "{% for x in xs %}{{ loop.index }}{% else %}{{ loop }}{% endfor %}",
    "{% set x = namespace(v=namespace(w=1)) %}{{ x.v.w }}", "{% set messages = [1] + [2] %}{% for m in messages[1:] %}{{ m }}{% endfor %}", "{% set x = x|default('z') %}{{ x }}", "{% set _ = d.get('a') %}{{ _ }}", "{{ range }}", "{{ d.get }}",
    "{{ raise_exception('line ' ~ n) }}", "{% if no %}{{ raise_exception('x') }}{% endif %}fine", "{{ strftime_now('%B') }}",
    "x" * 300 + "{{ n }}",
]


def sources():
    return ["{{ " + e + " }}" for e in EXPRESSIONS] + STATEMENTS
