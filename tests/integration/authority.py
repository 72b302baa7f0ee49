"""A small certificate authority, made with the openssl command, and a Redis that speaks TLS with one of its certificates."""
import itertools
import subprocess
from datetime import datetime, timedelta, timezone

import redis

from servers import RedisServer


class Authority:
    _numbers = itertools.count(1)

    def __init__(self, folder):
        """folder: one that the servers' user can reach."""
        self.name = f"authority {next(self._numbers)}"
        self.folder = folder / self.name.replace(" ", "-")
        self.folder.mkdir(mode=0o755)
        self.file, self._key = self.folder / "ca.pem", self.folder / "ca.key"
        self._configuration = self.folder / "ca.cnf"
        self._configuration.write_text(_CONFIGURATION.format(folder=self.folder))
        (self.folder / "index").touch()
        self._openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.file, "-subj", f"/CN={self.name}", "-days", "2")

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr

    def issue(self, names, days=1):
        """names as in subjectAltName: DNS:localhost,IP:127.0.0.1; days=-1: it expired yesterday -> (certificate file, key file)"""
        place = self.folder / f"{next(self._numbers)}"
        request, certificate, key, names_file = (place.with_suffix(f".{ending}") for ending in ("csr", "pem", "key", "ext"))
        names_file.write_text(f"subjectAltName={names}\n")
        self._openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", "/CN=in no use")
        begin = datetime.now(timezone.utc) - timedelta(days=2)
        self._openssl("ca", "-batch", "-notext", "-config", self._configuration, "-cert", self.file, "-keyfile", self._key, "-in", request,
                      "-startdate", f"{begin:%Y%m%d%H%M%SZ}", "-enddate", f"{begin + timedelta(days=2 + days):%Y%m%d%H%M%SZ}",
                      "-extfile", names_file, "-out", certificate)
        key.chmod(0o644)   # the server runs as another user
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CONFIGURATION = """
[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
"""


class TlsRedisServer(RedisServer):
    label = "redis-tls"

    def __init__(self, folder, authority, names="DNS:localhost", days=1, demands=False, arguments=()):
        """demands: a certificate of its clients, by the same authority."""
        super().__init__(folder, append_only=True, arguments=arguments)
        self.authority, self.demands = authority, demands
        self.use(authority, names, days)

    def use(self, authority, names="DNS:localhost", days=1):
        """A certificate that it has from its next start on."""
        self.files = authority.issue(names, days)

    def command(self):
        certificate, key = map(str, self.files)
        return [*super().command(), "--port", "0", "--tls-port", str(self.port), "--tls-cert-file", certificate, "--tls-key-file", key,
                "--tls-ca-cert-file", str(self.authority.file), "--tls-auth-clients", "yes" if self.demands else "no"]

    def client(self, db=0):
        certificate, key = self.files
        return redis.Redis(host="127.0.0.1", port=self.port, db=db, decode_responses=True, encoding_errors="surrogateescape", protocol=2,
                           socket_timeout=30, ssl=True, ssl_cert_reqs="none", ssl_certfile=str(certificate), ssl_keyfile=str(key))

    def url(self, db=0, host="localhost"):
        return f"rediss://{host}:{self.port}/{db}"
