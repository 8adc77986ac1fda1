"""Run by torchrun: ranks with fixed vectors and with fixed scores, and writes what each process found."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent.parent / "evaluation"))
from cases import Table, Vectors, dataset, synthetic

from hybridrec.evaluation.protocol import EVERYONE, Protocol, Sampled
from hybridrec.evaluation.ranking import ScoreError, evaluate

dist.init_process_group("gloo")
data = synthetic(users=1100)
test = data.part("test").index.T.tolist()
some = dataset(1100, 150, data.train.index.T.tolist(), test=[(u, i) for u, i in test if u % 3])  # a third has no target
random = torch.Generator().manual_seed(0)
u, v = torch.randn(1100, 16, generator=random), torch.randn(150, 16, generator=random)
found = []
for method in (Vectors(u, v), Table(u @ v.T)):
    for how in ({}, {"chunk": 37}, {"protocol": EVERYONE}, {"protocol": Protocol(sample=Sampled(40))}):
        result = evaluate(method, some, **how)
        found.append({"lists": result.lists.tolist(), "metrics": result.metrics, "slices": result.slices})
u[1099] = torch.nan  # in the share of one process alone: all must hear of it
try:
    evaluate(Vectors(u, v), data)
except ScoreError as e:
    found.append(str(e))
Path(f"{sys.argv[1]}-{dist.get_rank()}.json").write_text(json.dumps(found))
dist.destroy_process_group()
