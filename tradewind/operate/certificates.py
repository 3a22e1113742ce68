"""Certificates for edges that run without control: a CA of one's own in a directory, one identity per edge.

`DIR/ca` keeps the CA, so that edges added later trust the earlier ones; `DIR/EDGE` is a data directory with an identity
in it.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control.fleet.authority import Authority, EnrolmentRefused
from edge.mesh.identity import EdgeIdentity, save_identity


def make_certificates(directory: Path, edges: list[str]) -> list[Path]:
    """The data directories, one per edge. Raises ValueError for a name that no edge may have, OSError for the disk."""
    authority = Authority(directory / "ca", hosts=(), join_secrets=(), now=datetime.datetime.now(datetime.UTC))
    return [_make_identity(authority, directory, edge) for edge in edges]


def _make_identity(authority: Authority, directory: Path, edge: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, edge)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    csr_pem = request.public_bytes(serialization.Encoding.PEM)
    now = datetime.datetime.now(datetime.UTC)
    try:
        certificate_pem = authority.enrol(edge, authority.join_token, csr_pem, now)
    except EnrolmentRefused as error:
        raise ValueError(error.detail) from None
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    save_identity(EdgeIdentity(edge, key_pem, certificate_pem, authority.ca_pem), directory / edge)
    return directory / edge
