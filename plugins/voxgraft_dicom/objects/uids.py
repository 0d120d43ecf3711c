"""UIDs that follow from what an object is made of, so that the same result has the same UID."""

from __future__ import annotations


def derived_uid(*parts: str) -> str:
    """A UID that is the same whenever the same things are named."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["voxgraft", *parts]))
