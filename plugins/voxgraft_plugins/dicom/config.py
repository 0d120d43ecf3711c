"""Options of the DICOM reader."""

from __future__ import annotations

from voxgraft.config import Config


class DicomConfig(Config):
    """The DICOM reader has no options: what counts as a regular series is not a matter of taste."""
