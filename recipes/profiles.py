"""Have a language model write a profile of every item and user, and write a copy of the data set that has them.

python recipes/profile.py ml-100k --model Qwen/Qwen3-0.6B --out runs/profiles
python recipes/align.py runs/profiles

Any causal language model of transformers will do. Users are described by their training rows alone. What was written is kept
beside the copy, under a hash of the model, the settings and the question: a run that was stopped goes on where it was, and a
changed template or row is asked anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from arguments import parse, read_text
from tqdm.auto import tqdm

import hybridrec as hr
from hybridrec.data.text import item_texts, render, user_texts
from hybridrec.data.writing import save_folder
from hybridrec.errors import DataError
from hybridrec.saving import make_folder

COLUMN = "profile"
PROMPTS = Path(__file__).parent.parent / "prompts"
THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.S)  # what a reasoning model says before it answers


@dataclass
class Profiles:
    """Which data, which model, how it is asked."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    out: str = field(default="runs/profiles", metadata={"help": "new folder for the copy; answers are kept in <out>.jsonl"})
    model: str = field(default="Qwen/Qwen3-0.6B", metadata={"help": "causal language model, by Hub id or path"})
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit of a Hub id"})
    of: list[str] = field(default_factory=lambda: ["item", "user"], metadata={"help": "who is described: item, user"})
    prompts: str = field(
        default=str(PROMPTS), metadata={"help": "folder of item.j2, item_profile.j2, user.j2, user_profile.j2"}
    )
    history: int = field(default=20, metadata={"help": "a user is described by so many of the latest training rows"})
    system: str = field(default="", metadata={"help": "a system message; none if empty"})
    tokens: int = field(default=160, metadata={"help": "the most tokens of an answer"})
    longest: int = field(default=1024, metadata={"help": "longer questions are cut at the front to so many tokens"})
    batch_size: int = field(default=16, metadata={"help": "questions answered together"})


def main() -> None:
    """Ask, keep, write."""
    args = parse(Profiles, __doc__, positional="data")
    if wrong := sorted(set(args.of) - {"item", "user"}):
        raise DataError(f"--of {wrong[0]!r}: wanted item, user, or both")
    if Path(args.out).exists():
        raise DataError(
            f"{args.out} is there already; choose another --out, or remove it: answers are kept in {args.out}.jsonl"
        )
    data = hr.load(args.data)
    asked = {whom: questions(data, whom, Path(args.prompts), args.history) for whom in args.of}
    answers = Answers(Path(f"{args.out}.jsonl"), args)
    found = answers.of([q for whom in args.of for q in asked[whom]])
    tables = dict(data.tables)
    for whom in args.of:
        entity = data.target if whom == "item" else data.source
        column = pa.array([found[q] for q in asked[whom]], pa.string())
        bare = pa.table({f"{whom}_id": pa.array(data.ids[entity].values.tolist())})
        table = tables.get(entity, bare)
        kept = table.drop_columns([COLUMN]) if COLUMN in table.column_names else table
        tables[entity] = kept.append_column(COLUMN, column)
    save_folder(replace(data, tables=tables), args.out, about=f"{data.name} with profiles written by {args.model}.")
    print(f"{args.out}: " + ", ".join(f"{len(asked[whom]):,} {whom} profiles" for whom in args.of))


def questions(data: hr.Dataset, whom: str, prompts: Path, history: int) -> list[str]:
    """What the model is asked of every item, or of every user, whose text is made of training rows alone."""
    template = {name: read_text(prompts / f"{name}.j2") for name in (whom, f"{whom}_profile")}
    texts = item_texts(data, template[whom]) if whom == "item" else user_texts(data, template[whom], history)
    table = data.tables.get(data.target if whom == "item" else data.source)
    rows: list[dict[str, Any]] = [{}] * len(texts) if table is None else table.to_pylist()
    return render(template[f"{whom}_profile"], [{**row, "text": text} for row, text in zip(rows, texts, strict=True)])


class Answers:
    """Answers kept in a file of JSON lines by a hash of all that they depend on; the model writes what is not there."""

    def __init__(self, path: Path, args: Profiles) -> None:
        self.path, self.args = path, args
        self.kept: dict[str, str] = dict(_entries(path))

    def key(self, question: str) -> str:
        """The hash of a question with the model and the settings that it is asked with."""
        a = self.args
        all_of_it = [a.model, a.revision, a.system, a.tokens, a.longest, question]
        return hashlib.blake2b(json.dumps(all_of_it).encode(), digest_size=16).hexdigest()

    def of(self, questions: Sequence[str]) -> dict[str, str]:
        """The answer to each question; the model is loaded only where one is missing."""
        # Questions of like length go together, so that little is spent on padding.
        missing = sorted({q for q in questions if self.key(q) not in self.kept}, key=len)
        if missing:
            make_folder(self.path.parent)
            model = Model(self.args)
            with self.path.open("a", encoding="utf-8") as file, tqdm(total=len(missing), unit="profile") as bar:
                for start in range(0, len(missing), self.args.batch_size):
                    some = missing[start : start + self.args.batch_size]
                    for question, answer in zip(some, model.answer(some), strict=True):
                        self.kept[self.key(question)] = answer
                        file.write(json.dumps({"key": self.key(question), "answer": answer}, ensure_ascii=False) + "\n")
                    file.flush()
                    bar.update(len(some))
        return {q: self.kept[self.key(q)] for q in questions}


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """What the file holds; a last line that was cut off in writing is taken out, so that the next begins a line of its own."""
    if not path.exists():
        return
    whole = path.read_bytes()
    if not whole.endswith(b"\n"):
        whole = whole[: whole.rfind(b"\n") + 1]
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.decode("utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            yield entry["key"], entry["answer"]
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{path}, line {number}: not an answer kept by this recipe; mend the line or remove it") from e


class Model:
    """A causal language model that answers questions in batches, greedily: the same question has the same answer."""

    def __init__(self, args: Profiles) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.args = args
        try:
            own = {"revision": args.revision, "trust_remote_code": False}
            self.tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left", **own)
            self.model = AutoModelForCausalLM.from_pretrained(args.model, dtype="auto", use_safetensors=True, **own).eval()
        except (OSError, ValueError) as e:
            raise DataError(f"--model {args.model}: cannot be loaded ({e})") from e
        self.tokenizer.truncation_side = "left"  # the question stands at the end
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.to("cuda" if torch.cuda.is_available() else "cpu")

    def answer(self, questions: Sequence[str]) -> list[str]:
        """One answer a question, in order."""
        tokens = self.tokenizer(
            [self._chat(q) for q in questions],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=self.args.longest,
            add_special_tokens=self.tokenizer.chat_template is None,  # a chat template writes them itself
        ).to(self.model.device)
        tokens.pop("token_type_ids", None)
        with torch.no_grad():
            written = self.model.generate(
                **tokens, max_new_tokens=self.args.tokens, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
            )
        answers = self.tokenizer.batch_decode(written[:, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
        return [" ".join(THOUGHT.sub("", answer).split()) for answer in answers]

    def _chat(self, question: str) -> str:
        """The question as the model's chat template puts it; as it is where there is none."""
        if self.tokenizer.chat_template is None:
            return "\n\n".join(filter(None, [self.args.system, question])) + "\n\n"
        said = [{"role": "system", "content": self.args.system}] if self.args.system else []
        return self.tokenizer.apply_chat_template(
            [*said, {"role": "user", "content": question}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
