"""Machines on paper, and the time that a counted step takes on them by a stated model."""

from dataclasses import dataclass

from benchmarks.roofline.counts import Counts
from model.parts import PARTS

KEY_BYTES = PARTS * 256 * 4  # of the keys of a pair, gathered in fp32
STATE = 5  # student, teacher, gradients and two moments, in fp32
SCHEDULE = 80_000 * 512  # pairs of the published schedule


@dataclass(frozen=True)
class Machine:
    """A node. Bandwidths are of one direction, in GB/s; the network's is that of the whole node."""

    name: str
    gpu: str
    gpus: int
    cores: int  # virtual
    tflops: float  # bf16 with fp32 sums, dense, of a GPU
    memory: float  # GB/s, of a GPU
    capacity: float  # GB, of a GPU
    link: float  # of a GPU to the others of its node
    network: float
    source: str


# What ray_cluster.yaml asks for comes first.
MACHINES = (
    Machine(
        "g6e.12xlarge",
        "L40S",
        gpus=4,
        cores=48,
        tflops=362,
        memory=864,
        capacity=48,
        link=32,  # PCIe 4.0 x16; the cards have no NVLink
        network=12.5,  # 100 Gbit/s
        source="NVIDIA's L40S data sheet; aws.amazon.com/ec2/instance-types/g6e",
    ),
    Machine(
        "p5.48xlarge",
        "H100 SXM",
        gpus=8,
        cores=192,
        tflops=989,
        memory=3350,
        capacity=80,
        link=450,
        network=400,  # 3,200 Gbit/s by EFA
        source="NVIDIA's H100 data sheet; aws.amazon.com/ec2/instance-types/p5",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Which share of the figures on paper a step reaches; `python -m benchmarks.gpu` measures the first two."""

    products: float = 0.6
    """Of the peak of matrix products."""
    memory: float = 0.8
    """Of the memory's bandwidth."""
    network: float = 0.7
    """Of the bandwidth of links and network."""


@dataclass(frozen=True)
class Forecast:
    """Seconds of the parts of a step on a number of GPUs; no part is hidden behind another."""

    machine: Machine
    gpus: int
    counts: Counts  # of one GPU
    products: float
    elementwise: float
    optimizer: float
    gradients: float
    keys: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.products + self.elementwise + self.optimizer + self.gradients + self.keys

    @property
    def rate(self) -> float:
        """Pairs a second, of all GPUs."""
        return self.counts.pairs * self.gpus / self.seconds

    @property
    def of_peak(self) -> float:
        """The share of the peak of matrix products."""
        return self.counts.flops / self.seconds / (self.machine.tflops * 1e12)

    @property
    def memory(self) -> float:
        """GB of a GPU: state and activations."""
        return (STATE * 4 * self.counts.parameters + self.counts.activation_bytes) / 1e9


def forecast(counts: Counts, machine: Machine, gpus: int, shares: Shares) -> Forecast:
    """A step of `gpus` GPUs, each with the counted work.

    Ring collectives: each GPU sends 2 (n - 1) / n of the gradients through the narrowest link, and (n - 1) / n of all
    keys. A ring passes a node's network once in each direction, whatever the number of GPUs in the node, and there are
    as many rings as network cards. Stage 0 sums all gradients after the backward pass, so that nothing hides it.
    """
    narrowest = machine.link if gpus <= machine.gpus else min(machine.link, machine.network)
    sent = (gpus - 1) / gpus / (shares.network * narrowest * 1e9)
    bandwidth = shares.memory * machine.memory * 1e9
    return Forecast(
        machine,
        gpus,
        counts,
        products=counts.flops / (shares.products * machine.tflops * 1e12),
        elementwise=counts.elementwise_bytes / bandwidth,
        optimizer=counts.optimizer_bytes / bandwidth,
        gradients=2 * 4 * counts.parameters * sent,
        keys=KEY_BYTES * counts.pairs * gpus * sent,
    )
