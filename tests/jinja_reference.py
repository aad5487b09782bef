#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What jinja2, set up as transformers does it, makes of templates: the truth that tests/test_jinja.c is held to.

jinja_reference.py golden            writes tests/golden/jinja/expected.json for the templates and conversations there
jinja_reference.py random SEED N     prints N made-up cases, one JSON object a line; 300 of seed 1 are made_up.jsonl there
A case is {"template", "context", "expected"}, without "context" that of the case before it. `expected` is {"text",
"spans"}, with spans in bytes, {"raises"} with the message of raise_exception, or {"fails"}.
"""
import copy
import datetime
import json
import pathlib
import random
import re
import sys
import warnings

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

OPEN, CLOSE = "\uE000", "\uE001"  # around a generation block; taken out again below


class Raised(Exception):
    pass


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("marked"), [], [], body).set_lineno(line)

    def marked(self, caller):
        return OPEN + caller() + CLOSE


def raise_exception(message):
    raise Raised(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    # The test sets the clock to the same noon.
    env.globals["strftime_now"] = lambda form: datetime.datetime(2024, 7, 26, 12).strftime(form)
    return env


def take_spans(text):
    out, spans, size = [], [], 0
    for piece in text.replace(OPEN, CLOSE + OPEN).split(CLOSE):
        inside = piece.startswith(OPEN)
        piece = piece[inside:]
        end = size + len(piece.encode())
        if inside:
            spans.append([size, end])
        out.append(piece)
        size = end
    return "".join(out), spans


def expect(env, template, context):
    try:
        # A copy: jinja2's indent of a list, a mistake, adds to the list before it fails.
        text, spans = take_spans(env.from_string(template).render(**copy.deepcopy(context)))
        text.encode()
        return {"text": text, "spans": spans}
    except Raised as error:
        return {"raises": str(error)}
    except Exception:  # whatever Python does not want to do
        return {"fails": True}


def golden(folder):
    env = environment()
    conversations = json.loads((folder / "conversations.json").read_text())
    expected = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_bytes().decode()
        expected[path.stem] = {name: expect(env, source, context) for name, context in conversations.items()}
    text = json.dumps(expected, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / "expected.json").write_text(text + "\n")


# ---- made-up cases ----

CONTEXT = {
    "i": 7, "j": -3, "zero": 0, "f": 2.5, "g": -0.125, "yes": True, "no": False, "nil": None,
    "s": "Hello World", "t": "  spa ced\n", "u": "\u00fcn\u00efc\u00f6de \u4e2d\u6587 \U0001F600", "e": "", "q": "it's \"quoted\" <&>",
    "l": [3, 1, 2], "w": ["b", "A", "c", "a"], "m": {"b": 1, "a": [1, {"x": None}], "items": 2}, "empty": [], "nothing": {},
    "rows": [{"role": "user", "n": 2, "tag": {"k": "x"}}, {"role": "tool", "n": 1}, {"role": "user", "n": 3, "ok": True}],
}  # fmt: skip


# What a kind of thing may be; <kind> is filled in likewise, one level deeper, and <kind0> with a leaf (below).
GRAMMAR = {
    "number": [
        "<number> + <number>", "<number> - <number>", "<number> * <number>", "<number> / <number>", "<number> // <number>",
        "<number> % <number>", "(<number> - <number>)", "-<number>", "(<number>)|abs", "(<number>) ** 2", "(<text>)|length",
        "(<list>)|length", "(<mapping>)|count", "(<number>)|int", "(<number>)|float", "(<text>)|int", "(<text>)|float(5)",
        "<list>|first", "<list>|last", "<list>|sum", "<list>|min", "<list>|max", "(<text>).find(<text0>)",
        "(<text>).rfind(<text0>)", "(<text>).count(<text0>)", "(<list>).count(<any0>)", "rows|sum(attribute='n')",
    ],
    "text": [
        "(<text> + <text>)", "<text> ~ <any>", "(<text>)|<case>", "(<text>)|trim", "(<text>)|reverse", "(<any>)|string",
        "(<text>)|safe", "(<text>).<case>()", "(<text>).<strip>()", "(<text>).<strip>(<text>)", "(<text>)|trim(<text0>)",
        "(<text>)|replace(<text>, <text0>)", "(<text>).replace(<text>, <text0>)", "(<text>).replace(<text0>, <text0>, 1)",
        "(<text>)[<number0>]", "(<text>)[<slice>]", "(<list>)|join", "(<list>)|join(<text>)", "(<text>).join(w)",
        "rows|join(', ', attribute='role')", "(<any>)|tojson", "(<any>)|tojson(indent=2)", "(<any>)|tojson(sort_keys=true)",
        "(<any>)|tojson(ensure_ascii=true)", "(<any>)|tojson(indent='-', separators=(',', '='))", "(<text> if <truth> else <text>)",
        "(<any>)|default(<text>)", "(<any>)|d(<text>, true)", "(<text>)|indent", "(<text>)|indent(2, first=true)",
        "(<text>)|indent('>', blank=true)", "(<text>).removeprefix(<text0>)", "(<text>).removesuffix(<text0>)", "<text> * 2",
        "(<text> or <text>)", "(<text> and <text>)", "loop.previtem", "loop.nextitem",
    ],
    "truth": [
        "(<any>) == (<any>)", "(<any>) != (<any>)", "<number> <compare> <number>", "<text> <compare> <text>",
        "<list> <compare> <list>", "<number> <compare> i <compare> <number>", "(<any>) is <kind>", "(<any>) is not <kind>",
        "not <any>", "(<any> and <any>)", "(<any> or <any>)", "(<any>) in (<list>)", "(<any>) not in (<list>)",
        "(<text>) in (<text>)", "<text> in m", "i is divisibleby <number0>", "(<text>).startswith(<text>)",
        "(<text>).endswith(<text>)", "(<any>) is equalto(<any>)", "(<any>) is in(<list>)", "(<number>) is lessthan <number0>",
        "rows[<number0>].ok is defined",
    ],
    "list": [
        "(<list> + <list>)", "(<list>)[<slice>]", "(<list>) * 2", "(<text>).split(<text0>)", "(<text>).split(<text0>, 1)",
        "(<text>).rsplit(<text0>, 1)", "(<text>).split()", "(<text>).splitlines()", "(<list>)|sort", "(<list>)|sort(reverse=true)",
        "(<list>)|unique|list", "(<list>)|list", "(<list>)|reverse|list", "(<text>)|list", "[<any>, <any>]", "(<any>, <any>)",
        "rows|map(attribute=<path>)|list", "rows|map(attribute=<path>, default=<any0>)|list", "<list>|map(<filter>)|list",
        "rows|selectattr(<path>)|list", "rows|rejectattr(<path>)|list", "rows|selectattr(<path>, 'defined')|list",
        "rows|selectattr(<path>, 'equalto', <any0>)|list", "<list>|select|list", "<list>|select('string')|list",
        "<list>|reject('odd')|list", "<list>|select('>', 1)|list", "(<mapping>).keys()|list", "(<mapping>).values()|list",
        "(<mapping>).items()|list", "(<mapping>)|dictsort", "(<mapping>)|dictsort(by='value')", "(<mapping>)|items|list",
        "(<mapping>)|list", "rows|sort(attribute=<path>)", "range(<number0>)|list",
    ],
    "mapping": [
        "{<text0>: <any>, 'z': <any>}", "{<any0>: 1}", "dict(a=<any>)", "(<list>)[0]", "m.get(<text0>, <mapping>)", "rows[1]",
    ],
    "any": ["<number>", "<text>", "<truth>", "<list>", "<mapping>"],
    "slice": ["<bound>:<bound>", "<bound>:<bound>:2", "<bound>:<bound>:-1", "<bound>:", ":<bound>", "::-2"],
    "statement": [
        "{{<less> <any> <less>}}", "{{<less> <any> <less>}}",
        "<% if <truth> %><block><% endif %>", "<% if <truth> %><block><% else %><block><% endif %>",
        "<% if <truth> %><block><% elif <truth> %><block><% endif %>",
        "<% for x in <list> %><block>{{ loop.index }}{{ x }}{{ loop.last }}<% endfor %>",
        "<% for x in <list> if x %><block>{{ loop.length }}{{ x }}<% else %><block><% endfor %>",
        "<% for x in <any> if x is string %>{{ x }}<block><% endfor %>",
        "<% for k, v in (<mapping>).items() %>{{ k }}={{ v }}{% if loop.first %}{% continue %}{% endif %}<block><% endfor %>",
        "<% for x in range(<number0>) %>{{ x }}<% endfor %>", "<% for x in <list> %>{% if <truth> %}{% break %}{% endif %}<block><% endfor %>",
        "<% set v = <any> %>{{ v }}<block>", "<% set ns.x = <any> %>{{ ns.x }}",
        "<% set v %><block><% endset %>[{{ v }}]", "<% set v | upper | trim %><block><% endset %>[{{ v }}]",
        "<% macro mac(x, y=<any>) %><block>{{ x }}/{{ y }}<% endmacro %>{{ mac(<any>) }}{{ mac(y=2, x=<any>) }}",
        "<% filter trim %><block><% endfilter %>", "{#<sign> <data> <sign>#}", "<% raw %>{{ no }}<data><% endraw %>",
    ],
    "block": ["<data>", "<data><statement><data>", "<data><statement><data><statement><data>"],
    # What one scope sets late and another reads early is a matter of how jinja2 compiles, so `i` is only set up here.
    "whole": [
        "{{ <any> }}", "{{ <any> }}", "<block>", "<block><% generation %><block><% endgeneration %><block>",
        "<% set i = <number> %><block>", "<% for i in [1, 2] %><block><% generation %>{{ i }}<block><% endgeneration %><% endfor %>",
    ],
}  # fmt: skip
LEAVES = {
    "number": "i j f g zero yes 1 2 10 0.5 1e3 loop.index loop.index0".split(),
    "text": ["s", "t", "u", "e", "q", "'x'", "'a\\n\\tb'", "\"it's\"", "'o'", "' '", "'\\u00e9\\x41'", "'Hell' 'o'", "'l'"],
    "truth": "yes no true false loop.first loop.last missing".split(),
    "list": ["l", "w", "rows", "empty", "[1, 2]", "[]", "('a', 'b')", "(1,)", "range(5, 0, -2)|list", "m.items()|list"],
    "mapping": ["m", "nothing", "rows[0]", "{}", "{'k': 1}", "rows[-1]"],
    "any": ["i", "f", "s", "u", "yes", "l", "w", "m", "rows", "nil"],
    "statement": ["{{ i }}", "{{ s -}}", "{{- u }}", "<% set v = 5 %>"],
    "block": ["<data>"],
    "data": ["", "\n", "a", " b \n", "  ", "\n  ", "text\n\n", "{ } % #", " \t", "\r\n"],
    "odd": ["nil", "missing", "m.missing", "rows[9]", "m.a", "m['b']", "m.a.1.x", "ns.x", "w.0", "s.k", "nil.x"],
    "case": "upper lower title capitalize".split(),
    "strip": "strip lstrip rstrip".split(),
    "compare": "< <= > >= == !=".split(),
    "kind": "defined undefined none string mapping iterable sequence number integer float boolean true false odd even".split(),
    "path": ["'role'", "'n'", "'tag.k'", "'ok'"],
    "filter": ["'upper'", "'string'", "'length'", "'int'", "'first'"],
    "bound": ["", "0", "1", "3", "-1", "-2", "9", "-9", "i", "j"],
    "less": ["", "", "-"],
    "sign": ["", "", "-", "+"],
}  # fmt: skip


class Maker:
    """Random templates; now and then something of another kind than it should be, so that failures are met too."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def fill(self, kind, depth):
        if kind in ("number", "text", "list", "mapping", "any") and self.random.random() < 0.03:
            kind = self.random.choice(["odd", "number", "text", "list", "any"])
        deeper = depth > 0 and kind in GRAMMAR or kind not in LEAVES
        choice = self.random.choice((GRAMMAR if deeper else LEAVES)[kind])
        choice = re.sub(r"<% (.*?) %>", lambda m: "{%<sign> " + m[1] + " <sign>%}", choice)
        return re.sub(r"<([a-z]+)(0?)>", lambda m: self.fill(m[1], 0 if m[2] else depth - 1), choice)

    def template(self):
        return "{% set ns = namespace(x=1) %}" + self.fill("whole", self.random.randint(2, 5))


def has_address(expected):
    return any(word in expected.get("text", "") for word in ("object at 0x", "<built-in", "<function", "<bound", "<Macro", "<LoopContext", "dict_", "range("))


def made_up(seed, count):
    env, maker, context = environment(), Maker(seed), {"context": CONTEXT}
    while count:
        template = maker.template()
        expected = expect(env, template, CONTEXT)
        if has_address(expected):  # Python prints such values with where they are in memory; Tern refuses to
            continue
        count -= 1
        print(json.dumps({"template": template, **context, "expected": expected}))
        context = {}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of made-up nonsense such as 1[2]
    if sys.argv[1:] == ["golden"]:
        golden(pathlib.Path(__file__).resolve().parent / "golden" / "jinja")
    elif len(sys.argv) == 4 and sys.argv[1] == "random":
        made_up(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(__doc__)
