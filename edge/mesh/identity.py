"""The edge's certificate: made at the first start by enrolment, read from disk afterwards.

The join token is `tw1.<secret>.<sha256 of control's certificate>`: whoever holds it can tell control from an impostor
before the secret leaves this machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.mesh.errors import EnrolmentError, IdentityError
from edge.mesh.settings import MeshSettings

JOIN_TOKEN_PREFIX = "tw1"  # noqa: S105 - a label, not a secret
# One request over TLS; control answers in milliseconds, and a hanging one should not hold the start.
ENROLMENT_TIMEOUT_S = 10.0
# A certificate, its CA and an address fit many times over.
RESPONSE_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class EdgeIdentity:
    """Key, certificate (SAN dns = edge id) and the fleet's CA, all PEM, and where control's gRPC listens."""

    edge_id: str
    key_pem: bytes
    certificate_pem: bytes
    ca_pem: bytes
    grpc_address: str = ""


def load_identity(edge_id: str, data_dir: Path) -> EdgeIdentity | None:
    """Reads `<data_dir>/identity`; None when the edge has never enrolled. Raises IdentityError when it is another's."""
    folder = data_dir / "identity"
    names = ("key.pem", "cert.pem", "ca.pem")
    if not all((folder / name).exists() for name in names):
        return None
    key_pem, certificate_pem, ca_pem = ((folder / name).read_bytes() for name in names)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        owners = named.get_values_for_type(x509.DNSName)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise IdentityError(f"{folder}/cert.pem cannot be read ({error}): remove {folder} and enrol again") from error
    if edge_id not in owners:
        raise IdentityError(
            f"{folder}/cert.pem belongs to {', '.join(owners)} and not to {edge_id}: "
            "use that edge_id, or another data_dir"
        )
    address = folder / "control.txt"
    grpc_address = address.read_text().strip() if address.exists() else ""
    return EdgeIdentity(edge_id, key_pem, certificate_pem, ca_pem, grpc_address)


async def ensure_identity(settings: MeshSettings) -> EdgeIdentity:
    """The identity on disk, or a new one from control. Raises EnrolmentError (`retry` says whether waiting may
    help)."""
    found = load_identity(settings.edge_id, settings.data_dir)
    if found is not None:
        return found
    if not settings.control_http_url or not settings.join_token:
        raise EnrolmentError(
            "not_configured",
            "no certificate on disk: set control.http_url and control.join_token, or put key.pem, cert.pem and ca.pem "
            f"into {settings.data_dir / 'identity'} (tradewind dev-certs makes them)",
        )
    identity = await asyncio.to_thread(_enrol, settings)
    save_identity(identity, settings.data_dir)
    return identity


def save_identity(identity: EdgeIdentity, data_dir: Path) -> None:
    """Writes the files; the key is readable by its owner only, and the certificate comes last so that a crash enrols
    again."""
    folder = data_dir / "identity"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content, mode in (
        ("key.pem", identity.key_pem, 0o600),
        ("ca.pem", identity.ca_pem, 0o644),
        ("control.txt", identity.grpc_address.encode(), 0o644),
        ("cert.pem", identity.certificate_pem, 0o644),
    ):
        scratch = folder / f".{name}"
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
        scratch.replace(folder / name)


def split_join_token(token: str) -> tuple[str, str]:
    """The secret and the certificate hash. Raises EnrolmentError when the token has another form."""
    parts = token.split(".")
    if len(parts) != 3 or parts[0] != JOIN_TOKEN_PREFIX or not parts[1] or len(parts[2]) != 64:
        raise EnrolmentError("bad_join_token", "the join token is not of the form tw1.<secret>.<sha256>: copy it again")
    return parts[1], parts[2].lower()


def _enrol(settings: MeshSettings) -> EdgeIdentity:
    _, pinned = split_join_token(settings.join_token)
    if settings.certificate_sha256:
        pinned = settings.certificate_sha256.lower()
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, settings.edge_id)]))
        .sign(key, hashes.SHA256())
    )
    body = json.dumps(
        {
            "edge_id": settings.edge_id,
            "join_token": settings.join_token,
            "csr_pem": request.public_bytes(serialization.Encoding.PEM).decode(),
        }
    )
    status, answer = _post(settings.control_http_url, pinned, body)
    if status != 201:
        detail = str(answer.get("detail") or answer.get("title") or f"HTTP {status}")
        raise EnrolmentError(str(answer.get("reason", "refused")), detail, retry=status >= 500 or status == 429)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        return EdgeIdentity(
            settings.edge_id,
            key_pem,
            str(answer["certificate_pem"]).encode(),
            str(answer["ca_pem"]).encode(),
            str(answer["grpc_address"]),
        )
    except KeyError as error:
        raise EnrolmentError("bad_answer", f"control's answer lacks {error}: do edge and control fit?") from error


def _post(url: str, pinned_sha256: str, body: str) -> tuple[int, dict[str, object]]:
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        raise EnrolmentError("bad_url", f"control.http_url is {url!r}: enrolment needs https://host:port")
    # The pinned hash replaces the chain: nothing is sent before it has been compared.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=ENROLMENT_TIMEOUT_S, context=context)
    try:
        connection.connect()
        certificate = connection.sock.getpeercert(binary_form=True)
        seen = hashlib.sha256(certificate or b"").hexdigest()
        if not hmac.compare_digest(seen, pinned_sha256):
            raise EnrolmentError(
                "wrong_certificate",
                f"{url} shows certificate {seen}, the join token names {pinned_sha256}: ask control for a new token",
            )
        connection.request("POST", "/enroll", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read(RESPONSE_MAX_BYTES))
        return response.status, answer if isinstance(answer, dict) else {}
    except json.JSONDecodeError as error:
        raise EnrolmentError("bad_answer", f"{url}/enroll did not answer in JSON: is this control?") from error
    except (OSError, http.client.HTTPException) as error:
        raise EnrolmentError("unreachable", f"{url}: {error}", retry=True) from error
    finally:
        connection.close()
