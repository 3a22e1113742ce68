"""DTLS 1.2 of a test peer, record by record, so that tests can drop, repeat, reorder and split them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

PROFILES: Final = b"SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
KEY_AND_SALT_BYTES: Final = {b"SRTP_AEAD_AES_128_GCM": (16, 12), b"SRTP_AES128_CM_SHA1_80": (16, 14)}


class Certificate:
    """A self-signed certificate, ECDSA unless RSA is asked for."""

    def __init__(self, *, use_rsa: bool = False) -> None:
        self.key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        self.key = rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
        now = datetime.datetime.now(datetime.UTC)
        self.x509 = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )

    @cached_property
    def fingerprint(self) -> str:
        return self.x509.fingerprint(hashes.SHA256()).hex(":").upper()


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master key and salt per direction, as libsrtp takes them."""

    profile: str
    local: bytes
    remote: bytes


class Dtls:
    """One handshake. `handle` takes a datagram, `flight` gives the records to send."""

    def __init__(self, certificate: Certificate, *, is_client: bool, profiles: bytes = PROFILES) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(certificate.x509)
        context.use_privatekey(certificate.key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_tlsext_use_srtp(profiles)
        self.is_client = is_client
        self.is_connected = False
        self.error: str | None = None
        self._connection = SSL.Connection(context)
        self._connection.set_ciphertext_mtu(1200)
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def start(self) -> list[bytes]:
        """The ClientHello, when this side is the client."""
        return self._step()

    def handle(self, datagram: bytes) -> list[bytes]:
        """What to answer."""
        self._connection.bio_write(datagram)
        return self._step()

    def timeout(self) -> list[bytes]:
        """Records to repeat, when OpenSSL's retransmission timer says so."""
        if self._connection.DTLSv1_get_timeout() == 0:
            self._connection.DTLSv1_handle_timeout()
        return self._records()

    def srtp_keys(self) -> SrtpKeys:
        """RFC 5764 §4.2: client key, server key, client salt, server salt."""
        profile = self._connection.get_selected_srtp_profile()
        key, salt = KEY_AND_SALT_BYTES[profile]
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        local, remote = (client, server) if self.is_client else (server, client)
        return SrtpKeys(profile.decode(), local, remote)

    def peer_fingerprint(self) -> str:
        certificate = self._connection.get_peer_certificate()
        assert certificate is not None
        return certificate.to_cryptography().fingerprint(hashes.SHA256()).hex(":").upper()

    def _step(self) -> list[bytes]:
        try:
            if self.is_connected:
                self._connection.recv(2048)
            else:
                self._connection.do_handshake()
                self.is_connected = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.error = str(error)
        return self._records()

    def _records(self) -> list[bytes]:
        """Memory BIOs lose datagram boundaries; each record goes out alone (RFC 6347 §4.1)."""
        pending = b""
        while True:
            try:
                pending += self._connection.bio_read(65536)
            except SSL.WantReadError:
                break
        return split_records(pending)


def split_records(flight: bytes) -> list[bytes]:
    """The records of concatenated DTLS output."""
    records = []
    while len(flight) >= 13:
        length = 13 + int.from_bytes(flight[11:13])
        records.append(flight[:length])
        flight = flight[length:]
    return records


def fragment_handshake(record: bytes, size: int) -> list[bytes]:
    """Splits one plaintext handshake record into fragments of `size` bytes of body (RFC 6347 §4.2.3)."""
    header, message, body = record[:13], record[13:25], record[25:]
    epoch, first = header[3:5], int.from_bytes(header[5:11])
    records = []
    for index, at in enumerate(range(0, len(body), size)):
        part = body[at : at + size]
        fragment = message[:6] + at.to_bytes(3) + len(part).to_bytes(3) + part
        number = (first + index).to_bytes(6)
        records.append(header[:3] + epoch + number + len(fragment).to_bytes(2) + fragment)
    return records
