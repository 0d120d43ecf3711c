"""Coded terms of common structures (SNOMED CT as DICOM lists it, PS3.16), found by the names that people give them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from voxgraft.plugin import Label

Code = tuple[str, str, str]
"""Value, scheme and meaning."""

PRIVATE = "99VOXGRAFT"
"""The coding scheme of structures that no term is known for; the meaning of a code is the name."""

STRUCTURE: Code = ("91723000", "SCT", "Anatomical Structure")
TISSUE: Code = ("85756007", "SCT", "Tissue")
ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
SUBSTANCE: Code = ("91720002", "SCT", "Body Substance")
SIDES: dict[str, Code] = {"left": ("7771000", "SCT", "Left"), "right": ("24028007", "SCT", "Right")}
_SHORT_SIDES = {"l": "left", "lt": "left", "r": "right", "rt": "right"}

_TERMS: dict[Code, dict[str, tuple[str, str]]] = {
    STRUCTURE: {
        # brain
        "brain": ("12738006", "Brain"),
        "hippocampus": ("5366008", "Hippocampus"),
        "amygdala": ("4958002", "Amygdala"),
        "brainstem, brain stem": ("119238007", "Brain Stem"),
        "midbrain": ("61962009", "Midbrain"),
        "cerebellum": ("113305005", "Cerebellum"),
        "cerebellar cortex": ("25991003", "Cerebellar Cortex"),
        "cerebral cortex, cortex": ("40146001", "Cerebral cortex"),
        "cerebral hemisphere, cerebrum": ("372073000", "Cerebral hemisphere"),
        "cerebral white matter": ("68523003", "Cerebral White Matter"),
        "thalamus": ("42695009", "Thalamus"),
        "caudate nucleus, caudate": ("11000004", "Caudate Nucleus"),
        "putamen": ("89278009", "Putamen"),
        "globus pallidus, pallidum": ("14738005", "Globus Pallidus"),
        "nucleus accumbens, accumbens, accumbens area": ("427667007", "Nucleus Accumbens"),
        "insula": ("36169008", "Insula"),
        "frontal lobe": ("83251001", "Frontal lobe"),
        "temporal lobe": ("78277001", "Temporal lobe"),
        "parietal lobe": ("16630005", "Parietal lobe"),
        "occipital lobe": ("31065004", "Occipital lobe"),
        "corpus callosum": ("88442005", "Corpus callosum"),
        "lateral ventricle, inferior lateral ventricle, inf lat vent, ventricles": ("66720007", "Lateral Ventricle"),
        "third ventricle, 3rd ventricle": ("49841001", "Third ventricle"),
        "fourth ventricle, 4th ventricle": ("35918002", "Fourth Ventricle"),
        "entorhinal cortex": ("3937002", "Entorhinal Cortex"),
        "substantia nigra": ("70007007", "Substantia nigra"),
        "optic chiasm": ("244453006", "Optic chiasm"),
        "optic nerve": ("18234004", "optic nerve"),
        "pituitary, pituitary gland, hypophysis": ("56329008", "Pituitary"),
        "pineal gland": ("45793000", "Pineal Gland"),
        "fornix": ("87463005", "fornix"),
        "cingulum": ("37035000", "Cingulum"),
        "choroid plexus": ("80621003", "Choroid plexus"),
        "dura mater, dura": ("18545000", "Dura mater"),
        "spinal cord": ("2748008", "Spinal cord"),
        "spinal canal": ("61853006", "Vertebral canal"),
        # head and neck
        "head": ("69536005", "Head"),
        "neck": ("45048000", "Neck"),
        "skull": ("89546000", "Skull"),
        "orbit": ("363654007", "Orbit"),
        "eye, eyeball, globe": ("81745001", "Eye"),
        "lens": ("78076003", "Lens"),
        "cornea": ("28726007", "Cornea"),
        "retina": ("5665001", "Retina"),
        "optic disc, optic disk": ("81016008", "Optic nerve head"),
        "fovea": ("67046006", "Fovea centralis"),
        "lacrimal gland": ("13561001", "Lacrimal gland"),
        "nasal cavity": ("279549004", "nasal cavity"),
        "maxillary sinus": ("15924003", "Maxillary sinus"),
        "paranasal sinus": ("2095001", "Paranasal sinus"),
        "maxilla": ("70925003", "Maxilla"),
        "mandible": ("91609006", "Mandible"),
        "tooth, teeth": ("38199008", "Tooth"),
        "tongue": ("21974007", "Tongue"),
        "pharynx": ("54066008", "Pharynx"),
        "larynx": ("4596009", "Larynx"),
        "thyroid, thyroid gland": ("69748006", "Thyroid"),
        "parathyroid": ("111002", "Parathyroid"),
        "parotid gland, parotid": ("45289007", "Parotid gland"),
        "submandibular gland": ("54019009", "Submandibular gland"),
        "salivary gland": ("385294005", "Salivary gland"),
        "internal auditory canal": ("361078006", "Internal Auditory Canal"),
        "brachial plexus": ("36582005", "Brachial plexus"),
        # heart and vessels
        "heart": ("80891009", "Heart"),
        "pericardium": ("76848001", "Pericardium"),
        "atrium": ("59652004", "Atrium"),
        "left atrium, heart atrium left, la cavity": ("82471001", "Left atrium"),
        "right atrium, heart atrium right": ("73829009", "Right atrium"),
        "left ventricle, heart ventricle left, lv cavity, lv": ("87878005", "Left ventricle"),
        "right ventricle, heart ventricle right, rv cavity, rv": ("53085002", "Right ventricle"),
        "left ventricle myocardium, left ventricular myocardium, heart myocardium, lv myocardium": (
            "49848007",
            "Left Ventricle Myocardium",
        ),
        "left atrial appendage, atrial appendage left": ("33626005", "Left auricular appendage"),
        "interventricular septum": ("589001", "Interventricular septum"),
        "mitral valve": ("91134007", "Mitral Valve"),
        "aortic valve": ("34202007", "Aortic Valve"),
        "coronary artery, coronary arteries": ("41801008", "Coronary artery"),
        "aorta": ("15825003", "Aorta"),
        "ascending aorta": ("54247002", "Ascending aorta"),
        "aortic arch": ("57034009", "Aortic arch"),
        "descending aorta": ("281130003", "Descending aorta"),
        "thoracic aorta": ("113262008", "Thoracic aorta"),
        "abdominal aorta": ("7832008", "Abdominal aorta"),
        "pulmonary artery": ("81040000", "Pulmonary artery"),
        "pulmonary trunk": ("45341000", "Pulmonary trunk"),
        "pulmonary vein, pulmonary veins": ("122972007", "Pulmonary vein"),
        "superior vena cava, svc": ("48345005", "Superior vena cava"),
        "inferior vena cava, ivc": ("64131007", "Inferior vena cava"),
        "portal vein": ("32764006", "Portal vein"),
        "hepatic vein, hepatic veins": ("8993003", "Hepatic vein"),
        "splenic vein": ("35819009", "Splenic vein"),
        "renal artery": ("2841007", "Renal artery"),
        "renal vein": ("56400007", "Renal vein"),
        "celiac artery, celiac trunk": ("57850000", "Celiac Axis"),
        "superior mesenteric artery": ("42258001", "Superior mesenteric artery"),
        "carotid artery": ("69105007", "Carotid Artery"),
        "common carotid artery": ("32062004", "Common carotid artery"),
        "internal carotid artery": ("86117002", "Internal carotid artery"),
        "internal jugular vein": ("12123001", "Internal jugular vein"),
        "subclavian artery": ("36765005", "Subclavian artery"),
        "brachiocephalic trunk": ("12691009", "brachiocephalic trunk"),
        "brachiocephalic vein": ("8887007", "Brachiocephalic vein"),
        "iliac artery": ("10293006", "Iliac artery"),
        "iliac vein, iliac vena": ("244411005", "Iliac vein"),
        "common iliac artery": ("73634005", "Common iliac artery"),
        "common iliac vein": ("46027005", "Common iliac vein"),
        "femoral artery": ("7657000", "Femoral artery"),
        "blood vessel, vessel, vessels, blood vessels": ("59820001", "Blood Vessel"),
        "artery, arteries": ("51114001", "Artery"),
        "vein, veins": ("29092000", "Vein"),
        # chest
        "thorax, chest": ("816094009", "Thorax"),
        "chest wall": ("78904004", "Chest wall"),
        "mediastinum": ("72410000", "Mediastinum"),
        "lung, lungs": ("39607008", "Lung"),
        "lower lobe of lung, lung lower lobe": ("90572001", "Lower lobe of lung"),
        "upper lobe of lung, lung upper lobe": ("45653009", "Upper lobe of lung"),
        "middle lobe of right lung, lung middle lobe, lung middle lobe right": (
            "72481006",
            "Middle lobe of right lung",
        ),
        "trachea": ("44567001", "Trachea"),
        "bronchus, bronchi": ("955009", "Bronchus"),
        "pleura": ("3120008", "Pleura"),
        "diaphragm": ("5798000", "Diaphragm"),
        "thymus": ("9875009", "Thymus"),
        "esophagus, oesophagus": ("32849002", "Esophagus"),
        "breast, breasts": ("76752008", "Breast"),
        "axilla": ("91470000", "Axilla"),
        # abdomen and pelvis
        "abdomen": ("818981001", "Abdomen"),
        "pelvis": ("118645006", "Pelvis"),
        "liver": ("10200004", "Liver"),
        "gallbladder, gall bladder": ("28231008", "Gallbladder"),
        "bile duct": ("28273000", "Bile duct"),
        "common bile duct": ("79741001", "Common bile duct"),
        "pancreas": ("15776009", "Pancreas"),
        "pancreatic duct": ("69930009", "Pancreatic duct"),
        "spleen": ("78961009", "Spleen"),
        "stomach": ("69695003", "Stomach"),
        "duodenum": ("38848004", "Duodenum"),
        "jejunum": ("21306003", "Jejunum"),
        "ileum": ("34516001", "Ileum"),
        "small intestine, small bowel": ("30315005", "Small intestine"),
        "large intestine, large bowel": ("14742008", "Large intestine"),
        "appendix": ("66754008", "Appendix"),
        "cecum, caecum": ("32713005", "Cecum"),
        "colon": ("71854001", "Colon"),
        "ascending colon": ("9040008", "Ascending colon"),
        "transverse colon": ("485005", "Transverse colon"),
        "descending colon": ("32622004", "Descending colon"),
        "sigmoid colon": ("60184004", "Sigmoid colon"),
        "rectum": ("34402009", "Rectum"),
        "anus": ("53505006", "Anus"),
        "kidney, kidneys": ("64033007", "Kidney"),
        "renal pelvis": ("25990002", "Renal pelvis"),
        "adrenal gland, adrenal, adrenal glands, suprarenal gland": ("23451007", "Adrenal gland"),
        "ureter": ("87953007", "Ureter"),
        "urethra": ("13648007", "Urethra"),
        "bladder, urinary bladder": ("89837001", "Bladder"),
        "prostate": ("41216001", "Prostate"),
        "peripheral zone, prostate peripheral zone": ("279706003", "Peripheral zone of the prostate"),
        "seminal vesicle, seminal vesicles": ("64739004", "Seminal Vesicle"),
        "penis": ("18911002", "Penis"),
        "testis, testicle": ("40689003", "Testis"),
        "uterus": ("35039007", "Uterus"),
        "cervix, uterine cervix": ("71252005", "Cervix"),
        "endometrium": ("2739003", "Endometrium"),
        "ovary": ("15497006", "Ovary"),
        "vagina": ("76784001", "Vagina"),
        "placenta": ("78067005", "Placenta"),
        # bones, joints, muscles, skin
        "bone, bones": ("272673000", "Bone"),
        "spine, vertebral column": ("421060004", "Spine"),
        "vertebra, vertebrae": ("51282000", "Vertebra"),
        "sacrum": ("54735007", "Sacrum"),
        "coccyx": ("64688005", "Coccyx"),
        "rib, ribs": ("113197003", "Rib"),
        "costal cartilage, costal cartilages": ("50016007", "Costal Cartilage"),
        "sternum": ("56873002", "Sternum"),
        "clavicle, clavicula": ("51299004", "Clavicle"),
        "scapula": ("79601000", "Scapula"),
        "humerus": ("85050009", "Humerus"),
        "ulna": ("23416004", "Ulna"),
        "hand": ("85562004", "Hand"),
        "ilium": ("22356005", "Ilium"),
        "hip": ("29836001", "Hip"),
        "acetabulum": ("37783008", "Acetabulum"),
        "femur": ("71341001", "Femur"),
        "femoral head": ("2812003", "Femoral head"),
        "patella": ("64234005", "Patella"),
        "tibia": ("12611008", "Tibia"),
        "fibula": ("87342007", "Fibula"),
        "knee": ("72696002", "Knee"),
        "foot": ("56459004", "Foot"),
        "cartilage": ("309312004", "Cartilage"),
        "meniscus": ("74135004", "Meniscus"),
        "ligament": ("52082005", "Ligament"),
        "tendon": ("13024002", "Tendon"),
        "nerve": ("91728009", "Nerve"),
        "muscle, muscles": ("71616004", "Muscle"),
        "skeletal muscle": ("127954009", "Skeletal muscle"),
        "erector spinae, autochthon": ("44947003", "Erector spinae muscle"),
        "pectoralis major": ("60005003", "Pectoralis major muscle"),
        "skin": ("39937001", "Skin"),
        "lymph node, lymph nodes": ("59441001", "Lymph Node"),
        "entire body, body, whole body, external": ("38266002", "Entire body"),
        "vertebra c1, c1 vertebra, vertebrae c1, c1": ("14806007", "C1 vertebra"),
        "vertebra c2, c2 vertebra, vertebrae c2, c2": ("39976000", "C2 vertebra"),
        "vertebra c3, c3 vertebra, vertebrae c3, c3": ("113205007", "C3 vertebra"),
        "vertebra c4, c4 vertebra, vertebrae c4, c4": ("5329002", "C4 vertebra"),
        "vertebra c5, c5 vertebra, vertebrae c5, c5": ("36978003", "C5 vertebra"),
        "vertebra c6, c6 vertebra, vertebrae c6, c6": ("36054005", "C6 vertebra"),
        "vertebra c7, c7 vertebra, vertebrae c7, c7": ("87391001", "C7 vertebra"),
        "vertebra t1, t1 vertebra, vertebrae t1": ("64864005", "T1 vertebra"),
        "vertebra t2, t2 vertebra, vertebrae t2": ("53733008", "T2 vertebra"),
        "vertebra t3, t3 vertebra, vertebrae t3, t3": ("1626008", "T3 vertebra"),
        "vertebra t4, t4 vertebra, vertebrae t4, t4": ("73071006", "T4 vertebra"),
        "vertebra t5, t5 vertebra, vertebrae t5, t5": ("56401006", "T5 vertebra"),
        "vertebra t6, t6 vertebra, vertebrae t6, t6": ("45296009", "T6 vertebra"),
        "vertebra t7, t7 vertebra, vertebrae t7, t7": ("62487009", "T7 vertebra"),
        "vertebra t8, t8 vertebra, vertebrae t8, t8": ("11068009", "T8 vertebra"),
        "vertebra t9, t9 vertebra, vertebrae t9, t9": ("82687006", "T9 vertebra"),
        "vertebra t10, t10 vertebra, vertebrae t10, t10": ("7610001", "T10 vertebra"),
        "vertebra t11, t11 vertebra, vertebrae t11, t11": ("12989004", "T11 vertebra"),
        "vertebra t12, t12 vertebra, vertebrae t12, t12": ("23215003", "T12 vertebra"),
        "vertebra l1, l1 vertebra, vertebrae l1, l1": ("66794005", "L1 vertebra"),
        "vertebra l2, l2 vertebra, vertebrae l2, l2": ("14293000", "L2 vertebra"),
        "vertebra l3, l3 vertebra, vertebrae l3, l3": ("36470004", "L3 vertebra"),
        "vertebra l4, l4 vertebra, vertebrae l4, l4": ("11994002", "L4 vertebra"),
        "vertebra l5, l5 vertebra, vertebrae l5, l5": ("49668003", "L5 vertebra"),
    },
    TISSUE: {
        "gray matter, grey matter, gm": ("389081007", "Gray Matter"),
        "white matter, wm": ("389080008", "White Matter"),
        "fat, adipose tissue": ("55603005", "Fat"),
    },
    SUBSTANCE: {
        "cerebrospinal fluid, csf": ("65216001", "Cerebrospinal Fluid"),
        "blood": ("87612001", "Blood"),
        "air": ("15158005", "Air"),
        "gas": ("74947009", "Gas"),
        "urine": ("78014005", "Urine"),
        "bile": ("70150004", "Bile"),
    },
    ABNORMAL: {
        "neoplasm, tumor, tumour": ("108369006", "Neoplasm"),
        "neoplasm primary, primary tumor, primary tumour": ("372087000", "Neoplasm, Primary"),
        "neoplasm secondary, secondary tumor, secondary tumour": ("14799000", "Neoplasm, Secondary"),
        "metastasis, metastases": ("128462008", "Metastasis"),
        "carcinoma": ("1187425009", "Carcinoma"),
        "lesion, lesions": ("52988006", "Lesion"),
        "nodule, nodules": ("27925004", "Nodule"),
        "mass": ("4147007", "Mass"),
        "cyst, cysts": ("367643001", "Cyst"),
        "edema, oedema, peritumoral edema, peritumoural oedema": ("79654002", "Edema"),
        "necrosis, necrotic core, necrotic tumor core": ("6574001", "Necrosis"),
        "hemorrhage, haemorrhage, bleeding": ("50960005", "Hemorrhage"),
        "hematoma, haematoma": ("35566002", "Hematoma"),
        "thrombus, clot": ("396339007", "Thrombus"),
        "embolus": ("55584005", "Embolus"),
        "stenosis": ("44241007", "Stenosis"),
        "aneurysm": ("85659009", "aneurysm"),
        "plaque": ("1522000", "plaque"),
        "abscess": ("44132006", "Abscess"),
        "inflammation": ("409774005", "Inflammation"),
        "fibrosis": ("112674009", "Fibrosis"),
        "effusion": ("41699000", "Effusion"),
        "pleural effusion": ("60046008", "Pleural effusion"),
        "pneumothorax": ("36118008", "Pneumothorax"),
        "ulcer": ("56208002", "Ulcer"),
    },
}


@dataclass(frozen=True, slots=True)
class Term:
    """What a segment is: its category, its type, and its side where the name tells one."""

    category: Code
    type: Code
    side: Code | None = None

    @property
    def private(self) -> bool:
        """Whether no published term is known for it."""
        return self.type[1] == PRIVATE


def term_of(label: Label) -> Term:
    """The coded term of a structure: its own code, else one found by its name, else one of the private scheme.

    Names may be written in many ways: `Left kidney`, `kidney_left`, `Kidney (L)`, `vertebrae_L5`, `tumour 2`.
    """
    words = [word for word in re.sub(r"[^a-z0-9]+", " ", label.name.lower()).split() if word not in ("the", "of")]
    sides = [_SHORT_SIDES.get(word, word) for word in words if _SHORT_SIDES.get(word, word) in SIDES]
    side = SIDES[sides[0]] if len(sides) == 1 else None
    if label.code is not None:
        category = next((known.category for known in _BY_NAME.values() if known.type[:2] == label.code[:2]), STRUCTURE)
        return Term(category, label.code)
    bare = [word for word in words if word not in SIDES and word not in _SHORT_SIDES]
    counted = [word for word in bare if not word.isdecimal()]
    for name, told in ((words, None), (bare, side), (counted, side)):
        found = _BY_NAME.get(" ".join(name))
        if found is not None:
            return Term(found.category, found.type, told)
    return Term(STRUCTURE, _private(label.name), side)


def _private(name: str) -> Code:
    """A code for a name: a word a person can read, and enough of a fingerprint to tell long names apart."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in name).strip()
    word = re.sub(r"[^A-Z0-9]+", "_", plain.upper()).strip("_")
    if not word or len(word) > 16:
        word = f"{word[:9]}_{hashlib.sha256(plain.encode()).hexdigest()[:6]}".strip("_").upper()
    return (word, PRIVATE, plain[:64] or "unnamed")


def _key(name: str) -> str:
    return " ".join(word for word in name.split() if word not in ("the", "of"))


_BY_NAME = {
    _key(name): Term(category, (value, "SCT", meaning))
    for category, terms in _TERMS.items()
    for names, (value, meaning) in terms.items()
    for name in names.split(", ")
}
