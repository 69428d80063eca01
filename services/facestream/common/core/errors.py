"""Every error of the project, as one tree. A user sees the message: one line, what and what to do.

FacestreamError
├── SettingsError        a setting is unknown, malformed or contradicts another      (exit code 2)
├── StartError           a service cannot start: port taken, folder not writable     (exit code 1)
├── AddressError         a host has no address that may be connected to
├── CameraError          a camera cannot be opened or read; carries a short reason
├── MessageError         a stream entry is corrupt or foreign
├── CountStoreError      counts cannot be kept or read for now
├── ModelError           a model cannot be loaded or answers nonsense
├── ImageError           a picture cannot be read
└── DataError            a training data set is missing, empty or foreign
"""

from __future__ import annotations


class FacestreamError(Exception):
    """Root of the tree; `exit_code` is what a command ends with when it meets one."""

    exit_code = 1


class SettingsError(FacestreamError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2


class StartError(FacestreamError):
    """A service cannot start."""


class AddressError(FacestreamError):
    """A host has no address that may be connected to."""


class CameraError(FacestreamError):
    """A camera cannot be opened or read."""


class MessageError(FacestreamError):
    """A stream entry is corrupt or foreign."""


class CountStoreError(FacestreamError):
    """Counts cannot be kept or read for now: a full disk, a database that is away."""


class ModelError(FacestreamError):
    """A model cannot be loaded or answers nonsense."""


class ImageError(FacestreamError):
    """A picture cannot be read."""


class DataError(FacestreamError):
    """A training data set is missing, empty or foreign."""
