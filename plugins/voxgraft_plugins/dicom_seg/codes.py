"""Coded terms of common structures (SNOMED CT as DICOM lists it, PS3.16 CID 7150 and 7151), found by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voxgraft.data.cases import Label

Code = tuple[str, str, str]
"""Value, scheme and meaning."""

STRUCTURE: Code = ("91723000", "SCT", "Anatomical Structure")
TISSUE: Code = ("85756007", "SCT", "Tissue")
ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
SUBSTANCE: Code = ("91720002", "SCT", "Body Substance")
SIDES: dict[str, Code] = {"left": ("7771000", "SCT", "Left"), "right": ("24028007", "SCT", "Right")}

_TERMS: dict[Code, dict[str, tuple[str, str]]] = {
    STRUCTURE: {
        "hippocampus": ("5366008", "Hippocampus"),
        "amygdala": ("4958002", "Amygdala"),
        "brain": ("12738006", "Brain"),
        "brainstem, brain stem": ("119238007", "Brain Stem"),
        "cerebellum": ("113305005", "Cerebellum"),
        "cerebral cortex, cortex": ("40146001", "Cerebral cortex"),
        "thalamus": ("42695009", "Thalamus"),
        "caudate, caudate nucleus": ("11000004", "Caudate Nucleus"),
        "putamen": ("89278009", "Putamen"),
        "lateral ventricle": ("66720007", "Lateral Ventricle"),
        "spinal cord": ("2748008", "Spinal cord"),
        "eye": ("81745001", "Eye"),
        "retina": ("5665001", "Retina"),
        "heart": ("80891009", "Heart"),
        "atrium": ("59652004", "Atrium"),
        "left atrium": ("82471001", "Left atrium"),
        "right atrium": ("73829009", "Right atrium"),
        "left ventricle": ("87878005", "Left ventricle"),
        "right ventricle": ("53085002", "Right ventricle"),
        "aorta": ("15825003", "Aorta"),
        "pulmonary artery": ("81040000", "Pulmonary artery"),
        "inferior vena cava": ("64131007", "Inferior vena cava"),
        "portal vein": ("32764006", "Portal vein"),
        "vessel, vessels, blood vessel, blood vessels": ("59820001", "Blood Vessel"),
        "artery": ("51114001", "Artery"),
        "vein": ("29092000", "Vein"),
        "lung": ("39607008", "Lung"),
        "trachea": ("44567001", "Trachea"),
        "esophagus, oesophagus": ("32849002", "Esophagus"),
        "stomach": ("69695003", "Stomach"),
        "duodenum": ("38848004", "Duodenum"),
        "small intestine, small bowel": ("30315005", "Small intestine"),
        "colon": ("71854001", "Colon"),
        "rectum": ("34402009", "Rectum"),
        "liver": ("10200004", "Liver"),
        "gallbladder": ("28231008", "Gallbladder"),
        "pancreas": ("15776009", "Pancreas"),
        "spleen": ("78961009", "Spleen"),
        "kidney, kidneys": ("64033007", "Kidney"),
        "adrenal gland": ("23451007", "Adrenal gland"),
        "bladder, urinary bladder": ("89837001", "Bladder"),
        "prostate": ("41216001", "Prostate"),
        "uterus": ("35039007", "Uterus"),
        "breast": ("76752008", "Breast"),
        "thyroid": ("69748006", "Thyroid"),
        "parotid, parotid gland": ("45289007", "Parotid gland"),
        "lymph node": ("59441001", "Lymph Node"),
        "vertebra": ("51282000", "Vertebra"),
        "spine": ("421060004", "Spine"),
        "sacrum": ("54735007", "Sacrum"),
        "rib": ("113197003", "Rib"),
        "femur": ("71341001", "Femur"),
        "hip": ("29836001", "Hip"),
        "mandible": ("91609006", "Mandible"),
        "bone": ("272673000", "Bone"),
        "muscle": ("71616004", "Muscle"),
        "skin": ("39937001", "Skin"),
    },
    TISSUE: {
        "gray matter, grey matter, gm": ("389081007", "Gray Matter"),
        "white matter, wm": ("389080008", "White Matter"),
        "fat, adipose tissue": ("55603005", "Fat"),
    },
    SUBSTANCE: {"cerebrospinal fluid, csf": ("65216001", "Cerebrospinal Fluid")},
    ABNORMAL: {
        "tumor, tumour, neoplasm": ("108369006", "Neoplasm"),
        "lesion": ("52988006", "Lesion"),
        "nodule": ("27925004", "Nodule"),
        "mass": ("4147007", "Mass"),
        "cyst": ("367643001", "Cyst"),
        "edema, oedema": ("79654002", "Edema"),
        "necrosis": ("6574001", "Necrosis"),
        "hemorrhage, haemorrhage": ("50960005", "Hemorrhage"),
    },
}


@dataclass(frozen=True, slots=True)
class Term:
    """What a segment is: its category, its type, and its side where the name tells one."""

    category: Code
    type: Code
    side: Code | None = None


def term_of(label: Label) -> Term:
    """The coded term of a structure: its own code, else one found by its name, else 'Anatomical Structure'."""
    words = re.sub(r"[^a-z]+", " ", label.name.lower()).split()
    name, sides = " ".join(words), [word for word in words if word in SIDES]
    bare = " ".join(word for word in words if word not in SIDES)
    side = SIDES[sides[0]] if len(sides) == 1 else None
    if label.code is not None:
        category = next((known.category for known in _BY_NAME.values() if known.type[:2] == label.code[:2]), STRUCTURE)
        return Term(category, label.code)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if bare in _BY_NAME and side is not None:
        return Term(_BY_NAME[bare].category, _BY_NAME[bare].type, side)
    return Term(STRUCTURE, STRUCTURE, side)


_BY_NAME = {
    name: Term(category, (value, "SCT", meaning))
    for category, terms in _TERMS.items()
    for names, (value, meaning) in terms.items()
    for name in names.split(", ")
}
