"""`verified`: recorded episodes through a deployed service, compared with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...transport.images import Pixels
from .image_fit import FITS, Fit, fitted, same_shape
from .joint_errors import JointErrors, spans
from .presentation import Presentation
from .recorded_samples import RecordedSample

Ask = Callable[[NDArray[np.float32], Mapping[str, Pixels], str], NDArray[np.float32]]
TRIED = 24
"""Samples by which other presentations are compared."""
BETTER = 0.5
"""Another presentation is the right one if it leaves less than this share of the error."""


@dataclass(frozen=True)
class Tolerances:
    """`joints`: the mean error of the first quarter of a chunk, as a share of the joint's span.
    `pixels`: the mean difference of an image's values, of 255."""

    joints: float = 0.1
    pixels: float = 4.0


@dataclass(frozen=True)
class PolicyFinding:
    """A sentence on which a person may act; `beyond` what is tolerated, or for information."""

    subject: str
    words: str
    beyond: bool = True


@dataclass
class Verified:
    """What came out. `pixels`: by camera, the mean difference between what training saw and what
    the policy receives, of 255."""

    samples: int
    errors: JointErrors
    pixels: dict[str, float] = field(default_factory=dict)
    findings: list[PolicyFinding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(finding.beyond for finding in self.findings)


class PolicyCheck:
    """Samples of a dataset for a service whose cameras have these `sizes` (width, height). `names`
    are the service's actions; `training` is how the training gave images their size; `received`
    gives the pixels that arrive for an image that is sent; `task` replaces the recorded one."""

    def __init__(
        self,
        samples: Sequence[RecordedSample],
        sizes: Mapping[str, tuple[int, int]],
        names: tuple[str, ...],
        ask: Ask,
        received: Callable[[Pixels], Pixels],
        training: Fit = "stretch",
        task: str | None = None,
    ) -> None:
        self._samples, self._sizes, self._names = samples, sizes, names
        self._ask, self._received = ask, received
        self._training, self._task = training, task

    def run(
        self,
        deployed: Presentation,
        tolerances: Tolerances,
        others: Sequence[Presentation] = (),
    ) -> Verified:
        """Compare the deployed presentation; where it is beyond `tolerances`, try `others`, and
        those of the images."""
        errors = self._errors(deployed, self._samples)
        found = Verified(len(self._samples), errors, self._pixels(self._training))
        for camera, difference in found.pixels.items():
            if difference > tolerances.pixels:
                words = f"differ by {difference:.1f} of 255 on average from those of a training"
                way = f"whose images were {FITS[self._training]}"
                found.findings.append(
                    PolicyFinding(f"camera {camera}", f"its pixels {words} {way}")
                )
        wrong = [k for k, share in enumerate(errors.relative) if not share <= tolerances.joints]
        if wrong:
            self._explain(found, wrong, deployed, [*others, *self._of_images(deployed)])
        return found

    def _explain(
        self,
        found: Verified,
        wrong: list[int],
        deployed: Presentation,
        others: Sequence[Presentation],
    ) -> None:
        for k in wrong:
            name, share = self._names[k], found.errors.relative[k]
            first = found.errors.errors[:, 0, k].mean()
            words = f"error {first:.3g} at step 0, {share:.0%} of its span on average"
            found.findings.append(PolicyFinding(f"joint {name}", words))
        few = self._samples[:: -(-len(self._samples) // TRIED)]
        before = self._errors(deployed, few).score
        tried = [(self._errors(other, few).score, k) for k, other in enumerate(others)]
        least, best = min(tried, default=(np.inf, 0))
        if least < BETTER * before:
            right = others[best]
            words = f"{right.mistake}: then the error is {least:.1%} of the span, not {before:.1%}"
            found.findings.append(
                PolicyFinding(right.subject, f"{words}{self._apart(right, deployed)}")
            )
        elif exchanged := self._exchanged(deployed, wrong, few):
            found.findings.append(exchanged)
        else:
            words = "no other order of names, of colours or of sizes comes nearer to the recordings"
            found.findings.append(
                PolicyFinding("the policy", f"{words}: look at its weights and task")
            )

    def _errors(self, shown: Presentation, samples: Sequence[RecordedSample]) -> JointErrors:
        errors = []
        for sample in samples:
            task = sample.task if self._task is None else self._task
            chunk = self._ask(shown.state(sample), shown.images(sample, self._sizes), task)
            recorded = shown.recorded(sample)
            each = np.full(chunk.shape, np.nan)
            steps = min(len(chunk), len(recorded))
            each[:steps] = np.abs(chunk[:steps].astype(np.float64) - recorded[:steps])
            errors.append(each)
        return JointErrors(self._names, np.stack(errors), self._spans(shown))

    def _spans(self, shown: Presentation) -> NDArray[np.float64]:
        return spans(np.concatenate([shown.recorded(sample) for sample in self._samples]))

    def _pixels(self, fit: Fit) -> dict[str, float]:
        """By camera: what a training of this `fit` sees, against what the policy receives."""
        found = {}
        for name, (width, height) in self._sizes.items():
            apart = []
            for sample in self._samples:
                image = sample.images[name]
                got = self._received(fitted(image, width, height, "stretch")).astype(np.int16)
                apart.append(np.abs(got - fitted(image, width, height, fit)).mean())
            found[name] = float(np.mean(apart))
        return found

    def _of_images(self, deployed: Presentation) -> Iterator[Presentation]:
        """Mistakes with the colours and the sizes, of all cameras and of each."""
        groups = [[name] for name in self._sizes]
        if len(groups) > 1:
            groups.append(list(self._sizes))
        for names in groups:
            subject = f"camera{'s' * (len(names) > 1)} {', '.join(names)}"
            yield replace(
                deployed,
                swapped=frozenset(names),
                subject=subject,
                mistake="the policy was trained with red and blue exchanged (BGR)",
            )
            if all(self._is_shaped(name) for name in names):
                continue
            for fit in ("pad", "crop"):
                fits: dict[str, Fit] = dict.fromkeys(names, fit)
                mistake = f"the policy was trained with images that were {FITS[fit]}"
                yield replace(deployed, fits=fits, subject=subject, mistake=mistake)

    def _is_shaped(self, camera: str) -> bool:
        return same_shape(self._samples[0].images[camera], *self._sizes[camera])

    def _apart(self, right: Presentation, deployed: Presentation) -> str:
        """How far the pixels of the right presentation are from those that are deployed."""
        changed = right.swapped | right.fits.keys()
        differences = [
            np.abs(shown[name].astype(np.int16) - given[name]).mean()
            for sample in self._samples[:TRIED]
            for shown in [right.images(sample, self._sizes)]
            for given in [deployed.images(sample, self._sizes)]
            for name in changed
        ]
        if not differences:
            return ""
        return f"; the pixels differ by {np.mean(differences):.1f} of 255 on average"

    def _exchanged(
        self, deployed: Presentation, wrong: list[int], samples: Sequence[RecordedSample]
    ) -> PolicyFinding | None:
        """Two joints of which each is predicted for the other."""
        before = self._errors(deployed, samples).near
        for place, a in enumerate(wrong):
            for b in wrong[place + 1 :]:
                order = list(deployed.actions)
                order[a], order[b] = order[b], order[a]
                after = self._errors(replace(deployed, actions=tuple(order)), samples).near
                if (after[[a, b]] < BETTER * before[[a, b]]).all():
                    one, two = self._names[a], self._names[b]
                    return PolicyFinding(
                        f"joints {one}, {two}",
                        f"each is predicted for the other: exchange them in the names of the "
                        f"service's actions (errors {after[a]:.3g} and {after[b]:.3g} then, not "
                        f"{before[a]:.3g} and {before[b]:.3g})",
                    )
        return None
