"""The machine that is checked, what its products and memory reach, and the data that it trains on."""

import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import torch

from benchmarks.gpu.report import Line
from benchmarks.roofline.machines import MACHINES
from datasets.catalog.registry import find
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from orchestration.rank.metrics import matrix_flops
from orchestration.run.precision import Precision


@dataclass(frozen=True)
class Hardware:
    """Devices to check; without a GPU, the same checks run at tiny sizes on the CPU."""

    device: Literal["cpu", "gpu"]
    workers: int
    precision: Precision

    @property
    def torch_device(self) -> torch.device:
        """The device of this process."""
        return torch.device("cuda" if self.device == "gpu" else "cpu")

    @property
    def name(self) -> str:
        """The device in words."""
        return f"{self.workers} x {torch.cuda.get_device_name()}" if self.device == "gpu" else "CPU, tiny sizes"


def hardware() -> Hardware:
    """The GPUs of this machine, at most eight; two ranks on the CPU where it has none."""
    if not torch.cuda.is_available():
        return Hardware("cpu", 2, "fp32")
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Hardware("gpu", min(torch.cuda.device_count(), 8), "bf16" if bf16 else "fp32")


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_speed(machine: Hardware) -> Line:
    """What a large matrix product and a copy of memory reach: the shares that the roofline assumes."""
    device = machine.torch_device
    flops = matrix_flops(device, machine.precision)
    source = torch.ones(2**28 if machine.device == "gpu" else 2**22, device=device)
    target, seconds = torch.empty_like(source), []
    for _ in range(6):
        wait_for(device)
        began = time.perf_counter()
        target.copy_(source)
        wait_for(device)
        seconds.append(time.perf_counter() - began)
    bandwidth = 2 * source.nbytes / min(seconds)
    values = {"product_tflops": flops / 1e12, "memory_gb_s": bandwidth / 1e9}
    found = f"products {flops / 1e12:.1f} TFLOP/s, memory {bandwidth / 1e9:,.0f} GB/s"
    for one in MACHINES:
        if machine.device == "gpu" and one.gpu.split()[0] in machine.name:
            values |= {
                "product_share": values["product_tflops"] / one.tflops,
                "memory_share": bandwidth / 1e9 / one.memory,
            }
            found += f"; {values['product_share']:.0%} and {values['memory_share']:.0%} of the figures on paper"
    return Line("speed of the device", "PASS", found, values)


def make_store(folder: Path, machine: Hardware) -> Line:
    """Film synthetic walkers and ingest them by the real job into <folder>/shards."""
    views = ("000", "054", "090", "126") if machine.device == "gpu" else ("054", "090")
    subjects = [f"{number:03d}" for number in range(1, 17 if machine.device == "gpu" else 5)]
    walks = [scenes.casia_b(*one) for one in product(subjects, ("nm-01", "nm-02", "bg-01", "cl-01"), views)]
    count = write_tree(folder / "walks", find("CASIA-B").layouts[0], walks, num_frames=40)
    job = [sys.executable, "-m", "jobs.ingest", "--root", f"CASIA-B={folder / 'walks'}"]
    job += ["--out", str(folder / "shards")]
    began = time.monotonic()
    done = subprocess.run(job, capture_output=True, text=True)
    if done.returncode:
        return Line("ingest", "FAIL", f"status {done.returncode}: {done.stderr.strip()[-300:]}")
    return Line("ingest", "PASS", f"{count} synthetic walks in {time.monotonic() - began:.0f} s")
