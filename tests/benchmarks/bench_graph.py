"""Training interactions a second of LightGCN and SGL, beside a plain PyTorch version over COO ``torch.sparse.mm``.

Both train the same objective on the same batches: BPR, an L2 term, and for SGL InfoNCE over the nodes of the batch between
two graphs that drop edges. The plain version is what most code bases do: a COO adjacency and its autograd, dense scores.

    python tests/benchmarks/bench_graph.py                       # a random graph of the size of Yelp (SSLRec's split)
    python tests/benchmarks/bench_graph.py --data path/to/folder
    python tests/benchmarks/bench_graph.py --data path/to/folder --sslrec path/to/checkout     # and beside SSLRec's own code
    python tests/benchmarks/bench_graph.py --quick
"""

import argparse
import os
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

import hybridrec as hr
from hybridrec.data.dataset import Dataset, Ids, Relation

BATCH, DEPTH, KEEP, TEMPERATURE = 4096, 3, 0.9, 0.2


def random_data(users, items, links):
    """Links drawn with popularity falling off as one over rank, each once."""
    random = np.random.default_rng(0)
    weight = 1 / np.arange(1, items + 1) ** 0.8
    item = random.choice(items, 2 * links, p=weight / weight.sum())
    key = np.unique(random.integers(users, size=2 * links) * items + item)
    key = random.permutation(key)[:links]
    index = torch.from_numpy(np.stack([key // items, key % items]))
    relation = Relation("user", "item", index)
    return Dataset({"user": Ids(np.arange(users)), "item": Ids(np.arange(items))}, {"interact": relation}, "interact")


class Plain(torch.nn.Module):
    """LightGCN or SGL over a COO matrix, all gradients left to autograd."""

    def __init__(self, data, dim, contrast):
        super().__init__()
        self.users, self.contrast = data.sides["user"], contrast
        nodes = self.users + data.sides["item"]
        self.weight = torch.nn.Parameter(torch.nn.init.xavier_uniform_(torch.empty(nodes, dim)))
        user, item = data.train.index
        self.index = torch.stack([torch.cat([user, item + self.users]), torch.cat([item + self.users, user])])
        self.nodes = nodes
        self.whole = self.normalised(self.index)

    def normalised(self, index):
        scale = torch.bincount(index[0], minlength=self.nodes).clamp(min=1).float().rsqrt()
        value = scale[index[0]] * scale[index[1]]
        return torch.sparse_coo_tensor(index, value, (self.nodes, self.nodes), check_invariants=False).coalesce()

    def thinned(self):
        half = self.index.shape[1] // 2
        kept = (torch.rand(half) < KEEP).repeat(2)
        return self.normalised(self.index[:, kept])

    def embed(self, graph):
        layers = [self.weight]
        for _ in range(DEPTH):
            layers.append(torch.sparse.mm(graph, layers[-1]))
        x = torch.stack(layers).mean(0)
        return x[: self.users], x[self.users :]

    def forward(self, batch):
        user, item = self.embed(self.whole)
        u, p, n = user[batch.user], item[batch.positive], item[batch.negative]
        loss = F.softplus((u * n).sum(1) - (u * p).sum(1)).mean()
        free = self.weight[batch.user], self.weight[batch.positive + self.users], self.weight[batch.negative + self.users]
        loss = loss + 1e-4 * sum(x.square().sum() for x in free) / (2 * len(u))
        if self.contrast:
            one, two = self.embed(self.thinned()), self.embed(self.thinned())
            for side, rows in ((0, batch.user.unique()), (1, batch.positive.unique())):
                a, b = F.normalize(one[side][rows], dim=1), F.normalize(two[side][rows], dim=1)
                loss = loss + 0.1 * F.cross_entropy(a @ b.T / TEMPERATURE, torch.arange(len(rows)))
        return {"loss": loss}


class SSLRec(torch.nn.Module):
    """LightGCN or SGL of a checkout of SSLRec (https://github.com/HKUDS/SSLRec), with its own batches.

    Its SGL compares every node of a batch, negatives too, with all nodes.
    """

    def __init__(self, checkout, data, name, dim):
        super().__init__()
        from scipy.sparse import coo_matrix

        os.chdir(checkout)  # it reads its settings from there, and from the command line
        sys.path[:0] = [] if checkout in sys.path else [checkout]
        sys.argv[1:] = ["--model", "sgl", "--device", "cpu", "--dataset", "yelp"]
        from config.configurator import configs
        from data_utils.data_handler_general_cf import DataHandlerGeneralCF
        from models.general_cf.lightgcn import LightGCN
        from models.general_cf.sgl import SGL

        row, column = data.train.index.numpy()
        pairs = coo_matrix((np.ones(len(row), np.float32), (row, column)), tuple(data.sides.values()))
        DataHandlerGeneralCF._load_one_mat = lambda *_: pairs  # held-out rows are not looked at
        configs["model"].update(layer_num=DEPTH, embedding_size=dim, temperature=TEMPERATURE, cl_weight=0.1)
        configs["model"]["keep_rate"] = KEEP if name == "SGL" else 1.0
        handler = DataHandlerGeneralCF()
        handler.load_data()
        self.loader, self.model = handler.train_dataloader, (SGL if name == "SGL" else LightGCN)(handler)

    def epoch(self, _):
        """Batches of an epoch, whose negatives are drawn first."""
        started = time.perf_counter()
        self.loader.dataset.sample_negs()
        self.drawing = (time.perf_counter() - started) / len(self.loader.dataset)
        for user, positive, negative in self.loader:
            yield SimpleNamespace(user=user.long(), positive=positive.long(), negative=negative.long())

    def forward(self, batch):
        return {"loss": self.model.cal_loss((batch.user, batch.positive, batch.negative))[0]}

    def rate(self, steps):
        """Interactions a second, with what their negatives took to draw."""
        return 1 / (1 / rate(self, self, steps) + self.drawing)


def rate(method, sampler, steps):
    """Interactions a second over ``steps`` steps, the first left out."""
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    started, seen = 0.0, 0
    for step, batch in enumerate(sampler.epoch(0)):
        if step == 1:
            started = time.perf_counter()
        loss = torch.stack(list(method(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step:
            seen += len(batch.user)
        if step == steps:
            break
    return seen / (time.perf_counter() - started)


def main():
    """Print one row a method and width."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a data set folder; a random graph of Yelp's size if not given")
    parser.add_argument("--sslrec", type=os.path.abspath, help="a checkout of SSLRec, to run its own code as well")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="a small graph and two steps")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = (
        hr.load(args.data) if args.data else random_data(*((2_000, 1_500, 20_000) if args.quick else (42_712, 26_822, 182_357)))
    )
    steps = 2 if args.quick else args.steps
    print(f"{data}; batch {BATCH}, {DEPTH} layers, {torch.get_num_threads()} thread(s)")
    print(
        f"{'method':10}{'width':>6}{'ours/s':>12}{'plain/s':>12}{'ratio':>8}"
        + f"{'SSLRec/s':>12}{'ratio':>8}" * bool(args.sslrec)
    )
    for width in (32,) if args.quick else (32, 64):
        for name, contrast in (("LightGCN", False), ("SGL", True)):
            torch.manual_seed(0)
            ours = getattr(hr, name)(data, dim=width, depth=DEPTH)
            sampler = ours.sampler(data, batch_size=BATCH)
            # Turn and turn about, so that a busy machine is busy for both.
            turns = []
            for _ in range(2):
                turns.append([rate(ours, sampler, steps), rate(Plain(data, width, contrast), sampler, steps)])
                if args.sslrec:
                    turns[-1].append(SSLRec(args.sslrec, data, name, width).rate(steps))
            mine, *others = (max(x) for x in zip(*turns, strict=True))
            print(f"{name:10}{width:6}{mine:12,.0f}" + "".join(f"{x:12,.0f}{mine / x:8.1f}" for x in others), flush=True)


if __name__ == "__main__":
    main()
