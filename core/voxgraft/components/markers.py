"""The markers by which plugins say that a function answers a hook."""

from __future__ import annotations

from pluggy import HookimplMarker, HookspecMarker

PROJECT = "voxgraft"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)
