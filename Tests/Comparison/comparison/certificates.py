"""The certificates of a run: an authority, and what it has signed; another authority; what has expired or was revoked."""

import datetime
import ipaddress
from base64 import b64encode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
PASSWORD = b"secret"
USER = "1.3.6.1.4.1.311.20.2.3"
# name: (alternative names, how it is special)
CERTIFICATES = {
    "server": (["host.example", "*.wild.example", "spiffe://mesh.example/server", "127.0.0.1"], ""),
    "second": (["second.example"], ""),
    "rsa": (["host.example"], "rsa"),
    "upstream": (["upstream.example", "host.example", "spiffe://mesh.example/upstream", "127.0.0.1"], ""),
    "expired": (["host.example", "upstream.example"], "expired"),
    "foreign": (["host.example", "upstream.example"], "other"),
    "client": (["client.example", "spiffe://mesh.example/client"], ""),
    "client-second": (["second-client.example"], ""),
    "client-expired": (["client.example"], "expired"),
    "client-foreign": (["client.example"], "other"),
    "locked": (["host.example"], "locked"),  # its key is encrypted
    "client-revoked": (["client.example"], "revoked"),
    "client-rsa": (["client.example"], "rsa"),
    "client-deep": (["client.example"], "below"),  # of the authority below the other one
    "client-named": (["user@mesh.example"], "named"),  # has no name but one of the Microsoft kind
}


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mesh")])


def alternative(text):
    if "@" in text:
        # A user's name as Microsoft's directory has it: an OTHER_NAME, a UTF8String.
        return x509.OtherName(x509.ObjectIdentifier(USER), b"\x0c" + bytes([len(text)]) + text.encode())
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Certificates:
    """Files in a folder: NAME.pem, NAME.key; `ca.pem`, `other.pem`, and `crl.pem`, which revokes one."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.now = datetime.datetime.now(datetime.timezone.utc)
        self.places = {}
        self.by_content = {}
        authorities = {label: self.authority(label) for label in ("ca", "other")}
        authorities["below"] = self.authority("below", authorities["ca"])
        revoked = []
        for label, (names, special) in CERTIFICATES.items():
            issuer, issuer_key = authorities[special if special in authorities else "ca"]
            certificate = self.certificate(label, names, special, issuer, issuer_key)
            if special == "revoked":
                revoked.append(certificate.serial_number)
            if special == "below":
                with open(self.places[f"cert.{label}"], "ab") as file:
                    file.write(issuer.public_bytes(serialization.Encoding.PEM))
        self.revocations("crl", *authorities["ca"], revoked)
        self.revocations("crl.below", *authorities["below"], [])

    def write(self, label, certificate, key, encryption=serialization.NoEncryption()):
        path = self.folder / f"{label}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path = self.folder / f"{label}.key"
        key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               encryption))
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.by_content[der] = label
        spki = certificate.public_key().public_bytes(serialization.Encoding.DER,
                                                     serialization.PublicFormat.SubjectPublicKeyInfo)
        self.places.update({f"cert.{label}": str(path), f"key.{label}": str(key_path),
                            f"hash.{label}": digest(der).hex(), f"spki.{label}": b64encode(digest(spki)).decode()})

    def authority(self, label, issuer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = name(f"Authority {label}")
        above, above_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
        certificate = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(above).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(self.now - DAY)
            .not_valid_after(self.now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .sign(above_key, hashes.SHA256()))
        self.write(label, certificate, key)
        self.places[label] = str(self.folder / f"{label}.pem")
        return certificate, key

    def certificate(self, label, names, special, issuer, issuer_key):
        key = rsa.generate_private_key(65537, 2048) if special == "rsa" else ec.generate_private_key(ec.SECP256R1())
        begin, end = (self.now - 20 * DAY, self.now - 10 * DAY) if special == "expired" else (
            self.now - DAY, self.now + 20 * DAY)
        certificate = (
            x509.CertificateBuilder().subject_name(name(label)).issuer_name(issuer.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(begin).not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([alternative(text) for text in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                           critical=False)
            .sign(issuer_key, hashes.SHA256()))
        self.write(label, certificate, key, serialization.BestAvailableEncryption(PASSWORD) if special == "locked"
                   else serialization.NoEncryption())
        return certificate

    def revocations(self, label, issuer, key, serials):
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(
            self.now - DAY).next_update(self.now + 30 * DAY)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.now - DAY).build())
        path = self.folder / f"{label}.pem"
        path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        self.places[label] = str(path)


def digest(data):
    state = hashes.Hash(hashes.SHA256())
    state.update(data)
    return state.finalize()
