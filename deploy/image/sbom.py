#!/usr/bin/env python3
"""SPDX 2.3 of the image: names of Debian packages on stdin, one a line; the document on stdout. SOURCE_DATE_EPOCH dates it."""
import datetime
import hashlib
import json
import os
import platform
import re
import subprocess
import sys


def asked(package):
    answer = subprocess.run(["dpkg-query", "-W", "-f", "${Version}\t${source:Package}\t${Architecture}\n", package], check=True, capture_output=True, text=True)
    return answer.stdout.split("\n")[0].split("\t")


def main():
    version = re.search(r"version: '([^']+)'", open("meson.build", encoding="utf-8").read())[1]
    created = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    ours = {"SPDXID": "SPDXRef-intuition-sync", "name": "intuition-sync", "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT OR Apache-2.0", "copyrightText": "NOASSERTION"}
    debian = platform.freedesktop_os_release()
    packages, relations = [ours], [("SPDXRef-DOCUMENT", "DESCRIBES", ours["SPDXID"])]
    for name in sys.stdin.read().split():
        found, source, architecture = asked(name)
        identifier = "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)
        packages.append({"SPDXID": identifier, "name": name, "versionInfo": found, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
                         "supplier": f"Organization: {debian['NAME'].split()[0]}", "sourceInfo": f"built from the Debian source package {source}",
                         "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
                         "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                           "referenceLocator": f"pkg:deb/{debian['ID']}/{name}@{found.replace('+', '%2B')}"
                                                               f"?arch={architecture}&distro={debian['VERSION_CODENAME']}"}]})
        relations.append((ours["SPDXID"], "DEPENDS_ON", identifier))
    digest = hashlib.sha256(json.dumps(packages).encode()).hexdigest()
    json.dump({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"intuition-sync-{version}",
               "documentNamespace": f"https://spdx.org/spdxdocs/intuition-sync-{version}-{digest}",
               "creationInfo": {"created": created, "creators": ["Tool: deploy/image/sbom.py"]}, "packages": packages,
               "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b} for a, kind, b in relations]},
              sys.stdout, indent=1)
    print()


main()
