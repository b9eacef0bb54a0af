"""The weights of a run that starts from a published checkpoint, in the form of our own checkpoints.

The driver reads the file once and writes step 0 of the run, from which all workers go on as from any other step: only
the driver must see the file, and nothing asks for it again. Knows nothing of how the file looks inside.
"""

from pathlib import Path

from model.objective import PartContrast
from model.reference_checkpoint import load_published
from orchestration.checkpoint import State
from orchestration.runs import PretrainRun


def published_weights(run: PretrainRun) -> State:
    """Weights of student and teacher, both those of the published teacher, which is what is evaluated.

    UsageError where the file is missing, is no such checkpoint, or is of another network than the run's.
    """
    module = PartContrast(run.network, run.contrast)
    load_published(Path(run.start), module.teacher)
    module.student.load_state_dict(module.teacher.state_dict())
    print(f"starting from the teacher in {run.start}", flush=True)
    return module.state_dict()
