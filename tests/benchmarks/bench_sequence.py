"""Training sequences a second beside padded batches, and the memory of a whole softmax over a large catalogue.

Beside SASRec and BERT4Rec stands a plain implementation of the same networks on batches padded to the window, as RecBole
has them: torch's TransformerEncoder, left-out positions masked, the loss at the last position of every prefix (SASRec, full
softmax at the last item alone) or over the masked positions (BERT4Rec, logits at every position). Width, depth, heads,
window and batch are the same. Histories are as short as Amazon's: geometric with a mean of 9, from 3 to the window.

Where RecBole can be imported (1.2.1: pip install --no-deps --target FOLDER recbole colorlog, PYTHONPATH=FOLDER) its own
SASRec and BERT4Rec are fed the same padded batches. Its SASRec learns one target a sequence, ours every entry of it: targets
a second are compared too. Importing it turns on torch's anomaly detection, which halves its speed and is turned off here.

    python tests/benchmarks/bench_sequence.py            # sequences a second, then memory
    python tests/benchmarks/bench_sequence.py --memory   # the softmax over 1,000,000 items at batch 128 x length 50, width 64
"""

import argparse
import importlib.util
import time
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.evaluation.passport import peak_memory
from hybridrec.losses.softmax import catalogue_cross_entropy
from hybridrec.methods.bert4rec import BERT4Rec
from hybridrec.methods.sasrec import SASRec
from hybridrec.objectives import BinaryCrossEntropy, FullSoftmax

ITEMS, DIM, WINDOW, BATCH = 12_000, 64, 50, 128


def histories(users):
    """Users with geometric histories."""
    torch.manual_seed(0)
    length = (torch.empty(users).geometric_(1 / 7) + 2).clamp(max=WINDOW).long()
    user = torch.arange(users).repeat_interleave(length)
    index = torch.stack([user, torch.randint(ITEMS, (len(user),))])
    relation = Relation("user", "item", index, torch.arange(len(user), dtype=torch.float64))
    return Dataset({"user": Ids(range(users)), "item": Ids(range(ITEMS))}, {"x": relation}, "x")


def padded(history, pad):
    """Rows as a matrix (B, T), padding at the front."""
    out = torch.full((len(history.offset) - 1, WINDOW), pad)
    back = history.offset[1:][history.rows] - torch.arange(len(history.item))
    out[history.rows, WINDOW - back] = history.item
    return out


class Padded(nn.Module):
    """The same network over padded batches; item I is the padding, I + 1 the mask."""

    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.items, self.place = nn.Embedding(ITEMS + 2, DIM), nn.Embedding(WINDOW, DIM)
        layer = nn.TransformerEncoderLayer(DIM, 2, 4 * DIM, 0.2, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(DIM), enable_nested_tensor=False)

    def read(self, item):
        x = self.items(item) + self.place.weight
        hidden = item == ITEMS
        hidden = torch.where(hidden, -torch.inf, 0.0)
        mask = torch.triu(torch.full((WINDOW, WINDOW), -1e9), 1) if self.causal else None
        return self.encoder(x, mask=mask, src_key_padding_mask=hidden.clamp(min=-1e9))

    def forward(self, batch):
        item = padded(batch.history, ITEMS)
        if self.causal:
            z, target = self.read(item.roll(1, 1).index_fill(1, torch.tensor([0]), ITEMS)), item
            negative = torch.randint(ITEMS, item.shape)
            own = (z * self.items(target)).sum(2)
            other = (z * self.items(negative)).sum(2)
            return (F.softplus(-own) + F.softplus(other))[target != ITEMS].mean()
        hidden = (torch.rand(item.shape) < 0.2) & (item != ITEMS)
        logits = self.read(item.masked_fill(hidden, ITEMS + 1)) @ self.items.weight[:ITEMS].T  # (B, T, I)
        return F.cross_entropy(logits[hidden], item[hidden])


class RecBole(nn.Module):
    """A model of RecBole over padded batches: item 0 is its padding, items count from 1."""

    def __init__(self, name, loss):
        super().__init__()
        module = importlib.import_module(f"recbole.model.sequential_recommender.{name.lower()}")
        torch.autograd.set_detect_anomaly(False)  # its SINE turns it on for everybody, at import
        config = {
            "USER_ID_FIELD": "u", "ITEM_ID_FIELD": "i", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "length",
            "NEG_PREFIX": "neg_", "MAX_ITEM_LIST_LENGTH": WINDOW, "device": "cpu", "n_layers": 2, "n_heads": 2,
            "hidden_size": DIM, "inner_size": 4 * DIM, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2,
            "hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 0.02, "loss_type": loss, "mask_ratio": 0.2,
            "MASK_ITEM_SEQ": "mask_seq", "POS_ITEMS": "pos", "NEG_ITEMS": "neg", "MASK_INDEX": "mask_index",
        }  # fmt: skip
        self.model = getattr(module, name)(config, SimpleNamespace(num=lambda field: ITEMS + 1))

    def forward(self, batch):
        item = padded(batch.history, -1) + 1
        item = item.gather(1, (torch.arange(WINDOW) + (item == 0).sum(1, keepdim=True)) % WINDOW)  # padding behind
        length, rows = batch.history.lengths, torch.arange(len(item))
        last = item[rows, length - 1]
        read = item.index_put((rows, length - 1), torch.zeros_like(last))
        # Its transform masks a fifth of the window, and fills up with places 0, which are not counted.
        chosen = (torch.rand(item.shape) < 0.2) & (item > 0)
        place = (chosen * torch.arange(WINDOW)).topk(WINDOW // 5).values
        told = {"i_list": read, "length": length - 1, "i": last, "neg_i": torch.randint(1, ITEMS, last.shape)}
        told |= {"mask_seq": item.masked_fill(chosen, ITEMS + 1), "mask_index": place, "pos": item.gather(1, place)}
        return self.model.calculate_loss({**told, "neg": told["pos"]})


def rate(model, data, steps):
    """Sequences trained on a second of the processor's time."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    sampler = SASRec(data, DIM).sampler(data, batch_size=BATCH)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started, rows = 0.0, 0
    for step, batch in zip(range(steps + 1), sampler.epoch(0), strict=False):
        if step == 1:  # the first step warms up
            started, rows = clock(), 0
        found = model(batch)
        loss = found if isinstance(found, torch.Tensor) else sum(found.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rows += len(batch.user)
    return rows / (clock() - started)


def memory(items, rows):
    """Peak bytes and seconds of a step of Adam on the softmax over ``items`` at ``rows`` outputs."""
    table = nn.Parameter(torch.randn(items, DIM) * 0.02)
    optimizer = torch.optim.Adam([table], lr=1e-3, fused=True)
    z = torch.randn(rows, DIM, requires_grad=True)
    started = time.perf_counter()
    catalogue_cross_entropy(z, table, torch.randint(items, (rows,))).backward()
    optimizer.step()
    return peak_memory(), time.perf_counter() - started


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="only the softmax over a large catalogue")
    parser.add_argument("--items", type=int, default=1_000_000, help="of that catalogue")
    parser.add_argument("--rows", type=int, default=BATCH * WINDOW, help="outputs that are asked of it")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    args = parser.parse_args()
    if not args.memory:
        data = histories(BATCH * (args.steps + 1))
        mean = data.histories().lengths.float().mean()
        print(f"{BATCH} sequences a batch, mean length {mean:.1f}, window {WINDOW}, width {DIM}, {ITEMS:,} items")
        pairs = {
            "SASRec, BCE": (SASRec(data, DIM, objective=BinaryCrossEntropy()), {"padded": Padded(causal=True)}),
            "SASRec, full": (SASRec(data, DIM, objective=FullSoftmax()), {}),
            "BERT4Rec": (BERT4Rec(data, DIM, mask=0.2), {"padded": Padded(causal=False)}),
        }
        if importlib.util.find_spec("recbole"):
            for (_, plain), arguments in zip(
                pairs.values(), [("SASRec", "BPR"), ("SASRec", "CE"), ("BERT4Rec", "CE")], strict=True
            ):
                plain[f"RecBole {arguments[1]}"] = RecBole(*arguments)
        for name, (ours, others) in pairs.items():
            fast = rate(ours, data, args.steps)
            print(f"{name:<13}{fast:8.0f} sequences/s", flush=True)
            for other, model in others.items():
                slow = rate(model, data, args.steps)
                told = f"ours {fast / slow:.1f} times"
                if other.startswith("RecBole") and name.startswith("SASRec"):
                    told += f", {fast * mean / slow:.1f} times by targets learnt"
                print(f"  {other:<11}{slow:8.0f}: {told}", flush=True)
    peak, seconds = memory(args.items, args.rows)
    print(f"softmax over {args.items:,} items at {args.rows:,} outputs: peak {peak / 2**30:.2f} GiB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
