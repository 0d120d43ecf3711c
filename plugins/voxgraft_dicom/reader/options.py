"""Options of the DICOM reader."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voxgraft.plugin import Options


class DicomOptions(Options):
    """What to make of values and films; what counts as a regular series is not a matter of taste."""

    pet: Literal["suv", "suv-lbm-janma", "suv-lbm-james", "suv-bsa", "stored"] = Field(
        default="suv",
        description="PET in standardised uptake values by body weight (g/ml), by lean body mass (after Janmahasatian, "
        "or James) or by body surface (cm2/ml, after DuBois), the same unit for every patient; where the header lacks "
        "what they need, and with `stored`, in the units of the file",
    )
    tilt: Literal["keep", "resample", "refuse"] = Field(
        default="keep",
        description="Slices of a tilted gantry: the grid leans as they do, which is exact; resampled linearly, each "
        "within its plane, onto a grid of right angles that holds all of them; or refused",
    )
    films: Literal["refuse", "frames"] = Field(
        default="refuse",
        description="Films of ultrasound or fluoroscopy, which have time where a volume has depth: refused, or each "
        "frame an image of its own",
    )
