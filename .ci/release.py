"""The documents of a release: .ci/release calls it.

    release.py program WHEEL FILE               takes the program out of the wheel
    release.py bills CREATED WHEEL CDX SPDX PROGRAM...
                                                takes the CycloneDX document out of the wheel, adds the C libraries of the
                                                programs, and makes the SPDX document of it
    release.py audited CDX PROGRAM...           verifies that the programs themselves list crates of that document
    release.py licences FILE PROGRAM...         collects the licences of the crates that the programs list
    release.py image FILE VERSION ARCHIVE...    makes one archive of the images that podman has saved, one for each platform
    release.py provenance SOURCE REVISION ARM64_ROOT FILE ARTEFACT...
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import uuid
import zipfile
import zlib


def program(wheel, file):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".data/scripts/ram-sidecar"))
        pathlib.Path(file).write_bytes(archive.read(name))


def bills(created, wheel, cdx, spdx, *programs):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".cyclonedx.json"))
        document = json.loads(archive.read(name))
    cyclone = cyclonedx(document, created)
    root = cyclone["metadata"]["component"]["bom-ref"]
    (uses,) = (dependency for dependency in cyclone["dependencies"] if dependency["ref"] == root)
    for version in sorted({c_library(path) for path in programs}):
        reference = f"pkg:generic/glibc@{version}"
        library = {"type": "library", "bom-ref": reference, "purl": reference, "name": "glibc", "version": version}
        library["licenses"] = [{"license": {"id": "LGPL-2.1-or-later"}}]
        cyclone["components"].append(library)
        uses.setdefault("dependsOn", []).append(reference)
    write(cdx, cyclone)
    write(spdx, spdx_of(cyclone, created))


def cyclonedx(document, created):
    """Removes what differs from one build to the next: the directory of the sources, the time and the number."""
    root = document["metadata"]["component"]
    # path+file:///DIRECTORY#ram-sidecar@VERSION, and the same with the name of a target.
    directory = root["bom-ref"].split("#")[0]
    text = json.dumps(document).replace(directory, "pkg:cargo/ram-sidecar").replace("?download_url=file://.", "")
    document = json.loads(text)
    document["metadata"]["timestamp"] = created
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root['name'] + root['version'] + created)}"
    return document


def spdx_of(cyclone, created):
    """An SPDX document of the same packages and dependencies."""
    root = cyclone["metadata"]["component"]
    components = [root, *cyclone["components"]]
    identifiers = {component["bom-ref"]: f"SPDXRef-{index}" for index, component in enumerate(components)}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{root['name']}-{root['version']}",
        "documentNamespace": f"https://spdx.org/spdxdocs/{root['name']}-{cyclone['serialNumber'].rsplit(':')[-1]}",
        "creationInfo": {"created": created, "creators": ["Organization: the authors of ram-sidecar"]},
        "documentDescribes": [identifiers[root["bom-ref"]]],
        "packages": [package(component, identifiers[component["bom-ref"]]) for component in components],
        "relationships": [
            {
                "spdxElementId": identifiers[dependency["ref"]],
                "relationshipType": "DEPENDS_ON",
                "relatedSpdxElement": identifiers[other],
            }
            for dependency in cyclone["dependencies"]
            for other in dependency.get("dependsOn", [])
        ],
    }


def package(component, identifier):
    licences = [entry.get("expression") or entry["license"]["id"] for entry in component.get("licenses", [])]
    result = {
        "SPDXID": identifier,
        "name": component["name"],
        "versionInfo": component["version"],
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": " AND ".join(f"({text})" if " " in text else text for text in licences) or "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }
    if "purl" in component:
        reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": component["purl"]}
        result["externalRefs"] = [reference]
    digests = {entry["alg"].replace("-", ""): entry["content"] for entry in component.get("hashes", [])}
    if digests:
        result["checksums"] = [{"algorithm": name, "checksumValue": value} for name, value in digests.items()]
    return result


def image(file, version, *archives):
    """An archive in OCI's layout. The configurations stay as they are: buildah would drop the health check, which Docker alone
    knows, as it changes their type."""
    blobs = {}

    def blob(content, kind, **more):
        name = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{name}"] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(content), **more}

    def document(kind, **more):
        return json.dumps({"schemaVersion": 2, "mediaType": f"application/vnd.oci.image.{kind}", **more}).encode()

    manifests = []
    for path in archives:
        with tarfile.open(path) as archive:
            (entry,) = json.load(archive.extractfile("manifest.json"))
            config = archive.extractfile(entry["Config"]).read()
            layers = [gzip.compress(archive.extractfile(layer).read(), mtime=0) for layer in entry["Layers"]]
        manifest = document(
            "manifest.v1+json",
            config=blob(config, "config.v1+json"),
            layers=[blob(layer, "layer.v1.tar+gzip") for layer in layers],
        )
        platform = {key: json.loads(config)[key] for key in ("architecture", "os")}
        manifests.append(blob(manifest, "manifest.v1+json", platform=platform))
    index = document("index.v1+json", manifests=manifests)
    name = {"org.opencontainers.image.ref.name": f"ram-sidecar:{version}"}
    blobs["index.json"] = document("index.v1+json", manifests=[blob(index, "index.v1+json", annotations=name)])
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    with tarfile.open(file, "w") as archive:
        for name, content in sorted(blobs.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def c_library(path):
    """The version of the C library that is linked into a program."""
    return re.search(rb"GNU C Library \(\S+ GLIBC ([^)]+)\)", pathlib.Path(path).read_bytes())[1].decode()


def crates(path):
    """The list that cargo-auditable has added: compressed JSON in a section of its own. It has the crates of one platform."""
    sections = subprocess.run(["readelf", "--sections", "--wide", path], check=True, capture_output=True, text=True).stdout
    place = re.search(r"\.dep-v0 +PROGBITS +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+)", sections)
    offset, size = (int(number, 16) for number in place.groups())
    packages = json.loads(zlib.decompress(pathlib.Path(path).read_bytes()[offset : offset + size]))["packages"]
    return {(package["name"], package["version"]) for package in packages if package.get("kind") != "build"}


def licences(file, *programs):
    """The texts that the crates bring, each once, with the crates that have it."""
    metadata = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"], check=True, capture_output=True, text=True)
    texts = {}
    missing = []
    linked = set().union(*map(crates, programs))
    for package in json.loads(metadata.stdout)["packages"]:
        if (package["name"], package["version"]) not in linked:
            continue
        name = f"{package['name']} {package['version']} ({package['license']})"
        directory = pathlib.Path(package["manifest_path"]).parent
        found = [path for path in sorted(directory.iterdir()) if re.match("(?i)(license|licence|copying|notice)", path.name)]
        for path in found:
            if path.is_file():
                texts.setdefault(path.read_text(errors="replace").strip(), []).append(name)
        if not found:
            missing.append(name)
    parts = [f"{', '.join(names)}:\n\n{text}\n" for text, names in texts.items()]
    parts.append(f"Without a text of their own: {', '.join(missing) or 'none'}.\n")
    pathlib.Path(file).write_text(f"\n{'-' * 79}\n\n".join(parts))


def audited(cdx, *programs):
    document = json.loads(pathlib.Path(cdx).read_text())
    known = {(entry["name"], entry["version"]) for entry in [document["metadata"]["component"], *document["components"]]}
    for path in programs:
        listed = crates(path)
        assert len(listed) > 50 and listed <= known, f"{path} lists crates that {cdx} has not: {sorted(listed - known)}"
        print(f"ok: {pathlib.Path(path).name} lists {len(listed)} of the {len(known)} crates in the SBOM")


def provenance(source, revision, arm64_root, file, *artefacts):
    """A statement of in-toto, with the predicate of SLSA: which files were made of which commit, with which compiler."""
    server = os.environ.get("GITHUB_SERVER_URL")
    compilers = {"rustc": ["rustc"], "rustc for 64-bit Arm": ["chroot", arm64_root, "rustc"]}
    run = server and f"{server}/{os.environ['GITHUB_REPOSITORY']}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": pathlib.Path(path).name, "digest": {"sha256": digest(path)}} for path in artefacts],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{source}/blob/{revision}/.ci/release",
                "externalParameters": {"source": source, "revision": revision},
                "internalParameters": {name: version(compiler) for name, compiler in compilers.items()},
                "resolvedDependencies": [
                    {"uri": f"git+{source}@{revision}", "digest": {"gitCommit": revision}},
                    {"name": "Cargo.lock", "digest": {"sha256": digest("Cargo.lock")}},
                    {"name": ".ci/release.txt", "digest": {"sha256": digest(".ci/release.txt")}},
                ],
            },
            "runDetails": {
                "builder": {"id": f"{server}/{os.environ['GITHUB_WORKFLOW_REF']}" if server else f"{source}#a-machine-of-somebody"},
                "metadata": {"invocationId": run} if run else {},
            },
        },
    }
    write(file, statement)


def version(compiler):
    return subprocess.run([*compiler, "-vV"], check=True, capture_output=True, text=True).stdout.splitlines()


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def write(path, document):
    pathlib.Path(path).write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    commands = [program, bills, audited, licences, image, provenance]
    {command.__name__: command for command in commands}[sys.argv[1]](*sys.argv[2:])
