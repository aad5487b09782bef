# SPDX-License-Identifier: MIT
"""What the checks against transformers share: small models made by it, its answers, Tern's answers."""
import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

os.environ.update(TORCHDYNAMO_DISABLE="1", HF_HUB_OFFLINE="1")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers.integrations.bitnet as bitnet  # noqa: E402
from peft import PeftModel  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: E402
from transformers.utils import logging  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TERN = os.environ.get("TERN", str(ROOT / "build/tern"))
LOGITS = os.environ.get("TERN_LOGITS", str(ROOT / "build/interop/logits"))
LIMIT = 1e-3   # of a logit
MARGIN = 1e-4  # of an activation, in codes; a number near 127 has a rounding of 8e-6
TEXT = "Once upon a time there was a girl named Zo\u00eb. She had 3 red apples, and 12 green ones! The cat sat there.\n"
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|eot_id|>{% endfor %}"

torch.set_num_threads(2)
logging.set_verbosity_error()
logging.disable_progress_bar()


def fail(sentence):
    sys.exit(f"FAILED: {sentence}")


@contextlib.contextmanager
def folder():
    """A temporary folder to work in."""
    path = tempfile.mkdtemp(prefix="tern-interop-")
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path)


def tern(*arguments):
    done = subprocess.run([TERN, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        fail(f"tern {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def tern_logits(model, ids, *options):
    """[places, vocabulary], in double precision."""
    done = subprocess.run([LOGITS, *options, str(model), *map(str, ids)], capture_output=True, text=True)
    if done.returncode:
        fail(f"{model}: {done.stderr.strip()}")
    return torch.tensor(json.loads(done.stdout), dtype=torch.float64)


# ---- transformers ----


def tokenizer(path, size=300):
    """A byte-level BPE with special ones before and behind the others, saved by transformers."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    specials = ["<|begin_of_text|>", "<|end_of_text|>"]
    made.train_from_iterator(
        [TEXT] * 4,
        trainers.BpeTrainer(vocab_size=size - 1, special_tokens=specials, show_progress=False,
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    made.add_special_tokens(["<|eot_id|>"])
    made.post_processor = processors.TemplateProcessing(single="<|begin_of_text|> $A",
                                                        special_tokens=[("<|begin_of_text|>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=specials[0], eos_token="<|eot_id|>",
                                   pad_token=specials[1], chat_template=TEMPLATE)
    fast.save_pretrained(path)
    return fast


def give_norms(model):
    """Norms that are not all ones, so that one left out or taken for another is seen."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)


class Exact:
    """Activations quantised in double precision by the formulas of transformers, and how near to a border they were."""

    margin = 1.0  # least distance of a number, in codes, from the border of two codes

    @classmethod
    def codes(cls, x):
        scale = 127 / x.abs().max(dim=-1, keepdim=True).values.clamp(min=1e-5)
        exact = x * scale
        cls.margin = min(cls.margin, (exact - exact.floor() - 0.5).abs().min().item())
        return exact.round().clamp(-128, 127), scale

    @classmethod
    def apply(cls, x):
        """For ActQuant."""
        codes, scale = cls.codes(x)
        return codes / scale


def activation_quant(self, x, num_bits=8):
    """For BitLinear."""
    codes, scale = Exact.codes(x)
    return codes.to(torch.int8), scale


def load(path, dtype=torch.float32, adapter=None):
    """The model of a folder with all its floats in `dtype`, whatever the folder has; with an adapter that peft loads."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    if adapter:
        model = PeftModel.from_pretrained(model, adapter).eval()
    for tensor in list(model.parameters()) + list(model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
    for module in model.modules():
        if isinstance(module, bitnet.BitLinear):
            module.dtype = dtype
    return model


def answer(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double()


@contextlib.contextmanager
def exact():
    """Let transformers compute in double precision."""
    rounded, method = bitnet.ActQuant, bitnet.BitLinear.activation_quant
    bitnet.ActQuant, bitnet.BitLinear.activation_quant = Exact, activation_quant
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        bitnet.ActQuant, bitnet.BitLinear.activation_quant = rounded, method


def sequences(path, vocabulary, adapter=None, count=6, length=5):
    """Sequences of ids at which every activation lies well within its code of 8 bits: where one lies at the border of two,
    the order of a sum decides which it gets, and logits then differ by a step of 1/127, not by 1e-7."""
    rng, model, found = random.Random(5), load(path, torch.float64, adapter), []
    for _ in range(40 * count):
        ids = [rng.randrange(vocabulary) for _ in range(length)]
        Exact.margin = 1.0
        with exact():
            answer(model, ids)
        if Exact.margin > MARGIN:
            found.append(ids)
        if len(found) == count:
            return found
    return fail(f"{path}: only {len(found)} sequences whose activations lie within their codes")


def compare(what, theirs, ours, adapter=None, options=()):
    """Logits of `theirs`, which transformers loads, beside an adapter or not, and of `ours`, which Tern does, in float32."""
    model, worst = load(theirs, adapter=adapter), 0
    asked = sequences(theirs, model.config.vocab_size, adapter)
    for ids in asked:
        a, b = tern_logits(ours, ids, *options), answer(model, ids)
        if a.shape != b.shape:
            fail(f"{what}: logits {tuple(a.shape)} and {tuple(b.shape)}")
        worst = max(worst, (a - b).abs().max().item())
        if not worst <= LIMIT:
            fail(f"{what}: logits of {ids} differ by {worst:.2g}, more than {LIMIT}")
    print(f"{what}: logits of {len(asked)} sequences differ by at most {worst:.1e}")


def compare_tokens(what, fast, path):
    """Ids of texts by the library's tokenizer and by Tern's from the files in `path`."""
    texts = [TEXT, "  two  spaces, I'm 1234567 and \u4e2d\u6587 \U0001F600\r\n\tend ", "<|eot_id|>a<|begin_of_text|> b"]
    for text in texts:
        theirs = fast(text, add_special_tokens=False).input_ids
        ours = json.loads(tern("tokenizer", "encode", path, "--specials", "--json", "-p", text))["ids"]
        if theirs != ours:
            fail(f"{what}: {text!r} is {theirs} and {ours}")
    print(f"{what}: ids of {len(texts)} texts equal")
