"""The workbenches of one study: one for each image size that its trials have."""

from collections.abc import Callable

import torch

from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.errors import DoesNotFitError
from anomalyvfm_opt.model.device_faults import explained_device
from anomalyvfm_opt.model.memory import Shortage, attempt
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult


class Benches:
    """Runs each trial on the workbench of its image size.

    That of the spec's own size is made at once, so that a worker that cannot run the study finds out before it
    takes a trial; the others with their first trial. Pixels lie in the host's arrays, so that one more bench takes
    little memory beside what its backbone does.

    Args:
        spec: of the study.
        build: makes the workbench of a spec, which is this one at any of its sizes.
        device: that they run on.
    """

    def __init__(self, spec: Spec, build: Callable[[Spec], Workbench], device: torch.device) -> None:
        self._spec = spec
        self._build = build
        self._device = device
        self._built = {spec.data.image_size_px: build(spec)}

    def run(self, request: TrialRequest, progress: Progress) -> TrialResult:
        """Run one trial on the workbench of its size, as `run_trial`.

        Raises:
            DoesNotFitError: also if the device has too little memory for the frozen network at this size.
            AnomalyVFMOptError: also what stands in the way of a workbench of this size.
        """
        own = self._spec.data.image_size_px
        size = request.parameters.image_size_px if request.parameters else own
        if size not in self._built:
            progress.check()
            self._built[size] = self._build_at(size)
        return run_trial(self._built[size], request, progress)

    def _build_at(self, image_size_px: int) -> Workbench:
        def build() -> Workbench:
            with explained_device(self._device):
                return self._build(self._spec.at_size(image_size_px))

        built = attempt(build, self._device)
        if isinstance(built, Shortage):
            # the size is to blame, which the sampler can learn from; a worker that stopped would meet it again
            raise DoesNotFitError(f"images of {image_size_px} px: {built.reason}")
        return built
