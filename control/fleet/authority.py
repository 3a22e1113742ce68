"""The fleet's certificate authority and the other secrets of a data directory.

`<data_dir>/keys`: ca.pem and its key, control.pem and its key (gRPC and enrolment), the secret behind probe keys, and
the Ed25519 key that signs room tokens. `<data_dir>/join_token` is what an operator copies to an edge.

EnrolmentRefused
    The request for a certificate is refused; `reason` is snake_case, `status` an HTTP status.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# What edges expect in control's certificate, whatever address they dial.
CONTROL_NAME = "control.tradewind"
EDGE_ID_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
JOIN_TOKEN_PREFIX = "tw1"  # noqa: S105 - a label, not a secret
# Edges enrol again by hand until certificates rotate, so these last; browsers never see them.
CA_DAYS = 3650
LEAF_DAYS = 825
# Clocks of edges may be behind ours.
BACKDATE = datetime.timedelta(hours=1)


class EnrolmentRefused(Exception):
    """The edge gets no certificate."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, PEM."""

    certificate_pem: bytes
    key_pem: bytes

    @property
    def sha256(self) -> str:
        """Hash of the DER certificate in hex."""
        certificate = x509.load_pem_x509_certificate(self.certificate_pem)
        return certificate.fingerprint(hashes.SHA256()).hex()


class Authority:
    """Opens or makes the secrets of one data directory."""

    def __init__(
        self, data_dir: Path, *, hosts: Sequence[str], join_secrets: Sequence[str], now: datetime.datetime
    ) -> None:
        """`hosts` are put into control's certificate besides CONTROL_NAME. Raises OSError when files cannot be read."""
        keys = data_dir / "keys"
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keys = keys
        self._ca_key = self._private_key("ca")
        self._ca = self._certificate("ca", lambda: _make_ca(self._ca_key, now))
        control_key = self._private_key("control")
        control = self._certificate("control", lambda: self._sign_control(control_key, hosts, now))
        self.control = KeyPair(_pem(control), _key_pem(control_key))
        self.ca_pem = _pem(self._ca)
        self._probe_secret = _keep(keys / "probe.secret", lambda: secrets.token_bytes(32))
        self.token_key = ed25519.Ed25519PrivateKey.from_private_bytes(
            _keep(keys / "token.key", lambda: ed25519.Ed25519PrivateKey.generate().private_bytes_raw())
        )
        own = _keep(keys / "join.secret", lambda: secrets.token_urlsafe(24).encode()).decode()
        self._join_secrets = (own, *join_secrets)
        self.join_token = f"{JOIN_TOKEN_PREFIX}.{own}.{self.control.sha256}"
        write_private(data_dir / "join_token", f"{self.join_token}\n".encode())

    def enrol(self, edge_id: str, join_token: str, csr_pem: bytes, now: datetime.datetime) -> bytes:
        """A certificate for `edge_id` over the request's key. Raises EnrolmentRefused."""
        if EDGE_ID_PATTERN.fullmatch(edge_id) is None:
            raise EnrolmentRefused(400, "bad_edge_id", "An edge id is 1-32 of a-z, 0-9 and '-', and no '-' at an end.")
        parts = join_token.split(".")
        given = parts[1] if len(parts) == 3 and parts[0] == JOIN_TOKEN_PREFIX else ""
        # Every secret is compared, so that time tells nothing about which one was near.
        matches = [hmac.compare_digest(given.encode(), known.encode()) for known in self._join_secrets]
        if not any(matches):
            raise EnrolmentRefused(403, "bad_join_token", "The join token is not one of ours: copy it again.")
        try:
            request = x509.load_pem_x509_csr(csr_pem)
            valid, key = request.is_signature_valid, request.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The latter two: keys and signatures of a kind that nobody here reads.
            detail = "csr_pem is no PEM certificate request with an ECDSA P-256 key."
            raise EnrolmentRefused(400, "bad_csr", detail) from None
        if not valid or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise EnrolmentRefused(400, "bad_csr", "The request must be signed by its own ECDSA P-256 key.")
        return _pem(self._sign(edge_id, key, [x509.DNSName(edge_id)], now))

    def pair_key(self, one: str, other: str) -> bytes:
        """The probe key of a pair of edges, the same from both ends (RFC 5869)."""
        first, second = sorted((one, other))
        derive = HKDF(hashes.SHA256(), 32, None, f"tradewind probe {first} {second}".encode())
        return derive.derive(self._probe_secret)

    def token_public_keys(self) -> tuple[tuple[str, bytes], ...]:
        """(key id, raw key) of the keys that sign room tokens; the id is that of tradewind.common.tokens."""
        raw = self.token_key.public_key().public_bytes_raw()
        return ((hashlib.sha256(raw).hexdigest()[:16], raw),)

    def _private_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        pem = _keep(self._keys / f"{name}.key", lambda: _key_pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise OSError(
                f"{self._keys / name}.key is no EC key: restore it, or remove {self._keys} and enrol all edges"
            )
        return key

    def _certificate(self, name: str, make: Callable[[], x509.Certificate]) -> x509.Certificate:
        return x509.load_pem_x509_certificate(_keep(self._keys / f"{name}.pem", lambda: _pem(make())))

    def _sign_control(
        self, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime.datetime
    ) -> x509.Certificate:
        names: list[x509.GeneralName] = [x509.DNSName(CONTROL_NAME), x509.DNSName("localhost")]
        for host in {"127.0.0.1", *hosts}:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host.strip("[]"))))
            except ValueError:
                names.append(x509.DNSName(host))
        return self._sign(CONTROL_NAME, key.public_key(), names, now)

    def _sign(
        self, name: str, key: ec.EllipticCurvePublicKey, names: list[x509.GeneralName], now: datetime.datetime
    ) -> x509.Certificate:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        return (
            _builder(name, self._ca.subject, key, now, LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(usages, critical=False)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
            .sign(self._ca_key, hashes.SHA256())
        )


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file in one step; only its owner may read it."""
    scratch = path.with_name(f".{path.name}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _keep(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        write_private(path, make())
    return path.read_bytes()


def _make_ca(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = f"Tradewind CA {secrets.token_hex(4)}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        _builder(name, subject, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
