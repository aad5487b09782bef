#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compare_runtimes.py - runs `tern bench infer` and llama-bench of other runtimes in turn and writes what came of it.

Started by runtimes.sh, which has looked whether all files are there. A round is a run of each, Tern first, and ratios
are of runs of one round, so that a machine that slows down or speeds up meanwhile slows or speeds all.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

from compare_peers import HOLDS, QUIET, TERN_AVX2, cpu_name, spell

LOOK_SECONDS = 0.2  # between looks at the threads of a run

Peer = collections.namedtuple("Peer", "name program model flags")


def read_peer(text):
    """name=program:model[:flags], the flags with commas for spaces."""
    name, rest = text.split("=", 1)
    program, model, *flags = rest.split(":", 2)
    return Peer(name, program, model, [word for words in flags for word in words.split(",")])


# --- Runs. ---


def thread_times(pid):
    """Thread -> (nanoseconds it ran, nanoseconds it was ready and had no core), as far as Linux tells."""
    times = {}
    for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            ran, waited, _ = map(int, file.read_text().split())
        except (OSError, ValueError):  # it ended meanwhile
            continue
        times[file.parent.name] = ran, waited
    return times


def run(name, command, extra=None):
    """What the command prints, and the share of the time that its threads were ready and had no core."""
    environment = {key: value for key, value in os.environ.items() if key not in HOLDS}
    environment.update(extra or {})
    print("$", spell(command, extra or {}), file=sys.stderr, flush=True)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    times = {}
    while process.returncode is None:
        try:
            output, errors = process.communicate(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            times.update(thread_times(process.pid))
    if process.returncode:
        sys.stderr.write(errors[-4000:])
        sys.exit(f"bench-runtimes: {name}: status {process.returncode} from: {spell(command, extra or {})}")
    waited = sum(waited for _, waited in times.values())
    return output, waited / max(1, sum(ran + waited for ran, waited in times.values()))


def sizes(prompt, generate):
    return ["-p", str(prompt), "-n", str(generate), "-r", "1"]


def tern_command(a, prompt, generate):
    return [a.tern, "bench", "infer", "-m", a.model, "-t", str(a.threads), *sizes(prompt, generate), "--json"]


def peer_command(a, peer):
    return [peer.program, "-m", peer.model, "-t", str(a.threads), *sizes(a.prompt, a.generate), *peer.flags,
            "-o", "json"]  # fmt: skip


def run_tern(a, prompt, generate, extra=None):
    text, waited = run("Tern", tern_command(a, prompt, generate), extra)
    result = json.loads(text.strip().splitlines()[-1])
    result.update(pp=result[f"pp{prompt}"], tg=result[f"tg{generate}"], waited=waited)
    print(f"  pp {result['pp']:.1f}  tg {result['tg']:.2f}", file=sys.stderr, flush=True)
    return result


def run_peer(a, peer):
    text, waited = run(peer.name, peer_command(a, peer))
    try:
        prompt, generation = sorted(json.loads(text[text.index("[") :]), key=lambda test: test["n_gen"])
        result = {"pp": prompt["avg_ts"], "tg": generation["avg_ts"], "type": prompt["model_type"],
                  "commit": prompt["build_commit"], "waited": waited}  # fmt: skip
    except (KeyError, ValueError):
        sys.exit(f"bench-runtimes: {peer.name}: printed no prompt and generation in the JSON of llama-bench")
    print(f"  pp {result['pp']:.1f}  tg {result['tg']:.2f}", file=sys.stderr, flush=True)
    return result


def run_in_turn(a):
    """Rounds: Tern's result, then one of each peer."""
    return [[run_tern(a, a.prompt, a.generate), *(run_peer(a, peer) for peer in a.peer)] for _ in range(a.rounds)]


def run_held(a):
    """Set of instructions -> (tokens of a prompt, tokens written, result)."""
    held = {}
    for isa in a.held:
        prompt, generate = (a.generic_prompt, a.generic_generate) if isa == "generic" else (a.prompt, a.generate)
        held[isa] = prompt, generate, run_tern(a, prompt, generate, hold(isa))
    return held


def hold(isa):
    return TERN_AVX2 if isa == "avx2" else {"TN_ISA": isa}


# --- The page. ---


def median(results, key):
    return statistics.median(result[key] for result in results)


def core_name():
    """Family and model, which name the core where a virtual machine hides its name; "" where Linux does not tell."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    numbers = [re.search(rf"^{key}\s*: (\d+)$", text, re.M) for key in ("cpu family", "model")]
    return " (family {}, model {})".format(*(number[1] for number in numbers)) if all(numbers) else ""


def shown(command):
    """As a reader would type it: where files lay on this machine is nobody's business."""
    return [pathlib.Path(word).name if os.path.isabs(word) else word for word in command]


def speed(results, key, digits):
    values = [result[key] for result in results]
    spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.{digits}f}{spread}"


def row(name, weights, model, terns, results):
    mark = " (disturbed)" if max(result["waited"] for result in terns + results) >= QUIET else ""
    yield from (name + mark, weights, f"{os.path.getsize(model) / 1e6:.0f}", speed(results, "pp", 1))
    yield speed(results, "tg", 2)
    for key in ("pp", "tg"):
        yield f"{statistics.median(tern[key] / it[key] for tern, it in zip(terns, results)):.2f}"


def table(a, terns, peers):
    pp, tg = f"pp{a.prompt}", f"tg{a.generate}"
    rows = [row("Tern", terns[0]["tests"][0]["model_type"], a.model, terns, terns)]
    rows += [row(peer.name, of_peer[0]["type"], peer.model, terns, of_peer) for peer, of_peer in zip(a.peer, peers)]
    yield f"| | weights | file, MB | {pp}, tokens/s | {tg}, tokens/s | Tern / it, {pp} | Tern / it, {tg} |"
    yield "|---|---|---|---|---|---|---|"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)


def table_of_held(a, terns, held):
    yield "| TN_ISA | prompt | pp, tokens/s | written | tg, tokens/s | of all instructions, pp | tg |"
    yield "|---|---|---|---|---|---|---|"
    for isa, (prompt, generate, result) in held.items():
        mark = " (disturbed)" if result["waited"] >= QUIET else ""
        shares = " | ".join(f"{100 * result[key] / median(terns, key):.0f}%" for key in ("pp", "tg"))
        yield f"| {isa}{mark} | {prompt} | {result['pp']:.1f} | {generate} | {result['tg']:.2f} | {shares} |"


def page(a, rounds, held):
    terns, *peers = zip(*rounds)
    results = [result for of_round in rounds for result in of_round] + [result for _, _, result in held.values()]
    waited = max(result["waited"] for result in results)
    version = subprocess.run([a.tern, "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    yield "# Prompts and generation: Tern and other runtimes\n"
    yield (f"- CPU: {cpu_name()}{core_name()}, threads: {a.threads}; Tern's rows: {terns[0]['isa']}, OpenBLAS "
           f"{terns[0]['blas_core']}")  # fmt: skip
    yield (f"- measured between the tests of Tern: memory {median(terns, 'memory_bytes_per_second') / 1e9:.1f} GB/s, "
           f"int8 peak {median(terns, 'int8_ops_per_second') / 1e9:.0f} Gop/s; generation reads at "
           f"{100 * median(terns, 'bandwidth_share'):.0f}% of the one, prompts work at "
           f"{100 * median(terns, 'int8_share'):.0f}% of the other")  # fmt: skip
    commits = [f"{peer.name} at {of_peer[0]['commit']}" for peer, of_peer in zip(a.peer, peers)]
    yield f"- {'; '.join([version, *commits])}"
    yield (f"- {a.rounds} rounds, Tern and then each peer; medians (least and greatest); ratios of runs of one round; "
           "llama-bench computes the logits of each token and chooses none, Tern chooses")  # fmt: skip
    yield f"- threads waited for a core at most {100 * waited:.1f}% of the time of a run" + (
        ": a warning, rows are marked" if waited >= QUIET else "")  # fmt: skip
    yield ""
    yield from table(a, terns, peers)
    if held:
        yield "\n## Tern held to less\n"
        yield from table_of_held(a, terns, held)
    yield "\n## Commands\n\n```"
    yield spell(shown(tern_command(a, a.prompt, a.generate)), {})
    for peer in a.peer:
        yield f"{spell(shown(peer_command(a, peer)), {})}    # {peer.name}"
    for isa, (prompt, generate, _) in held.items():
        yield spell(shown(tern_command(a, prompt, generate)), hold(isa))
    yield "```"


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--tern", default="build/tern")
    p.add_argument("--model", required=True, help="what Tern runs")
    p.add_argument("--peer", type=read_peer, action="append", required=True, help="name=llama-bench:model[:flags]")
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--generate", type=int, default=128)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--held", nargs="*", default=[], help="sets of instructions to hold Tern to")
    p.add_argument("--generic-prompt", type=int, default=32)
    p.add_argument("--generic-generate", type=int, default=8)
    p.add_argument("--results", type=pathlib.Path, default=pathlib.Path("bench/results"))
    return p.parse_args()


def main():
    a = parse_arguments()
    rounds = run_in_turn(a)
    text = "\n".join(page(a, rounds, run_held(a))) + "\n"
    a.results.mkdir(parents=True, exist_ok=True)
    (a.results / "runtimes.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
