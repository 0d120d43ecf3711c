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
        description="Slices of a tilted gantry: keep them on a sheared grid, which is exact; resample each "
        "linearly within its plane onto a rectangular grid that holds all of them; or refuse them",
    )
    films: Literal["refuse", "frames"] = Field(
        default="refuse",
        description="Films of ultrasound or fluoroscopy, whose frames follow in time: refuse them, or read each "
        "frame as a separate image",
    )
