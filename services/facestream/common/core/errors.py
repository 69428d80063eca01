"""All errors of facestream as one tree. A user sees the message: one line with cause and remedy.

FacestreamError
├── SettingsError        a setting is unknown, malformed or contradicts another      (exit code 2)
├── StartError           a service cannot start: port taken, folder not writable     (exit code 1)
├── AddressError         the egress policy allows no address of a host
├── CameraError          a camera cannot be opened or read; carries a short reason
├── MessageError         a stream entry is invalid or not from facestream
├── CountStoreError      counts cannot be stored or read for now
├── ModelError           a model cannot be loaded, or its output is invalid
├── ImageError           an image cannot be read or decoded
└── DataError            a training data set is missing, empty or not the expected one
"""

from __future__ import annotations


class FacestreamError(Exception):
    """Root of the tree; a command that fails with it exits with `exit_code`."""

    exit_code = 1


class SettingsError(FacestreamError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2


class StartError(FacestreamError):
    """A service cannot start."""


class AddressError(FacestreamError):
    """The egress policy allows no address of a host."""


class CameraError(FacestreamError):
    """A camera cannot be opened or read."""


class MessageError(FacestreamError):
    """A stream entry is invalid or was not written by facestream."""


class CountStoreError(FacestreamError):
    """Counts cannot be stored or read for now: disk full, database unavailable."""


class ModelError(FacestreamError):
    """A model cannot be loaded, or its output is invalid."""


class ImageError(FacestreamError):
    """An image cannot be read or decoded."""


class DataError(FacestreamError):
    """A training data set is missing, empty or not the expected one."""
