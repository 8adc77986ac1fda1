"""recipes/profile.py, driven by a tiny randomly initialised language model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from standin import titled

import hybridrec as hr
from hybridrec.data.writing import save_folder
from hybridrec.errors import DataError

RECIPES = Path(__file__).parents[1] / "recipes"
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["quiet", "drama", "space", "robots", "one", "two", "three", "likes", "moods", "what", "who", "in", "the", "and"]
    vocabulary = {w: n for n, w in enumerate(["[PAD]", "[UNK]", "[EOS]", "<|user|>", "<|system|>", "<|assistant|>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]")
    fast.chat_template = CHAT
    folder = tmp_path_factory.mktemp("model")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, eos_token_id=2, bos_token_id=None,
        initializer_range=1.0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def profiles(monkeypatch, planted, tmp_path, model):
    """Runs the recipe on a small folder; gives the module, and what was asked of the model."""
    save_folder(titled(planted), tmp_path / "small")
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.delitem(sys.modules, "profiles", raising=False)
    import profiles as module

    asked: list[list[str]] = []
    real = module.Model.answer
    monkeypatch.setattr(module.Model, "answer", lambda self, some: asked.append(list(some)) or real(self, some))

    def run(*argv):
        asked.clear()
        base = ["profile.py", str(tmp_path / "small"), "--model", model, "--tokens", "5", "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*base, *argv])
        module.main()
        return [q for some in asked for q in some]

    run.module, run.asked, run.out = module, asked, tmp_path / "out"
    yield run
    sys.modules.pop("profiles", None)


def test_every_item_and_user_gets_a_profile_that_loads_with_the_data(profiles, planted):
    asked = profiles("--batch_size", "7")
    data = hr.load(profiles.out)
    assert data.ids["item"].values.tolist() == planted.ids["item"].values.tolist()
    assert data.tables["user"].num_rows == 60 and data.tables["item"].column_names[-1] == "profile"
    texts = data.tables["item"]["profile"].to_pylist() + data.tables["user"]["profile"].to_pylist()
    assert len(texts) == 100 and all(isinstance(t, str) for t in texts) and any(texts)
    assert len(asked) == len(set(asked)) <= 100 and max(map(len, profiles.asked)) == 7
    assert torch.equal(data.train.index, hr.load(profiles.out.parent / "small").train.index)


def test_batches_do_not_change_answers(profiles, model):
    module = profiles.module
    questions = ["what quiet drama", "who likes space robots and what moods one two three", "one"]
    writer = module.Model(module.Profiles(model=model, tokens=6))
    together = writer.answer(questions)
    assert together == [writer.answer([q])[0] for q in questions]
    assert len(set(together)) == 3


def test_a_stopped_run_goes_on_where_it_was(profiles, monkeypatch):
    module, real = profiles.module, profiles.module.Model.answer
    answered = []

    def stop(self, some):
        if len(answered) == 3:
            raise KeyboardInterrupt
        answered.append(some)
        return real(self, some)

    monkeypatch.setattr(module.Model, "answer", stop)
    with pytest.raises(KeyboardInterrupt):
        profiles("--batch_size", "5")
    kept = Path(f"{profiles.out}.jsonl")
    assert not profiles.out.exists() and len(kept.read_text().splitlines()) == 15
    kept.write_bytes(kept.read_bytes()[:-9])  # as if the last line had been cut off in writing
    monkeypatch.setattr(module.Model, "answer", real)
    again = profiles("--batch_size", "5")
    done = {q for some in answered for q in some}
    assert len(done & set(again)) == 1 and profiles.out.exists()
    assert len(kept.read_text().splitlines()) == len(done | set(again))


def test_what_was_asked_before_is_not_asked_again(profiles, monkeypatch, tmp_path):
    first = profiles()
    profiles.out.rename(tmp_path / "first")
    monkeypatch.setattr(profiles.module, "Model", None)  # not even loaded
    assert profiles() == []
    one, other = (hr.load(f).tables["item"] for f in (tmp_path / "first", profiles.out))
    assert one.equals(other)
    assert first


def test_a_changed_question_is_asked_anew(profiles, tmp_path):
    profiles("--of", "item")
    profiles.out.rename(tmp_path / "first")
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for name in ("item", "item_profile"):
        text = (RECIPES.parent / "prompts" / f"{name}.j2").read_text()
        (prompts / f"{name}.j2").write_text(text.replace("moods", "feelings"))
    assert profiles("--of", "item", "--prompts", str(prompts))
    assert len(Path(f"{profiles.out}.jsonl").read_text().splitlines()) == 2 * 40


def test_users_are_described_by_training_rows_alone(profiles, planted):
    module, prompts = profiles.module, RECIPES.parent / "prompts"
    data = titled(planted)
    heldout = {name: replace(r, index=r.index.flip(1)) for name, r in data.heldout.items()}
    assert module.questions(data, "user", prompts, 9) == module.questions(replace(data, heldout=heldout), "user", prompts, 9)
    for user, item in data.heldout["test"].index.T.tolist():
        assert f"no{item};" not in module.questions(data, "user", prompts, 99)[user]


def test_thoughts_are_left_out_and_faults_are_named(profiles, tmp_path):
    module = profiles.module
    assert module.THOUGHT.sub("", "<think>\nhm\n</think>Likes robots.") == "Likes robots."
    assert module.THOUGHT.sub("", "<think> never ends") == ""
    with pytest.raises(DataError, match="'items': wanted item, user"):
        profiles("--of", "items")
    Path(f"{profiles.out}.jsonl").write_text('{"key": 1}\n')
    with pytest.raises(DataError, match="line 1: not an answer"):
        profiles()
    Path(f"{profiles.out}.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be loaded"):
        profiles("--model", str(tmp_path / "nothing"))
    profiles.out.mkdir()
    with pytest.raises(DataError, match="is there already"):
        profiles()


def test_the_recipe_leaves_the_standard_library_its_module_of_that_name():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cProfile, profile; print(profile.__file__, cProfile.run.__doc__)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(RECIPES)], capture_output=True, text=True, check=True)
    assert "recipes" not in done.stdout and "Run statement under profiler" in done.stdout


def test_help_tells_every_argument_with_its_default():
    done = subprocess.run([sys.executable, RECIPES / "profile.py", "--help"], capture_output=True, text=True, check=True)
    assert all(f"--{name}" in done.stdout for name in ("model", "of", "prompts", "tokens", "batch_size", "config"))
    told = " ".join(done.stdout.split())
    assert "(default: Qwen/Qwen3-0.6B)" in told and "(default: 16)" in told
