"""What can go wrong between an edge and the fleet.

MeshError
├── EnrolmentError      control refused, or is not who the join token says
├── IdentityError       the certificate on disk does not fit the settings
└── SliceRefused        a route slice cannot be used; the last good one stays
"""

from __future__ import annotations


class MeshError(Exception):
    """Base of this package's errors; the text tells the operator what to do."""


class EnrolmentError(MeshError):
    """Control refused the edge, or its certificate is not the one the join token names."""

    def __init__(self, reason: str, detail: str, *, retry: bool = False) -> None:
        super().__init__(f"enrolment failed ({reason}): {detail}")
        self.reason = reason
        self.retry = retry


class IdentityError(MeshError):
    """The files in `<data_dir>/identity` belong to another edge or are damaged."""


class SliceRefused(MeshError):
    """A slice was not applied. `reason` is snake_case and travels back to control."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
