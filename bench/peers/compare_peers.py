#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compare_peers.py - runs `tern bench train` and train_pytorch.py in turn and writes what came of it.

Started by scripts/bench_peers.sh in the Python that has PyTorch. Each run of PyTorch has a run of Tern right before it,
and ratios are of such neighbours, so that a machine that slows down or speeds up meanwhile slows or speeds both.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

TERN, PEER = "build/tern", "bench/peers/train_pytorch.py"
MODES = ("f32", "bf16", "f32-compile", "bf16-compile")
AVX2_MODES = ("f32", "f32-compile")
UNSUPPORTED = 3  # what PEER exits with when its PyTorch has no such mode
HOPELESS = 0.6  # a mode slower than this share of the fastest is not run a second time
QUIET = 0.02  # as in cmd/cmd_bench.c

# What an environment may hold either of the two at; then what holds both at AVX2. OpenBLAS does not follow TN_ISA, and
# Debian's PyTorch multiplies with it instead of MKL.
HOLDS = ("OPENBLAS_CORETYPE", "TN_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA",
         "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # fmt: skip
TERN_AVX2 = {"TN_ISA": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
PEER_AVX2 = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "OPENBLAS_CORETYPE": "Haswell"}  # fmt: skip


# --- Runs. ---


def spell(command, extra):
    """The command line as a reader would type it."""
    words = [f"{key}={value}" for key, value in extra.items()]
    return " ".join(words + ["python" if word == sys.executable else word for word in command])


def run(command, extra, cache):
    """The JSON object that the command prints last. None if it has no such mode; fails with what it said otherwise."""
    environment = {key: value for key, value in os.environ.items() if key not in HOLDS}
    environment.update(extra, TORCHINDUCTOR_CACHE_DIR=str(cache.resolve()))
    print("$", spell(command, extra), file=sys.stderr, flush=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == UNSUPPORTED and command[0] == sys.executable:
        print("  this PyTorch has no such mode", file=sys.stderr)
        return None
    if done.returncode:
        sys.stderr.write(done.stderr[-4000:])
        raise RuntimeError(f"status {done.returncode} from: {spell(command, extra)}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {result['tokens_per_second']:.0f} tokens/s", file=sys.stderr, flush=True)
    return result


def tern_command(a):
    return [TERN, "bench", "train", "--preset", a.preset, "--steps", str(a.steps), "--warmup", str(a.warmup),
            "--threads", str(a.threads), "--json"]  # fmt: skip


def peer_command(a, mode):
    return [sys.executable, PEER, "--preset", a.preset, "--mode", mode, "--steps", str(a.steps), "--warmup",
            str(a.warmup), "--threads", str(a.threads), "--json"]  # fmt: skip


def run_in_turn(a, modes, tern_extra, peer_extra):
    """Mode -> [(Tern, PyTorch), ...], a pair of results for each round that the mode was in."""
    pairs = {}
    for turn in range(a.rounds):
        speed = {mode: pair[0][1]["tokens_per_second"] for mode, pair in pairs.items()}
        for mode in modes if turn == 0 else pairs:
            if turn and speed[mode] < HOPELESS * max(speed.values()):
                continue
            tern = run(tern_command(a), tern_extra, a.cache)
            try:
                peer = run(peer_command(a, mode), peer_extra, a.cache)
            except RuntimeError as error:
                print("  left out:", error, file=sys.stderr)
                peer = None
            if not peer:
                continue
            if tern["parameters"] != peer["parameters"]:
                sys.exit(f"not the same model: {tern['parameters']} and {peer['parameters']} parameters")
            pairs.setdefault(mode, []).append((tern, peer))
    if not pairs:
        sys.exit("PyTorch finished in no mode")
    return pairs


# --- What they say together. ---


def median(results, key):
    return statistics.median(result[key] for result in results)


def summarise_mode(a, mode, pairs, peer_extra):
    peers = [peer for _, peer in pairs]
    rss = median(peers, "peak_rss_bytes")
    return {
        "mode": mode,
        "runs": len(pairs),
        "tokens_per_second": median(peers, "tokens_per_second"),
        "tern_speed_ratio": statistics.median(t["tokens_per_second"] / p["tokens_per_second"] for t, p in pairs),
        "peak_rss_bytes": rss,
        "import_rss_bytes": median(peers, "import_rss_bytes"),
        "tern_memory_share": statistics.median(t["peak_rss_bytes"] for t, _ in pairs) / rss,
        "gemm_ops_per_second": median(peers, "gemm_ops_per_second"),
        "waited_share": max(run.get("waited_share", 0) for pair in pairs for run in pair),
        "optimizer": peers[0]["optimizer"],
        "command": spell(peer_command(a, mode), peer_extra),
    }


def summarise(a, pairs, tern_extra, peer_extra):
    terns = [tern for of_mode in pairs.values() for tern, _ in of_mode]
    modes = [summarise_mode(a, mode, of_mode, peer_extra) for mode, of_mode in pairs.items()]
    return {
        "tern": {
            "runs": len(terns),
            "tokens_per_second": median(terns, "tokens_per_second"),
            "peak_rss_bytes": median(terns, "peak_rss_bytes"),
            "roofline_share": median(terns, "roofline_share"),
            "isa": terns[0]["isa"],
            "blas_core": terns[0]["blas_core"],
            "waited_share": max(tern.get("waited_share", 0) for tern in terns),
            "command": spell(tern_command(a), tern_extra),
        },
        "pytorch": modes,
        "fastest": max(modes, key=lambda mode: mode["tokens_per_second"])["mode"],
    }


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    names = re.findall(r"^model name\s*: (.*)", text, re.M)
    return names[0] if names else "unknown"


def compare(a):
    free = run_in_turn(a, a.modes, {}, {})
    _, peer = next(iter(free.values()))[0]
    result = {
        "preset": a.preset,
        "parameters": peer["parameters"],
        "cpu": cpu_name(),
        "threads": a.threads,
        "tern_version": subprocess.run([TERN, "--version"], capture_output=True, text=True).stdout.split("\n")[0],
        "torch_version": peer["torch"],
        "torch_libraries": peer["libraries"],
        "rounds": a.rounds,
        "steps": a.steps,
        "warmup": a.warmup,
        "free": summarise(a, free, {}, {}),
    }
    if a.avx2:
        held = run_in_turn(a, [mode for mode in AVX2_MODES if mode in free], TERN_AVX2, PEER_AVX2)
        result["avx2"] = summarise(a, held, TERN_AVX2, PEER_AVX2)
    return result


# --- The page. ---


def mebibytes(size):
    return f"{size / 2**20:.0f}"


def table(side):
    tern = side["tern"]
    yield "| | runs | tokens/s | Tern / it | peak memory, MiB | of it imports | Tern's share |"
    yield "|---|---|---|---|---|---|---|"
    yield (f"| Tern ({tern['isa']}, OpenBLAS {tern['blas_core']}) | {tern['runs']} | {tern['tokens_per_second']:.0f} | "
           f"| {mebibytes(tern['peak_rss_bytes'])} | | |")  # fmt: skip
    for mode in side["pytorch"]:
        name = f"PyTorch {mode['mode']}"
        if mode["mode"] == side["fastest"]:
            name = f"**{name}**"
        if mode["waited_share"] >= QUIET:
            name += " (disturbed)"
        yield (f"| {name} | {mode['runs']} | {mode['tokens_per_second']:.0f} | {mode['tern_speed_ratio']:.2f} | "
               f"{mebibytes(mode['peak_rss_bytes'])} | {mebibytes(mode['import_rss_bytes'])} | "
               f"{mode['tern_memory_share']:.2f} |")  # fmt: skip


def commands(side):
    yield side["tern"]["command"]
    yield from (mode["command"] for mode in side["pytorch"])


def page(r):
    sides = [r["free"]] + ([r["avx2"]] if "avx2" in r else [])
    busy = max(run["waited_share"] for side in sides for run in [side["tern"], *side["pytorch"]])
    yield f"# Preset {r['preset']}: Tern and PyTorch\n"
    yield f"- CPU: {r['cpu']}, threads: {r['threads']}"
    yield f"- {r['tern_version']}; PyTorch {r['torch_version']}"
    yield from (f"- PyTorch's {name}" for name in r["torch_libraries"])
    yield (f"- {r['parameters'] / 1e6:.1f} million parameters; {r['steps']} steps a run after {r['warmup']}; medians "
           "of steps, then of runs; a run of Tern before each of PyTorch, and ratios of these two")  # fmt: skip
    if busy >= QUIET:
        yield (f"- warning: the machine was busy: threads waited for a core up to {100 * busy:.0f}% of the time; rows "
               "are marked where that was so, in PyTorch or in the run of Tern before it")  # fmt: skip
    yield ""
    yield from table(r["free"])
    share = 100 * r["free"]["tern"]["roofline_share"]
    yield f"\nTern reaches {share:.0f}% of its roofline. Bold: PyTorch's fastest mode."
    if "avx2" in r:
        free, held = r["free"]["pytorch"][0], r["avx2"]["pytorch"][0]
        yield "\n## Both held to AVX2\n"
        yield from table(r["avx2"])
        yield (f"\nPyTorch's float32 product does {free['gemm_ops_per_second'] / 1e9:.0f} GFLOP/s as it comes and "
               f"{held['gemm_ops_per_second'] / 1e9:.0f} held.")  # fmt: skip
    yield "\n## Commands\n\n```"
    for side in sides:
        yield from commands(side)
    yield "```"


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--preset", default="30m")
    p.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    p.add_argument("--no-avx2", dest="avx2", action="store_false", help="leave out the pair that is held to AVX2")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--results", type=pathlib.Path, default="bench/results")
    p.add_argument("--cache", type=pathlib.Path, default="build/peers/compiled", help="what torch.compile made")
    return p.parse_args()


def main():
    a = parse_arguments()
    a.cache = pathlib.Path(a.cache)
    result = compare(a)
    results = pathlib.Path(a.results)
    results.mkdir(parents=True, exist_ok=True)
    text = "\n".join(page(result)) + "\n"
    (results / f"peers-{a.preset}.md").write_text(text)
    (results / f"peers-{a.preset}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
