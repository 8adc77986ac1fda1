"""A training step of a diffusion denoiser, dense and sparse side by side: seconds, peak memory, equal losses.

One hidden layer between W (I, H) and V (I, H), rows of 50 items, noise at the input, squared error at the output, fused
Adam. Peak memory is given whole, and without what stands before the first step: interpreter, weights, gradients and Adam's
moments, which are the same for both. On one thread (OMP_NUM_THREADS=1) the time is the processor's own, which other programs
hardly change. On a CPU every case runs in a process of its own, so that its peak memory is its own; a case that would not fit
is left out.

    python tests/benchmarks/bench_diffusion.py            # all that fits
    python tests/benchmarks/bench_diffusion.py --quick    # 2,800 to 100,000 items, H = 128
    python tests/benchmarks/bench_diffusion.py --epoch    # 1,000,000 users over 1,000,000 items, one epoch's rate
    python tests/benchmarks/bench_diffusion.py --bf16     # under autocast; on a GPU also shares of its rate at matrix products

The last counts what the matrix products of a step come to, and takes the GPU's rate from one product of 8,192 x 8,192 in
bfloat16. The sparse form keeps its sums in float32 under autocast too, since Gram matrices want that.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from hybridrec.losses.diffusion import catalogue_squared_error
from hybridrec.views.noise import noisy_rows

EACH, NOISE = 50, 0.1
CUDA = torch.cuda.is_available()


def weights(items, width):
    torch.manual_seed(0)
    device = "cuda" if CUDA else "cpu"
    return [torch.nn.Parameter(torch.randn(items, width, device=device) * items**-0.5) for _ in range(2)]


def sparse(read, write, offset, item, value):
    """The loss without (B, I)."""
    scale = torch.full((len(offset) - 1,), NOISE, device=read.device)
    h = torch.tanh(noisy_rows(read, offset, item, value, scale))
    return catalogue_squared_error(h, write, offset, item, value).mean()


def dense(read, write, offset, item, value):
    """The same loss over (B, I)."""
    batch = len(offset) - 1
    x = torch.zeros(batch, len(read), device=read.device)
    x[torch.arange(batch, device=read.device).repeat_interleave(EACH), item] = value
    h = torch.tanh(torch.add(x, torch.randn_like(x), alpha=NOISE) @ read)
    return (h @ write.T - x).square().sum(1).mean()


FORMS = {"dense": dense, "sparse": sparse}


def products(form, items, batch, width):
    """Multiplications and additions of the matrix products of a step, forwards and backwards: those that grow with items."""
    return 2 * items * width * (5 * batch if form == "dense" else 4 * width)


def ceiling(n=8192, times=20):
    """Operations a second of the GPU at a product of n x n in bfloat16, on random numbers."""
    x, y = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        x @ y
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        x @ y
    torch.cuda.synchronize()
    return 2 * n**3 * times / (time.perf_counter() - started)


def seconds(loss, items, batch, width, steps, bf16):
    """Median seconds of a step, the loss of the first, and GiB held before it."""
    read, write = weights(items, width)
    optimizer = torch.optim.Adam([read, write], lr=1e-4, fused=True)
    for x in (read, write):
        x.grad = torch.zeros_like(x)
    optimizer.step()  # makes the moments, and moves nothing
    before = peak()
    clock = time.process_time if torch.get_num_threads() == 1 and not CUDA else time.perf_counter
    taken, first = [], 0.0
    for _ in range(steps + 1):
        item = torch.randint(items // EACH, (batch, EACH), device=read.device)
        item = (item + torch.arange(EACH, device=read.device) * (items // EACH)).flatten()  # no repeat in a row
        offset = torch.arange(0, batch * EACH + 1, EACH, device=read.device)
        started = clock()
        optimizer.zero_grad()
        with torch.autocast(read.device.type, torch.bfloat16, enabled=bool(bf16)):
            value = loss(read, write, offset, item, torch.ones(batch * EACH, device=read.device))
        value.backward()
        optimizer.step()
        if CUDA:
            torch.cuda.synchronize()
        taken.append(clock() - started)
        first = first or value.item()
    return sorted(taken[1:])[steps // 2], first, before


def peak():
    """GiB held at most, of the GPU where there is one."""
    used = torch.cuda.max_memory_allocated() if CUDA else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return used / 2**30


def needed(form, items, batch, width):
    """GiB of weights, gradients and moments (8 of I x H), and of what the dense form keeps (5 of B x I)."""
    return 4 * (8 * items * width + (5 * batch * items if form == "dense" else 0)) / 2**30


def case(form, items, batch, width, bf16=False, steps=3):
    """One case, on a CPU in a process of its own: seconds, GiB, loss, GiB before the first step; None where it does not fit."""
    import psutil

    room = torch.cuda.mem_get_info()[0] if CUDA else psutil.virtual_memory().available
    if needed(form, items, batch, width) > 0.8 * room / 2**30:
        return None
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        taken, first, before = seconds(FORMS[form], items, batch, width, 10 * steps, bf16)
        return taken, peak(), first, before
    command = [sys.executable, __file__, "--case", form, *map(str, (items, batch, width, steps, int(bf16)))]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(x) for x in out.split()]


def table(cases, bf16):
    """Print a line a case. Raises SystemExit where the two forms' losses are not one."""
    rate = ceiling() if bf16 and CUDA else None
    if rate:
        print(f"a product of 8,192 x 8,192 in bfloat16: {rate / 1e12:.0f} TFLOP/s")
    print(
        f"{'items':>9} {'B':>5} {'H':>4} | {'dense s':>8} {'GiB':>6} {'step':>6} | {'sparse s':>8} {'GiB':>6} {'step':>6} | "
        f"{'faster':>6} {'memory':>6} {'step':>6}"
    )
    for items, batch, width in cases:
        one, two = (case(form, items, batch, width, bf16) for form in ("dense", "sparse"))
        shown = [f"{x[0]:8.4f} {x[1]:6.2f} {x[1] - x[3]:6.2f}" if x else f"{'no room':>22}" for x in (one, two)]
        ratio = ""
        if one and two:
            step = (two[1] - two[3]) / max(one[1] - one[3], 1e-3)
            ratio = f"{one[0] / two[0]:5.1f}x {two[1] / one[1]:6.0%} {step:6.0%}"
        for form, x in (("dense", one), ("sparse", two)):
            if rate and x:
                ratio += f" | {form} {products(form, items, batch, width) / x[0] / rate:6.1%} of that rate"
        print(f"{items:>9,} {batch:>5,} {width:>4} | {shown[0]} | {shown[1]} | {ratio}", flush=True)
        if one and two and abs(one[2] - two[2]) > (0.03 if bf16 else 0.01) * one[2]:
            raise SystemExit(f"the losses differ: dense {one[2]}, sparse {two[2]}")


def epoch(steps=3):
    """The rate of an epoch of a million users with 50 interactions each, over a million items."""
    for width in (128, 64):
        found = case("sparse", 1_000_000, 4096, width, steps=steps)
        if found:
            rate = 4096 / found[0]
            print(f"1,000,000 users x 1,000,000 items, H = {width}, B = 4,096: {found[0]:.2f} s a step, {rate:,.0f} users/s,")
            print(f"  an epoch in {1e6 / rate / 60:.1f} min, {found[1]:.1f} GiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=6)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--epoch", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--tf32", action="store_true", help="on a GPU: float32 products by TF32")
    options = parser.parse_args()
    if options.tf32:
        torch.set_float32_matmul_precision("high")
    if options.case:
        form, *numbers = options.case
        taken, loss, before = seconds(FORMS[form], *map(int, numbers))
        print(taken, peak(), loss, before)
    elif options.epoch:
        epoch()
    else:
        sizes = (2_800, 26_000, 100_000) if options.quick else (2_800, 26_000, 100_000, 1_000_000)
        print(f"{torch.get_num_threads()} threads" if not CUDA else torch.cuda.get_device_name())
        table([(i, b, h) for i in sizes for b in (512, 4096) for h in ((128,) if options.quick else (128, 512))], options.bf16)


if __name__ == "__main__":
    main()
