"""Run by torchrun: trains LightGCN, notes every row it is fed, and writes what it saw and what came of it."""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from hybridrec.data.batches import PairSampler
from hybridrec.evaluation.ranking import evaluate
from hybridrec.methods import LightGCN
from hybridrec.training import fit

sys.path.insert(0, str(Path(__file__).parent.parent))
from conftest import planted

seen = []


class Noting(PairSampler):
    """A PairSampler that writes down which links it hands out."""

    def epoch(self, *args, **kwargs):
        for batch in super().epoch(*args, **kwargs):
            seen.append((batch.user * self.items + batch.positive).tolist())
            yield batch


data = planted()
torch.manual_seed(0)
method = LightGCN(data, dim=16)
method.sampler = Noting
accelerator = Accelerator(cpu=True)
record = fit(method, data, epochs=4, batch_size=128, lr=0.02, every=2, accelerator=accelerator, progress=False)
metrics = evaluate(method, data).metrics
mine = gather_object([{"rank": accelerator.process_index, "rows": seen}])
if accelerator.is_main_process:
    out = {
        "processes": accelerator.num_processes,
        "seen": [one["rows"] for one in mine],
        "history": record.history,
        "metrics": metrics,
        "weights": method.nodes.weight.flatten().tolist(),
    }
    Path(sys.argv[1]).write_text(json.dumps(out))
accelerator.end_training()
